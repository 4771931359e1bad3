"""Which route takes a request; matches and mismatch are asked together everywhere."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import load_text
from proxy.config.model import DEFAULT_INBOUND, DEFAULT_OUTBOUND, Listener
from proxy.errors import BadRequest
from proxy.routing import Route, RouteTable


@dataclass(frozen=True)
class Request:
    method: str = "GET"
    host: str = "svc"
    path: str = "/"
    query: str = ""
    headers: dict[bytes, list[bytes]] = field(default_factory=dict)
    version: int = 11

    def values(self, name: bytes) -> list[bytes]:
        return self.headers.get(name, [])


def table(text: str) -> RouteTable:
    return RouteTable(load_text(text, "f", {}).config)


def route(match: str, more: str = "") -> Route:
    return table(f"routes: [{{name: r, match: {match}{more}}}]").routes[0]


def takes(made: Route, request: Request) -> bool:
    matches = made.matches(request)
    assert matches is (made.mismatch(request) is None)
    return matches


@pytest.mark.parametrize(
    ("match", "good", "bad"),
    [
        (
            "{prefix: /api}",
            ["/api", "/api/", "/api/x", "/api//x"],
            ["/", "/apix", "/API", "/x/api"],
        ),
        ("{prefix: /api/}", ["/api", "/api/", "/api/x"], ["/apix"]),
        ("{prefix: /}", ["/", "/x", "//"], ["*"]),
        ("{path: /api}", ["/api"], ["/api/", "/api/x", "/"]),
        ("{regex: '/v[0-9]+/x'}", ["/v1/x", "/v22/x"], ["/v/x", "/v1/xy", "/a/v1/x"]),
        ("{}", ["/", "/x", "*"], []),
    ],
)
def test_paths(match, good, bad):
    made = route(match)
    assert [path for path in (*good, *bad) if takes(made, Request(path=path))] == good


@pytest.mark.parametrize(
    ("match", "good", "bad"),
    [
        ("{hosts: [inventory]}", ["inventory"], ["", "inventory.shop", "xinventory"]),
        ("{hosts: ['*.shop']}", ["a.shop", "b.a.shop"], ["shop", "ashop", ".shop", "a.shop.x"]),
        ("{hosts: [a, '*.b', c]}", ["a", "c", "x.b"], ["b", "d"]),
        ("{hosts: ['*']}", ["a", ""], []),
        ("{hosts: ['[::1]']}", ["::1"], ["::2"]),
    ],
)
def test_hosts(match, good, bad):
    made = route(match)
    assert [host for host in (*good, *bad) if takes(made, Request(host=host))] == good


def test_methods_are_exact():
    made = route("{methods: [GET, PURGE]}")
    methods = ["GET", "PURGE", "POST", "get", ""]
    assert [m for m in methods if takes(made, Request(method=m))] == ["GET", "PURGE"]


@pytest.mark.parametrize(
    ("match", "values", "expected"),
    [
        ("gold", [b"gold"], True),
        ("gold", [b"silver", b"gold"], True),
        ("gold", [b"gold, silver"], False),
        ("gold", [b"Gold"], False),
        ("gold", [], False),
        ("{regex: 'g.*'}", [b"gold"], True),
        ("{regex: 'g'}", [b"gold"], False),
        ("{regex: '.*'}", [], False),
        ("{regex: '.'}", [b"\xff"], True),
        ("{present: true}", [b""], True),
        ("{present: true}", [], False),
        ("{present: false}", [], True),
        ("{present: false}", [b"x"], False),
    ],
)
def test_headers(match, values, expected):
    made = route(f"{{headers: {{X-Tenant: {match}}}}}")
    assert takes(made, Request(headers={b"x-tenant": values})) is expected


@pytest.mark.parametrize(
    ("match", "query", "expected"),
    [
        ('{dry: "1"}', "dry=1", True),
        ('{dry: "1"}', "a=b&dry=1&c", True),
        ('{dry: "1"}', "dry=0&dry=1", True),
        ('{dry: "1"}', "dry=%31", True),
        ('{dry: "1"}', "d%72y=1", True),
        ('{dry: "a b"}', "dry=a+b", True),
        ('{dry: "1"}', "dry=10", False),
        ('{dry: "1"}', "DRY=1", False),
        ('{dry: "1"}', "", False),
        ('{dry: ""}', "dry", True),
        ('{dry: ""}', "dry=", True),
        ("{dry: {present: true}}", "dry", True),
        ("{dry: {present: false}}", "dry", False),
        ("{dry: {present: false}}", "a=b", True),
        ("{dry: {regex: '[0-9]+'}}", "dry=12", True),
        ("{dry: {regex: '[0-9]+'}}", "dry=12x", False),
        ("{a: x, b: y}", "a=x&b=y", True),
        ("{a: x, b: y}", "a=x", False),
        ('{dry: "1"}', "dry=%ff%zz&dry=1", True),
        ('{dry: "1"}', "&" * 2000 + "dry=1", False),
    ],
)
def test_queries(match, query, expected):
    assert takes(route(f"{{query: {match}}}"), Request(query=query)) is expected


def test_all_criteria_must_hold():
    made = route("{hosts: [a], prefix: /x, methods: [PUT], headers: {h: v}, query: {q: w}}")
    good = Request("PUT", "a", "/x/y", "q=w", {b"h": [b"v"]})
    assert takes(made, good)
    for change in (
        {"method": "GET"}, {"host": "b"}, {"path": "/y"}, {"query": ""}, {"headers": {}},
    ):  # fmt: skip
        assert not takes(made, Request(**{**vars(good), **change}))


@pytest.mark.parametrize(
    ("match", "request_", "why"),
    [
        ("{methods: [POST]}", Request(), "method GET is not POST"),
        ("{methods: [POST, PUT]}", Request(), "method GET is not one of POST, PUT"),
        ("{hosts: [a, '*.b']}", Request(), "host svc is not one of a, *.b"),
        ("{hosts: [a]}", Request(host=""), "host (none) is not a"),
        ("{prefix: /api}", Request(), "path / is not below /api"),
        ("{path: /api}", Request(), "path / is not /api"),
        ("{regex: '/a+'}", Request(), "path / does not match /a+"),
        ("{headers: {a: b}}", Request(), "header a is missing"),
        ("{headers: {a: b}}", Request(headers={b"a": [b"c"]}), "header a is not 'b'"),
        ("{headers: {a: {regex: b}}}", Request(headers={b"a": [b"c"]}), "header a does not match b"
         ),
        ("{headers: {a: {present: false}}}", Request(headers={b"a": [b"c"]}),
         "header a must be absent"),
        ("{query: {a: b}}", Request(query="a=c"), "query parameter a is not 'b'"),
    ],
)  # fmt: skip
def test_a_mismatch_says_what_is_lacking(match, request_, why):
    assert route(match).mismatch(request_) == why


@pytest.mark.parametrize(
    ("match", "prefix", "paths"),
    [
        ("{prefix: /api}", "/stock", {"/api": "/stock", "/api/": "/stock/", "/api/x": "/stock/x"}),
        ("{prefix: /api}", "/", {"/api": "/", "/api/": "/", "/api/x": "/x"}),
        ("{prefix: /api/}", "/a/b/", {"/api/x": "/a/b/x"}),
        ("{prefix: /}", "/v2", {"/": "/v2/", "/x": "/v2/x"}),
        ("{}", "/v2", {"/x": "/v2/x", "*": "*"}),
        ("{}", "/", {"/x": "/x", "/": "/"}),
        ("{path: /api}", "/stock", {"/api": "/stock"}),
        ("{regex: '/v[0-9]/.*'}", "/stock", {"/v1/x": "/stock"}),
        ("{path: /api}", "/", {"/api": "/"}),
    ],
)
def test_rewriting(match, prefix, paths):
    made = route(match, f", rewrite: {{prefix: {prefix}}}")
    assert {path: made.rewrite_path(path) for path in paths} == paths


def test_without_a_rewrite_paths_stay():
    assert route("{prefix: /api}").rewrite_path("/api/x") == "/api/x"


FILE = """
routes:
  - {name: one, match: {prefix: /a}}
  - {name: in, listener: inbound, match: {prefix: /a}}
  - {name: two, match: {prefix: /a/b}}
  - {name: three, match: {methods: [PUT]}}
