"""What holds for the policies whatever happens to them, and in whatever order."""

from collections import Counter
from datetime import datetime
from fractions import Fraction
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.http.retry_after import parse_retry_after
from proxy.outcome import Verdict
from proxy.policies.backoff import Backoff, BackoffConfig, Jitter, JitterKind
from proxy.policies.budget import BudgetConfig, RetryBudget
from proxy.policies.bulkhead import Bulkhead, BulkheadConfig, BulkheadPermit, BulkheadWait
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_answers import BreakerState, CircuitPermit
from proxy.policies.circuit_breaker_config import (
    CircuitBreakerConfig,
    HalfOpenConfig,
    OpenForConfig,
    WindowConfig,
    WindowType,
)
from proxy.policies.gate import Ask
from proxy.policies.rate_limit import Rate, RateLimitConfig
from proxy.policies.rate_limits import RateLimits, RateRefusal, RateWait

INDEX = st.integers(0, 1000)


class BulkheadMachine(RuleBasedStateMachine):
    """Every permit is somebody's, and the queue is served in order."""

    def __init__(self) -> None:
        super().__init__()
        self.guard = Bulkhead("b", BulkheadConfig(2, 3, 1.0))
        self.held: list[BulkheadPermit] = []
        self.waits: list[BulkheadWait] = []  # in the order in which they came
        self.granted: list[BulkheadWait] = []
        self.allowed = 2  # what the limit is, or was while permits of then are out

    @rule()
    def admit(self) -> None:
        answer = self.guard.admit(0.0, Ask())
        if isinstance(answer, BulkheadPermit):
            self.held.append(answer)
        elif isinstance(answer, BulkheadWait):
            self.waits.append(answer)
            answer.on_granted = lambda: self._on_granted(answer)

    def _on_granted(self, wait: BulkheadWait) -> None:
        assert wait is self.waits[0], "first come, first served"
        self.granted.append(self.waits.pop(0))

    @precondition(lambda self: self.held)
    @rule(index=INDEX, twice=st.booleans())
    def release(self, index: int, twice: bool) -> None:
        permit = self.held.pop(index % len(self.held))
        self.guard.settle(permit, Verdict.IGNORED, 0.0, 0.0)
        if twice:
            self.guard.settle(permit, Verdict.IGNORED, 0.0, 0.0)

    @precondition(lambda self: self.granted)
    @rule(index=INDEX, goes_on=st.booleans())
    def wake(self, index: int, goes_on: bool) -> None:
        wait = self.granted.pop(index % len(self.granted))
        assert wait.permit is not None
        if goes_on:
            self.held.append(wait.permit)
        else:
            self.guard.abandon(wait)
            self.guard.abandon(wait)

    @precondition(lambda self: self.waits)
    @rule(index=INDEX)
    def leave(self, index: int) -> None:
        self.guard.abandon(self.waits.pop(index % len(self.waits)))

    @rule(limit=st.integers(1, 5), queue=st.integers(0, 5))
    def resize(self, limit: int, queue: int) -> None:
        self.guard.adopt(BulkheadConfig(limit, queue, 1.0))

    @invariant()
    def permits_are_conserved(self) -> None:
        in_use = self.guard.in_use
        assert in_use == len(self.held) + len(self.granted)
        assert self.guard.queued == len(self.waits)
        self.allowed = max(self.guard.limit, min(self.allowed, in_use))
        assert 0 <= in_use <= self.allowed

    @invariant()
    def nobody_waits_beside_a_free_permit(self) -> None:
        assert not self.waits or self.guard.in_use >= self.guard.limit


TestBulkhead = BulkheadMachine.TestCase


