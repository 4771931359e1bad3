"""How a request finds its way: contract, section 2."""

from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.ports import free_port
from integration.raw_client import request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, route


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    by_host = {"hosts": ["inventory", "*.shop.svc"], "prefix": "/stock"}
    return module_proxy(
        {
            "upstreams": {
                "chaos": {"endpoints": [shared_chaos.url]},
                "app": {"endpoints": [shared_chaos.url]},
            },
            "routes": [
                {"name": "by-host", "match": by_host, "upstream": "chaos"},
                {
                    "name": "exact",
                    "match": {"path": "/only/this", "methods": ["POST"]},
                    "upstream": "chaos",
                },
                {
                    "name": "detailed",
                    "match": {
                        "regex": "/items/[0-9]+",
                        "headers": {"x-tenant": "gold"},
                        "query": {"dry": "1"},
                    },
                    "upstream": "chaos",
                },
                {
                    **route("rewritten"),
                    "rewrite": {"prefix": "/inner", "host": "inner.test"},
                    "headers": {
                        "request": {"set": {"x-team": "shop"}, "remove": ["x-debug"]},
                        "response": {"set": {"x-by": "proxy"}, "remove": ["server"]},
                    },
                },
                {
                    "name": "callers",
                    "listener": "inbound",
                    "match": {"prefix": "/callers"},
                    "upstream": "chaos",
                },
            ],
            "egress": {
                "allow": ["127.0.0.1", f"localhost:{shared_chaos.port}", "*.allowed.test"],
                "connect_ports": [443, shared_chaos.port],
            },
        }
    )


def _route(proxy: RunningProxy, request_id: str) -> str:
    return str(proxy.logged(request_id)["route"])


@pytest.mark.parametrize(
    ("host", "target", "name"),
    [
        ("inventory", "/stock", "by-host"),
        ("inventory:8080", "/stock/1?a=b", "by-host"),
        ("INVENTORY", "/stock", "by-host"),
        ("a.shop.svc", "/stock", "by-host"),
        ("x", "http://inventory/stock", "by-host"),
        ("x", "http://b.shop.svc:81/stock/2", "by-host"),
    ],
)
def test_origin_and_absolute_form(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, host: str, target: str, name: str
) -> None:
    response = proxy.call("GET", target, {"Host": host})
    assert response.status == 200
    assert _route(proxy, response.id) == name
    (seen,) = shared_chaos.seen(response.id)
    authority, _, path = target.removeprefix("http://").partition("/")
    assert seen.target == "/" + path, "what goes upstream is in origin form"
    sent = authority if target.startswith("http") else host
    assert (seen.header("host") or "").lower() == sent.lower()


@pytest.mark.parametrize(("method", "path"), [("GET", "/only/this"), ("POST", "/only/this/more")])
def test_all_of_a_match_must_hold(proxy: RunningProxy, method: str, path: str) -> None:
    response = proxy.call(method, path, {"Host": "denied.test"}, b"")
    assert (response.status, response.why) == (403, "egress-denied")


def test_headers_and_query_and_regex(proxy: RunningProxy) -> None:
    gold = {"X-Tenant": "gold", "Host": "denied.test"}
    assert proxy.call("GET", "/items/7?dry=1", gold).status == 200
    assert proxy.call("GET", "/items/7?dry=2", gold).status == 403
    assert proxy.call("GET", "/items/x?dry=1", gold).status == 403
    assert proxy.call("GET", "/items/7?dry=1", {"Host": "denied.test"}).status == 403


