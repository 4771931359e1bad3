"""Warnings about one policy: settings that contradict each other or have no effect."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.config.model import PolicyConfig, repeats_only_unseen
from proxy.config.policy_keys import RETRY
from proxy.config.problems import Mark, Path, Problems
from proxy.outcome import GRPC_TERMS
from proxy.policies.backoff import BackoffConfig, JitterKind
from proxy.policies.bulkhead import BulkheadConfig, BulkheadLimit
from proxy.policies.circuit_breaker_config import (
    BreakerCounts,
    BreakerScope,
    SlowCallConfig,
    WindowType,
)
from proxy.policies.gate import Mode
from proxy.policies.hedge import LEAST, P95, HedgeConfig
from proxy.units import format_duration


@dataclass(frozen=True, slots=True)
class _Layer:
    """A policy or a route: its effective values, and which of them it sets itself."""

    prefix: Path
    policies: PolicyConfig
    given: Mapping[Path, Mark]

    def gives(self, key: str) -> bool:
        return (*self.prefix, *key.split(".")) in self.given

    def warn(self, key: str, message: str, problems: Problems) -> None:
        path = (*self.prefix, *key.split("."))
        problems.warning(self.given[path], path, message)


def _attempt_beyond_request(p: PolicyConfig) -> str | None:
    attempt, request = p.timeouts.attempt, p.timeouts.request
    if attempt <= request or repeats_only_unseen(p.retry):
        return None
    return (
        f"attempt is {format_duration(attempt)} and request {format_duration(request)}: "
        "one attempt can use up all the time"
    )


def _connect_beyond_attempt(p: PolicyConfig) -> str | None:
    connect, attempt = p.timeouts.connect, p.timeouts.attempt
    if connect <= attempt:
        return None
    return (
        f"connect is {format_duration(connect)} and attempt {format_duration(attempt)}: a slow "
        "connection counts as timeout, which is retried only for idempotent requests, not as "
        f"connect-failure; set connect below {format_duration(attempt)}"
    )


def _duration_below_request(p: PolicyConfig) -> str | None:
    most, request = p.timeouts.max_duration, p.timeouts.request
    if not most or most >= request:
        return None
    return (
        f"max_duration is {format_duration(most)} and request {format_duration(request)}: "
        "max_duration ends the request first"
    )


def _waits_beyond_request(p: PolicyConfig) -> str | None:
    waited = 0.0
    for retry in range(1, min(p.retry.attempts, 100)):
        waited += _shortest_wait(p.retry.backoff, retry)
        if waited >= p.timeouts.request:
            return (
                f"the waits alone use up request ({format_duration(p.timeouts.request)}): "
                f"attempt {retry + 1} can never begin"
            )
    return None


def _shortest_wait(backoff: BackoffConfig, retry: int) -> float:
    wait = min(backoff.max, backoff.initial * min(backoff.multiplier ** min(retry - 1, 64), 1e9))
    match backoff.jitter.kind:
        case JitterKind.FULL:
            return 0.0
        case JitterKind.EQUAL:
            return wait / 2
        case JitterKind.RATIO:
            return wait * (1 - backoff.jitter.ratio)
        case JitterKind.DECORRELATED:
            return min(backoff.max, backoff.initial)
        case JitterKind.NONE:
            return wait


def _never_slow(p: PolicyConfig) -> str | None:
    slow, attempt = p.circuit_breaker.slow_call.duration, p.timeouts.attempt
    if slow == SlowCallConfig().duration:  # the default: nothing is slow
        return None
    if p.timeouts.mode is Mode.OBSERVE:
        return None
    if p.circuit_breaker.counts is not BreakerCounts.ATTEMPTS or slow < attempt:
        return None
    return f"no attempt takes that long: timeouts.attempt is {format_duration(attempt)}"


def _minimum_beyond_window(p: PolicyConfig) -> str | None:
    window, minimum = p.circuit_breaker.window, p.circuit_breaker.minimum_calls
    if window.type is not WindowType.COUNT or minimum <= window.size:
        return None
    return f"has the effect of {window.size}, the size of the window"


def _nobody_queues(p: PolicyConfig) -> str | None:
    queue, wait = p.bulkhead.max_queue, p.bulkhead.queue_timeout
    if bool(queue) == bool(wait):
        return None
    return "has no effect: " + ("max_queue is 0" if wait else "queue_timeout is 0s")


def _no_call_is_repeated(p: PolicyConfig) -> str | None:
    """A gRPC call is a POST, and only few callers give one an idempotency key."""
    methods, listed = p.retry.methods, [term for term in p.retry.on.terms if term in GRPC_TERMS]
    if not listed or methods.any or "POST" in methods.names or p.retry.attempts == 1:
        return None
    how = "idempotent" if methods.keyed else "its list"
    return (
        f"{listed[0]} is listed, but methods: {how} lets no gRPC call be repeated; say methods: any"
    )


def _nothing_in_the_budget(p: PolicyConfig) -> str | None:
    budget = p.retry.budget
    if not budget.empty or p.retry.attempts == 1:
        return None
    return (
        f"nothing is retried or hedged: it allows less than one in {format_duration(budget.window)}"
    )


def _counts_at_endpoints(p: PolicyConfig) -> str | None:
    breaker = p.circuit_breaker
    if breaker.counts is BreakerCounts.ATTEMPTS or breaker.scope is not BreakerScope.ENDPOINT:
        return None
    return "counts: requests has no effect with scope: endpoint: an endpoint gets attempts"


def _queued_beyond_request(p: PolicyConfig) -> str | None:
    wait, request = p.bulkhead.queue_timeout, p.timeouts.request
    if not p.bulkhead.max_queue or wait < request or p.timeouts.mode is Mode.OBSERVE:
        return None
    return (
        f"queue_timeout is {format_duration(wait)}, but timeouts.request ends a request after "
        f"{format_duration(request)}"
    )


def _no_delay(p: PolicyConfig) -> str | None:
    if p.hedge.delay or p.hedge.max == HedgeConfig().max:
        return None
    return "has no effect without hedge.delay"


def _no_hedge(p: PolicyConfig) -> str | None:
    """The place may be any of the keys that it depends on."""
    if not p.hedge.delay:
        return None
    if p.retry.attempts == 1:
        return "no hedge can begin: it counts in retry.attempts, which is 1"
    if p.retry.mode is Mode.OBSERVE:
        return (
            "no hedge can begin: hedges are attempts of the retry policy, and retry.mode is observe"
        )
    methods = p.retry.methods
    if not (methods.any or methods.keyed or methods.names):
        return "no hedge can begin: retry.methods lists no method"
    if p.timeouts.mode is Mode.OBSERVE:
        return None
    delay = LEAST if p.hedge.delay == P95 else p.hedge.delay
    if delay >= p.timeouts.attempt:
        attempt = format_duration(p.timeouts.attempt)
        return f"no hedge can begin: timeouts.attempt ends an attempt after {attempt}"
    if delay >= p.timeouts.request:
        request = format_duration(p.timeouts.request)
        return f"no hedge can begin: timeouts.request ends a request after {request}"
    return None


def _fewer_hedges(p: PolicyConfig) -> str | None:
    room = p.retry.attempts - 1
    if not p.hedge.delay or not room or p.hedge.max <= room:
        return None
    return f"has the effect of {room}: hedges count in retry.attempts, which is {room + 1}"


def _minimum_without_gradient(p: PolicyConfig) -> str | None:
    if p.bulkhead.limit is BulkheadLimit.GRADIENT or p.bulkhead.min == BulkheadConfig().min:
        return None
    return "has no effect without limit: gradient"


def _minimum_beyond_maximum(p: PolicyConfig) -> str | None:
    bulkhead = p.bulkhead
    if bulkhead.limit is not BulkheadLimit.GRADIENT or bulkhead.min <= bulkhead.max_concurrent:
        return None
    return f"has the effect of {bulkhead.max_concurrent}, which is max_concurrent"


# A rule warns only if the layer sets one of its keys itself; the first such key is the place of
# the warning.
_RULES: tuple[tuple[tuple[str, ...], Callable[[PolicyConfig], str | None]], ...] = (
    (("timeouts.attempt", "timeouts.request"), _attempt_beyond_request),
    (("timeouts.connect", "timeouts.attempt"), _connect_beyond_attempt),
    (("timeouts.max_duration",), _duration_below_request),
    (
        ("retry.backoff.initial", "retry.backoff.jitter", "retry.backoff.multiplier",
         "retry.backoff.max", "retry.attempts", "timeouts.request"),
        _waits_beyond_request,
    ),
    (("retry.on", "retry.methods"), _no_call_is_repeated),
    (("circuit_breaker.slow_call.duration",), _never_slow),
    (("circuit_breaker.minimum_calls",), _minimum_beyond_window),
    (("circuit_breaker.counts", "circuit_breaker.scope"), _counts_at_endpoints),
    (
        ("retry.budget.ratio", "retry.budget.min_per_second", "retry.budget.window"),
        _nothing_in_the_budget,
    ),
    (("bulkhead.max_queue", "bulkhead.queue_timeout"), _nobody_queues),
    (("bulkhead.queue_timeout", "timeouts.request"), _queued_beyond_request),
    (("bulkhead.min",), _minimum_without_gradient),
    (("bulkhead.min", "bulkhead.max_concurrent"), _minimum_beyond_maximum),
    (
        ("hedge.delay", "retry.attempts", "retry.mode", "retry.methods", "timeouts.attempt",
         "timeouts.request"),
        _no_hedge,
    ),
    (("hedge.max",), _no_delay),
    (("hedge.max", "retry.attempts"), _fewer_hedges),
)  # fmt: skip


def warn_of_policy(
    place: Path, policies: PolicyConfig, given: Mapping[Path, Mark], problems: Problems
) -> None:
    """`place`: the policy or the route whose effective values they are."""
    layer = _Layer(place, policies, given)
    for keys, rule in _RULES:
        key = next(filter(layer.gives, keys), None)
        message = rule(layer.policies) if key else None
        if key and message:
            layer.warn(key, message, problems)
    once = layer.gives("retry.attempts") and layer.policies.retry.attempts == 1
    if once and any(layer.gives(f"retry.{key}") for key in RETRY.keys if key != "attempts"):
        message = "nothing is retried: the other keys have no effect"
        layer.warn("retry.attempts", message, problems)
