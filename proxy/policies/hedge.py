"""Hedge: when a request that has no response yet gets another attempt at the same time.

`delay` is fixed, or the time within which 95 % of the last ten seconds' first attempts had a
response. A first attempt that lost against its hedge counts with the time it had, so hedges do not
make the delay ever shorter.
"""

from dataclasses import dataclass
from math import inf, log
from typing import Final

P95: Final = -1.0
"""The delay that is learned, as a value of `HedgeConfig.delay`."""
LEAST: Final = 0.01
"""Seconds: the shortest learned delay."""
_SECONDS: Final = 10
_FEWEST: Final = 20  # times without which nothing is known
_SHARE: Final = 0.95
_FIRST: Final = 0.001  # seconds: the upper bound of the first class
_STEP: Final = 1.1  # from one class to the next
_CLASSES: Final = 120  # the last one begins at 85 s
_LOG_STEP: Final = log(_STEP)
_FRESH: Final = 0.25  # seconds for which a learned delay is used


@dataclass(frozen=True, slots=True)
class HedgeConfig:
    """`delay` in seconds, 0: no hedges, or `P95`. `max`: hedges of one request."""

    delay: float = 0.0
    max: int = 1


class Hedging:
    """The hedges of one route and upstream. `learns`: its delay comes from `record`."""

    __slots__ = (
        "_counts",
        "_delay",
        "_fresh_until",
        "_second",
        "_total",
        "_totals",
        "config",
        "learns",
    )

    def __init__(self, config: HedgeConfig) -> None:
        self.config = config
        self.learns = config.delay == P95
        self._delay = inf
        self._fresh_until = -inf
        self._second = -1
        self._total = 0
        self._totals = [0] * _CLASSES
        self._counts: list[list[int]] = [[] for _ in range(_SECONDS)]

    def delay(self, now: float) -> float:
        """Seconds until a hedge; infinite while too little is known."""
        if not self.learns:
            return self.config.delay
        if now >= self._fresh_until:
            self._fresh_until = now + _FRESH
            self._advance(now)
            self._delay = self._percentile()
        return self._delay

    def record(self, seconds: float, now: float) -> None:
        """A first attempt had a response, or lost against its hedge, after so many seconds."""
        if not self.learns:
            return
        self._advance(now)
        place = 0
        if seconds > _FIRST:
            place = min(int(log(seconds / _FIRST) / _LOG_STEP) + 1, _CLASSES - 1)
        counts = self._counts[self._second % _SECONDS]
        counts[place] += 1
        self._totals[place] += 1
        self._total += 1

    def _percentile(self) -> float:
        if self._total < _FEWEST:
            return inf
        left = self._total * _SHARE
        place = 0
        for place in range(_CLASSES):
            left -= self._totals[place]
            if left <= 0:
                break
        return max(_FIRST * _STEP**place, LEAST)

    def _advance(self, now: float) -> None:
        """Make `now`'s second the current one, and forget those that are too old."""
        second = int(now)
        if second <= self._second:
            return
        for new in range(max(self._second + 1, second - _SECONDS + 1), second + 1):
            place = new % _SECONDS
            for index, count in enumerate(self._counts[place]):
                self._totals[index] -= count
                self._total -= count
            self._counts[place] = [0] * _CLASSES
        self._second = second
