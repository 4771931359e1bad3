"""Metrics: the data plane's plain counters as Prometheus families, made at a scrape.

Label values are bounded. Gates and upstreams of caller-named authorities have their own labels if
`Bindings.labels` has them; the others are summed as ``other``.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from proxy import __version__
from proxy.clock import Clock
from proxy.exchange.gates import Labelled, counts_of
from proxy.exchange.labels import OTHER
from proxy.policies import catalogue
from proxy.policies.gate import Family, GateKind
from proxy.telemetry.families import SERIES_AT_ONCE, counter, divided, gauge
from proxy.telemetry.observed import Gateway, Lifecycle, Log
from proxy.telemetry.outbox_families import outbox_families
from proxy.telemetry.route_families import route_families
from proxy.telemetry.saga_families import saga_families
from proxy.telemetry.store_families import store_families
from proxy.telemetry.tracing import Tracing

GATES_AT_ONCE = 50
UPSTREAMS_AT_ONCE = 50


def registry_of(
    gateway: Gateway,
    lifecycle: Lifecycle,
    logs: Sequence[Log],
    tracing: Tracing,
    tap: Log,
    clock: Clock = time.monotonic,
) -> "Registry":
    """A registry with the proxy's metrics and those of its process. Read it in the loop."""
    registry = Registry()
    registry.add(ProxyCollector(gateway, lifecycle, logs, tracing, tap, clock))
    registry.add(ProcessCollector(registry=None))
    return registry


