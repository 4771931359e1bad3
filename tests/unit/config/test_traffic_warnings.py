"""Settings of endpoints, splits, mirrors, limits and hedges that are valid and do nothing."""

import pytest

TWO = 'upstreams: {a: {endpoints: ["http://a:1"]}, b: {endpoints: ["http://b:1", "http://a:1"]}}\n'
SAGA = (
    "store: {url: 'sqlite:/x.db', persistent: true}\n"
    "sagas: {s: {steps: [{name: x, request: {method: POST, upstream: app, path: /x}}]}}\n"
)
ONE = 'upstreams: {a: {endpoints: ["http://a:1"]}}\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            'upstreams: {a: {endpoints: [{url: "http://a:1", weight: 2}, "http://a:1"]}}\n'
            "routes: [{name: r, upstream: a}]",
            "upstreams.a.endpoints: http://a:1 is in this list twice: it is one endpoint, of "
            "weight 2",
        ),
        (
            TWO + "routes: [{name: r, upstream: a, mirror: {upstream: b}}]",
            "mirror.upstream: http://a:1 is an endpoint of 'a' too: it gets requests twice",
        ),
        (
            TWO + "routes: [{name: r, upstream: {a: 1, app: 9}, mirror: {upstream: b}}]",
            "mirror.upstream: http://a:1 is an endpoint of 'a' too: it gets requests twice",
        ),
        (
            ONE + "routes: [{name: r, upstream: a, mirror: {upstream: a}}]",
            "mirror.upstream: 'a' is where the requests go: it gets each of them twice",
        ),
        (
            ONE + "routes: [{name: r, upstream: a, mirror: {upstream: a, share: 10%}}]",
            "mirror.upstream: 'a' is where the requests go: it gets 10% of them twice",
        ),
        (
            ONE + "routes: [{name: r, upstream: {app: 95, a: 5}, mirror: {upstream: a}}]",
            "mirror.upstream: 'a' is where 5% of the requests go: it gets each of them twice",
        ),
        (
            ONE + "routes: [{name: r, upstream: {app: 0, a: 5}, mirror: {upstream: a}}]",
            "mirror.upstream: 'a' is where the requests go: it gets each of them twice",
        ),
        (
            ONE
            + "routes: [{name: r, upstream: {app: 0, a: 5}, fallback: {when: [5xx], upstream: a}}]",
            "routes[0].fallback: goes to 'a', as the route does",
        ),
        (
            "routes: [{name: r, mirror: {upstream: app, share: 0%}}]",
            "mirror.share: copies nothing: it is 0%",
        ),
        (
            "policies: {default: {bulkhead: {min: 9}}}",
            "bulkhead.min: has no effect without limit: gradient",
        ),
        (
            "policies: {default: {bulkhead: {limit: gradient, min: 9, max_concurrent: 8}}}",
            "bulkhead.min: has the effect of 8, which is max_concurrent",
        ),
        (
            "policies: {default: {hedge: {delay: 1s, max: 3}}}",
            "hedge.max: has the effect of 2: hedges count in retry.attempts, which is 3",
        ),
        (
            "policies: {default: {hedge: {delay: 1s}, retry: {mode: observe}}}",
            "hedge.delay: no hedge can begin: hedges are attempts of the retry policy, and "
            "retry.mode is observe",
        ),
        (
            "policies: {default: {hedge: {delay: 2s}}}\n"
            "routes: [{name: r, timeouts: {request: 2s, attempt: 4s}, "
            "retry: {on: [connect-failure]}}]",
            "routes[0].timeouts.attempt: no hedge can begin: timeouts.request ends a request",
        ),
        (
            "policies: {default: {hedge: {delay: p95}, timeouts: {connect: 5ms, attempt: 10ms}}}",
            "hedge.delay: no hedge can begin: timeouts.attempt ends an attempt after 10ms",
        ),
        (
            "policies: {default: {hedge: {delay: p95}, retry: {methods: []}}}",
            "hedge.delay: no hedge can begin: retry.methods lists no method",
        ),
        (
            "policies: {default: {hedge: {max: 2}}}",
            "hedge.max: has no effect without hedge.delay",
        ),
        (
            "policies: {default: {retry: {budget: {ratio: 0%, min_per_second: 0}}}}",
            "retry.budget.ratio: nothing is retried or hedged: it allows less than one in 10s",
        ),
        (
            "policies: {default: {retry: {budget: {ratio: 0%, min_per_second: 0.2, window: 4s}}}}",
            "retry.budget.ratio: nothing is retried or hedged: it allows less than one in 4s",
        ),
        (
            "policies: {default: {circuit_breaker: {counts: requests, scope: endpoint}}}",
            "circuit_breaker.counts: counts: requests has no effect with scope: endpoint",
        ),
        (
            "policies: {default: {bulkhead: {max_queue: 5, queue_timeout: 15s}}}",
            "bulkhead.queue_timeout: queue_timeout is 15s, but timeouts.request ends a request "
            "after 15s",
        ),
        (
            "routes: [{name: r, respond: {status: 404}, hedge: {delay: 1s}}]",
            "routes[0].hedge: has no effect: the route answers by itself (respond)",
        ),
        (
            "routes: [{name: r, match: {prefix: /a}, respond: {}, rewrite: {prefix: /b}}]",
            "routes[0].rewrite: has no effect: the route answers by itself (respond)",
        ),
        (
            "routes: [{name: r, respond: {}, headers: {request: {set: {a: b}}}}]",
            "routes[0].headers.request: has no effect: the route answers by itself (respond)",
        ),
        (
            SAGA + "routes: [{name: r, saga: s, retry: {attempts: 2}}]",
            "routes[0].retry: has no effect: each request starts a saga",
        ),
        (
            "routes: [{name: r, respond: {}, faults: [{share: 1%, abort: 503}]}]",
            "routes[0].faults: has no effect: the route answers by itself (respond)",
        ),
        (
            "routes: [{name: r, upstream: app, listener: inbound, "
            "timeouts: {inherit: {deadline: true}}}]",
            "routes[0].timeouts.inherit: has no effect: only outbound calls inherit",
        ),
    ],
)
def test_what_has_no_effect_is_told(text, told, warned):
    (warning,) = warned(text)
    assert told in warning


