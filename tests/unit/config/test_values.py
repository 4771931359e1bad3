"""Every kind of value: what is accepted, and what the problem of another one says."""

import pytest

from proxy.config.match import GrpcMatch, ValueMatch
from proxy.config.model import EndpointConfig
from proxy.config.server_model import Address, LogFormat, Propagation, RemoteAccess, Trust
from proxy.policies.backoff import Jitter, JitterKind
from proxy.policies.circuit_breaker_config import WindowConfig, WindowType
from proxy.policies.retry import RetryMethods


def in_policy(line: str) -> str:
    section, _, rest = line.partition(" ")
    return f"policies: {{default: {{{section}: {rest}}}}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("service: [1]", "1:10: service: must be a name"),
        ('service: ""', "1:10: service: is empty; it must be a name"),
        ("service: ünder", "1:10: service: must be 1 to 128"),
        ("nodes: 1", "1:1: nodes: unknown key"),
        ("listeners: []", "1:12: listeners: must be a mapping with keys such as 'outbound'"),
        ("listeners: {outbound: {address: 7070}}", "write HOST:PORT such as 127.0.0.1:7070"),
        ("listeners: {outbound: {address: host}}", "'host' is not an address"),
        ('listeners: {outbound: {address: ":7070"}}', "has no host; 127.0.0.1:7070 is for"),
        ('listeners: {outbound: {address: "::1:70"}}', "needs brackets: [::1]:70"),
        ('listeners: {outbound: {address: "[::1]"}}', "is not an address"),
        ('listeners: {outbound: {address: "[::g]:1"}}', "'[::g]' is no"),
        ("listeners: {outbound: {address: 127.0.0.1:70700}}", "a port is a number from 0"),
        ("listeners: {outbound: {address: 127.0.0.1:-1}}", "a port is a number from 0"),
        ("listeners: {outbound: {address: 127.0.0.256:1}}", "'127.0.0.256' is not an IP address"),
        ("listeners: {inbound: {tls: {cert: a}}}", "1:28: listeners.inbound.tls: 'key' is missing"),
        ("listeners: {inbound: {tls: {key: a}}}", "'cert' is missing"),
        ("listeners: {inbound: {tls: yes}}", "listeners.inbound.tls: must be a mapping"),
        ("admin: {remote: health}", "must be a list of health, metrics and read: [health]"),
        ("admin: {remote: [helth]}", "remote[0]: must be one of health, metrics, read, not 'helth'"
         "; did you mean 'health'?"),
        ("limits: {connections: 0}", "1:23: limits.connections: must be at least 1, not 0"),
        ("limits: {connections: many}", "'many' is not a whole number"),
        ("limits: {connections: 1.5}", "'1.5' is not a whole number"),
        ("limits: {connections: 99999999999999999999}", "must be at most 2147483647"),
        ('limits: {connections: "5"}', "must be a whole number; remove the quotes"),
        ("limits: {body_bytes: 5}", "5 has no unit; did you mean 5B or 5KiB"),
        ("limits: {body_bytes: 5KB}", "did you mean 5KiB?"),
        ("limits: {header_bytes: 0}", "must be more than 0B"),
        ("limits: {header_timeout: 10}", "10 has no unit; did you mean"),
        ("limits: {header_timeout: 0s}", "must be more than 0s"),
        ("limits: {header_timeout: -1s}", "'-1s' is not a duration"),
        ("limits: {header_timeout: 5 s}", "did you mean 5s?"),
        ("drain: {delay: 30s}", "1:16: drain.delay: delay (30s) must be less than timeout (25s)"),
        ("drain: {delay: 1s, timeout: 1s}", "must be less than timeout"),
        ("drain: {timeout: 5s}", "1:18: drain.timeout: delay (5s) must be less"),
        ("access_log: {requests: error}", "must be none, errors, all or a ratio such as 10%"),
        ("access_log: {requests: 200%}", "more than 100%"),
        ("access_log: {format: xml}", "must be one of json, text, auto, not 'xml'"),
        ("tracing: {sample: 1.5}", "more than 100%"),
        ("tracing: {propagate: [b4]}", "propagate[0]: must be one of"),
        ("tracing: {exporter: jaeger}", "must be one of none, otlp, console"),
        ("upstreams: {a: }", "1:15: upstreams.a: 'endpoints' is missing"),
        ("upstreams: {a: {endpoints: []}}", "must name at least one of URLs"),
        ("upstreams: {a: {endpoints: http://a}}", "must be a list of URLs"),
        ("upstreams: {a: {endpoints: [a:80]}}", "'a:80' has no scheme; did you mean 'http://a:80'?"),
        ("upstreams: {a: {endpoints: [tcp://a]}}", "the scheme must be http or https"),
        ("upstreams: {a: {endpoints: [http://u:p@a]}}", "has no user name or password"),
        ("upstreams: {a: {endpoints: [http://a/]}}", "has no path or query; write http://a,"),
        ("upstreams: {a: {endpoints: ['http://a?x']}}", "has no path or query; write http://a,"),
        ("upstreams: {a: {endpoints: [http://]}}", "has no host"),
        ("upstreams: {a: {endpoints: ['http://a:0']}}", "a port is a number from 1 to 65535"),
        ("upstreams: {a: {endpoints: [http://a..b]}}", "a host name has an empty label"),
        ("upstreams: {a b: {endpoints: [http://a]}}", "1:13: upstreams[\"a b\"]: 'a b' is not us"),
        ("upstreams: [a]", "1:12: upstreams: must be a mapping; each key must be a name"),
        ("upstreams: {a: {endpoints: [http://a], load_balancing: robin}}", "must be one of least"),
        ("upstreams: {a: {endpoints: [http://a], connections: {max: 0}}}", "must be at least 1"),
        ("upstreams: {a: {endpoints: [https://a], tls: {cert: c}}}", "tls: 'key' is missing"),
        ("upstreams: {a: {endpoints: [https://a], tls: {verify: no}}}", "must be true or false"),
        ('upstreams: {a: {endpoints: [https://a], tls: {verify: "true"}}}', "remove the quotes"),
        (in_policy("timeouts {attempt: 5}"), "1:42: policies.default.timeouts.attempt: 5 has no"),
        (in_policy("timeouts {request: 0}"), "must be more than 0s"),
        (in_policy("timeouts {propagate: 1}"), "must be true or false, not '1'"),
        (in_policy("timeouts 5s"), "policies.default.timeouts: must be a mapping"),
        (in_policy("retry {attempts: 0}"), "must be at least 1, not 0"),
        (in_policy("retry {attempts: [1]}"), "must be a whole number"),
        (in_policy("retry {on: timeout}"), "must be a list of conditions and statuses: [timeout]"),
        (in_policy("retry {on: [time-out]}"), "did you mean 'timeout'?"),
        (in_policy("retry {on: [600]}"), "statuses are between 200 and 599"),
        (in_policy("retry {on: [503-500]}"), "the lower one first"),
        (in_policy("retry {methods: idempotant}"), "did you mean 'idempotent'?"),
        (in_policy("retry {methods: [get]}"), "did you mean 'GET'?"),
        (in_policy("retry {backoff: {multiplier: 0.5}}"), "must be at least 1, not 0.5"),
        (in_policy("retry {backoff: {multiplier: x}}"), "'x' is not a number"),
        (in_policy("retry {backoff: {multiplier: .inf}}"), "'.inf' is not a number"),
        (in_policy("retry {backoff: {multiplier: 1e3}}"), "'1e3' is not a number"),
        (in_policy("retry {backoff: {jitter: ful}}"), "did you mean 'full'?"),
        (in_policy("retry {backoff: {jitter: 120%}}"), "more than 100%"),
        (in_policy("retry {backoff: {initial: 2s, max: 1s}}"), "1s is less than initial, whi"),
        (in_policy("retry {budget: {ratio: 20}}"), "did you mean 20%?"),
        (in_policy("retry {budget: {min_per_second: -1}}"), "must be at least 0, not -1"),
        (in_policy("retry {body_limit: 64}"), "64 has no unit"),
        (in_policy("circuit_breaker {mode: on}"), "must be one of enforce, observe, off, not 'on'"),
        (in_policy("circuit_breaker {failure_rate: 0%}"), "must be more than 0%"),
        (in_policy("circuit_breaker {failure_rate: 60}"), "did you mean 60%?"),
        (in_policy("circuit_breaker {window: {size: 60s}}"), "the window's type is count"),
        (in_policy("circuit_breaker {window: {type: time, size: 60}}"), "a size such as 60s"),
        (in_policy("circuit_breaker {window: {type: time}}"), "type time also needs a 'size'"),
        (in_policy("circuit_breaker {window: {type: time, size: 1500ms}}"), "must be whole sec"),
        (in_policy("circuit_breaker {window: {type: time, size: 0s}}"), "must be whole seconds"),
        (in_policy("circuit_breaker {window: {size: 0}}"), "must be at least 1"),
        (in_policy("circuit_breaker {open_for: {initial: 2m, max: 1m}}"), "1m is less than"),
        (in_policy("circuit_breaker {half_open: {failure_rate: 0}}"), "must be more than 0%"),
        (in_policy("bulkhead {scope: endpoint}"), "must be one of route, upstream"),
        (in_policy("bulkhead {max_queue: -1}"), "must be at least 0, not -1"),
        ("routes: {a: 1}", "1:9: routes: must be a list of routes"),
        ("routes: [a]", "1:10: routes[0]: must be a mapping with keys such as 'name'"),
        ("routes: [{listener: outbound}]", "1:10: routes[0]: 'name' is missing"),
        ("routes: [{name: a}, {name: a}]", "routes[1].name: there is already a route named 'a'"),
        ("routes: [{name: default-outbound}]", "is reserved for the route that takes all other"),
        ("routes: [{name: default-inbound}]", "is reserved for the route that takes all other"),
        ("routes: [{name: a/b}]", "'a/b' is not usable as a name"),
        ("routes: [{name: a, listener: inward}]", "must be one of outbound, inbound"),
        ("routes: [{name: a, upstream: ap}]", "there is no upstream 'ap'; did you mean 'app'?"),
        ("routes: [{name: a, policy: defalt}]", "no policy 'defalt'; did you mean 'default'?"),
        ("routes: [{name: a, match: {hosts: ['a:80']}}]", "omit the port here"),
        ("routes: [{name: a, match: {hosts: ['http://a']}}]", "omit the scheme here"),
        ("routes: [{name: a, match: {hosts: ['a*']}}]", "a * must be alone or first"),
        ("routes: [{name: a, match: {hosts: ['*a']}}]", "a * must be alone or first"),
        ("routes: [{name: a, match: {hosts: ['*.*.a']}}]", "'*.a' is not a host name"),
        ("routes: [{name: a, match: {hosts: ['a b']}}]", "'a b' is not a host name"),
        ("routes: [{name: a, match: {hosts: a}}]", "must be a list of hosts"),
        ("routes: [{name: a, match: {prefix: api}}]", "must begin with '/', as in '/api'"),
        ("routes: [{name: a, match: {path: '/a?b'}}]", "must not have a query"),
        ("routes: [{name: a, match: {path: '/a b'}}]", "is not a path"),
        ("routes: [{name: a, match: {prefix: '/a/*'}}]", "paths have no wildcards"),
        ("routes: [{name: a, match: {path: '/a/{id}'}}]", "paths have no wildcards"),
        ("routes: [{name: a, match: {path: /a, prefix: /b}}]", "one of prefix, path and regex"),
        ("routes: [{name: a, match: {regex: '(['}}]", "is not a regular expression: "),
        ("routes: [{name: a, match: {methods: [get]}}]", "upper case; did you mean 'GET'?"),
        ("routes: [{name: a, match: {methods: ['G T']}}]", "'G T' is not a method"),
        ("routes: [{name: a, match: {headers: {'a b': c}}}]", "'a b' is not a header name"),
        ('routes: [{name: a, match: {headers: {a: "b\\r\\nc"}}}]', "not usable as a header value"),
        ("routes: [{name: a, match: {headers: {a: {regex: '*'}}}}]", "not a regular expression"),
        ("routes: [{name: a, match: {headers: {a: {}}}}]", "must be a text, {regex: ...} or"),
        ("routes: [{name: a, match: {headers: {a: {exact: b}}}}]", "exact: unknown key"),
        ("routes: [{name: a, match: {headers: {a: [b]}}}]", "must be a header value"),
        ("routes: [{name: a, match: {headers: {a: }}}]", "has no value"),
        ("routes: [{name: a, match: {headers: {A: b, a: c}}}]", "in another spelling"),
        (
            "routes: [{name: a, headers: {request: {set: {X-A: b, x-a: c}}}}]",
            "'x-a' is already here in another spelling",
        ),
        ("routes: [{name: a, rewrite: {host: 'a b'}}]", "'a b' is not a host name"),
        ("routes: [{name: a, rewrite: {host: 'a:99999'}}]", "a port is a number"),
        ("routes: [{name: a, rewrite: {host: '*.a'}}]", "is not a host name"),
        ("routes: [{name: a, rewrite: {prefix: x}}]", "must begin with '/'"),
        ('routes: [{name: a, headers: {request: {set: {x: "a\\nb"}}}}]', "not usable as a header"),
        ("routes: [{name: a, headers: {request: {set: {content-length: 5}}}}]", "cannot be c"),
        ("routes: [{name: a, headers: {request: {remove: [Transfer-Encoding]}}}]", "cannot be ch"),
        ("routes: [{name: a, headers: {request: {set: {Host: b}}}}]", "with rewrite.host"),
        ("routes: [{name: a, headers: {set: {x: y}}}]", "headers.set: unknown key"),
        ("egress: {allow: '*'}", "must be a list of authorities: [*]"),
        ("egress: {allow: ['a:0']}", "a port is a number from 1 to 65535"),
        ("egress: {allow: ['http://a']}", "egress.allow[0]: "),
        ("egress: {connect_ports: [0]}", "must be at least 1, not 0"),
        ("egress: {connect_ports: [65536]}", "must be at most 65535, not 65536"),
        ("egress: {connect_ports: 443}", "must be a list of ports: [443]"),
    ],
)  # fmt: skip
def test_a_bad_value_is_one_problem_that_says_what_to_write(text, message, errors):
    found = errors(text)
    assert len(found) == 1
    assert message in found[0]


