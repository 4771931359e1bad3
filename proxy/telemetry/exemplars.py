"""Exemplars: for each bucket of a duration histogram its last sampled exchange.

They lead from a slow bucket on a dashboard to the trace of one such request. Only sampled
exchanges are kept, because the others have no trace.
"""

import time
from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client.samples import Exemplar

from proxy.clock import WallClock
from proxy.exchange.stats import DURATION_BUCKETS
from proxy.telemetry.observed import Exchange
from proxy.telemetry.sieves import Sampled

Row = list[Exemplar | None]


class Exemplars:
    """`observer` is called with settled exchanges, `record` with the sampled ones."""

    __slots__ = ("_kept", "_wall_clock", "observer")

    def __init__(self, wall_clock: WallClock = time.time) -> None:
        self._wall_clock = wall_clock
        self._kept: dict[tuple[str, str], Row] = {}
        self.observer = Sampled(self.record).record

    def record(self, exchange: Exchange) -> None:
        """Keep the exchange in its bucket if it is sampled."""
        if not exchange.sampled:
            return
        key = (exchange.listener.value, exchange.route)
        row = self._kept.get(key)
        if row is None:
            row = self._kept[key] = [None] * (len(DURATION_BUCKETS) + 1)
        row[bisect_left(DURATION_BUCKETS, exchange.duration)] = Exemplar(
            {"trace_id": exchange.trace_id}, exchange.duration, self._wall_clock()
        )

    def of(self, listener: str, route: str) -> Sequence[Exemplar | None]:
        """One exemplar for each bucket of that histogram, or None."""
        return self._kept.get((listener, route)) or _NONE


_NONE: Row = [None] * (len(DURATION_BUCKETS) + 1)