policies: {default: {retry: {attempts: 7}}}
"""


def test_the_first_route_of_the_listener_wins_and_the_rest_has_a_route_too():
    made = table(FILE)
    asked = {
        (Listener.OUTBOUND, "GET", "/a/b"): "one",
        (Listener.OUTBOUND, "PUT", "/x"): "three",
        (Listener.OUTBOUND, "GET", "/x"): DEFAULT_OUTBOUND,
        (Listener.INBOUND, "GET", "/a"): "in",
        (Listener.INBOUND, "PUT", "/x"): DEFAULT_INBOUND,
    }
    found = {key: made.match(key[0], Request(key[1], path=key[2])).name for key in asked}
    assert found == asked


def test_the_table_knows_its_routes():
    made = table(FILE)
    assert [r.name for r in made.routes] == ["one", "in", "two", "three"]
    assert [r.name for r in made.of(Listener.INBOUND)] == ["in", DEFAULT_INBOUND]
    outbound, inbound = made.default(Listener.OUTBOUND), made.default(Listener.INBOUND)
    assert (outbound.config.upstream, inbound.config.upstream) == (None, "app")
    assert outbound.config.policies.retry.attempts == 7
    assert inbound.listener is Listener.INBOUND


MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "hosts": st.lists(st.sampled_from(["a", "*.b", "b", "*"]), min_size=1, max_size=2),
        "methods": st.lists(st.sampled_from(["GET", "PUT"]), min_size=1, max_size=2, unique=True),
        "prefix": st.sampled_from(["/", "/x", "/x/y"]),
        "headers": st.fixed_dictionaries(
            {"h": st.sampled_from(["v", {"regex": "v+"}, {"present": True}, {"present": False}])}
        ),
        "query": st.fixed_dictionaries({"q": st.sampled_from(["v", {"present": False}])}),
    },
)
REQUESTS = st.builds(
    Request,
    st.sampled_from(["GET", "PUT", "POST"]),
    st.sampled_from(["", "a", "b", "x.b", "c"]),
    st.sampled_from(["/", "/x", "/x/", "/x/y/z", "/xy", "*"]),
    st.sampled_from(["", "q", "q=v", "q=w&q=v"]),
    st.dictionaries(st.just(b"h"), st.lists(st.sampled_from([b"v", b"vv", b""]), max_size=2)),
)


@given(MATCHES, MATCHES, REQUESTS)
def test_a_route_called_unreachable_never_matches_what_the_earlier_one_does_not(a, b, request_):
    import json

    loaded = load_text(
        json.dumps({"routes": [{"name": "a", "match": a}, {"name": "b", "match": b}]}), "f", {}
    )
    first, second = RouteTable(loaded.config).routes
    both = takes(first, request_), takes(second, request_)
    unreachable = any("can never match" in str(warning) for warning in loaded.warnings)
    # `OPTIONS *` is let pass: a prefix of / counts as everything in the warning.
    if unreachable and request_.path != "*":
        assert both != (False, True)


@pytest.mark.interpreted
def test_of_many_routes_few_are_asked():
    """However many there are, the last one is found by its host, its path or its regex."""
    lines = ["routes:"]
    for number in range(100):
        lines += [
            f"  - {{name: h{number}, match: {{hosts: [h{number}.test], prefix: /api}}}}",
            f"  - {{name: s{number}, match: {{hosts: ['*.s{number}.test']}}}}",
            f"  - {{name: p{number}, match: {{prefix: /api/v1/p{number}}}}}",
            f"  - {{name: e{number}, match: {{path: /exact/e{number}}}}}",
            f"  - {{name: r{number}, match: {{regex: '/r{number}/[0-9]+'}}}}",
        ]
    made = table("\n".join(lines))
    asked = []
    for each in made.routes:
        each.matches = lambda head, was=each.matches: asked.append(1) or was(head)
    for request, name in (
        (Request(host="h99.test", path="/api/x"), "h99"),
        (Request(host="a.b.s99.test", path="/x"), "s99"),
        (Request(path="/api/v1/p99/x"), "p99"),
        (Request(path="/exact/e99"), "e99"),
        (Request(path="/r99/17"), "r99"),
        (Request(path="/none"), DEFAULT_OUTBOUND),
    ):
        asked.clear()
        assert made.match(Listener.OUTBOUND, request).name == name
        assert len(asked) <= 1


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/a/../x", True),
        ("/a/%2E%2e/x", True),
        ("/a/.", True),
        ("/a/..;x/y", True),
        ("/a/..%2fx", True),
        ("/a/..\\x", True),
        ("/a/...", False),
        ("/a/.b/c..d", False),
        ("/a/%2d", False),
    ],
)
def test_a_rewritten_prefix_cannot_be_left(path, refused):
    rewriting = route("{prefix: /a}", ", rewrite: {prefix: /b}")
    if refused:
        with pytest.raises(BadRequest, match="dot segment"):
            rewriting.rewrite_path(path)
    else:
        assert rewriting.rewrite_path(path) == "/b" + path.removeprefix("/a")
    assert route("{prefix: /a}").rewrite_path(path) == path
    assert route("{path: /a}", ", rewrite: {prefix: /b}").rewrite_path(path) == "/b"


def call(path: str, **changed) -> Request:
    kind = changed.pop("kind", b"application/grpc")
    return Request("POST", path=path, headers={b"content-type": [kind]}, version=20, **changed)


@pytest.mark.parametrize(
    ("match", "good", "bad"),
    [
        ("{grpc: {}}", ["/shop.v1.Inventory/Deduct", "/x"], []),
        (
            "{grpc: {service: shop.v1.Inventory}}",
            ["/shop.v1.Inventory/Deduct", "/shop.v1.Inventory/Watch"],
            ["/shop.v1.Inventory", "/shop.v1.inventory/Deduct", "/shop.v1.InventoryX/Deduct"],
        ),
        (
            "{grpc: {service: shop.v1.Inventory, method: Deduct}}",
            ["/shop.v1.Inventory/Deduct"],
            ["/shop.v1.Inventory/deduct", "/shop.v1.Inventory/DeductAll", "/x/Deduct"],
        ),
    ],
)
def test_grpc_services_and_methods(match, good, bad):
    made = route(match)
    assert [path for path in (*good, *bad) if takes(made, call(path))] == good


@pytest.mark.parametrize(
    ("request_", "is_one"),
    [
        (call("/a.B/C"), True),
        (call("/a.B/C", kind=b"application/grpc+proto"), True),
        (call("/a.B/C", kind=b"application/grpc;charset=utf-8"), True),
        (call("/a.B/C", kind=b"Application/GRPC"), True),
        (call("/a.B/C", kind=b"application/grpc-web+proto"), False),
        (call("/a.B/C", kind=b"application/json"), False),
        (Request("POST", path="/a.B/C", version=20), False),
        (Request("GET", path="/a.B/C", headers=call("/").headers, version=20), False),
        (Request("POST", path="/a.B/C", headers=call("/").headers, version=11), False),
    ],
)
def test_what_a_grpc_call_is(request_, is_one):
    made = route("{grpc: {service: a.B}}")
    assert takes(made, request_) is is_one
    if not is_one:
        assert made.mismatch(request_) == (
            "it is not a gRPC call (HTTP/2, POST, content-type application/grpc)"
        )
    assert route("{grpc: {service: a.B}}").mismatch(call("/b.C/D")) == "path /b.C/D is not a.B/*"


def test_grpc_routes_among_many():
    plain = ", ".join(f"{{name: p{n}, match: {{prefix: /p{n}}}}}" for n in range(20))
    made = table(
        f"routes: [{plain}, {{name: one, match: {{grpc: {{service: a.B, method: C}}}}}}, "
        "{name: service, match: {grpc: {service: a.B}}}, {name: any, match: {grpc: {}}}]"
    ).at(Listener.OUTBOUND)
    found = [made.match(call(path)).name for path in ("/a.B/C", "/a.B/D", "/b/C", "/p3/x")]
    assert found == ["one", "service", "any", "p3"]


def test_a_grpc_service_is_renamed_by_a_rewritten_prefix():
    made = route("{grpc: {service: a.B}}", ", rewrite: {prefix: /new.a.B}")
    assert made.rewrite_path("/a.B/C") == "/new.a.B/C"
    made = route("{grpc: {service: a.B, method: C}}", ", rewrite: {prefix: /x.Y/Z}")
    assert made.rewrite_path("/a.B/C") == "/x.Y/Z"