def test_all_problems_come_at_once_in_the_order_of_the_file(errors):
    assert errors("""
        routes:
          - name: a
            upstream: inventri
            retry:
              max_attempt: 3
        upstreams:
          inventory: {endpoints: [http://a], dns_refresh: 5}
        drain: {delay: soon}
        """) == [
        "4:15: routes[0].upstream: there is no upstream 'inventri'; did you mean 'inventory'?",
        "6:7: routes[0].retry.max_attempt: unknown key; did you mean 'attempts'?",
        "8:51: upstreams.inventory.dns_refresh: 5 has no unit; did you mean 5us or 5ms or 5s or 5m "
        "or 5h or 5d?",
        "9:16: drain.delay: 'soon' is not a duration such as 20ms, 1.5s or 2m",
    ]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7070", Address("127.0.0.1", 7070)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("localhost:80", Address("localhost", 80)),
        ("'[::1]:7070'", Address("::1", 7070)),
        ("'[::]:7070'", Address("::", 7070)),
    ],
)
def test_addresses(text, address, config):
    for written, count in ((text, 1), (f"[{text}, 10.0.0.1:1]", 2)):
        listeners = config(f"listeners: {{outbound: {{address: {written}}}}}").listeners
        assert listeners.outbound.addresses[0] == address
        assert len(listeners.outbound.addresses) == count


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("[]", "must be HOST:PORT such as 127.0.0.1:7070, or a list of at least one"),
        ("[127.0.0.1:1, 127.0.0.1:1]", "127.0.0.1:1 is already in this list"),
        ("[7070]", "'7070' is not an address; write HOST:PORT such as 127.0.0.1:7070"),
    ],
)
def test_a_list_of_addresses_that_is_none(written, problem, errors):
    (found,) = errors(f"listeners: {{outbound: {{address: {written}}}}}")
    assert problem in found


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("http://a", EndpointConfig("http", "a", 80)),
        ("https://A.b", EndpointConfig("https", "a.b", 443)),
        ("HTTP://a_b.c-d:8080", EndpointConfig("http", "a_b.c-d", 8080)),
        ("http://10.0.0.1:1", EndpointConfig("http", "10.0.0.1", 1)),
        ("http://[::1]:8080", EndpointConfig("http", "::1", 8080)),
        ("https://[fe80::1]", EndpointConfig("https", "fe80::1", 443)),
    ],
)
def test_endpoints(text, endpoint, config):
    made = config(f"upstreams: {{a: {{endpoints: ['{text}']}}}}")
    assert made.upstreams["a"].endpoints == (endpoint,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", (0, False)),
        ("errors", (0, True)),
        ("all", (1, True)),
        ("10%", (0.1, True)),
        ("0.5", (0.5, True)),
        ("0%", (0, True)),
    ],
)
def test_logged_requests(text, expected, config):
    log = config(f"access_log: {{requests: {text}, format: text}}").access_log
    assert (log.ratio, log.errors) == expected
    assert log.format is LogFormat.TEXT


