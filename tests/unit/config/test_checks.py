"""Warnings: what is valid and yet cannot be meant."""

import pytest


def policy(text: str) -> str:
    return f"policies: {{default: {text}}}"


def routes(*matches: str) -> str:
    items = [f"{{name: r{n}, match: {match}}}" for n, match in enumerate(matches)]
    return f"routes: [{', '.join(items)}]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (policy("{timeouts: {request: 4s}}"), "timeouts.request: attempt is 5s and request 4s"),
        (policy("{timeouts: {attempt: 20s}}"), "timeouts.attempt: attempt is 20s and request 15s"),
        (policy("{timeouts: {connect: 6s}}"), "timeouts.connect: connect is 6s and attempt 5s"),
        (policy("{timeouts: {max_duration: 1s}}"), "max_duration ends the request first"),
        (policy("{retry: {backoff: {initial: 20s, max: 20s, jitter: none}}}"),
         "retry.backoff.initial: the waits alone use up request (15s): attempt 2 can never be"),
        (policy("{retry: {attempts: 9, backoff: {initial: 5s, max: 5s, jitter: equal}}}"),
         "attempt 7 can never begin"),
        (policy("{retry: {backoff: {initial: 2s}}}"), "max is 1s and initial 2s: every wait is 1s"),
        (policy("{retry: {attempts: 1, on: [5xx]}}"), "nothing is retried: the other keys"),
        (policy("{retry: {on: [reset, grpc-unavailable]}}"),
         "retry.on: grpc-unavailable is listed, but methods: idempotent lets no gRPC call be "
         "repeated; say methods: any"),
        (policy("{retry: {on: [grpc-failure], methods: [GET]}}"), "methods: its list lets no"),
        ("routes: [{name: a, upstream: app, match: {grpc: {}}, fallback: {when: [timeout], "
         "response: {json: {a: 1}}}}]",
         "routes[0].fallback.response: gRPC callers cannot read its body and get the status "
         "internal; give them one with grpc: {status: ...}"),
        (policy("{circuit_breaker: {slow_call: {duration: 10s}}}"), "no attempt takes that long"),
        (policy("{circuit_breaker: {minimum_calls: 200}}"), "has the effect of 100"),
        (policy("{circuit_breaker: {open_for: {initial: 10m}}}"), "every wait is 5m"),
        (policy("{bulkhead: {max_queue: 5}}"), "max_queue: has no effect: queue_timeout is 0s"),
        (policy("{bulkhead: {queue_timeout: 5s}}"), "has no effect: max_queue is 0"),
        (policy("{retry: {on: [timeout, timeout]}}"), "on[1]: is already in this list"),
        ("upstreams: {a: {endpoints: [http://a]}}", "warning: upstreams.a: no route uses it"),
        ("policies: {gold: {retry: {attempts: 2}}}", "warning: policies.gold: no route uses it"),
        ("policies: {gold: {}}", "warning: policies.gold: no route uses it"),
        ("upstreams: {app: {endpoints: ['http://127.0.0.1:7071']}}", "own inbound address"),
        ("listeners: {outbound: {address: 0.0.0.0:7070}}", "can reach anything through it"),
        ("routes: [{name: a, upstream: app, fallback: {when: [503], upstream: app}}]",
         "routes[0].fallback: goes to 'app', as the route does"),
        ("upstreams: {app: {tls: {verify: true}}}", "none of the endpoints is https"),
        ("upstreams: {app: {endpoints: [https://a], tls: {verify: false}}}", "any certificate"),
    ],
)  # fmt: skip
def test_worth_a_word(text, message, warned):
    found = warned(text)
    assert len(found) == 1, found
    assert ": warning: " in found[0]
    assert message in found[0]


@pytest.mark.parametrize(
    "text",
    [
        policy("{timeouts: {attempt: 5s, request: 5s}}"),
        policy("{retry: {attempts: 1}}"),
        "{listeners: {outbound: {address: 0.0.0.0:7070}}, egress: {allow: ['*.shop']}}",
        "listeners: {outbound: {address: '[::1]:7070'}}",
        policy("{retry: {backoff: {initial: 20s, max: 20s, jitter: full}}}"),
        policy("{retry: {backoff: {initial: 1s}}}"),
        policy("{circuit_breaker: {window: {size: 10}}}"),
        policy("{bulkhead: {max_queue: 5, queue_timeout: 1s}}"),
        policy("{retry: {on: [grpc-unavailable], methods: any}}"),
        policy("{retry: {on: [grpc-unavailable], methods: [POST]}}"),
        "routes: [{name: a, upstream: app, match: {grpc: {}}, fallback: {when: [timeout], "
        "response: {grpc: {status: ok}}}}]",
        "routes: [{name: a, upstream: app, fallback: {when: [timeout], response: {json: 1}}}]",
        """
        upstreams: {spare: {endpoints: [http://a]}}
        policies: {default: {fallback: {when: [timeout], upstream: spare}}}
        """,
    ],
)
def test_not_worth_a_word(text, warned):
    assert warned(text) == []


