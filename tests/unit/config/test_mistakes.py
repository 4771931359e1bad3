"""Realistic mistakes: each is answered by one sentence that names the mend."""

import pytest

_UP = "upstreams: {a: {endpoints: ['http://a:1']"
_HASHED = f"{_UP}, load_balancing: consistent_hash"

MISTAKES = [
    # YAML 1.1
    ("access_log: {requests: on}", "not 'on'; did you mean 'all'?"),
    ("access_log: {requests: off}", "not 'off'; did you mean 'none'?"),
    ("access_log: on", "access_log: must be a mapping; did you mean access_log: {requests: all}?"),
    ("policies: {default: {timeouts: {propagate: yes}}}", "not 'yes'; did you mean true?"),
    ("policies: {default: {timeouts: {propagate: off}}}", "not 'off'; did you mean false?"),
    # keys at the wrong place
    (
        "retry: {attempts: 2}",
        "retry: unknown key; it is a policy's key: write policies: {default: {retry: ...}} for "
        "all routes, or put it into one route",
    ),
    ("timeout: 5s", "write policies: {default: {timeouts: ...}} for all routes"),
    ("circuitBreaker: {}", "write policies: {default: {circuit_breaker: ...}} for all routes"),
    ("upstream: a", "it is a route's key: write routes: [{name: ..., upstream: ...}]"),
    ("prefix: /a", "it is a route's key: write routes: [{name: ..., match: {prefix: ...}}]"),
    ("port: 8080", "or run --app PORT"),
    (
        "policies: {retry: {attempts: 2}}",
        "'retry' is read as the name of a policy: write policies: {default: {retry: {attempts: "
        "...}}}",
    ),
    ("routes: [{name: a, path: /x}]", "it belongs in 'match': match: {path: ...}"),
    ("routes: [{name: a, host: x}]", "it belongs in 'match': match: {hosts: ...}"),
    (
        "routes: [{name: a, headers: {set: {x: y}}}]",
        "did you mean headers: {request: {set: ...}}, or response?",
    ),
    ("routes: [{name: a, url: 'http://a'}]", "a route names an upstream: upstream: NAME"),
    # keys of other tools
    (
        "policies: {default: {circuit_breaker: {timeout: 5s}}}",
        "how long it stays open is open_for: {initial: 30s}, and how long a call may take is "
        "timeouts.attempt",
    ),
    (
        "policies: {default: {circuit_breaker: {consecutiveFailures: 5}}}",
        "failures are counted as a rate: failure_rate: 50%, from minimum_calls: 20 on",
    ),
    ("policies: {default: {circuit_breaker: {enabled: true}}}", "write mode: enforce, observe or"),
    (
        "policies: {default: {retries: 3}}",
        "did you mean retry: {attempts: 4}? It includes the first attempt",
    ),
    ("routes: [{name: a, retries: {attempts: 3}}]", "did you mean 'retry'?"),
    ("policies: {default: {retry: {timeout: 1s}}}", "the time of one attempt is timeouts.attempt"),
    # what the proxy does not have
    ("routes: [{name: a, rate_limit: 10}]", "did you mean rate_limits: [{rate: 100/s}]?"),
    ("policies: {default: {rateLimiter: {}}}", "did you mean rate_limits: [{rate: 100/s}]?"),
    ("ratelimit: 10", "did you mean rate_limits: [{rate: 100/s}]?"),
    ("policies: {default: {rate_limits: 100/s}}", "must be a list of limits such as {rate: 100/s}"),
    ("policies: {default: {rate_limits: [{burst: 1}]}}", "'rate' is missing"),
    ("policies: {default: {rate_limits: [{rate: 100}]}}", "'100' is not a rate such as 100/s"),
    ("policies: {default: {rate_limits: [{rate: 5/minute}]}}", "did you mean 5/m?"),
    ("policies: {default: {rate_limits: [{rate: 0/s}]}}", "must be more than 0"),
    ("policies: {default: {rate_limits: [{rate: 2000000/s}]}}", "must be at most 1000000/s"),
    ("policies: {default: {rate_limits: [{rate: 0.0000000001/h}]}}", "at least one request a year"),
    (
        "policies: {default: {rate_limits: [{rate: 1/s, burst: 20000000}]}}",
        "must be at most 10000000",
    ),
    ("policies: {default: {rate_limits: [{rate: 1/s, key: ip}]}}", "must be route, client, or"),
    ("policies: {default: {rate_limits: [{rate: 1/s, key: 'header:a b'}]}}", "a b"),
    ("policies: {default: {rate_limits: [{rate: 1/s, burst: 0}]}}", "must be at least 1"),
    (
        "policies: {default: {rate_limits: [{rate: 1/s}, {rate: 9/m}]}}",
        "rate_limits[1]: two limits are named 'route'; give each a name of its own",
    ),
    (
        "routes: [{name: a, upstream: app, respond: {status: 404}}]",
        "routes[0].respond: give either 'upstream' or 'respond'",
    ),
    (
        "routes: [{name: a, upstream: {app: 95, shop: 5}}]",
        "routes[0].upstream.shop: there is no upstream 'shop'",
    ),
    (
        "routes: [{name: a, upstream: {app: 0}}]",
        "routes[0].upstream: at least one upstream needs a weight above 0",
    ),
    ("routes: [{name: a, upstream: {app: 95%}}]", "'95%' is not a whole number"),
    ("routes: [{name: a, upstream: [app]}]", "routes[0].upstream: must be"),
    (
        "routes: [{name: a, upstream: app, split_by: client}]",
        "routes[0].split_by: needs a split: upstream: {v1: 95, v2: 5}",
    ),
    (
        "routes: [{name: a, upstream: {app: 1}, split_by: user-id}]",
        "routes[0].split_by: must be {header: NAME}, {cookie: NAME}, {query: NAME} or client",
    ),
    (
        "routes: [{name: a, upstream: {app: 1}, split_by: {heder: x}}]",
        "routes[0].split_by.heder: unknown key; did you mean 'header'?",
    ),
    (
        "routes: [{name: a, upstream: {app: 1}, split_by: {header: x, cookie: y}}]",
        "routes[0].split_by: must be {header: NAME}",
    ),
    ("routes: [{name: a, mirror: {share: 10%}}]", "'upstream' is missing"),
    ("routes: [{name: a, mirror: {upstream: shop}}]", "there is no upstream 'shop'"),
    (
        "routes: [{name: a, split_by: {header: x}, respond: {status: 404}}]",
        "routes[0].split_by: has no meaning with 'respond'",
    ),
    (
        "routes: [{name: a, mirror: {upstream: app}, respond: {status: 404}}]",
        "routes[0].mirror: has no meaning with 'respond'",
    ),
    ("routes: [{name: a, faults: [{abort: 503}]}]", "'share' is missing"),
    (
        "routes: [{name: a, faults: [{share: 1%}]}]",
        "needs one of delay, abort, reset and",
    ),
    (
        "routes: [{name: a, faults: [{share: 1%, abort: 503, headers: true}]}]",
        "faults[0].abort: has no meaning with headers: true; the request asks for it",
    ),
    ("routes: [{name: a, faults: [{share: 1%, throttle: 5}]}]", "throttle: "),
    ("routes: [{name: a, faults: [{share: 1%, abort: 99}]}]", "must be at least 200"),
    ("routes: [{name: a, hedging: {}}]", "unknown key; did you mean hedge: {delay: p95}?"),
    ("routes: [{name: a, hedge: {delay: p99}}]", "hedge.delay: "),
    ("routes: [{name: a, mirror: b}]", "must be a mapping; did you mean mirror: {upstream: b}?"),
    ("routes: [{name: a, mirror: {upstream: app, percent: 5}}]", "did you mean share: 10%?"),
    ("routes: [{name: a, hedge: 100ms}]", "must be a mapping; did you mean hedge: {delay: 100ms}?"),
    ("routes: [{name: a, hedge: p95}]", "must be a mapping; did you mean hedge: {delay: p95}?"),
    (
        "routes: [{name: a, faults: [{share: 1%, percentage: 1%, abort: 503}]}]",
        "percentage: unknown key; did you mean share: 1%?",
    ),
    (
        "routes: [{name: a, faults: [{share: 1%, abort: 503, status: 503}]}]",
        "status: unknown key; did you mean abort: 503?",
    ),
    (
        "routes: [{name: a, faults: [{share: 1%, abort: 503, reset: true}]}]",
        "faults[0].reset: one fault has one of abort and reset; write an entry for each",
    ),
    # endpoints and splits
    (f"{_UP}, load_balancing: ring_hash}}}}", "not 'ring_hash'; did you mean 'consistent_hash'?"),
    (f"{_UP}, load_balancing: least_conn}}}}", "not 'least_conn'; did you mean 'least_request'?"),
    (f"{_HASHED}, hash: source_ip}}}}", "not 'source_ip'; did you mean 'client'?"),
    (f"{_HASHED}, hash: 'header:user-id'}}}}", "did you mean {header: user-id}?"),
    (
        f"{_HASHED}, hash: [{{header: a}}]}}}}",
        "hash: must be one of {header: NAME}, {cookie: NAME}, {query: NAME} or client",
    ),
    (f"{_UP}, outlier_detection: true}}}}", "did you mean outlier_detection: {}?"),
    (f"{_UP}, outlier_detection: observe}}}}", "outlier_detection: {mode: observe}?"),
    (
        f"{_UP}, outlier_detection: {{consecutive_5xx: 5}}}}}}",
        "consecutive_5xx: unknown key; did you mean consecutive_failures: 5?",
    ),
    (
        f"{_UP}, outlier_detection: {{base_ejection_time: 30s}}}}}}",
        "did you mean eject_for: {initial: 30s}?",
    ),
    (f"{_UP}, outlier_detection: {{interval: 9s}}}}}}", "attempts are judged as they end"),
    (f"{_UP}, outlier_detection: {{eject_for: 30s}}}}}}", "eject_for: {initial: 30s}?"),
    (f"{_UP}, outlier_detection: {{failure_rate: 50%}}}}}}", "failure_rate: {rate: 50%}?"),
    (f"{_UP}, health_check: /ready}}}}", "did you mean health_check: {path: /ready}?"),
    (f"{_UP}, health_check: true}}}}", "did you mean health_check: {path: /health}?"),
    (
        f"{_UP}, health_check: {{path: /a, grpc: ''}}}}}}",
        "health_check.grpc: is another kind of check than path: leave one of them out",
    ),
    (f"{_UP}, health_check: {{path: /a, expect: [2xx]}}}}}}", "did you mean 200-299?"),
    ("routes: [{name: a, upstream: {app: 95%}}]", "'95%' is not a whole number; did you mean 95?"),
    ("routes: [{name: a, upstream: {app: 0.9}}]", "weights are relative: {v1: 95, v2: 5}"),
    (
        "routes: [{name: a, upstream: [app]}]",
        "must be the name of an upstream, or weights such as {v1: 95, v2: 5}",
    ),
    ("routes: [{name: a, shadow: b}]", "unknown key; did you mean mirror: {upstream: NAME,"),
    ("routes: [{name: a, weights: {app: 5}}]", "did you mean upstream: {v1: 95, v2: 5}"),
    # one value where a mapping is needed
    ("policies: {default: {retry: 3}}", "did you mean retry: {attempts: 3}?"),
    ("policies: {default: {retry: off}}", "did you mean retry: {attempts: 1}?"),
    ("policies: {default: {circuit_breaker: off}}", "did you mean circuit_breaker: {mode: off}?"),
    ("policies: {default: {timeouts: 5s}}", "did you mean timeouts: {request: 5s}?"),
    ("listeners: {outbound: 7070}", "did you mean outbound: {address: 127.0.0.1:7070}?"),
    ("upstreams: {a: 'http://x:1'}", "did you mean a: {endpoints: ['http://x:1']}?"),
    ("routes: [{name: a, match: /api}]", "did you mean match: {prefix: /api}?"),
    (
        "policies: {default: {circuit_breaker: {window: 30s}}}",
        "did you mean window: {type: time, size: 30s}?",
    ),
    (
        "policies: {default: {circuit_breaker: {window: 50}}}",
        "did you mean window: {size: 50}?",
    ),
    # modes
    ("policies: {default: {timeouts: observe}}", "did you mean timeouts: {mode: observe}?"),
    ("policies: {default: {bulkhead: observe}}", "did you mean bulkhead: {mode: observe}?"),
    ("policies: {default: {retry: observe}}", "did you mean retry: {mode: observe}?"),
    ("policies: {default: {retry: {mode: shadow}}}", "not 'shadow'; did you mean 'observe'?"),
    ("policies: {default: {bulkhead: {mode: dry_run}}}", "did you mean 'observe'?"),
    ("policies: {default: {timeouts: {mode: off}}}", "observe lets everything pass"),
    # other tools' files
    ("service: {{ .Values.name }}", "the {{ }} of a template must be replaced first"),
    ("kind: Secret", "of Kubernetes manifests only ConfigMaps are read"),
    ("policies: {default: {timeouts: {total: 3s}}}", "did you mean 'request'?"),
    # variables of a shell
    (
        "upstreams: {a: {endpoints: [$A_URL]}}",
        "upstreams.a.endpoints[0]: $A_URL is not replaced; write ${A_URL}",
    ),
    ("upstreams: {a: {endpoints: ['http://$A_HOST:80']}}", "$A_HOST is not replaced; write"),
    ("drain: {delay: $(DELAY)}", "drain.delay: $(DELAY) is not replaced; write ${DELAY}"),
    ("admin: {address: '0.0.0.0:$PORT'}", "$PORT is not replaced; write ${PORT}"),
    # values
    (
        "upstreams: {inv: {endpoints: ['http://a:80']}}\nroutes: [{name: a, upstream: stock}]",
        "there is no upstream 'stock'; there are inv, app",
    ),
    (
        "routes: [{name: a, upstream: 'http://a:80'}]",
        "there is no upstream 'http://a:80'; it is a name: write upstreams: {NAME: {endpoints: "
        "['http://a:80']}}, and NAME here",
    ),
    ("drain: {delay: 5}", "5 has no unit; did you mean 5us or 5ms or 5s"),
    ("listeners: {outbound: {address: '7070'}}", "write HOST:PORT such as 127.0.0.1:7070"),
]


