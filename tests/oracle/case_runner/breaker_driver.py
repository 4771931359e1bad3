"""A breaker under a fake clock, spoken to in Resilience4j's terms.

Resilience4j records an outcome whether or not somebody asked before; the proxy wants the permit
back. So permits asked for are kept, oldest first, and an outcome without one asks for its own.
"""

from collections import deque

from case_runner.breaker_config import Setup
from case_runner.breaker_events import EventCounts
from case_runner.fields import CaseError
from proxy.outcome import Verdict
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_answers import BreakerSnapshot, BreakerState, CircuitPermit
from proxy.policies.circuit_breaker_config import BreakerMode
from proxy.policies.gate import Ask

_EVENTS = {
    Verdict.SUCCESS: "success",
    Verdict.FAILURE: "error",
    Verdict.IGNORED: "ignored_error",
}
METRICS_ONLY = "METRICS_ONLY"


class Driver:
    """`now` begins at a whole second, as the windows of Resilience4j's tests do."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.now = 1000.0
        self.events = EventCounts(setup.config)
        self._entered = self.now
        self._permits: deque[CircuitPermit] = deque()
        self._breaker = self._new(BreakerMode.ENFORCE)
        if setup.initial_state != "CLOSED":
            if setup.initial_state == BreakerState.HALF_OPEN.name:
                self.transition(BreakerState.OPEN.name)
            self.transition(setup.initial_state)
            self.events.clear()

    # --- reading ----------------------------------------------------------------------------

    def state(self) -> str:
        return self._name_of(self._breaker.state(self.now))

    def snapshot(self) -> BreakerSnapshot:
        return self._breaker.snapshot(self.now)

    # --- calls ------------------------------------------------------------------------------

    def acquire(self) -> CircuitPermit | None:
        """A permit, kept until an outcome or a release uses it; None when refused."""
        answer = self._breaker.admit(self.now, Ask())
        if isinstance(answer, CircuitPermit):
            self._permits.append(answer)
            return answer
        self.events.add("not_permitted", self.state())
        return None

    def record(self, verdict: Verdict, seconds: float, permit: CircuitPermit | None = None) -> None:
        """Settle this permit, or the oldest of the present state."""
        state = self.state()
        if permit is None:
            permit = self._take_permit(state)
        elif permit in self._permits:
            self._permits.remove(permit)
        if permit is not None:
            self._breaker.settle(permit, verdict, seconds, self.now)
        self.events.add(_EVENTS[verdict], state)
        if verdict is not Verdict.IGNORED:
            self.events.watch_rates(self.snapshot(), state)

    def release(self) -> None:
        permit = self._take_permit(self.state())
        if permit is not None:
            self._breaker.settle(permit, Verdict.IGNORED, 0.0, self.now)

    def _take_permit(self, state: str) -> CircuitPermit | None:
        """None in the states that give no permits: there is nothing to record it under."""
        current = self._breaker.state(self.now)
        fresh = [p for p in self._permits if p.generation == self._generation()]
        self._permits = deque(fresh)
        if self._permits:
            return self._permits.popleft()
        if current in (BreakerState.OPEN, BreakerState.FORCED_OPEN):
            return None
        answer = self._breaker.admit(self.now, Ask())
        if isinstance(answer, CircuitPermit):
            return answer
        raise CaseError(f"an outcome in {state} that no permit is left for")

    # --- time -------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        # Sums of milliseconds stay whole: 0.1 + 0.2 must not fall short of a bucket.
        self.now = round(self.now + seconds, 6)

    def tick(self) -> None:
        """What Resilience4j's scheduler would have done by now."""
        state = self._breaker.state(self.now)
        if state is BreakerState.OPEN:
            due = self._breaker.snapshot(self.now).next_probe_in_s == 0
            if self.setup.auto_half_open and due:
                self._breaker.transition_to_half_open(self.now)
        elif state is BreakerState.HALF_OPEN:
            self._end_half_open_when_due()

    def _end_half_open_when_due(self) -> None:
        if self.now >= self._entered + self.setup.half_open_limit:
            self.transition(self.setup.half_open_ends_in)

    # --- orders -----------------------------------------------------------------------------

    def reset(self) -> None:
        if self.state() == METRICS_ONLY:
            self._replace(BreakerMode.ENFORCE)
        else:
            self._breaker.reset(self.now)
        self.events.add("reset", self.state())

    def transition(self, to: str, wait: float | None = None) -> None:
        """Raises ValueError where the breaker refuses it."""
        if wait is not None and to != BreakerState.OPEN.name:
            raise CaseError(f"{to} does not end by itself: a wait has no meaning")
        if to == BreakerState.OPEN.name:
            self._breaker.transition_to_open(self.now, wait)
        elif to == BreakerState.HALF_OPEN.name:
            self._breaker.transition_to_half_open(self.now)
        elif to == METRICS_ONLY:
            self._replace(BreakerMode.OBSERVE)
        else:
            self._order(to)
        self._entered = self.now

    def _order(self, to: str) -> None:
        orders = {"CLOSED": "reset", "FORCED_OPEN": "force_open", "DISABLED": "disable"}
        if to not in orders:
            raise CaseError(f"unknown state {to!r}")
        if self.state() == METRICS_ONLY:
            self._replace(BreakerMode.ENFORCE, silent=to != "CLOSED")
        getattr(self._breaker, orders[to])(self.now)

    # --- the breaker ------------------------------------------------------------------------

    def _new(self, mode: BreakerMode) -> CircuitBreaker:
        breaker = CircuitBreaker("case", self.setup.in_mode(mode))
        breaker.on_transition = self._on_transition
        return breaker

    def _replace(self, mode: BreakerMode, silent: bool = False) -> None:
        """The mode is configuration here: a change of it is another breaker."""
        changed = self._breaker.config.mode is not mode
        self._breaker = self._new(mode)
        self._permits.clear()
        if changed and not silent:
            self.events.add("state_transition", self.state())

    def _on_transition(
        self, breaker: CircuitBreaker, left: BreakerState, entered: BreakerState, at: float
    ) -> None:
        self._entered = at
        self.events.add("state_transition", self._name_of(entered))

    def _generation(self) -> int:
        return self._breaker.generation

    def _name_of(self, state: BreakerState) -> str:
        observed = self._breaker.config.mode is BreakerMode.OBSERVE
        return METRICS_ONLY if observed and state is BreakerState.CLOSED else state.name
