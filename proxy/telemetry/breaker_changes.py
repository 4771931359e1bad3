"""The latest changes of state of each circuit breaker: in which state it was when.

Kept for spans, which are made when an exchange is over, and tell in which state the breaker was
when an attempt asked it. What is no longer here is older than any exchange of interest.
"""

from collections import OrderedDict, deque
from typing import NamedTuple

from proxy.policies.circuit_breaker import BreakerState, CircuitBreaker

MAX_CHANGES = 20
"""Changes that are kept of one breaker."""
MAX_BREAKERS = 500
"""Breakers that are remembered; the one that has not changed for longest goes first."""

_HALF_OPEN = BreakerState.HALF_OPEN


class Change(NamedTuple):
    """One state left for another; `at` is monotonic seconds."""

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
        """`now` may lie back: a probe is given up when somebody looks."""
        kept = self._by_breaker.get(breaker)
        if kept is None:
            kept = self._by_breaker[breaker] = deque(maxlen=MAX_CHANGES)
            if len(self._by_breaker) > MAX_BREAKERS:
                self._by_breaker.popitem(last=False)
        else:
            self._by_breaker.move_to_end(breaker)
        kept.append(Change(now, left, entered))

    def since(self, breaker: CircuitBreaker, begin: float) -> list[Change]:
        """The breaker's changes from `begin` (monotonic) on, the oldest first."""
        return [change for change in self._by_breaker.get(breaker, ()) if change.at >= begin]

    def state_at(self, breaker: CircuitBreaker, moment: float, now: float) -> BreakerState:
        """The state that an attempt met that began at `moment` (monotonic).

        An open breaker becomes half-open by being asked, so that it was at that very moment; what
        else happened then came after the question.
        """
        for change in self.since(breaker, moment):
            if change.at > moment or change.entered is not _HALF_OPEN:
                return change.left
        return breaker.state(now)
