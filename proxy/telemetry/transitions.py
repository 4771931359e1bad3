"""The last state changes of each circuit breaker, each with its time and the window's rates.

A transition listener, like the one that logs. It costs nothing while no breaker changes.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import NamedTuple

from proxy.clock import Clock, WallClock
from proxy.policies.circuit_breaker import BreakerState, CircuitBreaker

MAX_TRANSITIONS = 50
"""Changes kept for one breaker."""
MAX_BREAKERS = 200
"""Breakers kept; the one whose last change is oldest is dropped first."""


class Transition(NamedTuple):
    """One change. `at` in seconds since the Unix epoch, the rates in percent (-1: not known)."""

    number: int
    at: float
    left: BreakerState
    entered: BreakerState
    failure_rate: float
    slow_call_rate: float
    calls: int


class Changes:
    """One breaker's changes: `last` the latest, oldest first, `count` all of them."""

    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.last: deque[Transition] = deque(maxlen=MAX_TRANSITIONS)
        self.count = 0


class BreakerHistory:
    """`record` is the `TransitionListener`. `seen` counts all changes, and numbers them."""

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
        seen = breaker.snapshot(now)
        at = self._wall_clock() - (self._clock() - now)
        rates = (seen.failure_rate, seen.slow_call_rate, seen.calls)
        kept.count += 1
        kept.last.append(Transition(self.seen, at, left, entered, *rates))

    def changes(self) -> Mapping[str, Changes]:
        """The changes by breaker name."""
        return self._by_name
