"""Metrics of the outbox."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, Metric

from proxy.telemetry.families import counter, gauge
from proxy.telemetry.observed import OutboxFigures


def outbox_families(outbox: OutboxFigures | None) -> Iterator[Metric]:
    """None without an outbox."""
    if outbox is None:
        return
    queues = outbox.figures()
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
    left = CounterMetricFamily(
        "proxy_outbox_left", "Entries that the end of the process lost with the pod."
    )
    left.add_metric([], outbox.left)
    yield left
