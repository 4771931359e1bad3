"""Gradient: learns how many concurrent requests an upstream can take, from how long it takes.

    usual      the time that the upstream usually takes: a slow average
    window     at least 10 answers and 1 s: their average time, and the requests in use
    rises      in the last windows requests did not queue in the upstream, and at least half of the
               limit was in use
    falls      the window is TOLERANCE times slower than usual: to what the upstream got done (in
               use × usual ÷ window), at most to half, and on until requests no longer queue

After Gradient2 of Netflix's concurrency-limits. What differs, and why: a fall goes to the estimated
capacity in place of a weighted average, so that it follows a halved capacity within three windows.
A busy upstream barely changes what is usual, so that a long overload does not become the norm. If
two falls do not make the upstream faster, requests do not queue in it: it is slower for another
reason, what it takes now is usual, and the limit is what it was before. A limit is never lowered in
order to measure.
"""

from math import sqrt
from typing import Final

START: Final = 20
TOLERANCE: Final = 1.5
_WINDOW: Final = 1.0
_SAMPLES: Final = 10
_LEAST: Final = 0.5  # of the limit, after one window
_QUEUEING: Final = 1.05  # times the usual time
_FALLING: Final = 1.15  # in place of TOLERANCE, once it falls
_STEP: Final = 0.1  # of the limit, in one window
_LONGEST: Final = 4.0  # times the usual time: what one answer counts at most
_FEW_FAILURES: Final = 0.1
# How much of a window goes into what is usual: of an upstream that is not busy, of a busy one that
# was faster, and of one that was slower.
_RELAXED: Final = 0.1
_FASTER: Final = 0.01
_SLOWER: Final = 0.002
_FIRST: Final = 10  # windows whose mean is usual
_NEW: Final = 3  # windows after which it may fall
_FALLS: Final = 2  # that made the upstream no faster: it is slower for another reason
_RECENTLY: Final = 0.2  # how much of a window goes into how slow the last windows were


class Gradient:
    """One limit between `lowest` and `highest`. Times are in seconds."""

    __slots__ = (
        "_begun",
        "_count",
        "_failed",
        "_falls",
        "_former",
        "_in_use",
        "_most",
        "_recently",
        "_settled",
        "_sum",
        "_unless_above",
        "_windows",
        "highest",
        "limit",
        "lowest",
        "usual",
    )

    def __init__(self, lowest: int, highest: int) -> None:
        self.limit = float(START)
        self.usual = 0.0
        self._falls = 0  # in a row, that made the upstream no faster
        self._former = 0.0  # the limit before them
        self._unless_above = 0.0  # seconds; a slower window after a fall: it made it no faster
        self._recently = 1.0  # how much slower than usual the last windows were
        self._begun = self._settled = 0.0
        self._sum = 0.0
        self._count = self._failed = self._in_use = self._most = self._windows = 0
        self.configure(lowest, highest)

    def configure(self, lowest: int, highest: int) -> None:
        self.highest = float(highest)
        self.lowest = min(float(lowest), self.highest)
        self.limit = min(max(self.limit, self.lowest), self.highest)

    def learn(self, seconds: float, in_use: int, failed: bool, now: float) -> bool:
        """Learn from one answer. Returns whether the limit has changed.

        `in_use`: permits in use, its own included. A failure counts only if it took long: quick
        ones say nothing about what the upstream can take.
        """
        if now < self._settled or (failed and seconds < self.usual):
            return False
        if not self._count:
            self._begun = now
        usual = self.usual
        self._sum += seconds if not usual or seconds < _LONGEST * usual else _LONGEST * usual
        self._count += 1
        self._failed += failed
        self._in_use += in_use
        if in_use > self._most:
            self._most = in_use
        if self._count < _SAMPLES or now - self._begun < _WINDOW:
            return False
        return self._judge(now)

    def _judge(self, now: float) -> bool:
        """The window is complete."""
        average, in_use = self._sum / self._count, self._in_use / self._count
        well, most = self._failed <= _FEW_FAILURES * self._count, self._most
        self._sum = 0.0
        self._count = self._failed = self._in_use = self._most = 0
        self._windows += 1
        before = self.limit
        if self._windows <= 2:  # the first one has only answers that came quickly
            self.usual = average
        elif self._falls and average < self._unless_above:
            self._falls = 1
        elif self._falls >= _FALLS and well:
            self.usual = average
            self.limit = self._former
            self._falls = 0
        busy = 2.0 * in_use >= before
        slower = average / self.usual if self.usual else 1.0
        self._recently += _RECENTLY * (slower - self._recently)
        if slower <= _QUEUEING:
            self._falls = 0
        tolerance = _FALLING if self._falls else TOLERANCE
        if busy and slower > tolerance and self._windows > _NEW:
            self._fall(average, in_use, in_use / slower, now)
        elif slower < _QUEUEING and 2 * most >= before:
            room = (_QUEUEING - max(slower, self._recently)) / (_QUEUEING - 1.0)
            step = max(1.0, _STEP * before) * min(1.0, room)
            self.limit = min(self.limit + max(step, 0.0), self.highest)
        self._learn_usual(average, slower, busy)
        return self.limit != before

    def _learn_usual(self, average: float, slower: float, busy: bool) -> None:
        rate = _RELAXED if not busy else _FASTER if slower < 1.0 else _SLOWER
        if self._windows <= _FIRST:
            rate = 1.0 / max(self._windows - 1, 1)
        self.usual += rate * (average - self.usual)

    def _fall(self, average: float, in_use: float, capacity: float, now: float) -> None:
        limit = max(capacity, self.limit * _LEAST, self.lowest)
        if not self._falls:
            self._former = self.limit
        self._falls += 1
        # The next answers belong to requests that came before; and the quick ones come first.
        self._settled = now + 2.0 * average
        # If they queued, the time falls with the limit; else it stays. This is between the two.
        self._unless_above = average * sqrt(min(limit / in_use, 1.0))
        self.limit = limit
