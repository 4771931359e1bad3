"""Metrics of the outbox."""

from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import CounterMetricFamily, Metric

from proxy.telemetry.families import counter, gauge
from proxy.telemetry.observed import OutboxFigures, QueueFigures, TablesFigures


def outbox_families(outbox: OutboxFigures | None, tables: TablesFigures | None) -> Iterator[Metric]:
    """None without an outbox and tables."""
    if outbox is None and tables is None:
        return
    queues: list[QueueFigures] = []
    if outbox is not None:
        queues += outbox.figures()
    if tables is not None:
        queues += tables.figures()
    yield from _queue_families(queues)
    if tables is not None:
        yield from gauge(
            "proxy_outbox_table_ready",
            "1 while the rows of the outbox table can be delivered, else 0.",
            "table",
            {name: int(ready) for name, ready in tables.ready().items()},
        )
    left = CounterMetricFamily(
        "proxy_outbox_left", "Entries that the end of the process lost with the pod."
    )
    left.add_metric([], 0 if outbox is None else outbox.left)
    yield left


def _queue_families(queues: Sequence[QueueFigures]) -> Iterator[Metric]:
    yield from gauge(
        "proxy_outbox_pending",
        "Entries of the outbox that wait or are tried now.",
        "route",
        {queue.route: queue.pending for queue in queues},
    )
    yield from gauge(
        "proxy_outbox_oldest_seconds",
        "Age of the oldest entry of the outbox that is not finished; 0 without one.",
        "route",
        {queue.route: queue.oldest for queue in queues},
    )
    yield from gauge(
        "proxy_outbox_dead",
        "Dead and parked entries of the outbox.",
        "route",
        {queue.route: queue.dead for queue in queues},
    )
    yield from counter(
        "proxy_outbox_deliveries",
        "Tries of the outbox: delivered, again (another one follows), postponed (nothing was "
        "tried), dead, parked (dead, and its lane waits). Each counts once.",
        ["route", "outcome"],
        {
            (queue.route, outcome): count
            for queue in queues
            for outcome, count in queue.outcomes.items()
        },
    )
