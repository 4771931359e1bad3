"""Advice for mistakes in the keys of traffic: words of Envoy, Istio and Linkerd, and shorthand.

Keys are folded (`suggestions.fold`). Each text ends the sentence of a problem.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

_QUEUE: Final = "; did you mean 'max_queue'?"
_RATE: Final = "; did you mean rate: 100/s?"
_URL: Final = "; did you mean url: 'http://HOST:PORT'?"
_CONSISTENT: Final = "; did you mean load_balancing: consistent_hash, hash: {header: user-id}?"
_SLOW_START: Final = "; did you mean slow_start: 30s?"
_SHARE: Final = "; did you mean share: 1%?"
_IN_A_ROW: Final = "; did you mean consecutive_failures: 5?"
_RATE_LIMIT: Final = "; did you mean rate_limits: [{rate: 100/s}]?"
_HEDGE: Final = "; did you mean hedge: {delay: p95}?"
_MIRROR: Final = "; did you mean mirror: {upstream: NAME, share: 10%} of a route?"
_SPLIT: Final = "; did you mean upstream: {v1: 95, v2: 5} of a route?"

UNKNOWN: Final[dict[str, dict[str, str]]] = {
    "bulkhead": {
        **dict.fromkeys(("maxpending", "pending", "queue", "queuesize"), _QUEUE),
        **dict.fromkeys(("minlimit", "minconcurrent", "minconcurrency"), "; did you mean 'min'?"),
        **dict.fromkeys(("maxlimit", "maxconcurrency"), "; did you mean 'max_concurrent'?"),
        "max": "; did you mean 'max_concurrent'?",
        **dict.fromkeys(("initial", "initiallimit"), "; the learned limit begins at 20"),
        **dict.fromkeys(("tolerance", "rtttolerance"), "; it is 1.5, as in Gradient2"),
        "rate": _RATE_LIMIT,
        "enabled": "; it cannot be removed: a large max_concurrent admits everything",
    },
    "eject_for": {
        **dict.fromkeys(("base", "min", "duration"), "; did you mean 'initial'?"),
        **dict.fromkeys(
            ("multiplier", "factor"),
            "; the second ejection in a row lasts twice initial, and so on",
        ),
    },
    "endpoints": {
        **dict.fromkeys(("address", "host", "port", "hostname"), _URL),
        "locality": "; endpoints have a url and a weight",
    },
    "faults": {
        **dict.fromkeys(("percent", "percentage", "ratio", "probability"), _SHARE),
        **dict.fromkeys(("status", "httpstatus", "statuscode"), "; did you mean abort: 503?"),
        **dict.fromkeys(("fixeddelay", "latency"), "; did you mean delay: 500ms?"),
        "grpcstatus": "; did you mean abort: 503? gRPC callers get it as a gRPC status",
        "mode": "; faults have none: a small share, or headers: true, tries them out",
        "bandwidth": "; did you mean throttle: 10KiB?",
    },
    "health_check": {
        **dict.fromkeys(("http", "httpget", "uri", "url"), "; did you mean path: /health?"),
        "tcp": "; a check is HTTP (path: /health) or gRPC (grpc: SERVICE)",
        **dict.fromkeys(("period", "periodseconds", "every"), "; did you mean interval: 10s?"),
        "timeoutseconds": "; did you mean timeout: 1s?",
        **dict.fromkeys(("failurethreshold", "failures"), "; did you mean unhealthy: 3?"),
        **dict.fromkeys(("successthreshold", "successes"), "; did you mean healthy: 2?"),
        **dict.fromkeys(
            ("initialdelay", "initialdelayseconds", "startperiod"),
            "; an endpoint is used until checks fail, so the first ones need no delay",
        ),
        "method": "; a check is a GET",
        "host": "; the Host of a check is the endpoint's own",
        "headers": "; a check has no headers of its own",
        "port": "; a check goes to the endpoint's own port",
        "expectedstatuses": "; did you mean expect: [200-299]?",
    },
    "hedge": {
        "mode": "; hedges have none: they need retry.mode: enforce",
        **dict.fromkeys(("after", "wait"), "; did you mean delay: 50ms?"),
        **dict.fromkeys(("percentile", "quantile"), "; did you mean delay: p95?"),
        **dict.fromkeys(("maxhedges", "maxhedgedattempts", "attempts"), "; did you mean 'max'?"),
    },
    "inherit": {
        **dict.fromkeys(("retry", "repeat", "repeats", "nested"), "; did you mean 'retries'?"),
        **dict.fromkeys(("timeout", "timeouts"), "; did you mean 'deadline'?"),
    },
    "mirror": {
        **dict.fromkeys(("timeout", "timeouts"), "; copies have the route's timeouts"),
        **dict.fromkeys(("retry", "retries"), "; a copy is never retried"),
        "headers": "; copies have the request's headers, without Authorization and Cookie",
        "mode": "; a mirror has none: it never changes the request",
        **dict.fromkeys(
            ("host", "cluster", "destination", "to", "backend"), "; did you mean upstream: NAME?"
        ),
        **dict.fromkeys(
            ("percent", "percentage", "weight", "ratio", "sample", "fraction", "mirrorpercentage"),
            "; did you mean share: 10%?",
        ),
    },
    "outlier_detection": {
        "consecutive5xx": _IN_A_ROW,
        "consecutivegatewayfailure": _IN_A_ROW,
        "consecutivegatewayerrors": _IN_A_ROW,
        "consecutive5xxerrors": _IN_A_ROW,
        "interval": "; attempts are judged as they end, and failure_rate has a window",
        "baseejectiontime": "; did you mean eject_for: {initial: 30s}?",
        "maxejectiontime": "; did you mean eject_for: {max: 5m}?",
        "enabled": "; write mode: enforce or observe, or leave outlier_detection out",
        **dict.fromkeys(
            ("panicthreshold", "healthypanicthreshold"),
            "; on_none: use-all uses all endpoints if none is left",
        ),
        "minhealthpercent": "; the last endpoint is never ejected, and max_ejected is their share",
        "splitexternallocaloriginerrors": "; failed connections count as other failures do",
    },
    "rate_limits": {
        **dict.fromkeys(
            ("limit", "requests", "requestsperunit", "requestspersecond", "unit", "limitforperiod"),
            _RATE,
        ),
        **dict.fromkeys(("maxtokens", "tokens"), "; did you mean 'burst'?"),
        **dict.fromkeys(("by", "per", "descriptor", "scope"), "; did you mean 'key'?"),
        **dict.fromkeys(("maxkeys", "keys"), "; it keeps 100,000 keys, and the idlest goes"),
        "header": "; did you mean key: header:NAME?",
    },
    "respond": {
        "code": "; did you mean 'status'?",
        **dict.fromkeys(("text", "message", "content"), "; did you mean 'body'?"),
    },
    "timeouts": {"inheritdeadline": "; did you mean inherit: {deadline: true}?"},
}
"""By the key of the mapping around it."""

ABSENT: Final = {
    **dict.fromkeys(
        ("ratelimit", "ratelimits", "ratelimiter", "ratelimiting", "throttle"), _RATE_LIMIT
    ),
    **dict.fromkeys(("hedge", "hedging", "hedgepolicy"), _HEDGE),
    **dict.fromkeys(("mirror", "mirrors", "mirroring", "shadow"), _MIRROR),
    **dict.fromkeys(("split", "weights", "weightedclusters", "trafficsplit"), _SPLIT),
    "adaptiveconcurrency": "; did you mean bulkhead: {limit: gradient}?",
    "concurrencylimit": "; did you mean bulkhead: {max_concurrent: 50}?",
    "redirect": "; did you mean respond: {status: 301, headers: {location: URL}} of a route?",
    "directresponse": "; did you mean respond: {status: 404} of a route?",
    **dict.fromkeys(
        ("faultinjection", "chaos"), "; did you mean faults: [{share: 1%, abort: 503}]?"
    ),
    **dict.fromkeys(
        ("sticky", "stickysession", "sessionaffinity"),
        "; did you mean split_by: {header: user-id} of a route, or hash of an upstream?",
    ),
    **dict.fromkeys(
        ("observe", "dryrun"),
        "; write mode: observe in timeouts, retry, circuit_breaker, bulkhead, a rate limit or "
        "outlier_detection",
    ),
}
"""Features under other names, or in a wrong place."""

IN_UPSTREAM: Final = {
    **dict.fromkeys(
        ("connecttimeout", "connectiontimeout"),
        "; it is a policy's: policies: {default: {timeouts: {connect: 1s}}}",
    ),
    **dict.fromkeys(
        ("timeout", "requesttimeout"),
        "; it is a policy's: policies: {default: {timeouts: {request: 15s}}}",
    ),
    **dict.fromkeys(
        ("retries", "maxretries", "retrypolicy"),
        "; it is a policy's: policies: {default: {retry: {attempts: 3}}}",
    ),
    **dict.fromkeys(
        ("circuitbreakers", "circuitbreaker", "breaker"),
        "; it is a policy's: policies: {default: {circuit_breaker: {failure_rate: 50%}}}",
    ),
    "maxconnections": "; did you mean connections: {max: 1024}?",
    "idletimeout": "; did you mean connections: {idle_timeout: 4s}?",
    **dict.fromkeys(("outlier", "ejection", "outliers"), "; did you mean 'outlier_detection'?"),
    **dict.fromkeys(
        ("panic", "panicthreshold"), "; did you mean outlier_detection: {on_none: ...}?"
    ),
    **dict.fromkeys(("lb", "balancer", "balancing"), "; did you mean 'load_balancing'?"),
    **dict.fromkeys(("http2", "grpc", "h2"), "; did you mean protocol: http2?"),
    "ttl": "; did you mean 'dns_refresh'?",
    "weight": "; an endpoint has it: endpoints: [{url: ..., weight: 3}]",
    **dict.fromkeys(("consistenthash", "hashpolicy", "ringhash", "maglev"), _CONSISTENT),
    **dict.fromkeys(
        ("warmup", "warmupduration", "warmupdurationsecs", "slowstartwindow"), _SLOW_START
    ),
}

IN_ROUTE: Final = {
    **dict.fromkeys(
        ("status", "body", "json"), "; did you mean respond: {status: 404} of a route?"
    ),
    **dict.fromkeys(("rate", "burst"), _RATE_LIMIT),
    "abort": "; did you mean faults: [{share: 1%, abort: 503}]?",
    "connections": "; it is an upstream's key: write upstreams: {NAME: {connections: ...}}",
    "mode": "; each policy has its own, such as retry: {mode: observe}",
}
"""In a route or a policy."""

OFF_BY_ABSENCE: Final = frozenset({"health_check", "mirror", "outlier_detection", "respond"})
"""Keys that turn something on by their presence."""


def _limit(text: str) -> str:
    rate = rate_meant(text)
    return f"{{rate: {rate}}}" if rate else ""


ITEMS: Final[Mapping[str, Callable[[str], str]]] = {"rate_limits": _limit}
"""By the key of a list: the mapping that an item means which is a single value."""

_UNIT = r"(?:s|m|h|sec|second|min|minute|hr|hour)s?"
_RATE_IN_WORDS = re.compile(rf"([0-9]+(?:\.[0-9]+)?)\s*(?:/|per|p)?\s*(?:({_UNIT}))?")
_PER_SECOND = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*[rq]p([sm])")


def rate_meant(text: str) -> str:
    """``100/s`` for ``100``, ``100 per second`` or ``100rps``; "" for anything else."""
    written = text.strip().lower()
    found = _PER_SECOND.fullmatch(written) or _RATE_IN_WORDS.fullmatch(written)
    return f"{found[1]}/{(found[2] or 's')[0]}" if found and float(found[1]) else ""
