"""Metrics: the data plane's plain counters as Prometheus families, made when they are scraped.

Label values are bounded. Breakers, bulkheads and upstreams of caller-named authorities have
labels of their own as long as `Bindings.labels` has them; the rest are summed up as ``other``.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy import __version__
from proxy.clock import Clock
from proxy.exchange.binding import OTHER, BreakerEntry
from proxy.exchange.stats import DURATION_BUCKETS, RouteStats
from proxy.policies.circuit_breaker import BreakerState
from proxy.telemetry.exemplars import Exemplars
from proxy.telemetry.observed import Gateway, Lifecycle, Log
from proxy.telemetry.tracing import Tracing

ROUTES_AT_ONCE = 20
"""Routes in a part of a family: each has some twenty series."""
SERIES_AT_ONCE = 400
_T = TypeVar("_T")

_BUCKET_LABELS = (*(str(bound) for bound in DURATION_BUCKETS), "+Inf")


def registry_of(
    gateway: Gateway,
    lifecycle: Lifecycle,
    logs: Sequence[Log],
    tracing: Tracing,
    clock: Clock = time.monotonic,
) -> "Registry":
    """A registry with the proxy's metrics and those of its process. To be read in the loop."""
    registry = Registry()
    registry.add(ProxyCollector(gateway, lifecycle, logs, tracing, clock))
    registry.add(ProcessCollector(registry=None))
    return registry


