"""The latest state changes of each circuit breaker, with their times.

Spans need them: they are made after an exchange is settled, and contain the state that the breaker
had when an attempt asked it. Changes that are no longer kept are older than any such exchange.
"""

from collections import OrderedDict, deque
from typing import NamedTuple

from proxy.policies.circuit_breaker import BreakerState, CircuitBreaker

MAX_CHANGES = 20
"""Changes kept for one breaker."""
MAX_BREAKERS = 500
"""Breakers kept; the one whose last change is oldest is dropped first."""

_HALF_OPEN = BreakerState.HALF_OPEN


class Change(NamedTuple):
    """One transition; `at` is monotonic seconds."""

    at: float
    left: BreakerState
    entered: BreakerState


class BreakerChanges:
    """`note` is a `TransitionListener`."""

    __slots__ = ("_by_breaker",)

    def __init__(self) -> None:
        self._by_breaker: OrderedDict[CircuitBreaker, deque[Change]] = OrderedDict()

    def note(
        self, breaker: CircuitBreaker, left: BreakerState, entered: BreakerState, now: float
    ) -> None:
        """`now` may be in the past: an expired probe is noticed at the next access."""
        kept = self._by_breaker.get(breaker)
        if kept is None:
            kept = self._by_breaker[breaker] = deque(maxlen=MAX_CHANGES)
            if len(self._by_breaker) > MAX_BREAKERS:
                self._by_breaker.popitem(last=False)
        else:
            self._by_breaker.move_to_end(breaker)
        kept.append(Change(now, left, entered))

    def since(self, breaker: CircuitBreaker, begin: float) -> list[Change]:
        """The breaker's changes since `begin` (monotonic), oldest first."""
        return [change for change in self._by_breaker.get(breaker, ()) if change.at >= begin]

    def state_at(self, breaker: CircuitBreaker, moment: float, now: float) -> BreakerState:
        """The state that the breaker had for an attempt that began at `moment` (monotonic).

        An open breaker becomes half-open when it is asked, so such a change at that moment counts;
        any other change at that moment happened after the question.
        """
        for change in self.since(breaker, moment):
            if change.at > moment or change.entered is not _HALF_OPEN:
                return change.left
        return breaker.state(now)