@pytest.mark.parametrize(
    ("text", "jitter"),
    [
        ("full", Jitter(JitterKind.FULL)),
        ("equal", Jitter(JitterKind.EQUAL)),
        ("decorrelated", Jitter(JitterKind.DECORRELATED)),
        ("none", Jitter(JitterKind.NONE)),
        ("20%", Jitter(JitterKind.RATIO, 0.2)),
        ("0.2", Jitter(JitterKind.RATIO, 0.2)),
    ],
)
def test_jitter(text, jitter, config):
    made = config(in_policy(f"retry {{backoff: {{jitter: {text}}}}}"))
    assert made.policies["default"].retry.backoff.jitter == jitter


@pytest.mark.parametrize(
    ("text", "methods"),
    [
        ("idempotent", RetryMethods()),
        ("any", RetryMethods(any=True)),
        ("[POST, GET]", RetryMethods(frozenset({"POST", "GET"}), keyed=False)),
        ("[]", RetryMethods(frozenset(), keyed=False)),
    ],
)
def test_retry_methods(text, methods, config):
    assert config(in_policy(f"retry {{methods: {text}}}")).policies["default"].retry.methods == (
        methods
    )


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("{size: 10}", WindowConfig(WindowType.COUNT, 10)),
        ("{size: 60s, type: time}", WindowConfig(WindowType.TIME, 60)),
        ("{type: time, size: 2m}", WindowConfig(WindowType.TIME, 120)),
        ("{type: count}", WindowConfig(WindowType.COUNT, 100)),
    ],
)
def test_windows(text, window, config):
    breaker = config(in_policy(f"circuit_breaker {{window: {text}}}")).policies["default"]
    assert breaker.circuit_breaker.window == window