def test_rewrites(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = proxy.call(
        "GET", "/rewritten/x?y=1", {"X-Debug": "1"}, chaos="header=Server:chaos header=X-Own:1"
    )
    assert (response.header("server"), response.header("x-own")) == (None, "1")
    assert response.header("x-by") == "proxy"
    (seen,) = shared_chaos.seen(response.id)
    assert (seen.target, seen.header("host")) == ("/inner/x?y=1", "inner.test")
    assert (seen.header("x-team"), seen.header("x-debug")) == ("shop", None)


# --- no route: the authority asked for ----------------------------------------------------------


@pytest.mark.parametrize("form", ["origin", "absolute"])
def test_the_authority_asked_for(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, form: str
) -> None:
    target = "/free?x=1" if form == "origin" else f"{shared_chaos.url}/free?x=1"
    response = proxy.call("GET", target, {"Host": shared_chaos.authority})
    assert response.status == 200
    (seen,) = shared_chaos.seen(response.id)
    assert (seen.target, seen.header("host")) == ("/free?x=1", shared_chaos.authority)


def test_a_name_is_looked_up(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = proxy.call("GET", f"http://localhost:{shared_chaos.port}/named")
    assert response.status == 200


@pytest.mark.parametrize("authority", ["localhost:1", "denied.test", "allowed.test"])
def test_egress_denied(proxy: RunningProxy, authority: str) -> None:
    response = proxy.call("GET", f"http://{authority}/")
    assert (response.status, response.why) == (403, "egress-denied")
    assert len(response.problem["attempts"]) == 0


def test_an_allowed_name_that_does_not_exist(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "http://nowhere.allowed.test/")
    assert (response.status, response.why) == (502, "dns-failure")


@pytest.mark.parametrize("host", ["", "a b", "user@host", "host:port", "host:99999"])
def test_no_usable_authority(proxy: RunningProxy, host: str) -> None:
    response = proxy.call("GET", "/", {"Host": host})
    assert response.status == 400
    assert response.why in ("no-authority", "bad-request")


def test_http_10_without_host_has_no_authority(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        response = client.read_response()
    assert (response.status, response.why) == (400, "no-authority")


def test_http_11_without_host_is_malformed(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        response = client.read_response()
        assert response.status == 400
        assert client.closed()


@pytest.mark.parametrize("door", ["outbound", "inbound", "admin"])
def test_the_proxys_own_addresses_would_loop(proxy: RunningProxy, door: str) -> None:
    port = getattr(proxy, door)
    response = proxy.call("GET", f"http://127.0.0.1:{port}/")
    assert (response.status, response.why) == (508, "loop")
    response = proxy.call("GET", "/", {"Host": f"127.0.0.1:{port}"})
    assert (response.status, response.why) == (508, "loop")


def test_a_route_that_leads_back_here_ends_after_a_few_rounds(
    start_proxy: Callable[..., RunningProxy],
) -> None:
    port = free_port()
    proxy = start_proxy(
        {
            "listeners": {"outbound": {"address": f"127.0.0.1:{port}"}},
            "upstreams": {"self": {"endpoints": [f"http://127.0.0.1:{port}"]}},
            "routes": [route("round", "self")],
        }
    )
    response = proxy.call("GET", "/round")
    assert (response.status, response.why) == (508, "loop")


# --- inbound ------------------------------------------------------------------------------------


def test_inbound_routes_and_the_app(proxy: RunningProxy) -> None:
    claimed = proxy.call("GET", "/callers/1", listener="inbound")
    assert (claimed.status, _route(proxy, claimed.id)) == (200, "callers")
    other = proxy.call("GET", "/anything", {"Host": "me"}, listener="inbound")
    assert other.status == 200
    line = proxy.logged(other.id)
    assert (line["listener"], line["upstream"]) == ("inbound", "app")


def test_outbound_routes_do_not_take_what_comes_in(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/rewritten", listener="inbound")
    assert proxy.logged(response.id)["upstream"] == "app"


# --- tunnels ------------------------------------------------------------------------------------


def test_connect_is_a_tunnel(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    with proxy.client() as client:
        authority = shared_chaos.authority
        client.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        head = client.read_head()
        assert head.status == 200
        assert head.values("content-length") == head.values("transfer-encoding") == []
        assert proxy.state("/in-flight")["outbound"] == 1
        inner = client.request("GET", "/through", request_id="in-a-tunnel")
        assert inner.body == b"ok"
    eventually(lambda: proxy.in_flight() == 0)
    (seen,) = shared_chaos.seen("in-a-tunnel")
    assert seen.header("via") is None, "the bytes of a tunnel are nobody's business"


def test_bytes_sent_along_with_connect_arrive(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    authority = shared_chaos.authority
    with proxy.client() as client:
        client.send(
            f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
            + request_bytes("GET", "/eager")
        )
        assert client.read_head().status == 200
        assert client.read_response().body == b"ok"


def test_the_tunnel_ends_with_either_side(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    authority = shared_chaos.authority
    with proxy.client() as client:
        client.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        assert client.read_head().status == 200
        assert client.request("GET", "/", chaos="close-silently").body == b"ok"
        assert client.closed()
    eventually(lambda: proxy.in_flight() == 0)


def test_connect_to_a_denied_host_is_refused(proxy: RunningProxy) -> None:
    response = proxy.call("CONNECT", "denied.test:443", {"Host": "denied.test:443"})
    assert (response.status, response.why) == (403, "egress-denied")


def test_connect_to_a_port_that_is_closed(proxy: RunningProxy) -> None:
    response = proxy.call("CONNECT", "127.0.0.1:443", {"Host": "127.0.0.1:443"})
    assert (response.status, response.why) == (502, "connect-refused")


@pytest.mark.parametrize("target", ["/", "http://host/", "host", "host:"])
def test_connect_wants_an_authority(proxy: RunningProxy, target: str) -> None:
    assert proxy.call("CONNECT", target, {"Host": "host"}).status == 400


@pytest.mark.parametrize("listener", ["outbound", "inbound"])
def test_upgrade_becomes_a_tunnel(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, listener: str
) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    with proxy.client(listener) as client:
        response = client.request(
            "GET", "/callers", {**headers, "Host": shared_chaos.authority}, chaos="upgrade"
        )
        assert response.status == 101
        assert (response.header("upgrade") or "").lower() == "websocket"
        assert (response.header("connection") or "").lower() == "upgrade"
        for size in (1, 100_000):
            client.send(b"w" * size)
            assert client.read_some(size) == b"w" * size
        assert proxy.state("/in-flight")[listener] == 1
    eventually(lambda: proxy.in_flight() == 0)
    (seen,) = shared_chaos.seen(response.id)
    assert (seen.header("upgrade"), seen.header("sec-websocket-version")) == ("websocket", "13")
    assert seen.lost.wait(5)


def test_an_upgrade_that_is_not_granted_is_a_response(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "x", "Host": shared_chaos.authority}
    with proxy.client() as client:
        assert client.request("GET", "/", headers, chaos="200").body == b"ok"
        assert client.request("GET", "/", {"Host": shared_chaos.authority}).body == b"ok"


# --- what goes out of the target ----------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/a%2Fb//c/./d/../e",
        "/a?x=%zz&y=%20+z&",
        "/?",
        "/a?b?c=/d/",
        "/a;v=1,2'!$()*",
        "//double",
    ],
)
@pytest.mark.parametrize("form", ["origin", "absolute"])
def test_the_target_goes_on_as_it_came(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, target: str, form: str
) -> None:
    asked = target if form == "origin" else shared_chaos.url + target
    response = proxy.call("GET", asked, {"Host": shared_chaos.authority})
    assert response.status == 200
    assert shared_chaos.seen(response.id)[0].target == target


@pytest.mark.parametrize(("suffix", "target"), [("", "/"), ("?a=b", "/?a=b")])
def test_an_absolute_url_without_a_path(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, suffix: str, target: str
) -> None:
    response = proxy.call("GET", shared_chaos.url + suffix)
    assert shared_chaos.seen(response.id)[0].target == target


def test_options_of_the_whole_server(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = proxy.call("OPTIONS", "*", {"Host": shared_chaos.authority})
    assert response.status == 200
    assert shared_chaos.seen(response.id)[0].target == "*"


@pytest.mark.parametrize("target", ["http://user:pw@127.0.0.1/", "http:///x", "ftp://127.0.0.1/"])
def test_urls_that_name_no_usable_authority(proxy: RunningProxy, target: str) -> None:
    assert proxy.call("GET", target).status == 400