class RateLimitsMachine(RuleBasedStateMachine):
    """No stretch of time has more than the burst and its share of the rate, whoever leaves; and
    whoever stays has a turn."""

    FAST = RateLimitConfig("fast", "route", Rate(4, "s"), 3)
    SLOW = RateLimitConfig("slow", "client", Rate(60, "m"), 2)

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.1
        self.gate = RateLimits("r", (self.FAST, self.SLOW))
        self.places = Counter[str]()
        self.passed: list[tuple[float, str]] = []
        self.waits: list[RateWait] = []  # in the order in which they came
        self.told: list[RateWait] = []

    @rule(waits=st.booleans(), client=st.sampled_from("ab"))
    def admit(self, waits: bool, client: str) -> None:
        ask = Places(client, 3.0 if waits else 0.0, self.places)
        answer = self.gate.admit(self.now, ask)
        if isinstance(answer, RateWait):
            assert self.now < answer.turn <= answer.deadline == self.now + 3.0
            answer.on_granted = lambda: self.told.append(answer)
            self.waits.append(answer)
        elif isinstance(answer, RateRefusal):
            error = answer.error()
            assert error.retry_after is not None
            assert error.retry_after >= 1
        else:
            self.passed.append((self.now, client))

    @rule(seconds=st.floats(0.0, 3.0))
    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            self.hear()
            due = min((min(one.turn, one.deadline) for one in self.waits), default=inf)
            if due > until:
                break
            self.now = max(self.now, due)
            for wait in [one for one in self.waits if min(one.turn, one.deadline) <= self.now]:
                self.ask_again(wait)
                if wait.permit is None and wait.deadline <= self.now:
                    self.gate.abandon(wait)
                    self.waits.remove(wait)
        self.now = until

    def hear(self) -> None:
        while self.told:
            self.ask_again(self.told.pop(0))

    def ask_again(self, wait: RateWait) -> None:
        if wait in self.waits:
            self.gate.grant(wait, self.now)
            if wait.permit is not None:
                self.waits.remove(wait)
                self.passed.append((self.now, wait.ask.client))
            else:
                assert wait.turn > self.now

    @precondition(lambda self: self.waits)
    @rule(index=INDEX, twice=st.booleans())
    def leave(self, index: int, twice: bool) -> None:
        wait = self.waits.pop(index % len(self.waits))
        for _ in range(1 + twice):
            self.gate.abandon(wait)

    @rule()
    def reload(self) -> None:
        assert self.gate.adopt((self.FAST, self.SLOW))

    @invariant()
    def never_more_than_the_burst_and_the_rate(self) -> None:
        for times, burst, rate in (
            ([at for at, _ in self.passed], 3, 4.0),
            ([at for at, client in self.passed if client == "a"], 2, 1.0),
            ([at for at, client in self.passed if client == "b"], 2, 1.0),
        ):
            for first in range(len(times)):
                for last in range(first, len(times)):
                    seconds = times[last] - times[first] + 1e-5
                    assert last - first + 1 <= burst + rate * seconds

    @invariant()
    def places_are_conserved(self) -> None:
        assert self.gate.waiting == self.places.total() == len(self.waits)

    @invariant()
    def what_passed_is_counted(self) -> None:
        assert set(self.gate.snapshot(self.now).allowed.values()) == {len(self.passed)}

    @invariant()
    def the_first_one_waits_for_time_alone(self) -> None:
        self.hear()
        if self.waits:
            first = self.waits[0]
            assert first.turn <= max(self.now, first.since) + 1.0 + 1e-5


class Places(Ask):
    """A request of `name` that may wait for `longest`; `places` counts who waits."""

    def __init__(self, name: str, longest: float, places: Counter[str]) -> None:
        self.name, self.longest, self.places = name, longest, places

    @property
    def client(self) -> str:
        return self.name

    def take_place(self) -> float:
        self.places[self.name] += self.longest > 0
        return self.longest

    def leave_place(self) -> None:
        self.places[self.name] -= 1


TestRateLimits = pytest.mark.interpreted(RateLimitsMachine.TestCase)


class BreakerMachine(RuleBasedStateMachine):
    """Lost permits, late outcomes, orders by hand: left alone for a while it always asks again."""

    MAX_WAIT, LONGEST = 5.0, 40.0

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.permits: list[tuple[CircuitPermit, float]] = []  # and since when
        self.breaker = CircuitBreaker("b", self.config())
        self.breaker.on_transition = self._on_transition
        self.last_change = self.now

    def config(self) -> CircuitBreakerConfig:
        return CircuitBreakerConfig(
            window=WindowConfig(WindowType.COUNT, 5),
            minimum_calls=3,
            open_for=OpenForConfig(10.0, 2.0, self.LONGEST),
            half_open=HalfOpenConfig(2, self.MAX_WAIT),
        )

    def _on_transition(
        self, breaker: CircuitBreaker, left: BreakerState, entered: BreakerState, at: float
    ) -> None:
        assert left is not entered
        assert self.last_change <= at <= self.now, "changes happen in order, never in the future"
        self.last_change = at

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 4.875, 5.0, 10.0, 30.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def admit(self) -> None:
        answer = self.breaker.admit(self.now, Ask())
        if isinstance(answer, CircuitPermit):
            self.permits.append((answer, self.now))
        else:
            forced = self.breaker.state(self.now) is BreakerState.FORCED_OPEN
            assert (answer.retry_after is None) is forced
            assert forced or answer.retry_after >= 1

    @precondition(lambda self: self.permits)
    @rule(index=INDEX, verdict=st.sampled_from(Verdict), lost=st.booleans())
    def settle(self, index: int, verdict: Verdict, lost: bool) -> None:
        permit, _ = self.permits.pop(index % len(self.permits))
        if not lost:
            self.breaker.settle(permit, verdict, 0.1, self.now)

    @rule(order=st.sampled_from(["force_open", "disable", "reset", "transition_to_open"]))
    def order(self, order: str) -> None:
        getattr(self.breaker, order)(self.now)

    @invariant()
    def counts_hold(self) -> None:
        snapshot = self.breaker.snapshot(self.now)
        assert 0 <= snapshot.failures <= snapshot.calls <= 5
        assert snapshot.failure_rate == -1 or 0 <= snapshot.failure_rate <= 100
        if snapshot.state is BreakerState.HALF_OPEN:
            out = [p for p, since in self.permits if self._is_awaited(p, since)]
            assert len(out) + snapshot.calls <= 2
        if snapshot.state is BreakerState.OPEN:
            assert snapshot.next_probe_in_s is not None
            assert 0 <= snapshot.next_probe_in_s <= self.LONGEST

    def teardown(self) -> None:
        """However it was left, it closes when the upstream is well."""
        if self.breaker.state(self.now) is BreakerState.FORCED_OPEN:
            return
        # At worst the first success opens it, by the failures before; then two probes close it.
        for _ in range(4):
            self.now += self.MAX_WAIT + self.LONGEST
            permit = self.breaker.admit(self.now, Ask())
            assert isinstance(permit, CircuitPermit), "wedged"
            self.breaker.settle(permit, Verdict.SUCCESS, 0.1, self.now)
        assert self.breaker.allows_retry(self.now)

    def _is_awaited(self, permit: CircuitPermit, since: float) -> bool:
        young = self.now < since + self.MAX_WAIT
        return young and permit.generation == self.breaker.generation


