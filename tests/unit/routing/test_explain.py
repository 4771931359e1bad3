"""The answer to "where does this request go, and why?"."""

from textwrap import dedent

import pytest

from proxy.config import load_text
from proxy.config.model import Listener
from proxy.routing.explain import DescribedRequest, describe_request, explain

FILE = """\
    upstreams:
      inventory: {endpoints: ["http://inventory:8080", "http://spare:8080"]}
    policies:
      gold:
        retry: {attempts: 5}
    routes:
      - name: writes
        match: {methods: [POST]}
      - name: stock
        match: {hosts: [shop], prefix: /api}
        upstream: inventory
        policy: gold
        timeouts: {request: 9s}
        rewrite: {prefix: /stock, host: inventory.shop}
        headers: {request: {set: {X-Team: shop}, remove: [x-debug]}, response: {remove: [server]}}
      - name: later
    egress: {allow: ["*.shop", "ok:443"]}
    """


def explained(method: str, url: str, *headers: str, listener: str = "outbound") -> str:
    loaded = load_text(dedent(FILE), "f.yaml", {})
    return explain(loaded, Listener(listener), describe_request(method, url, headers)).text()


def test_the_route_its_reasons_and_its_destination():
    lines = explained("GET", "http://Shop/api/x?q=1").splitlines()
    assert lines[:18] == [
        "GET http://Shop/api/x?q=1 at the outbound listener",
        "",
        "routes, in order",
        "  1. writes  method GET is not POST  f.yaml:7",
        "> 2. stock   takes it                f.yaml:9",
        "",
        "goes to upstream inventory",
        "  http://inventory:8080",
        "  http://spare:8080",
        "path /api/x becomes /stock/x",
        "Host becomes inventory.shop",
        "request headers: sets X-Team, removes x-debug",
        "response headers: removes server",
        "",
        "retried on connect-failure, refused-stream, reset, timeout, gateway-error, up to 5 "
        "attempts in total (f.yaml:5 (policy gold)); for this a body of up to 64KiB is kept",
        "takes at most 9s (timeouts.request, f.yaml:13 (route stock)), without the time of its "
        "body; all attempts and waits (including Retry-After) would take 45s",
        "",
        "policy gold, in effect for route stock",
    ]
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[18:]}
    assert rows["timeouts.request"] == "9s f.yaml:13 (route stock)"
    assert rows["retry.attempts"] == "5 f.yaml:5 (policy gold)"
    assert rows["timeouts.attempt"] == "5s built-in default"
    assert rows["fallback"] == "none built-in default"


def test_the_columns_are_aligned():
    rows = [line for line in explained("GET", "http://shop/api").splitlines() if "default" in line]
    short = [row for row in rows if "[" not in row]
    assert len({row.index("built-in default") for row in short}) == 1


@pytest.mark.parametrize(
    ("method", "url", "expected"),
    [
        ("GET", "http://a.shop/", "goes to a.shop:80, as the caller asks"),
        ("GET", "https://ok/", "goes to ok:443, as the caller asks"),
        ("GET", "http://ok/", "refused: 403 egress-denied\n  ok:80 is not in egress.allow."),
        ("GET", "/x", "refused: 400 no-authority\n  The request names no host"),
        ("CONNECT", "ok:443", "goes to ok:443 through a tunnel"),
        ("CONNECT", "a.shop:80", "goes to a.shop:80, as the caller asks"),
        ("CONNECT", "a.shop:80", "port 80 is not in egress.connect_ports: no tunnel, but 200"),
        ("CONNECT", "no:443", "refused: 403 egress-denied\n  no:443 is not in egress.allow."),
    ],
)
def test_what_the_caller_names_must_be_allowed(method, url, expected):
    assert expected in explained(method, url)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "a.localhost", "[::1]", "0.0.0.0", "127.1", "2130706433"]
)
def test_the_proxys_own_addresses_are_a_loop(host):
    for port in (7070, 7071, 7072):
        own = f"{host}:{port}"
        expected = f"refused: 508 loop\n  {own} is an address of this proxy itself"
        assert expected in explained("GET", f"http://{own}/")
    assert "refused: 403 egress-denied" in explained("GET", f"http://{host}:7073/")


def test_a_listener_bound_to_loopback_is_not_reached_by_another_name():
    assert "refused: 403 egress-denied" in explained("GET", "http://me:7070/")


def test_connect_is_not_for_the_inbound_listener():
    text = explained("CONNECT", "ok:443", listener="inbound")
    assert (
        "refused: 403 egress-denied\n  CONNECT is available only on the outbound listener." in text
    )


def test_inbound_without_a_route_goes_to_the_app():
    text = explained("GET", "/x", "Host: me", listener="inbound")
    assert "> 1. default-inbound  takes it  takes all other requests" in text
    assert "goes to upstream app\n  http://127.0.0.1:8080" in text


def test_headers_are_part_of_the_request():
    request = describe_request("GET", "/a?b#c", ["Host: X:81", "X-A:  v ", "x-a: w"])
    assert request == DescribedRequest(
        "/a?b#c", "GET", "x", 81, "/a", "b", (("host", "X:81"), ("x-a", "v"), ("x-a", "w"))
    )
    assert request.values(b"x-a") == [b"v", b"w"]