def test_an_inherited_conflict_is_told_where_it_arises(warned):
    assert warned("""
        policies:
          default: {timeouts: {attempt: 2s, request: 4s}}
        routes:
          - name: short
            match: {path: /x}
            timeouts: {request: 1s}
        """) == [
        "7:25: warning: routes[0].timeouts.request: attempt is 2s and request 1s: "
        "one attempt can use up all the time"
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{}", "{}"),
        ("{}", "{path: /x, methods: [GET], hosts: [a]}"),
        ("{prefix: /}", "{path: /x}"),
        ("{prefix: /}", "{}"),
        ("{prefix: /api}", "{prefix: /api/v1}"),
        ("{prefix: /api}", "{path: /api}"),
        ("{prefix: /api/}", "{prefix: /api}"),
        ("{path: /a}", "{path: /a, methods: [GET]}"),
        ("{regex: '/a.*'}", "{path: /ab}"),
        ("{regex: '/a.*'}", "{regex: '/a.*', hosts: [x]}"),
        ("{methods: [GET, PUT]}", "{methods: [PUT]}"),
        ("{hosts: ['*.shop']}", "{hosts: [a.shop, '*.b.shop']}"),
        ("{hosts: ['*']}", "{}"),
        ("{headers: {a: {present: true}}}", "{headers: {a: x, b: y}}"),
        ("{headers: {a: {regex: 'x.*'}}}", "{headers: {a: xy}}"),
        ("{query: {q: '1'}}", "{query: {q: '1'}, path: /x}"),
        ("{grpc: {}}", "{grpc: {service: a.B}}"),
        ("{grpc: {service: a.B}}", "{grpc: {service: a.B, method: C}}"),
        ("{prefix: /a.B}", "{grpc: {service: a.B}}"),
        ("{regex: '/a.*'}", "{grpc: {service: a.B, method: C}}"),
        ("{}", "{grpc: {}}"),
    ],
)
def test_routes_that_can_never_match(first, second, warned):
    (found,) = warned(routes(first, second))
    assert "routes[1]: can never match: the earlier route 'r0' takes all of its requests" in found


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{prefix: /api}", "{prefix: /apix}"),
        ("{grpc: {}}", "{}"),
        ("{grpc: {service: a.B}}", "{prefix: /a.B}"),
        ("{grpc: {service: a.B}}", "{grpc: {service: a.b}}"),
        ("{grpc: {service: a.B, method: C}}", "{grpc: {service: a.B}}"),
        ("{grpc: {service: a.B, method: C}}", "{grpc: {service: a.B, method: c}}"),
        ("{prefix: /api}", "{}"),
        ("{prefix: /api/v1}", "{prefix: /api}"),
        ("{prefix: /api}", "{regex: '/api/.*'}"),
        ("{path: /a}", "{prefix: /a}"),
        ("{path: /a}", "{path: /a/}"),
        ("{regex: '/a'}", "{path: /ab}"),
        ("{regex: '/a'}", "{regex: '/b'}"),
        ("{methods: [GET]}", "{methods: [GET, PUT]}"),
        ("{methods: [GET]}", "{}"),
        ("{hosts: ['*.shop']}", "{hosts: [shop]}"),
        ("{hosts: [a.shop]}", "{hosts: ['*.shop']}"),
        ("{hosts: [a]}", "{}"),
        ("{headers: {a: x}}", "{headers: {a: {present: true}}}"),
        ("{headers: {a: x}}", "{headers: {b: x}}"),
        ("{headers: {a: {present: false}}}", "{headers: {a: x}}"),
        ("{headers: {a: {present: true}}}", "{headers: {a: {present: false}}}"),
        ("{query: {q: '1'}}", "{query: {q: '2'}}"),
    ],
)
def test_routes_that_may_match(first, second, warned):
    assert warned(routes(first, second)) == []


def test_routes_of_different_listeners_do_not_hide_each_other(warned):
    assert warned("routes: [{name: a}, {name: b, listener: inbound}]") == []


RELIED = """
    policies: {{default: {{timeouts: {{request: 20s}}}}{more}}}
    routes:
      - {{name: a, listener: inbound{route}}}
      - {{name: b, listener: inbound}}
      - {{name: c}}
    """


def test_inbound_routes_that_seem_to_rely_on_the_default_policy(warned):
    (found,) = warned(RELIED.format(more="", route=", match: {path: /a}"))
    assert found.startswith(
        "4:12: warning: routes[0]: names no policy, so 'inbound' applies, which"
    )
    assert "write 'policy: default' for its values, or change policies.inbound" in found
    assert found.endswith("; the same applies to 'b'")
    (found,) = warned(RELIED.format(more="", route=", match: {path: /a}, policy: default"))
    assert "routes[1]: names no policy" in found


@pytest.mark.parametrize(
    "file",
    [
        RELIED.format(more=", inbound: {}", route=", match: {path: /a}"),
        "routes: [{name: a, listener: inbound}]",
        "policies: {default: {timeouts: {request: 20s}}}\nroutes: [{name: a}]",
        "upstreams: {app: {endpoints: ['http://a']}}\npolicies: {default: {retry: {attempts: 2}}}",
        "policies: {default: {timeouts: {request: 20s}}}\n"
        "routes: [{name: a, listener: inbound, timeouts: {request: 20s}}]",
    ],
)
def test_files_that_rely_on_nothing_hear_nothing(file, warned):
    assert warned(file) == []


@pytest.mark.parametrize("name", ["Via", "connection", "content-length", "Transfer-Encoding", "te"])
@pytest.mark.parametrize("rule", ["set: {{{}: x}}", "remove: [{}]"])
def test_what_header_rules_may_not_change(name, rule, errors):
    (problem,) = errors(f"routes: [{{name: a, headers: {{request: {{{rule.format(name)}}}}}}}]")
    assert f"{name} cannot be changed" in problem
    assert problem.startswith("1:")
