"""Metrics of routes: requests, their durations, and what happened to their attempts."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

from proxy.exchange.stats import DURATION_BUCKETS, RouteStats
from proxy.grpc_status import name_of
from proxy.telemetry.exemplars import Exemplars
from proxy.telemetry.families import counter, divided

ROUTES_AT_ONCE = 20
"""Maximum routes in a part of a family: each has about twenty series."""

_BUCKET_LABELS = (*(str(bound) for bound in DURATION_BUCKETS), "+Inf")


def route_families(stats: list[RouteStats], exemplars: Exemplars) -> Iterator[Metric]:
    """In parts of at most `ROUTES_AT_ONCE` routes."""
    for few in divided(stats, ROUTES_AT_ONCE):
        yield _requests(few)
    for few in divided(stats, ROUTES_AT_ONCE):
        yield _durations(few, exemplars)
    yield from _attempt_families(stats)


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
        for few in divided(list(by_route.values()), ROUTES_AT_ONCE):
            counts: Counter[tuple[str, ...]] = Counter()
            for of_route in few:
                for one in of_route:
                    counts.update(count(one))
            yield from counter(name, documentation, labels, counts)