def test_a_route_with_everything(config):
    route = config("""
        routes:
          - name: r
            match:
              hosts: [Inventory, "*.Shop.svc", "[::1]"]
              prefix: /api/
              methods: [POST, PURGE]
              headers: {X-Tenant: gold, x-b: {regex: "g.*"}, x-c: {present: true}}
              query: {dry: 1, "a b": {present: false}}
            rewrite: {prefix: /stock/, host: "inventory.shop:81"}
            headers:
              request: {set: {X-Team: shop}, remove: [X-Debug]}
              response: {remove: [server]}
        """).routes[0]
    assert route.match.hosts == ("inventory", "*.shop.svc", "::1")
    assert route.match.prefix == "/api"
    assert route.match.methods == {"POST", "PURGE"}
    assert dict(route.match.headers) == {
        "x-tenant": ValueMatch("gold"),
        "x-b": ValueMatch(regex="g.*"),
        "x-c": ValueMatch(),
    }
    assert dict(route.match.query) == {"dry": ValueMatch("1"), "a b": ValueMatch(present=False)}
    assert (route.rewrite.prefix, route.rewrite.host) == ("/stock", "inventory.shop:81")
    assert route.request_headers.set == (("X-Team", "shop"),)
    assert route.request_headers.remove == {"x-debug"}
    assert route.response_headers.remove == {"server"}
    assert route.upstream is None