class RatedBreakerMachine(BreakerMachine):
    """The same where a rate over the probes decides."""

    def config(self) -> CircuitBreakerConfig:
        return CircuitBreakerConfig(
            window=WindowConfig(WindowType.COUNT, 5),
            minimum_calls=3,
            open_for=OpenForConfig(10.0, 2.0, self.LONGEST),
            half_open=HalfOpenConfig(2, self.MAX_WAIT, failure_rate=0.51),
        )


TestBreaker = BreakerMachine.TestCase
TestRatedBreaker = RatedBreakerMachine.TestCase

STEPS = st.lists(
    st.tuples(st.sampled_from(["request", "retry"]), st.integers(0, 100)), min_size=1, max_size=80
)


@given(STEPS, st.sampled_from([(1, 5), (0, 1), (1, 2), (3, 10)]), st.sampled_from([0, 1, 2]))
@settings(max_examples=200)
def test_the_budget_is_never_above_the_exact_rule_and_hardly_below(
    steps: list[tuple[str, int]], ratio: tuple[int, int], min_per_second: int
) -> None:
    window, share = 8, Fraction(*ratio)
    budget = RetryBudget("b", BudgetConfig(float(share), min_per_second, window))
    now, requests, retries = Fraction(100), list[Fraction](), list[Fraction]()

    def within(times: list[Fraction], span: Fraction) -> int:
        return sum(at > now - span for at in times)

    for kind, later in steps:
        now += Fraction(later, 64)
        if kind == "request":
            budget.record_request(float(now))
            requests.append(now)
            continue
        allowed = min_per_second * window + share * within(requests, Fraction(window))
        bucket = Fraction(window, 16)
        surely = min_per_second * window + share * within(requests, window - bucket)
        if budget.try_spend(float(now)):
            assert within(retries, Fraction(window)) + 1 <= allowed
            retries.append(now)
        else:
            assert within(retries, window + bucket) + 1 > surely
        assert budget.snapshot(float(now)).remaining >= 0


@given(
    st.sampled_from(JitterKind),
    st.floats(0, 10),
    st.floats(1, 1e6),
    st.floats(0, 100),
    st.integers(1, 10**9),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1e6),
)
def test_a_wait_is_never_above_its_cap(
    kind: JitterKind,
    initial: float,
    multiplier: float,
    more: float,
    retry: int,
    draw: float,
    previous: float,
) -> None:
    high, ratio = initial + more, 0.25
    config = BackoffConfig(initial, multiplier, high, Jitter(kind, ratio))
    wait = Backoff(config, lambda: draw).delay(retry, previous)
    top = high * (1 + ratio) if kind is JitterKind.RATIO else high
    assert 0 <= wait <= top * (1 + 1e-12)


@given(st.text() | st.binary(), st.floats(0, 4e9))
def test_retry_after_understands_or_says_nothing(value: str | bytes, now: float) -> None:
    seconds = parse_retry_after([value], now)
    assert seconds is None or 0 <= seconds <= inf


@given(st.datetimes(), st.floats(0, 4e9))
def test_every_date_is_read_in_its_usual_form(when: datetime, now: float) -> None:
    text = f"{when:%a, %d %b} {when.year:04d} {when:%H:%M:%S} GMT"
    seconds = parse_retry_after([text], now)
    assert seconds is not None
