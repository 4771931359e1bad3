"""Metrics of sagas."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from proxy.telemetry.observed import SagaStats


def saga_families(stats: SagaStats) -> Iterator[Metric]:
    """How many there are, and what became of their tries. Both are bounded."""
    states = GaugeMetricFamily("proxy_sagas", "Sagas by state.", labels=["saga", "state"])
    for kind, number in stats.counts.items():
        states.add_metric(list(kind), number)
    yield states
    tries = CounterMetricFamily(
        "proxy_saga_steps",
        "Tries of sagas' steps: done, retried (another one follows), postponed (nothing was "
        "tried), failed, unknown, stuck.",
        labels=["saga", "step", "phase", "outcome"],
    )
    for labels, count in stats.steps.items():
        tries.add_metric(list(labels), count)
    yield tries