class Registry(CollectorRegistry):
    """A registry that yields families in parts, so that they need not be made all at once."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[Callable[[], Iterable[Metric]]] = []

    def add(self, collector: Collector) -> None:
        self.register(collector)
        self._parts.append(getattr(collector, "parts", collector.collect))

    def parts(self) -> Iterator[Metric]:
        """All families; large ones in several consecutive parts.

        A change between two parts may appear only in the later one.
        """
        for parts in self._parts:
            yield from parts()


class ProxyCollector(Collector):
    """Reads counters; it has no state."""

    def __init__(
        self,
        gateway: Gateway,
        lifecycle: Lifecycle,
        logs: Sequence[Log],
        tracing: Tracing,
        tap: Log,
        clock: Clock,
    ) -> None:
        self._gateway = gateway
        self._lifecycle = lifecycle
        self._logs = logs
        self._tracing = tracing
        self._tap = tap
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """The complete families."""
        whole: Metric | None = None
        for part in self.parts():
            if whole is not None and part.name == whole.name:
                whole.samples += part.samples
                continue
            if whole is not None:
                yield whole
            whole = part
        if whole is not None:
            yield whole

    def parts(self) -> Iterator[Metric]:
        """The families in small parts; those of different families do not interleave."""
        stats = list(self._gateway.bindings.stats.values())
        yield from route_families(stats, self._tracing.exemplars)
        yield from self._gate_families()
        yield from self._listener_families()
        yield from self._upstream_connections()
        yield from self._endpoint_families()
        yield from outbox_families(self._lifecycle.deliveries, self._lifecycle.outbox_tables)
        if self._lifecycle.sagas is not None:
            yield from saga_families(self._lifecycle.sagas.stats)
        yield from self._process_families()

    def _gate_families(self) -> Iterator[Metric]:
        for kind in catalogue.kinds():
            for family in kind.families:
                yield from self._gate_family(kind, family)

    def _gate_family(self, kind: GateKind, family: Family) -> Iterator[Metric]:
        """The values of each gate with a label, and the sum of the others.

        A sum of states has no meaning and is omitted. The counts of dropped gates stay in the sum,
        so that it never falls.
        """
        gates = self._gateway.bindings.gates
        make = CounterMetricFamily if family.counter else GaugeMetricFamily
        name = family.name or f"proxy_{kind.key}_{family.field}"
        labels = [family.owner, *family.labels]
        others: Counter[Labelled] = Counter()
        for few in divided(list(gates.of(kind).values()), GATES_AT_ONCE):
            now, metric = self._clock(), make(name, family.text, labels=labels)
            for entry in few:
                for values, count in counts_of(family, entry.gate.snapshot(now)):
                    if gates.labelled(entry):
                        metric.add_metric([entry.gate.name, *values], count)
                    elif family.counter or not family.labels:
                        others[values] += count
            yield metric
        if family.counter:
            for (field, values), count in gates.gone(kind).items():
                if field == family.field:
                    others[values] += count
        if others:
            metric = make(name, family.text, labels=labels)
            for values, count in others.items():
                metric.add_metric([OTHER, *values], count)
            yield metric

    def _listener_families(self) -> Iterator[Metric]:
        gates = self._gateway.gates.items()
        yield from gauge(
            "proxy_in_flight",
            "Requests in flight.",
            "listener",
            {listener.value: len(gate.in_flight) for listener, gate in gates},
        )
        yield from gauge(
            "proxy_connections",
            "Open client connections.",
            "listener",
            {listener.value: len(gate.connections) for listener, gate in gates},
        )
        yield from gauge(
            "proxy_streams",
            "Open streams of HTTP/2 client connections.",
            "listener",
            {listener.value: gate.streams for listener, gate in gates},
        )

    def _upstream_connections(self) -> Iterator[Metric]:
        labels = self._gateway.bindings.labels
        others: Counter[str] = Counter()
        for few in divided(list(self._gateway.upstreams), UPSTREAMS_AT_ONCE):
            family = _connections_family()
            for upstream in few:
                counts = upstream.connections()
                states = {"active": counts.active, "idle": counts.idle}
                states["connecting"] = counts.connecting
                if upstream.name in self._gateway.config.upstreams or upstream.name in labels:
                    for state, count in states.items():
                        family.add_metric([upstream.name, state], count)
                else:
                    others.update(states)
            yield family
        if others:
            family = _connections_family()
            for state, count in others.items():
                family.add_metric([OTHER, state], count)
            yield family

    def _endpoint_families(self) -> Iterator[Metric]:
        """Of the file's upstreams; those that callers name have no ejection and no checks."""
        ejected: dict[tuple[str, ...], int] = {}
        ejections: dict[tuple[str, ...], int] = {}
        checks: dict[tuple[str, ...], int] = {}
        for upstream in list(self._gateway.upstreams):
            standings = upstream.choice.standings
            if standings is None:
                continue
            name, counts = upstream.name, standings.counts
            if standings.ejects:
                for endpoint in upstream.endpoints:
                    member = endpoint.member
                    ejected[name, endpoint.label] = member is not None and member.ejected
                for why, count in counts.ejections.items():
                    ejections[name, why.value] = count
            if upstream.config.health_check is not None:
                for result, count in counts.checks.items():
                    checks[name, result] = count
        for few in divided(list(ejected.items()), SERIES_AT_ONCE):
            family = GaugeMetricFamily(
                "proxy_endpoint_ejected",
                "1 while outlier detection keeps requests from the endpoint, else 0.",
                labels=["upstream", "endpoint"],
            )
            for labels, value in few:
                family.add_metric(labels, value)
            yield family
        yield from counter(
            "proxy_ejections", "Ejections by reason.", ["upstream", "why"], ejections
        )
        yield from counter(
            "proxy_health_checks", "Health checks by result.", ["upstream", "result"], checks
        )

    def _process_families(self) -> Iterator[Metric]:
        lifecycle = self._lifecycle
        cut = CounterMetricFamily("proxy_drain_cut", "Requests cut at the end of a drain.")
        cut.add_metric([], lifecycle.drain_cut)
        yield cut
        yield from counter(
            "proxy_config_reloads",
            "Reloads of the configuration by result.",
            ["result"],
            {(result,): count for result, count in lifecycle.reloads.items()},
        )
        last = lifecycle.last_reload
        yield GaugeMetricFamily(
            "proxy_config_last_reload_successful",
            "0 if the last version of the configuration file was rejected, else 1.",
            0 if last is not None and last["result"] == "rejected" else 1,
        )
        yield GaugeMetricFamily(
            "proxy_bypass",
            "1 while an operator has suspended retries and circuit breakers, else 0.",
            1 if lifecycle.bypass_left else 0,
        )
        dropped = CounterMetricFamily(
            "proxy_log_dropped", "Log lines dropped because their reader was too slow."
        )
        dropped.add_metric([], sum(log.dropped for log in self._logs))
        yield dropped
        lost = CounterMetricFamily(
            "proxy_tap_dropped", "Lines of the tap lost by watchers that were too slow."
        )
        lost.add_metric([], self._tap.dropped)
        yield lost
        yield from counter(
            "proxy_spans",
            "Spans of sampled requests: exported, failed at the collector, dropped from the queue.",
            ["result"],
            {(result,): count for result, count in self._tracing.counts.by_result.items()},
        )
        yield from store_families(lifecycle.store)
        yield InfoMetricFamily("proxy_build", "The proxy's version.", {"version": __version__})


def _connections_family() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "proxy_upstream_connections",
        "Connections to the upstream's endpoints: active, idle or connecting.",
        labels=["upstream", "state"],
    )