@pytest.mark.parametrize(
    "text",
    [
        'upstreams: {a: {endpoints: [{url: "http://a:1", weight: 2}, "http://a:2"]}}\n'
        "routes: [{name: r, upstream: a}]",
        "routes: [{name: r, mirror: {upstream: app, share: 1%}}]",
        # Before an upstream gets its share, it gets copies.
        ONE + "routes: [{name: r, upstream: {app: 9, a: 0}, mirror: {upstream: a}}]",
        TWO + "routes: [{name: r, upstream: {app: 9, a: 0}, mirror: {upstream: b}}]",
        ONE + "routes: [{name: r, upstream: {app: 9, a: 0}, fallback: {when: [5xx], upstream: a}}]",
        "policies: {default: {bulkhead: {limit: gradient, min: 9}}}",
        "policies: {default: {bulkhead: {min: 4}}}",  # the default, written down
        "policies: {default: {hedge: {delay: 1s, max: 2}}}",
        "policies: {default: {hedge: {delay: p95}, timeouts: {connect: 5ms, attempt: 11ms}}}",
        "policies: {default: {hedge: {delay: 9s}, timeouts: {mode: observe}}}",
        "policies: {default: {retry: {budget: {ratio: 0%, min_per_second: 0.1}}}}",
        "policies: {default: {retry: {budget: {ratio: 1%, min_per_second: 0}}}}",
        "policies: {default: {bulkhead: {max_queue: 5, queue_timeout: 14s}}}",
        "routes: [{name: r, respond: {}, headers: {response: {set: {a: b}}}}]",
        SAGA + "routes: [{name: r, saga: s, rate_limits: [{rate: 1/s}]}]",
        "routes: [{name: r, respond: {}, rate_limits: [{rate: 1/s}], bulkhead: {max_queue: 0}}]",
        "routes: [{name: r, upstream: app, timeouts: {inherit: {deadline: true}}}]",
    ],
)
def test_and_what_has_an_effect_is_not(text, warned):
    assert warned(text) == []


# --- client as a key where there is one client ---------------------------------------------------

