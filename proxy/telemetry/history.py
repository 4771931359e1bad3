"""The last 15 minutes of every route: rate, errors, p50 and p99, a sample every five
seconds.

Requests do no work for it: a sample is the growth of the counters of `exchange/stats.py` since the
previous sample. Samples are always taken, because the page is opened after the trouble; that costs
some tens of microseconds in five seconds (docs/status-page.md).

Samples are in rings of one size, a slot for each time, so the memory of a route is fixed and no
sample moves. A slot without a request has no percentile, a slot before the route's first request
has no values.
"""

import asyncio
import time
from array import array
from collections.abc import Iterator
from math import nan
from typing import NamedTuple

from proxy.clock import Clock, WallClock
from proxy.exchange.stats import DURATION_BUCKETS, RouteStats
from proxy.telemetry.observed import Gateway
from proxy.telemetry.percentiles import percentile

INTERVAL = 5.0
"""Seconds between two samples."""
ROUTES_AT_ONCE = 500
"""Routes sampled in one step of the loop."""
_BETWEEN = 0.002
"""Seconds between two such steps."""
SAMPLES = 180
"""Samples kept: 15 minutes."""


class Sample(NamedTuple):
    """One route at one time. Rates per second, durations in seconds; nan without a value."""

    rate: float
    errors: float
    p50: float
    p99: float


class _Track:
    """The samples of one route, and the counters at the last one."""

    __slots__ = ("_buckets", "_errors", "_rings", "_stats")

    def __init__(self, stats: RouteStats) -> None:
        self._stats = stats
        self._buckets = [0] * len(stats.duration_buckets)
        self._errors = 0
        self._rings = tuple(array("f", [nan]) * SAMPLES for _ in Sample._fields)

    def take(self, slot: int, seconds: float) -> None:
        """Write a sample over the `seconds` since the last one into `slot`."""
        for ring, value in zip(self._rings, self._sample(seconds), strict=True):
            ring[slot] = value

    def _sample(self, seconds: float) -> Sample:
        buckets = list(self._stats.duration_buckets)
        if buckets == self._buckets:
            return Sample(0.0, 0.0, nan, nan)
        grown = [now - before for now, before in zip(buckets, self._buckets, strict=True)]
        errors = self._stats.errors
        failed = errors - self._errors
        self._buckets, self._errors = buckets, errors
        return Sample(
            sum(grown) / seconds,
            failed / seconds,
            _percentile(grown, 0.5),
            _percentile(grown, 0.99),
        )

    def samples(self, slots: list[int]) -> list[Sample]:
        """The samples in `slots`, in that order."""
        return [Sample(*(ring[slot] for ring in self._rings)) for slot in slots]


def _percentile(grown: list[int], share: float) -> float:
    found = percentile(DURATION_BUCKETS, grown, share)
    return nan if found is None else found


class History:
    """Samples all routes of a gateway from `start` to `stop`. `taken` counts the samples."""

    def __init__(
        self,
        gateway: Gateway,
        clock: Clock = time.monotonic,
        wall_clock: WallClock = time.time,
        *,
        interval: float = INTERVAL,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._wall_clock = wall_clock
        self._tracks: dict[tuple[str, str], _Track] = {}
        self._times = array("d", [0.0]) * SAMPLES
        self._last = clock()
        self._interval = interval
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.taken = 0

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._interval
        self._timer = loop.call_at(self._due, self._ring)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._due = max(self._due, asyncio.get_running_loop().time()) + self._interval
        self._go_on(self._sampling())

    def _go_on(self, sampling: Iterator[None]) -> None:
        """A portion of a sample in each step of the loop."""
        loop = asyncio.get_running_loop()
        try:
            next(sampling)
        except StopIteration:
            self._timer = loop.call_at(self._due, self._ring)
        else:
            self._timer = loop.call_later(_BETWEEN, self._go_on, sampling)

    def sample(self) -> None:
        """Take a sample of every route that has had a request."""
        for _ in self._sampling():
            pass

    def _sampling(self) -> Iterator[None]:
        now = self._clock()
        seconds, self._last = max(now - self._last, 0.001), now
        slot = self.taken % SAMPLES
        self._times[slot] = self._wall_clock()
        all_stats = list(self._gateway.bindings.stats.items())
        for number, (key, stats) in enumerate(all_stats, 1):
            track = self._tracks.get(key)
            if track is None:
                track = self._tracks[key] = _Track(stats)
            track.take(slot, seconds)
            if number % ROUTES_AT_ONCE == 0:
                yield
        self.taken += 1

    def times(self, last: int = SAMPLES) -> list[float]:
        """The times of the kept samples (since the Unix epoch), oldest first."""
        return [self._times[slot] for slot in self._slots(last)]

    def routes(self, last: int = SAMPLES) -> Iterator[tuple[tuple[str, str], list[Sample]]]:
        """Each listener and route, with a sample for each of `times` as of this call."""
        slots, tracks = self._slots(last), list(self._tracks.items())
        return ((key, track.samples(slots)) for key, track in tracks)

    def _slots(self, last: int) -> list[int]:
        """The slots of the kept samples, oldest first."""
        count = min(last, self.taken, SAMPLES)
        return [number % SAMPLES for number in range(self.taken - count, self.taken)]