@pytest.mark.parametrize(
    ("method", "url", "headers", "host"),
    [
        ("GET", "http://a.test:8080/x", [], [b"a.test:8080"]),
        ("GET", "https://[::1]/", [], [b"[::1]"]),
        ("GET", "http://a.test/", ["Host: b.test"], [b"b.test"]),
        ("GET", "/x", ["Host: b.test"], [b"b.test"]),
        ("GET", "/x", [], []),
        ("CONNECT", "a.test:443", [], [b"a.test:443"]),
    ],
)
def test_a_request_has_the_host_that_its_client_sends(method, url, headers, host):
    assert describe_request(method, url, headers).values(b"host") == host


def test_the_urls_authority_counts_more_than_host():
    request = describe_request("GET", "https://[::1]", ["Host: other"])
    assert (request.host, request.port, request.path) == ("::1", 443, "/")


@pytest.mark.parametrize(
    ("method", "url", "headers", "message"),
    [
        ("get", "/", [], "did you mean 'GET'?"),
        ("G T", "/", [], "is not a method"),
        ("GET", "shop/x", [], "is neither an http or https URL nor a path"),
        ("GET", "ftp://a/", [], "is neither"),
        ("GET", "http://", [], "is neither"),
        ("GET", "http://a b/", [], "blanks or control characters"),
        ("GET", "http://u@a/", [], "user information"),
        ("GET", "http://a:99999/", [], "a port is a number"),
        ("GET", "http://[::1/", [], "is not a URL: its host cannot be read"),
        ("GET", "/", ["novalue"], "write 'name: value'"),
        ("GET", "/", ["a b: c"], "'a b' is not a header name"),
        ("GET", "/", ["a: b\nc"], "not usable as a header value"),
        ("CONNECT", "a", [], "CONNECT needs HOST:PORT such as a:443"),
        ("CONNECT", "http://a:80/", [], "CONNECT needs HOST:PORT such as shop:443, not"),
    ],
)
def test_what_is_no_request(method, url, headers, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        describe_request(method, url, headers)


def document(method: str, url: str, *headers: str, listener: str = "outbound"):
    loaded = load_text(dedent(FILE), "f.yaml", {})
    request = describe_request(method, url, headers)
    return explain(loaded, Listener(listener), request).document()


def test_the_same_for_programs():
    found = document("GET", "http://Shop/api/x?q=1")
    assert found["routes"] == [
        {"name": "writes", "mismatch": "method GET is not POST", "source": "f.yaml:7"},
        {"name": "stock", "mismatch": None, "source": "f.yaml:9"},
    ]
    assert found["route"] == "stock"
    assert found["destination"] == {
        "upstream": "inventory",
        "endpoints": ["http://inventory:8080", "http://spare:8080"],
    }
    assert (found["path"], found["host"], found["policy"]) == ("/stock/x", "inventory.shop", "gold")
    assert found["repeats"]["attempts"] == 5
    assert found["repeats"]["why_not"] is None
    assert found["longest_s"] == 9
    setting = {"key": "retry.attempts", "value": 5, "source": "f.yaml:5 (policy gold)"}
    assert setting in found["settings"]


def test_other_destinations_for_programs():
    assert document("POST", "http://a.shop/")["destination"] == {
        "authority": "a.shop:80",
        "tunnel": False,
        "plain_http": False,
    }
    tunnel = document("CONNECT", "ok:443")["destination"]
    assert (tunnel["tunnel"], tunnel["plain_http"]) == (True, False)
    plain = document("CONNECT", "a.shop:80")["destination"]
    assert (plain["tunnel"], plain["plain_http"]) == (False, True)
    refused = document("POST", "http://elsewhere/")["destination"]["refused"]
    assert (refused["status"], refused["reason"]) == (403, "egress-denied")


def test_a_refused_request_has_no_outlook():
    assert "takes at most" not in explained("POST", "http://elsewhere/")


def test_a_path_that_could_leave_a_rewritten_prefix_is_refused():
    text = explained("GET", "http://shop/api/../x")
    assert "refused: 400 bad-request\n  The path has a dot segment" in text


def test_weights_and_the_balancer_where_they_are_not_the_usual_ones():
    file = dedent(FILE).replace(
        'endpoints: ["http://inventory:8080", "http://spare:8080"]',
        'endpoints: [{url: "http://inventory:8080", weight: 3}, "http://spare:8080"], '
        "load_balancing: consistent_hash, hash: {header: user-id}",
    )
    loaded = load_text(file, "f.yaml", {})
    request = describe_request("GET", "http://shop/api/x", ())
    lines = explain(loaded, Listener.OUTBOUND, request).text().splitlines()
    at = lines.index("  http://spare:8080")
    assert lines[at - 2 : at] == [
        "goes to upstream inventory, consistent_hash by header user-id",
        "  http://inventory:8080  weight 3",
    ]