def test_an_inbound_route_goes_to_the_app_unless_it_says_otherwise(config):
    made = config("""
        upstreams: {other: {endpoints: [http://o]}}
        routes: [{name: a, listener: inbound}, {name: b, listener: inbound, upstream: other}]
        """)
    assert [route.upstream for route in made.routes] == ["app", "other"]


def test_the_app_can_be_changed_in_part(config):
    made = config("upstreams: {app: {connections: {max: 5}}}")
    assert made.upstreams["app"].endpoints == (EndpointConfig("http", "127.0.0.1", 8080),)
    assert made.upstreams["app"].connections.max == 5


def test_lists(config):
    made = config("""
        admin: {remote: []}
        tracing: {propagate: [b3multi, tracecontext]}
        egress: {allow: ["*.Shop", "a:8443", "*:443", "[::1]:80"], connect_ports: [443, 8443]}
        """)
    assert made.admin.remote == frozenset[RemoteAccess]()
    assert made.tracing.propagate == (Propagation.B3MULTI, Propagation.TRACECONTEXT)
    assert made.egress.allow == ("*.shop", "a:8443", "*:443", "[::1]:80")
    assert made.egress.connect_ports == {443, 8443}


@pytest.mark.parametrize(
    ("environ", "service"),
    [({"OTEL_SERVICE_NAME": "orders"}, "orders"), ({"OTEL_SERVICE_NAME": 'a"b\n'}, "a_b_")],
)
def test_the_services_name_comes_from_open_telemetrys_variable(environ, service, config):
    assert config("", **environ).service == service
    assert config("service: own", **environ).service == "own"


