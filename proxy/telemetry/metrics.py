"""Metrics: the data plane's plain counters as Prometheus families, made at a scrape.

Label values are bounded. Gates and upstreams of caller-named authorities have their own labels if
`Bindings.labels` has them; the others are summed as ``other``.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from proxy import __version__
from proxy.clock import Clock
from proxy.exchange.gates import Labelled, counts_of
from proxy.exchange.labels import OTHER
from proxy.exchange.stats import DURATION_BUCKETS, RouteStats
from proxy.grpc_status import name_of
from proxy.policies import catalogue
from proxy.policies.gate import Family, GateKind
from proxy.telemetry.exemplars import Exemplars
from proxy.telemetry.observed import Gateway, Lifecycle, Log
from proxy.telemetry.saga_metrics import saga_families
from proxy.telemetry.store_families import store_families
from proxy.telemetry.tracing import Tracing

ROUTES_AT_ONCE = 20
"""Maximum routes in a part of a family: each has about twenty series."""
SERIES_AT_ONCE = 400
GATES_AT_ONCE = 50
UPSTREAMS_AT_ONCE = 50
_T = TypeVar("_T")

_BUCKET_LABELS = (*(str(bound) for bound in DURATION_BUCKETS), "+Inf")


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
        """The families in parts of at most `ROUTES_AT_ONCE` routes; parts of different families do
        not interleave.
        """
        stats = list(self._gateway.bindings.stats.values())
        for few in _divided(stats, ROUTES_AT_ONCE):
            yield _requests(few)
        for few in _divided(stats, ROUTES_AT_ONCE):
            yield _durations(few, self._tracing.exemplars)
        yield from _attempt_families(stats)
        yield from self._gate_families()
        yield from self._listener_families()
        yield from self._upstream_connections()
        yield from self._endpoint_families()
        yield from self._outbox_families()
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
        for few in _divided(list(gates.of(kind).values()), GATES_AT_ONCE):
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
        yield from _gauge(
            "proxy_in_flight",
            "Requests in flight.",
            "listener",
            {listener.value: len(gate.in_flight) for listener, gate in gates},
        )
        yield from _gauge(
            "proxy_connections",
            "Open client connections.",
            "listener",
            {listener.value: len(gate.connections) for listener, gate in gates},
        )
        yield from _gauge(
            "proxy_streams",
            "Open streams of HTTP/2 client connections.",
            "listener",
            {listener.value: gate.streams for listener, gate in gates},
        )

    def _upstream_connections(self) -> Iterator[Metric]:
        labels = self._gateway.bindings.labels
        others: Counter[str] = Counter()
        for few in _divided(list(self._gateway.upstreams), UPSTREAMS_AT_ONCE):
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
                    ejected[name, endpoint.label] = int(member is not None and member.ejected)
                for why, count in counts.ejections.items():
                    ejections[name, why.value] = count
            if upstream.config.health_check is not None:
                for result, count in counts.checks.items():
                    checks[name, result] = count
        for few in _divided(list(ejected.items()), SERIES_AT_ONCE):
            family = GaugeMetricFamily(
                "proxy_endpoint_ejected",
                "1 while outlier detection keeps requests from the endpoint, else 0.",
                labels=["upstream", "endpoint"],
            )
            for labels, value in few:
                family.add_metric(labels, value)
            yield family
        yield from _counter(
            "proxy_ejections", "Ejections by reason.", ["upstream", "why"], ejections
        )
        yield from _counter(
            "proxy_health_checks", "Health checks by result.", ["upstream", "result"], checks
        )

    def _outbox_families(self) -> Iterator[Metric]:
        """None without an outbox."""
        outbox = self._lifecycle.deliveries
        if outbox is None:
            return
        queues = outbox.figures()
        yield from _gauge(
            "proxy_outbox_pending",
            "Entries of the outbox that wait or are tried now.",
            "route",
            {queue.route: queue.pending for queue in queues},
        )
        yield from _gauge(
            "proxy_outbox_oldest_seconds",
            "Age of the oldest entry of the outbox that is not finished; 0 without one.",
            "route",
            {queue.route: queue.oldest for queue in queues},
        )
        yield from _gauge(
            "proxy_outbox_dead",
            "Dead and parked entries of the outbox.",
            "route",
            {queue.route: queue.dead for queue in queues},
        )
        yield from _counter(
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

    def _process_families(self) -> Iterator[Metric]:
        lifecycle = self._lifecycle
        cut = CounterMetricFamily("proxy_drain_cut", "Requests cut at the end of a drain.")
        cut.add_metric([], lifecycle.drain_cut)
        yield cut
        yield from _counter(
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
        yield from _counter(
            "proxy_spans",
            "Spans of sampled requests: exported, failed at the collector, dropped from the queue.",
            ["result"],
            {(result,): count for result, count in self._tracing.counts.by_result.items()},
        )
        yield from store_families(lifecycle.store)
        yield InfoMetricFamily("proxy_build", "The proxy's version.", {"version": __version__})


def _requests(stats: Sequence[RouteStats]) -> Metric:
    requests = CounterMetricFamily(
        "proxy_requests",
        "Finished requests. reason is empty if the upstream's response was sent complete.",
        labels=["listener", "route", "code", "reason", "method", "grpc"],
    )
    for one in stats:
        for (status, reason, method, code), count in one.requests.items():
            labels = [one.listener, one.route, str(status), reason, method, name_of(code)]
            requests.add_metric(labels, count)
    return requests


def _durations(stats: Sequence[RouteStats], exemplars: Exemplars) -> Metric:
    durations = HistogramMetricFamily(
        "proxy_request_duration_seconds",
        "Time from a request's head to the end of its response.",
        labels=["listener", "route"],
    )
    for one in stats:
        if one.requests:
            counts = _cumulated(one.duration_buckets)
            examples = exemplars.of(one.listener, one.route)
            # Without an exemplar a bucket's third item is None, unlike its declared type.
            buckets: list[Any] = list(zip(_BUCKET_LABELS, counts, examples, strict=True))
            durations.add_metric([one.listener, one.route], buckets, one.duration_sum)
    return durations


def _cumulated(counts: Iterable[int]) -> Iterator[float]:
    total = 0
    for count in counts:
        total += count
        yield total


_Counts: TypeAlias = dict[tuple[str, ...], int]
_Count: TypeAlias = Callable[[RouteStats], _Counts]

_ATTEMPT_FAMILIES: tuple[tuple[str, str, list[str], _Count], ...] = (
    (
        "proxy_attempts",
        "Attempts by outcome: a status class, or the reason of a failure.",
        ["route", "upstream", "outcome"],
        lambda one: {(one.route, *key): count for key, count in one.attempts.items()},
    ),
    (
        "proxy_retries",
        "Retries by the condition that caused them.",
        ["route", "condition"],
        lambda one: {(one.route, key): count for key, count in one.retries.items()},
    ),
    (
        "proxy_retries_refused",
        "Refused retries by reason.",
        ["route", "why"],
        lambda one: {(one.route, key): count for key, count in one.refused.items()},
    ),
    (
        "proxy_retry_results",
        "Requests by the result of their last attempt, and whether it was a retry.",
        ["route", "kind"],
        lambda one: {
            (one.route, key): count for key, count in one.results_by_kind.items() if one.route
        },
    ),
    (
        "proxy_hedges",
        "Hedged requests by what won, and hedges that the retry budget did not allow.",
        ["route", "result"],
        lambda one: {(one.route, key): count for key, count in one.hedges.items()},
    ),
    (
        "proxy_observed",
        "Requests that a policy in mode observe would have cut, retried, delayed or refused.",
        ["route", "policy", "what"],
        lambda one: {
            (one.route, *what.split(".", 1)): count for what, count in one.observed.items()
        },
    ),
    (
        "proxy_mirrors",
        "Copies of requests by what became of them.",
        ["route", "result"],
        lambda one: {(one.route, key): count for key, count in one.mirrors.items()},
    ),
    (
        "proxy_idempotency",
        "Requests with an idempotency key by what it led to.",
        ["route", "result"],
        lambda one: {(one.route, key): count for key, count in one.idempotency.items()},
    ),
    (
        "proxy_faults",
        "Faults that attempts suffered because the configuration asks for them.",
        ["route", "kind"],
        lambda one: {(one.route, key): count for key, count in one.faults.items()},
    ),
    (
        "proxy_fallbacks",
        "Responses that a fallback replaced.",
        ["route"],
        lambda one: {(one.route,): one.fallbacks} if one.route else {},
    ),
)


def _attempt_families(stats: Sequence[RouteStats]) -> Iterator[Metric]:
    """Families without a listener label are summed over the listeners."""
    by_route: dict[str, list[RouteStats]] = {}
    for one in stats:
        by_route.setdefault(one.route, []).append(one)
    for name, documentation, labels, count in _ATTEMPT_FAMILIES:
        for few in _divided(list(by_route.values()), ROUTES_AT_ONCE):
            counts: Counter[tuple[str, ...]] = Counter()
            for of_route in few:
                for one in of_route:
                    counts.update(count(one))
            yield from _counter(name, documentation, labels, counts)


def _connections_family() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "proxy_upstream_connections",
        "Connections to the upstream's endpoints: active, idle or connecting.",
        labels=["upstream", "state"],
    )


def _counter(
    name: str, documentation: str, labels: Sequence[str], counts: Mapping[tuple[str, ...], int]
) -> Iterator[Metric]:
    for few in _divided(list(counts.items()), SERIES_AT_ONCE):
        family = CounterMetricFamily(name, documentation, labels=labels)
        for values, count in few:
            family.add_metric(values, count)
        yield family


def _gauge(
    name: str, documentation: str, label: str, values: Mapping[str, float]
) -> Iterator[Metric]:
    for few in _divided(list(values.items()), SERIES_AT_ONCE):
        family = GaugeMetricFamily(name, documentation, labels=[label])
        for value, number in few:
            family.add_metric([value], number)
        yield family


def _divided(items: list[_T], size: int) -> list[list[_T]]:
    """Lists of at most `size` items; one empty list without items."""
    return [items[i : i + size] for i in range(0, len(items), size)] or [[]]
