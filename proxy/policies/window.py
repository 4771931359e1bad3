"""Sliding windows of outcomes: the last N outcomes, or those of the last N whole seconds.

Both keep running sums, so the cost of recording does not depend on the size. Only
`total_duration` is summed on demand.
"""

from abc import ABC, abstractmethod
from itertools import islice
from math import fsum
from typing import Final

_FAILURE: Final = 1
_SLOW: Final = 2


class Window(ABC):
    """The counts that a circuit breaker needs; `slow_failures` are included in both others."""

    __slots__ = ("calls", "failures", "slow_calls", "slow_failures")

    def __init__(self) -> None:
        self.calls = 0
        self.failures = 0
        self.slow_calls = 0
        self.slow_failures = 0

    @abstractmethod
    def record(self, failure: bool, slow: bool, duration: float, now: float) -> None:
        """Add an outcome of `duration` seconds, and drop outcomes outside the window."""

    @abstractmethod
    def expire(self, now: float) -> None:
        """Drop outcomes outside the window, before reading."""

    @abstractmethod
    def total_duration(self) -> float:
        """Seconds, of all calls in the window."""


class CountWindow(Window):
    """The last `size` outcomes, in a ring."""

    __slots__ = ("_durations", "_kinds", "_next", "_size")

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._kinds = bytearray(size)
        self._durations = [0.0] * size
        self._next = 0

    def record(self, failure: bool, slow: bool, duration: float, now: float) -> None:
        kind = (_FAILURE if failure else 0) | (_SLOW if slow else 0)
        at = self._next
        if self.calls < self._size:
            self.calls += 1
            self._count(kind, 1)
            self._kinds[at] = kind
        else:
            evicted = self._kinds[at]
            if evicted != kind:  # mostly a success replaces a success
                self._count(evicted, -1)
                self._count(kind, 1)
                self._kinds[at] = kind
        self._durations[at] = duration
        at += 1
        self._next = at if at < self._size else 0

    def expire(self, now: float) -> None:
        pass  # time does not remove anything

    def total_duration(self) -> float:
        return fsum(islice(self._durations, self.calls))

    def _count(self, kind: int, by: int) -> None:
        if kind & _FAILURE:
            self.failures += by
        if kind & _SLOW:
            self.slow_calls += by
        if kind == _FAILURE | _SLOW:
            self.slow_failures += by


class _Bucket:
    __slots__ = ("calls", "duration", "failures", "slow_calls", "slow_failures")

    def __init__(self) -> None:
        self.calls = 0
        self.failures = 0
        self.slow_calls = 0
        self.slow_failures = 0
        self.duration = 0.0


class TimeWindow(Window):
    """The outcomes of `size` whole seconds of the monotonic clock, the present one included."""

    __slots__ = ("_buckets", "_second", "_size")

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._buckets = [_Bucket() for _ in range(size)]
        self._second = 0

    def record(self, failure: bool, slow: bool, duration: float, now: float) -> None:
        second = int(now)
        if second > self._second:
            self._advance(second)
        bucket = self._buckets[self._second % self._size]
        bucket.calls += 1
        bucket.duration += duration
        self.calls += 1
        if failure:
            bucket.failures += 1
            self.failures += 1
        if slow:
            bucket.slow_calls += 1
            self.slow_calls += 1
            if failure:
                bucket.slow_failures += 1
                self.slow_failures += 1

    def expire(self, now: float) -> None:
        second = int(now)
        if second > self._second:
            self._advance(second)

    def total_duration(self) -> float:
        return fsum(bucket.duration for bucket in self._buckets)

    def _advance(self, second: int) -> None:
        """Make `second` the present one; a jump costs at most one round of the ring."""
        for gone in range(max(self._second + 1, second - self._size + 1), second + 1):
            slot = gone % self._size
            bucket = self._buckets[slot]
            if bucket.calls:
                self.calls -= bucket.calls
                self.failures -= bucket.failures
                self.slow_calls -= bucket.slow_calls
                self.slow_failures -= bucket.slow_failures
                self._buckets[slot] = _Bucket()
        self._second = second
