"""Parts of a Prometheus family: a large one is made in several, so that a scrape can pause."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

SERIES_AT_ONCE = 400
_T = TypeVar("_T")


def counter(
    name: str, documentation: str, labels: Sequence[str], counts: Mapping[tuple[str, ...], int]
) -> Iterator[Metric]:
    for few in divided(list(counts.items()), SERIES_AT_ONCE):
        family = CounterMetricFamily(name, documentation, labels=labels)
        for values, count in few:
            family.add_metric(values, count)
        yield family


def gauge(
    name: str, documentation: str, label: str, values: Mapping[str, float]
) -> Iterator[Metric]:
    for few in divided(list(values.items()), SERIES_AT_ONCE):
        family = GaugeMetricFamily(name, documentation, labels=[label])
        for value, number in few:
            family.add_metric([value], number)
        yield family


def divided(items: list[_T], size: int) -> list[list[_T]]:
    """Lists of at most `size` items; one empty list without items."""
    return [items[i : i + size] for i in range(0, len(items), size)] or [[]]