def test_without_a_name_the_service_has_the_hosts(config):
    import os

    assert config("").service == os.uname().nodename


@pytest.mark.parametrize(
    "text",
    [
        "listeners: {outbound: {address: 127.0.0.1:7072}}",
        "listeners: {outbound: {address: 0.0.0.0:1}, inbound: {address: 127.0.0.1:1}}",
        "listeners: {outbound: {address: localhost:1}, inbound: {address: 127.0.0.1:1}}",
        "admin: {address: '[::]:1'}\nlisteners: {inbound: {address: '[::1]:1'}}",
        "admin: {address: '[::]:1'}\nlisteners: {inbound: {address: 'localhost:1'}}",
    ],
)
def test_two_listeners_cannot_have_one_address(text, errors):
    (problem,) = errors(text)
    assert "conflicts with" in problem


def test_ports_that_the_system_chooses_never_clash(errors):
    assert not errors("""
        listeners: {outbound: {address: 127.0.0.1:0}, inbound: {address: 127.0.0.1:0}}
        admin: {address: 127.0.0.1:0}
        """)


def test_the_two_families_do_not_clash(errors):
    assert not errors("admin: {address: '[::1]:7070'}")
    assert not errors(
        "{admin: {address: '[::1]:7071'}, listeners: {inbound: {address: '0.0.0.0:7071'}}}"
    )


def test_the_ipv6_wildcard_takes_both_families(errors):
    (problem,) = errors("admin: {address: '[::]:7071'}")
    assert (
        "admin.address: conflicts with listeners.inbound.address, which is 0.0.0.0:7071" in problem
    )


