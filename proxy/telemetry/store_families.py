"""The families of the store. There are none without a store."""

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

if TYPE_CHECKING:
    from proxy.store.store import Store


def store_families(store: "Store | None") -> Iterator[Metric]:
    if store is None:
        return
    stats = store.stats
    commits = CounterMetricFamily("proxy_store_commits", "Commits of the store.")
    commits.add_metric([], stats.commits)
    yield commits
    seconds = HistogramMetricFamily(
        "proxy_store_commit_seconds", "Time of a commit, until it is on the disk.", labels=[]
    )
    bounds = [*(str(bound) for bound in stats.bounds), "+Inf"]
    buckets: list[Any] = list(zip(bounds, accumulate(stats.seconds), strict=True))
    seconds.add_metric([], buckets, stats.seconds_sum)
    yield seconds
    yield GaugeMetricFamily("proxy_store_bytes", "Bytes that the store uses.", stats.bytes)
    yield GaugeMetricFamily(
        "proxy_store_full", "1 while new promises are refused for lack of room.", int(store.full)
    )
    yield GaugeMetricFamily(
        "proxy_store_failed",
        "1 while the store cannot be used: its server is away, or an error ended it; else 0.",
        1 if store.failure else 0,
    )
