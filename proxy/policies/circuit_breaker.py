"""Circuit breaker: stops calls to a failing upstream, and tests when it has recovered.

              rate >= threshold                 deadline reached, next request
    CLOSED ───────────────────────▶ OPEN ─────────────────────────────────▶ HALF_OPEN
       ▲                              ▲       a probe failed, or too many did    │
       │                              └──────────────────────────────────────────┤
       └─────────────────────────────────────────────────────────────────────────┘
                                  the probes succeeded

    FORCED_OPEN and DISABLED are operators' orders; they stay until another order.

The rules are Resilience4j's, except the last three:
- Rates are checked at every recorded outcome, also a success, once there is the minimum of calls.
- OPEN keeps the window that caused it, for reporting. Every other state begins with an empty
  window, and counts its own refusals.
- The wait of consecutive openings grows; only CLOSED resets their count.
- A permit belongs to the state that issued it: a result from an earlier state is dropped.
- A probe that does not return within `max_wait` counts as failed, from the moment at which its
  time ended. No timer is needed: the next access notices it.
- An IGNORED verdict returns the permit and has no other effect.

Slow probes: with a failure rate for half-open, the rate of slow probes decides too. Without one,
a single slow probe does not open the breaker; when all `calls` probes have returned without a
failure, a share of slow ones at or above `slow_call.rate` opens it again, else it closes.

Modes: OBSERVE records and reports but never leaves CLOSED by itself; OFF starts DISABLED.
Operators' orders work in every mode, and `reset` returns to the mode's initial state.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from proxy.outcome import FAILURE, IGNORED, Verdict
from proxy.policies.circuit_breaker_answers import (
    BreakerSnapshot,
    BreakerState,
    CircuitPermit,
    CircuitRefusal,
)
from proxy.policies.circuit_breaker_config import (
    BreakerCounts,
    BreakerMode,
    CircuitBreakerConfig,
)
from proxy.policies.circuit_breaker_probes import Probes
from proxy.policies.gate import Answer, Ask, Family, Gate, GateKind, Permit, Scope

# Reading a global is ten times as fast as reading an enum member (CPython 3.11).
_DISABLED: Final = BreakerState.DISABLED
_HALF_OPEN: Final = BreakerState.HALF_OPEN

TransitionListener: TypeAlias = Callable[
    ["CircuitBreaker", BreakerState, BreakerState, float], None
]
"""Called with the breaker, the previous state, the present one, and the time (monotonic)."""


class CircuitBreaker(Gate):
    """One breaker. `transitions` counts, for each state, how often it was entered.

    `recorded` counts all results that came into a window, `failed` the failures among them.
    """

    __slots__ = (
        "_generation",
        "_minimum",
        "_not_permitted",
        "_open_until",
        "_openings",
        "_permit",
        "_probes",
        "_slow_after",
        "_state",
        "_window",
        "config",
        "failed",
        "on_transition",
        "recorded",
        "refusals",
        "transitions",
    )

    def __init__(self, name: str, config: CircuitBreakerConfig) -> None:
        super().__init__(name)
        self.config = config
        self.on_transition: TransitionListener | None = None
        self.transitions = dict.fromkeys(BreakerState, 0)
        self.refusals = 0
        self.recorded = 0
        self.failed = 0
        self._slow_after = config.slow_call.duration
        self._state = _first_state(config.mode)
        self._generation = 0
        self._not_permitted = 0
        self._openings = 0  # consecutive ones
        self._open_until = 0.0
        self._probes = Probes(config.half_open.max_wait)
        self._permit: CircuitPermit | None = CircuitPermit(0)  # the shared one, if any
        self._window, self._minimum = config.empty_window(half_open=False)

    # --- calls ------------------------------------------------------------------------------

    def admit(self, now: float, ask: Ask) -> Answer:
        """Ask to make a call. `settle` must return the permit in every case."""
        permit = self._permit
        if permit is not None:
            return permit
        return self._admit_probe(now)

    def settle(self, permit: Permit, verdict: Verdict, seconds: float, now: float) -> None:
        """Take a permit back, exactly once. `seconds`: until the response's head."""
        if permit is not self._permit:
            if self._probes:
                self._settle_probe(permit, verdict, seconds, now)
            return
        if verdict is IGNORED or self._state is _DISABLED:
            return
        window = self._window
        self._record(verdict is FAILURE, seconds, now)
        if (window.failures or window.slow_calls) and window.calls >= self._minimum:
            self._check_closed(now)

    def pause(self, permit: Permit, now: float) -> None:
        """Stop a probe's time (`half_open.max_wait`) while the client's body flows."""
        if permit is not self._permit:
            self._give_up_probes(now)
            self._probes.pause(permit, now)

    def resume(self, permit: Permit, now: float) -> None:
        if permit is not self._permit:
            self._probes.resume(permit, now)

    def allows_retry(self, now: float) -> bool:
        """Whether another attempt makes sense: not in half-open."""
        self._give_up_probes(now)
        return self._permit is not None

    def adopt(self, config: object) -> bool:
        """A breaker continues only with unchanged settings."""
        return config == self.config

    def succeed(self, former: Gate) -> None:
        assert isinstance(former, CircuitBreaker)
        self.transitions = former.transitions
        self.refusals = former.refusals
        self.recorded = former.recorded
        self.failed = former.failed

    def idle(self, now: float) -> bool:
        """Whether it has no operator's order and no probe in flight."""
        self._give_up_probes(now)
        ordered = self._state is BreakerState.FORCED_OPEN or self._state is _DISABLED
        return not self._probes and not (
            ordered and self._state is not _first_state(self.config.mode)
        )

    # --- reading ----------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """Counts the changes of state; a permit of another generation is stale."""
        return self._generation

    def state(self, now: float) -> BreakerState:
        """OPEN stays OPEN after its deadline until a request comes."""
        self._give_up_probes(now)
        return self._state

    def snapshot(self, now: float) -> BreakerSnapshot:
        self._give_up_probes(now)
        window = self._window
        window.expire(now)
        known = window.calls >= self._minimum and window.calls > 0
        return BreakerSnapshot(
            name=self.name,
            state=self._state,
            mode=self.config.mode,
            failure_rate=100.0 * window.failures / window.calls if known else -1.0,
            slow_call_rate=100.0 * window.slow_calls / window.calls if known else -1.0,
            calls=window.calls,
            failures=window.failures,
            slow_calls=window.slow_calls,
            slow_failures=window.slow_failures,
            total_duration=window.total_duration(),
            not_permitted=self._not_permitted,
            next_probe_in_s=self._next_probe_in(now),
            refused=self.refusals,
            results={"successful": self.recorded - self.failed, "failed": self.failed},
            transitions={state.value: count for state, count in self.transitions.items()},
        )

    # --- operators' orders ---------------------------------------------------------------------

    def force_open(self, now: float) -> None:
        """Refuse everything until another order."""
        self._give_up_probes(now)
        self._enter(BreakerState.FORCED_OPEN, now)

    def disable(self, now: float) -> None:
        """Admit everything and record nothing until another order."""
        self._give_up_probes(now)
        self._enter(BreakerState.DISABLED, now)

    def reset(self, now: float) -> None:
        """Start again: closed (in mode OFF disabled), empty window, no previous openings."""
        self._give_up_probes(now)
        self._enter(_first_state(self.config.mode), now)

    def transition_to_open(self, now: float, wait: float | None = None) -> None:
        """Open for `wait` seconds, None: as configured.

        Raises ValueError if the mode does not enforce: such a breaker never opens.
        """
        self._require_enforced()
        self._give_up_probes(now)
        self._open(now, wait)

    def transition_to_half_open(self, now: float) -> None:
        """Admit probes at once.

        Raises ValueError for a closed breaker, which has nothing to test, and if the mode does not
        enforce.
        """
        self._require_enforced()
        self._give_up_probes(now)
        if self._state is BreakerState.CLOSED:
            raise ValueError(f"circuit breaker {self.name} is closed: there is nothing to probe")
        self._enter(BreakerState.HALF_OPEN, now)

    def _require_enforced(self) -> None:
        if self.config.mode is not BreakerMode.ENFORCE:
            raise ValueError(f"circuit breaker {self.name} is in mode {self.config.mode.value}")

    def _record(self, failure: bool, seconds: float, now: float) -> None:
        self.recorded += 1
        if failure:
            self.failed += 1
        self._window.record(failure, seconds > self._slow_after, seconds, now)

    # --- closed -----------------------------------------------------------------------------

    def _check_closed(self, now: float) -> None:
        if self.config.mode is not BreakerMode.ENFORCE:
            return
        window = self._window
        if (
            window.failures / window.calls >= self.config.failure_rate
            or window.slow_calls / window.calls >= self.config.slow_call.rate
        ):
            self._open(now)

    # --- open and half-open -----------------------------------------------------------------

    def _admit_probe(self, now: float) -> Answer:
        self._give_up_probes(now)
        if self._permit is not None:
            # If a rate decides, a lost probe may close it.
            return self._permit
        if self._state is BreakerState.OPEN and now >= self._open_until:
            self._enter(_HALF_OPEN, now)
        if self._state is _HALF_OPEN and self._has_room():
            return self._probes.admit(self._generation, now)
        self._not_permitted += 1
        self.refusals += 1
        return CircuitRefusal(self.name, self._state, self._wait(now))

    def _has_room(self) -> bool:
        """Whether another probe fits: probes in flight and results never exceed `calls`."""
        return len(self._probes) + self._window.calls < self.config.half_open.calls

    def _settle_probe(self, probe: Permit, verdict: Verdict, seconds: float, now: float) -> None:
        self._give_up_probes(now)
        if self._probes.take_back(probe) and verdict is not IGNORED:
            self._record_probe(verdict is FAILURE, seconds, now)

    def _give_up_probes(self, now: float) -> None:
        """Count expired probes as failed, at the moment at which their time ended."""
        longest = self._probes.longest
        while self._probes:
            expired = self._probes.take_expired(now)
            if expired is None:
                return
            self._record_probe(True, longest, expired.since + longest)

    def _record_probe(self, failure: bool, duration: float, now: float) -> None:
        window = self._window
        self._record(failure, duration, now)
        threshold = self.config.half_open.failure_rate
        if threshold is None:
            failed = failure
            decided = failed or window.calls >= self.config.half_open.calls
        else:
            failed = window.failures / window.calls >= threshold
            decided = window.calls >= self._minimum
        if not decided:
            return
        if failed or window.slow_calls / window.calls >= self.config.slow_call.rate:
            self._open(now)
        else:
            self._enter(BreakerState.CLOSED, now)

    def _open(self, now: float, wait: float | None = None) -> None:
        self._openings += 1
        if wait is None:
            wait = self.config.open_for.seconds(self._openings)
        self._open_until = now + wait
        self._enter(BreakerState.OPEN, now)

    def _next_probe_in(self, now: float) -> float | None:
        if self._state is BreakerState.OPEN:
            return max(0.0, self._open_until - now)
        if self._state is BreakerState.HALF_OPEN and self._has_room():
            return 0.0
        return None

    def _wait(self, now: float) -> float | None:
        """Seconds after which another call makes sense."""
        if self._state is BreakerState.OPEN:
            return self._open_until - now
        if self._state is _HALF_OPEN:
            return 1.0  # as soon as a probe returns
        return None  # an operator's order: no time is known

    # --- changes of state -------------------------------------------------------------------

    def _enter(self, state: BreakerState, now: float) -> None:
        """The only place that changes the state. Entering the present state has no effect."""
        left, self._state = self._state, state
        self._generation += 1
        self._probes.forget()
        shared = state in (BreakerState.CLOSED, BreakerState.DISABLED)
        self._permit = CircuitPermit(self._generation) if shared else None
        if state is BreakerState.CLOSED:
            self._openings = 0
        if state is not BreakerState.OPEN:
            self._not_permitted = 0
            half_open = state is BreakerState.HALF_OPEN
            self._window, self._minimum = self.config.empty_window(half_open=half_open)
        if left is state:
            return
        self.transitions[state] += 1
        if self.on_transition is not None:
            self.on_transition(self, left, state, now)


def _first_state(mode: BreakerMode) -> BreakerState:
    return BreakerState.DISABLED if mode is BreakerMode.OFF else BreakerState.CLOSED


def _scope(config: CircuitBreakerConfig) -> Scope | None:
    return None if config.mode is BreakerMode.OFF else Scope(config.scope.value)


CIRCUIT_BREAKER = GateKind(
    "circuit_breaker",
    make=CircuitBreaker,
    default=CircuitBreakerConfig(),
    member="circuit_breakers",
    title="circuit breakers",
    families=(
        Family(
            "state",
            "1 for the state that the circuit breaker is in, 0 for the others.",
            labels=("state",),
        ),
        Family("transitions", "Transitions into the state.", labels=("to",), counter=True),
        Family("refused", "Calls that the circuit breaker refused.", counter=True),
        Family(
            "results", "Results that the circuit breaker recorded.", labels=("kind",), counter=True
        ),
    ),
    scope_of=_scope,
    outer=lambda config: config.counts is BreakerCounts.REQUESTS,
    of_upstream=True,
    shows_route=True,
)