class Registry(CollectorRegistry):
    """A registry that gives families in parts, so that nobody has to take them all at once."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[Callable[[], Iterable[Metric]]] = []

    def add(self, collector: Collector) -> None:
        self.register(collector)
        self._parts.append(getattr(collector, "parts", collector.collect))

    def parts(self) -> Iterator[Metric]:
        """All families; of large ones several parts, one right after the other.

        What changes between two of them may be in the later one alone.
        """
        for parts in self._parts:
            yield from parts()


class ProxyCollector(Collector):
    """Reads; the only thing it remembers is the transitions of breakers without a label."""

    def __init__(
        self,
        gateway: Gateway,
        lifecycle: Lifecycle,
        logs: Sequence[Log],
        tracing: Tracing,
        clock: Clock,
    ) -> None:
        self._gateway = gateway
        self._lifecycle = lifecycle
        self._logs = logs
        self._tracing = tracing
        self._clock = clock
        self._unlabelled = _UnlabelledTransitions()

    def collect(self) -> Iterator[Metric]:
        """The families, each whole."""
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
        """The families in parts of at most `ROUTES_AT_ONCE` routes; no part is waited for within
        another.
        """
        stats = list(self._gateway.bindings.stats.values())
        for few in _divided(stats, ROUTES_AT_ONCE):
            yield _requests(few)
        for few in _divided(stats, ROUTES_AT_ONCE):
            yield _durations(few, self._tracing.exemplars)
        yield from _attempt_families(stats)
        yield from self._breaker_families()
        yield from self._bulkhead_families()
        yield from self._listener_families()
        yield self._upstream_connections()
        yield from self._process_families()

    def _breaker_families(self) -> Iterator[Metric]:
        now = self._clock()
        entries = dict(self._gateway.bindings.breakers)
        labelled = [(name, entry.breaker) for name, entry in entries.items() if entry.labelled]
        for few in _divided(labelled, ROUTES_AT_ONCE):
            state = GaugeMetricFamily(
                "proxy_circuit_breaker_state",
                "1 for the state that the circuit breaker is in, 0 for the others.",
                labels=["name", "state"],
            )
            for name, breaker in few:
                present = breaker.state(now)
                for each in BreakerState:
                    state.add_metric([name, each.value], 1 if each is present else 0)
            yield state
        counts: dict[tuple[str, ...], int] = {
            (name, each.value): breaker.transitions[each]
            for name, breaker in labelled
            for each in BreakerState
        }
        for each, count in self._unlabelled.update(entries).items():
            counts[OTHER, each.value] = count
        yield from _counter(
            "proxy_circuit_breaker_transitions",
            "Times that the circuit breaker entered the state.",
            ["name", "to"],
            counts,
        )

    def _bulkhead_families(self) -> Iterator[Metric]:
        in_use: Counter[str] = Counter()
        limit: Counter[str] = Counter()
        queued: Counter[str] = Counter()
        for name, bulkhead in self._gateway.bindings.bulkheads.items():
            label = self._label(name, name.partition(":")[2])
            in_use[label] += bulkhead.in_use
            limit[label] += bulkhead.limit
            queued[label] += bulkhead.queued
        yield from _gauge("proxy_bulkhead_in_use", "Exchanges that hold a permit.", "name", in_use)
        yield from _gauge("proxy_bulkhead_limit", "Permits that there are.", "name", limit)
        yield from _gauge(
            "proxy_bulkhead_queued", "Exchanges that wait for a permit.", "name", queued
        )

    def _listener_families(self) -> Iterator[Metric]:
        gates = self._gateway.gates.items()
        yield from _gauge(
            "proxy_in_flight",
            "Requests under way.",
            "listener",
            {listener.value: len(gate.in_flight) for listener, gate in gates},
        )
        yield from _gauge(
            "proxy_connections",
            "Open client connections.",
            "listener",
            {listener.value: len(gate.connections) for listener, gate in gates},
        )

    def _upstream_connections(self) -> Metric:
        counts: Counter[tuple[str, str]] = Counter()
        for upstream in self._gateway.upstreams:
            label = self._label(upstream.name, upstream.name)
            connections = upstream.connections()
            counts[label, "active"] += connections.active
            counts[label, "idle"] += connections.idle
            counts[label, "connecting"] += connections.connecting
        family = GaugeMetricFamily(
            "proxy_upstream_connections",
            "Connections to the upstream's endpoints: active, idle or connecting.",
            labels=["upstream", "state"],
        )
        for key, count in counts.items():
            family.add_metric(key, count)
        return family

    def _process_families(self) -> Iterator[Metric]:
        lifecycle = self._lifecycle
        cut = CounterMetricFamily("proxy_drain_cut", "Requests cut at the end of a drain.")
        cut.add_metric([], lifecycle.drain_cut)
        yield cut
        yield from _counter(
            "proxy_config_reloads",
            "Reloads of the configuration, by what became of them.",
            ["result"],
            {(result,): count for result, count in lifecycle.reloads.items()},
        )
        last = lifecycle.last_reload
        yield GaugeMetricFamily(
            "proxy_config_last_reload_successful",
            "0 where the configuration file was rejected when it was last read.",
            0 if last is not None and last["result"] == "rejected" else 1,
        )
        dropped = CounterMetricFamily(
            "proxy_log_dropped", "Log lines dropped, for nobody took them in time."
        )
        dropped.add_metric([], sum(log.dropped for log in self._logs))
        yield dropped
        yield from _counter(
            "proxy_spans",
            "Spans of sampled requests: exported, failed at the collector, dropped from the queue.",
            ["result"],
            {(result,): count for result, count in self._tracing.counts.by_result.items()},
        )
        yield InfoMetricFamily("proxy_build", "The proxy's version.", {"version": __version__})

    def _label(self, name: str, authority: str) -> str:
        """`name`, or ``other`` where `authority` is one that a caller named and has no label.

        In the name of a policy's state, the authority or upstream comes after the first colon,
        and is missing where the route has but one; names from the file have no colon.
        """
        gateway = self._gateway
        if (
            not authority
            or authority in gateway.config.upstreams
            or authority in gateway.bindings.labels
        ):
            return name
        return OTHER


class _UnlabelledTransitions:
    """Transitions of breakers that have no label of their own, in one sum that never falls.

    Such breakers are forgotten when they are idle, and what they counted must stay counted.
    """

    def __init__(self) -> None:
        self._sums: dict[BreakerState, int] = {}
        self._seen: dict[str, dict[BreakerState, int]] = {}

    def update(self, entries: Mapping[str, BreakerEntry]) -> Mapping[BreakerState, int]:
        """The sums by state entered; empty as long as there was no such breaker."""
        counts = {
            name: dict(entry.breaker.transitions)
            for name, entry in entries.items()
            if not entry.labelled
        }
        for name, now in counts.items():
            before = self._seen.get(name)
            if before is None or any(now[state] < before[state] for state in now):
                before = dict.fromkeys(now, 0)  # new, or forgotten and made again
            for state, count in now.items():
                self._sums[state] = self._sums.get(state, 0) + count - before[state]
        self._seen = counts
        return self._sums


def _requests(stats: Sequence[RouteStats]) -> Metric:
    requests = CounterMetricFamily(
        "proxy_requests",
        "Requests that are over. reason is empty where the upstream's answer went back whole.",
        labels=["listener", "route", "code", "reason"],
    )
    for one in stats:
        for (status, reason), count in one.answers.items():
            requests.add_metric([one.listener, one.route, str(status), reason], count)
    return requests


def _durations(stats: Sequence[RouteStats], exemplars: Exemplars) -> Metric:
    durations = HistogramMetricFamily(
        "proxy_request_duration_seconds",
        "Time from a request's head to the end of its response.",
        labels=["listener", "route"],
    )
    for one in stats:
        if one.answers:
            counts = _cumulated(one.duration_buckets)
            examples = exemplars.of(one.listener, one.route)
            # Without an exemplar a bucket's third is None, which the declared type does not know.
            buckets: list[Any] = list(zip(_BUCKET_LABELS, counts, examples, strict=True))
            durations.add_metric([one.listener, one.route], buckets, one.duration_sum)
    return durations


def _cumulated(counts: Iterable[int]) -> Iterator[float]:
    total = 0
    for count in counts:
        total += count
        yield total


def _attempt_families(stats: Sequence[RouteStats]) -> Iterator[Metric]:
    """What has no listener label is summed over the listeners."""
    attempts: Counter[tuple[str, ...]] = Counter()
    retries: Counter[tuple[str, ...]] = Counter()
    refused: Counter[tuple[str, ...]] = Counter()
    fallbacks: Counter[tuple[str, ...]] = Counter()
    for one in stats:
        for (upstream, outcome), count in one.attempts.items():
            attempts[one.route, upstream, outcome] += count
        for condition, count in one.retries.items():
            retries[one.route, condition] += count
        for why, count in one.refused.items():
            refused[one.route, why] += count
        if one.route:
            fallbacks[(one.route,)] += one.fallbacks
    yield from _counter(
        "proxy_attempts",
        "Attempts by outcome: a class of statuses, or the reason of a failure.",
        ["route", "upstream", "outcome"],
        attempts,
    )
    yield from _counter(
        "proxy_retries", "Retries by the condition that led to them.", ["route", "condition"],
        retries,
    )  # fmt: skip
    yield from _counter(
        "proxy_retries_refused", "Retries that were not made, and why.", ["route", "why"], refused
    )
    yield from _counter(
        "proxy_fallbacks", "Answers that a fallback took the place of.", ["route"], fallbacks
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
    name: str, documentation: str, label: str, values: Mapping[str, int]
) -> Iterator[Metric]:
    for few in _divided(list(values.items()), SERIES_AT_ONCE):
        family = GaugeMetricFamily(name, documentation, labels=[label])
        for value, number in few:
            family.add_metric([value], number)
        yield family


def _divided(items: list[_T], size: int) -> list[list[_T]]:
    """Lists of at most `size`; one that is empty where there is nothing."""
    return [items[i : i + size] for i in range(0, len(items), size)] or [[]]