LIMIT = "rate_limits: [{rate: 9/s}, {rate: 1/s, key: client}]"
HASH = (
    'upstreams: {a: {endpoints: ["http://a:1", "http://b:1"], load_balancing: consistent_hash, '
    "hash: client}}\n"
)
SPLIT = (
    'upstreams: {a: {endpoints: ["http://a:1"]}, b: {endpoints: ["http://b:1"]}}\n'
    "routes: [{name: r, upstream: {a: 1, b: 1}, split_by: client}]\n"
)
LOCAL = "listeners: {inbound: {address: 'localhost:7071'}}\n"
SAME = (
    "all requests have the same client, because only this machine reaches the outbound listener "
    "(127.0.0.1:7070)"
)
SAME_INBOUND = SAME.replace("outbound", "inbound").replace("127.0.0.1:7070", "localhost:7071")
BEHIND = "list the proxy in front in listeners.inbound.forwarded.trust"


def trusting(networks: str) -> str:
    return LOCAL.replace("}}", f", forwarded: {{trust: {networks}}}}}}}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            f"routes: [{{name: r, {LIMIT}}}]",
            f"1:64: warning: routes[0].rate_limits[1].key: {SAME}: they share one limit; use key: "
            "route or key: header:NAME",
        ),
        (f"policies: {{default: {{{LIMIT}}}}}", f"policies.default.rate_limits[1].key: {SAME}"),
        (
            f"policies: {{default: {{{LIMIT}}}, p: {{}}}}\nroutes: [{{name: r, policy: p}}]",
            f"policies.default.rate_limits[1].key: {SAME}",
        ),
        (
            HASH + "routes: [{name: r, upstream: a}]",
            f"upstreams.a.hash: {SAME}: one endpoint gets all of them; use {{header: NAME}}",
        ),
        (
            HASH + "routes: [{name: r, mirror: {upstream: a}}]",
            f"upstreams.a.hash: {SAME}",
        ),
        (
            SPLIT,
            f"routes[0].split_by: {SAME}: one upstream gets all of them; use {{header: NAME}}",
        ),
        (
            f"{LOCAL}routes: [{{name: r, listener: inbound, upstream: app, {LIMIT}}}]",
            f"{SAME_INBOUND}: they share one limit; use key: route or key: "
            f"header:NAME, or {BEHIND}",
        ),
        (
            f"{LOCAL}policies: {{inbound: {{{LIMIT}}}}}",
            f"policies.inbound.rate_limits[1].key: {SAME_INBOUND}",
        ),
        (
            f"{trusting('[10.0.0.0/8]')}policies: {{inbound: {{{LIMIT}}}}}",
            f"policies.inbound.rate_limits[1].key: {SAME_INBOUND}",
        ),
    ],
)
def test_client_is_no_key_where_all_requests_come_from_this_machine(text, told, warned):
    (warning,) = warned(text)
    assert told in warning


@pytest.mark.parametrize(
    "text",
    [
        f"routes: [{{name: r, listener: inbound, upstream: app, {LIMIT}}}]",
        f"listeners: {{outbound: {{address: '10.0.0.1:7070'}}}}\nroutes: [{{name: r, {LIMIT}}}]\n"
        "egress: {allow: [a]}",
        "listeners: {outbound: {address: ['127.0.0.1:7070', '10.0.0.1:7070']}}\n"
        f"routes: [{{name: r, {LIMIT}}}]\negress: {{allow: [a]}}",
        f"{trusting('[127.0.0.0/8]')}policies: {{inbound: {{{LIMIT}}}}}",
        trusting("['::/0']") + f"policies: {{inbound: {{{LIMIT}}}}}",
        # A policy for inbound routes says nothing about the default route of the other listener.
        f"policies: {{default: {{{LIMIT}}}, inbound: {{}}}}\n"
        "routes: [{name: r, listener: inbound, upstream: app, policy: default}]",
        HASH + "routes: [{name: r, upstream: a, listener: inbound}]",
        # Both listeners: the key tells the inbound clients apart.
        HASH + "routes: [{name: r, upstream: a, listener: inbound}, {name: s, upstream: a}]",
    ],
)
def test_and_it_is_one_where_clients_differ(text, warned):
    assert warned(text) == []