@pytest.mark.parametrize(("text", "mend"), MISTAKES)
def test_a_mistake_is_one_sentence_that_names_the_mend(text, mend, errors):
    (told,) = errors(text)
    assert mend in told


def test_an_attempt_below_the_built_in_connect(warned):
    (told,) = warned("policies: {default: {timeouts: {attempt: 500ms}}}")
    assert "connect is 1s and attempt 500ms" in told
    assert told.endswith("set connect below 500ms")


@pytest.mark.parametrize("key", ["true", "True"])
def test_on_as_a_writer_of_yaml_1_1_has_it(key, loaded):
    found = loaded(f"policies:\n  default:\n    retry:\n      {key}: [reset]\n")
    default = found.config.policies["default"]
    assert default.retry.on.terms == ("reset",)
    assert found.sources.policy("default", ("retry", "on")) == "f.yaml:4 (policy default)"
    (warning,) = found.warnings
    assert f"'{key}' is how a YAML 1.1 writer spells 'on'" in str(warning)


def test_a_key_true_beside_on_is_unknown(errors):
    (told,) = errors("policies: {default: {retry: {on: [reset], true: [timeout]}}}")
    assert "retry.true: unknown key" in told


def test_off_as_a_writer_of_yaml_1_1_has_it(config):
    found = config("policies: {default: {circuit_breaker: {mode: false}}}")
    assert found.policies["default"].circuit_breaker.mode.value == "off"