@pytest.mark.parametrize(
    ("written", "trust"),
    [
        ("all", Trust()),
        ("none", Trust(False)),
        ("[]", Trust(False)),
        ("[10.0.0.0/8, 'fd00::/8', 192.0.2.1]",
         Trust(False, ("10.0.0.0/8", "fd00::/8", "192.0.2.1/32"))),
    ],
)  # fmt: skip
def test_whose_forwarded_fields_stay(config, written, trust):
    made = config(f"listeners: {{inbound: {{forwarded: {{trust: {written}}}}}}}")
    assert made.listeners.inbound.forwarded.trust == trust


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("nobody", "must be all, none or a list of networks, not 'nobody'"),
        ("[shop]", "'shop' is not a network such as 10.0.0.0/8"),
        ("[10.1.2.3/8]", "did you mean '10.0.0.0/8'?"),
    ],
)
def test_networks_that_are_none(errors, written, told):
    (problem,) = errors(f"listeners: {{inbound: {{forwarded: {{trust: {written}}}}}}}")
    assert told in problem


def test_the_outbound_listener_adds_nothing_and_trusts_nobody(errors):
    (problem,) = errors("listeners: {outbound: {forwarded: {trust: none}}}")
    assert "unknown key" in problem


@pytest.mark.parametrize(
    ("match", "message"),
    [
        ("{grpc: {method: C}}", "match.grpc: 'method' needs a 'service'"),
        ("{grpc: {service: a.B/C}}", "give the service and the method as two keys"),
        ("{grpc: {service: a..B}}", "'a..B' is not a full service name such as shop.v1.Inventory"),
        ("{grpc: {service: a.B, method: C/D}}", "'C/D' is not the name of a method such as"),
        ("{grpc: {service: a.B}, prefix: /x}", "grpc.service already says which paths it takes"),
        ("{grpc: {}, methods: [GET]}", "gRPC calls have the method POST, so this can never match"),
        ("{grpc: any}", "match.grpc: must be a mapping"),
    ],
)
def test_grpc_matches_that_cannot_be(match, message, errors):
    (found,) = errors(f"routes: [{{name: a, match: {match}}}]")
    assert message in found


def test_grpc_matches(config):
    text = "routes: [{name: a, match: {grpc: {}, regex: '/shop.*', methods: [POST]}}]"
    assert config(text).routes[0].match.grpc == GrpcMatch()


@pytest.mark.parametrize(
    ("response", "status", "grpc", "message"),
    [
        ("{status: 200, json: {}}", 200, -1, ""),
        ("{grpc: {status: unavailable, message: later}}", 503, 14, "later"),
        ("{grpc: {status: UNAVAILABLE}}", 503, 14, ""),
        ("{grpc: {status: ok}}", 200, 0, ""),
        ("{grpc: {status: data-loss}}", 500, 15, ""),
        ("{status: 202, json: 1, grpc: {status: not-found}}", 202, 5, ""),
    ],
)
def test_fallbacks_for_grpc_callers(response, status, grpc, message, config):
    text = f"policies: {{default: {{fallback: {{when: [timeout], response: {response}}}}}}}"
    found = config(text).policies["default"].fallback.response
    assert (found.status, found.grpc, found.message) == (status, grpc, message)


def test_an_unknown_grpc_status_is_named(errors):
    answer = "{when: [timeout], response: {grpc: {status: unavailible}}}"
    (found,) = errors(f"policies: {{default: {{fallback: {answer}}}}}")
    assert "not 'unavailible'; did you mean 'unavailable'?" in found


HTTP1 = "upstreams: {a: {endpoints: ['http://a'], protocol: PROTOCOL}}\n"


def test_a_grpc_route_to_an_upstream_without_http2(errors):
    text = HTTP1 + "routes: [{name: r, match: {grpc: {}}, upstream: a}]"
    (found,) = errors(text.replace("PROTOCOL", "http1"))
    assert "routes[0].upstream: gRPC needs HTTP/2, and upstream 'a' has protocol: http1" in found
    for protocol in ("auto", "http2"):
        assert errors(text.replace("PROTOCOL", protocol)) == []
    other = HTTP1 + "routes: [{name: r, match: {prefix: /x}, upstream: a}]"
    assert errors(other.replace("PROTOCOL", "http1")) == []
