"""What users of Envoy, Istio and Linkerd write for the keys of traffic: the mend is named."""

import pytest

from proxy.config.traffic_advice import rate_meant

TWO = "upstreams: {v1: {endpoints: ['http://a:1']}, v2: {endpoints: ['http://b:1']}}\n"


def upstream(keys: str) -> str:
    return (
        f"upstreams: {{inv: {{endpoints: ['http://a:1', 'http://b:1'], {keys}}}}}\n"
        "routes: [{name: r, upstream: inv}]"
    )


def route(keys: str) -> str:
    return TWO + f"routes: [{{name: r, upstream: {{v1: 1, v2: 1}}, {keys}}}]"


def split(weights: str, more: str = "") -> str:
    return TWO + f"routes: [{{name: r, upstream: {weights}{more}}}]"


MISTAKES = [
    # upstreams
    (
        upstream("consistentHash: {a: b}"),
        "load_balancing: consistent_hash, hash: {header: user-id}",
    ),
    (upstream("warmupDurationSecs: 30s"), "did you mean slow_start: 30s?"),
    (upstream("outlier_detection: {eject_for: {base: 30s}}"), "did you mean 'initial'?"),
    (upstream("outlier_detection: {max_ejected: 50 %}"), "did you mean 50%?"),
    (upstream("outlier_detection: {max_ejected: '.5'}"), "did you mean 0.5?"),
    (upstream("slow_start: '0,5s'"), "did you mean 0.5s?"),
    (upstream("outlier_detection: off"), "leave outlier_detection out to have none"),
    (upstream("health_check: false"), "leave health_check out to have none"),
    (upstream("outlier_detection: {minHealthPercent: 5}"), "the last endpoint is never ejected"),
    (upstream("health_check: {path: /h, tcp: true}"), "HTTP (path: /health) or gRPC"),
    (upstream("health_check: {grpc: true}"), "the name of a gRPC service, or '' for the server"),
    (upstream("connections: 100"), "did you mean connections: {max: 100}?"),
    (
        "upstreams: {a: {endpoints: [{url: 'http://a:1', 'http://b:1': 3}]}}\n"
        "routes: [{name: r, upstream: a}]",
        "did you mean {url: 'http://b:1', weight: ...}?",
    ),
    (
        "upstreams: {a: {endpoints: ['grpc://a:1']}}\nroutes: [{name: r, upstream: a}]",
        "did you mean 'http://a:1' with protocol: http2?",
    ),
    (
        "upstreams: {a: {endpoints: ['grpcs://a']}}\nroutes: [{name: r, upstream: a}]",
        "did you mean 'https://a' with protocol: http2?",
    ),
    (upstream("outlier_detection: {failure_rate: off}"), "did you mean failure_rate: none?"),
    (upstream("outlier_detection: {on_none: panic}"), "did you mean 'use-all'?"),
    (upstream("outlier_detection: {on_none: fail}"), "did you mean 'refuse'?"),
    (upstream("outlier_detection: {panic_threshold: 50%}"), "on_none: use-all uses all endpoints"),
    (upstream("outlier_detection: {mode: on}"), "did you mean 'enforce'?"),
    (upstream("outlier_detection: {mode: log}"), "did you mean 'observe'?"),
    (
        upstream("outlier_detection: {eject_for: {multiplier: 2}}"),
        "the second ejection in a row lasts twice initial",
    ),
    (
        upstream("health_check: {path: /h, interval: 500ms}"),
        "health_check.interval: 500ms is less than timeout, which is 1s: write timeout too",
    ),
    (upstream("health_check: {path: /h, method: HEAD}"), "a check is a GET"),
    (upstream("health_check: {path: /h, host: x}"), "the Host of a check is the endpoint's own"),
    (upstream("health_check: {path: /h, port: 81}"), "a check goes to the endpoint's own port"),
    (upstream("health_check: {path: /h, periodSeconds: 4}"), "did you mean interval: 10s?"),
    (upstream("health_check: {path: /h, failureThreshold: 4}"), "did you mean unhealthy: 3?"),
    (upstream("health_check: {path: /h, successThreshold: 4}"), "did you mean healthy: 2?"),
    (upstream("health_check: {path: /h, initialDelaySeconds: 4}"), "the first ones need no delay"),
    (upstream("connect_timeout: 1s"), "{default: {timeouts: {connect: 1s}}}"),
    (upstream("timeout: 1s"), "{default: {timeouts: {request: 15s}}}"),
    (upstream("retries: 3"), "{default: {retry: {attempts: 3}}}"),
    (upstream("circuitBreakers: {}"), "{default: {circuit_breaker: {failure_rate: 50%}}}"),
    (upstream("max_connections: 5"), "did you mean connections: {max: 1024}?"),
    (upstream("idle_timeout: 5s"), "did you mean connections: {idle_timeout: 4s}?"),
    (upstream("outlier: {}"), "did you mean 'outlier_detection'?"),
    (upstream("lb: ewma"), "did you mean 'load_balancing'?"),
    (upstream("http2: true"), "did you mean protocol: http2?"),
    (upstream("ttl: 5s"), "did you mean 'dns_refresh'?"),
    (
        "routes: [{name: r, upstream: {endpoints: ['http://a']}}]",
        "must be the name of an upstream: write upstreams: {NAME: {endpoints: [...]}}, and NAME",
    ),
    ("routes: [{name: r, status: 404}]", "did you mean respond: {status: 404} of a route?"),
    ("routes: [{name: r, rate: 5/s}]", "did you mean rate_limits: [{rate: 100/s}]?"),
    ("routes: [{name: r, abort: 503}]", "did you mean faults: [{share: 1%, abort: 503}]?"),
    ("routes: [{name: r, traffic_split: {}}]", "did you mean upstream: {v1: 95, v2: 5} of a"),
    ("routes: [{name: r, redirect: {}}]", "respond: {status: 301, headers: {location: URL}}"),
    (upstream("protocol: grpc"), "did you mean 'http2'?"),
    (upstream("protocol: h2"), "did you mean 'http2'?"),
    (upstream("connections: {keepalive: 10s}"), "did you mean keepalive: {interval: 10s}?"),
    # limits
    (route("rate_limits: [{rate: 1/s, per: client}]"), "did you mean 'key'?"),
    (route("rate_limits: [{rate: 1/s, max_keys: 5}]"), "it keeps 100,000 keys"),
    (route("rate_limits: [{rate: 1/s, key: HEADER:X-User}]"), "did you mean header:x-user?"),
    (route("bulkhead: {max: 5}"), "did you mean 'max_concurrent'?"),
    (route("bulkhead: {limit: vegas}"), "did you mean 'gradient'?"),
    (route("bulkhead: {limit: gradient, initial_limit: 5}"), "the learned limit begins at 20"),
    (route("bulkhead: {limit: gradient, tolerance: 2}"), "it is 1.5, as in Gradient2"),
    (route("rate_limits: {rate: 100/s}"), "put '- ' before its first key, or [ ] around it"),
    (route("rate_limits: [100/s]"), "must be a mapping; did you mean {rate: 100/s}?"),
    (route("rate_limits: [{rate: 100}]"), "did you mean 100/s?"),
    (route("rate_limits: [{rate: 100 per second}]"), "did you mean 100/s?"),
    (route("rate_limits: [{rate: 5rpm}]"), "did you mean 5/m?"),
    (route("rate_limits: [{rate: 1/s, key: user-id}]"), "did you mean header:user-id?"),
    (route("rate_limits: [{rate: 1/s, key: {header: user-id}}]"), "did you mean header:user-id?"),
    (route("rate_limits: [{rate: 1/s, key: 'header: x'}]"), "did you mean header:x, without"),
    (route("rate_limits: [{rate: 1/s, key: ip}]"), "did you mean 'client'?"),
    (route("rate_limits: [{rate: 1/s, limit: 5}]"), "did you mean rate: 100/s?"),
    (route("bulkhead: {max_pending: 5}"), "did you mean 'max_queue'?"),
    (route("bulkhead: {limit: 100}"), "did you mean max_concurrent: 100?"),
    (route("bulkhead: {limit: adaptive}"), "did you mean 'gradient'?"),
    (route("adaptive_concurrency: {}"), "did you mean bulkhead: {limit: gradient}?"),
    # hedges and retries
    (route("hedge: true"), "did you mean hedge: {delay: p95}?"),
    (route("hedge: {delay: p99}"), "no other percentile is learned"),
    (route("hedge: {after: 50ms}"), "did you mean delay: 50ms?"),
    (route("retry: {perTryTimeout: 1s}"), "the time of one attempt is timeouts.attempt"),
    (route("retry: {numRetries: 3}"), "'attempts'? It includes the first attempt"),
    (route("timeouts: {inherit: false}"), "inherit: {deadline: false, retries: false}?"),
    (route("mode: observe"), "each policy has its own, such as retry: {mode: observe}"),
    (route("timeouts: {inherit: {retry: false}}"), "did you mean 'retries'?"),
    (route("retry: {on: [4xx]}"), "did you mean 400-499?"),
    (route("retry: {on: [5XX]}"), "did you mean '5xx'?"),
    (route("retry: {methods: post}"), "did you mean [POST]?"),
    (route("retry: {methods: all}"), "did you mean 'any'?"),
    (route("retry: {backoff: {jitter: off}}"), "did you mean 'none'?"),
    (route("fallback: off"), "did you mean fallback: none?"),
    (route("circuit_breaker: {mode: on}"), "did you mean 'enforce'?"),
    (route("fallback: {when: [4xx], response: {status: 200}}"), "did you mean 400-499?"),
    ("egress: {allow: ['https://pay.example:443/']}", "is a URL; did you mean 'pay.example:443'?"),
    # keys of another section
    (upstream("hedge: {delay: p95}"), "it is a policy's key: write policies: {default: {hedge:"),
    (upstream("circuit_breaker: {}"), "it is a policy's key"),
    (upstream("mirror: {upstream: app}"), "it is a route's key: write routes: [{name: ..., mirror"),
    (upstream("weight: 3"), "endpoints: [{url: ..., weight: 3}]"),
    (route("outlier_detection: {}"), "upstreams: {NAME: {outlier_detection: ...}}"),
    (route("connections: {max: 5}"), "upstreams: {NAME: {connections: ...}}"),
    (route("retry: {faults: []}"), "it is a policy's key: write policies: {default: {faults:"),
    (route("bulkhead: {rate: 5/s}"), "did you mean rate_limits: [{rate: 100/s}]?"),
    (route("hedge: {mode: observe}"), "hedges have none: they need retry.mode: enforce"),
    ("rate_limits: [{rate: 1/s}]", "it is a policy's key: write policies: {default: {rate_limits:"),
    ("policies: {default: {split_by: client}}", "it is a route's key"),
    ("policies: {faults: []}", "'faults' is read as the name of a policy"),
    (route("rate_limits: none"), "[] is none"),
    ("routes: [{name: r, match: {hosts: []}}]", "must name at least one of hosts"),
    ("routes: [{name: r, match: {methods: []}}]", "must name at least one of methods"),
    ("listeners: {inbound: {forwarded: {trust: 10.0.0.0/8}}}", "did you mean [10.0.0.0/8]?"),
    # splits, mirrors, answers, faults
    (split("{v1: {weight: 95}, v2: 5}"), "must be the weight itself: {v1: 95, v2: 5}"),
    (split("v1", ", sticky: true"), "split_by: {header: user-id} of a route, or hash"),
    (route("mirror: {upstream: v1, cluster: v2}"), "did you mean upstream: NAME?"),
    ("routes: [{name: r, respond: {grpc: not-found}}]", "did you mean grpc: {status: not-found}?"),
    ("routes: [{name: r, respond: {grpc: {status: 5}}}]", "did you mean not-found?"),
    (
        "routes: [{name: r, match: {grpc: shop.v1.Stock}}]",
        "did you mean grpc: {service: shop.v1.Stock}?",
    ),
    (route("mirror: {upstream: v1, timeout: 1s}"), "copies have the route's timeouts"),
    ("routes: [{name: r, respond: 404}]", "did you mean respond: {status: 404}?"),
    ("routes: [{name: r, respond: {code: 404}}]", "did you mean 'status'?"),
    (route("faults: {share: 1%, delay: 5s}"), "put '- ' before its first key"),
    (route("faults: [{share: 1%, throttle: 10KiB/s}]"), "is per second anyway; write 10KiB"),
    (route("fault_injection: []"), "did you mean faults: [{share: 1%, abort: 503}]?"),
]


@pytest.mark.parametrize(("text", "mend"), MISTAKES)
def test_a_mistake_is_one_sentence_that_names_the_mend(text, mend, errors):
    told = [one for one in errors(text) if "no route uses it" not in one]
    assert len([one for one in told if ": warning: " not in one]) == 1
    assert mend in "\n".join(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (route("faults: [{share: 1, delay: 5s}]"), "1 is 100 %: write 100%, or 1% for one of a"),
        (
            split("{v1: 95, v2: 4}"),
            "the weights' sum is 99, so v1 gets 96.0 %, not 95 %: each is divided by the sum",
        ),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(text, told, warned):
    (warning,) = warned(text)
    assert told in warning


@pytest.mark.parametrize("weights", ["{v1: 95, v2: 5}", "{v1: 3, v2: 1}", "{v1: 95, v2: 0}"])
def test_weights_are_relative(weights, warned):
    assert warned(split(weights)) == []


@pytest.mark.parametrize("text", ["", "/s", "0", "many", "1.5.2", "10/d", "-1/s", "1" * 30 + "x"])
def test_no_rate_is_guessed(text):
    assert rate_meant(text) == ""
