"""The last state changes of each circuit breaker, each with its time and the window's rates.

The page and `top` show them. Spans need them too: they are made after an exchange is settled, and
contain the state that the breaker had when an attempt asked it. Changes that are no longer kept
are older than any such exchange. It costs nothing while no breaker changes.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import NamedTuple

from proxy.clock import Clock, WallClock
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_answers import BreakerState

MAX_TRANSITIONS = 50
"""Changes kept for one breaker."""
MAX_BREAKERS = 200
"""Breakers kept; the one whose last change is oldest is dropped first."""

_HALF_OPEN = BreakerState.HALF_OPEN


class Transition(NamedTuple):
    """One change: `at` in seconds since the Unix epoch, `moment` in monotonic ones. The rates are
    percent, -1 where they are not known."""

    number: int
    at: float
    moment: float
    breaker: CircuitBreaker
    left: BreakerState
    entered: BreakerState
    failure_rate: float
    slow_call_rate: float
    calls: int


class Changes:
    """The changes of one name: `last` the latest, oldest first, `count` all of them."""

    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.last: deque[Transition] = deque(maxlen=MAX_TRANSITIONS)
        self.count = 0


class Transitions:
    """`record` is a `TransitionListener`. `seen` counts all changes, and numbers them."""

    __slots__ = ("_by_name", "_clock", "_wall_clock", "seen")

    def __init__(self, clock: Clock = time.monotonic, wall_clock: WallClock = time.time) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._by_name: OrderedDict[str, Changes] = OrderedDict()
        self.seen = 0

    def record(
        self, breaker: CircuitBreaker, left: BreakerState, entered: BreakerState, now: float
    ) -> None:
        """`now` is the time of the change, which may be in the past (an expired probe)."""
        self.seen += 1
        kept = self._by_name.get(breaker.name)
        if kept is None:
            kept = self._by_name[breaker.name] = Changes()
            if len(self._by_name) > MAX_BREAKERS:
                self._by_name.popitem(last=False)
        else:
            self._by_name.move_to_end(breaker.name)
        window = breaker.snapshot(now)
        at = self._wall_clock() - (self._clock() - now)
        rates = (window.failure_rate, window.slow_call_rate, window.calls)
        kept.count += 1
        kept.last.append(Transition(self.seen, at, now, breaker, left, entered, *rates))

    def changes(self) -> Mapping[str, Changes]:
        """The changes by breaker name."""
        return self._by_name

    def since(self, breaker: CircuitBreaker, begin: float) -> list[Transition]:
        """The breaker's changes since `begin` (monotonic), oldest first."""
        kept = self._by_name.get(breaker.name)
        if kept is None:
            return []
        # After a reload another breaker may have the name.
        return [one for one in kept.last if one.breaker is breaker and one.moment >= begin]

    def state_at(self, breaker: CircuitBreaker, moment: float, now: float) -> BreakerState:
        """The state that the breaker had for an attempt that began at `moment` (monotonic).

        An attempt that asks an open breaker makes it half-open at that same moment; every other
        change at that moment came after the attempt.
        """
        for change in self.since(breaker, moment):
            if change.moment > moment or change.entered is not _HALF_OPEN:
                return change.left
        return breaker.state(now)
