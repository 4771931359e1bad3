"""The wire: keep-alive, order, framing, interim responses, header fields. Contract, section 5."""

import time
from collections.abc import Callable

import pytest
from chaos.script import pattern
from chaos.upstream import ChaosUpstream
from integration.raw_client import request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, route


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    chaos = {"endpoints": [shared_chaos.url]}
    return module_proxy(
        {
            "upstreams": {"chaos": chaos, "app": chaos},
            "routes": [route("w"), route("w2")],
        }
    )


def test_keep_alive_on_both_sides(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    with proxy.client() as client:
        ids = [client.request("GET", "/w").id for _ in range(20)]
    connections = {shared_chaos.seen(one)[0].connection for one in ids}
    assert len(connections) == 1, "twenty requests one after another need one connection"


def test_connection_close_is_kept_to(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        response = client.request("GET", "/w", {"Connection": "close"})
        assert (response.status, response.header("connection")) == (200, "close")
        assert client.closed()


def test_an_upstream_that_closes_does_not_close_the_client(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        for script in ("close", "close-silently", "until-close", "200"):
            response = client.request("GET", "/w", chaos=script)
            assert (response.status, response.body) == (200, b"ok")
            assert (response.header("connection") or "keep-alive") == "keep-alive"


@pytest.mark.parametrize("length", [1, 5])
def test_pipelined_requests_are_answered_in_order(proxy: RunningProxy, length: int) -> None:
    with proxy.client() as client:
        scripts = [
            f"20{number % 4} delay={0.2 if number == 0 else 0} size=3" for number in range(5)
        ]
        raw = b"".join(
            request_bytes("POST", "/w", {}, b"x" * length, chaos=one, request_id=f"p{length}{n}")
            for n, one in enumerate(scripts)
        )
        client.send(raw)
        responses = [client.read_response("POST") for _ in scripts]
    assert [one.id for one in responses] == [f"p{length}{n}" for n in range(5)]
    assert [one.status for one in responses] == [200, 201, 202, 203, 200]


def test_a_request_in_single_bytes(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    raw = request_bytes(
        "POST",
        "/w",
        {"Transfer-Encoding": "chunked"},
        b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
        request_id="bytewise",
        chaos="echo chunked",
    )
    with proxy.client() as client:
        for place in range(len(raw)):
            client.send(raw[place : place + 1])
        assert client.read_response("POST").body == b"abc"
    assert shared_chaos.seen("bytewise")[0].trailers == [("X-T", "1")]


@pytest.mark.parametrize("size", [0, 1, 1000, 300_000])
@pytest.mark.parametrize("framing", ["", "chunked pieces=7", "until-close"])
def test_response_bodies_come_whole(proxy: RunningProxy, framing: str, size: int) -> None:
    response = proxy.call("GET", "/w", chaos=f"size={size} {framing}")
    assert response.complete
    assert response.body == pattern(size)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 65536, 300_000])
def test_request_bodies_go_whole(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, size: int, chunked: bool
) -> None:
    body = pattern(size)
    headers = {}
    raw = body
    if chunked:
        headers = {"Transfer-Encoding": "chunked"}
        pieces = [body[start : start + 10_000] for start in range(0, size, 10_000)]
        raw = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"
    response = proxy.call("POST", "/w", headers, raw)
    (seen,) = shared_chaos.seen(response.id)
    assert (seen.complete.is_set(), bytes(seen.body), seen.chunked) == (True, body, chunked)


def test_trailers_pass_both_ways(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = proxy.call(
        "POST",
        "/w",
        {"Transfer-Encoding": "chunked", "Trailer": "X-In"},
        b"1\r\na\r\n0\r\nX-In: there\r\n\r\n",
        chaos="chunked echo trailer=X-Out:back trailer=grpc-status:0",
    )
    assert response.body == b"a"
    assert response.trailers == [("X-Out", "back"), ("grpc-status", "0")]
    (seen,) = shared_chaos.seen(response.id)
    assert seen.trailers == [("X-In", "there")]


@pytest.mark.parametrize("status", [204, 304])
def test_no_body_where_there_is_none(proxy: RunningProxy, status: int) -> None:
    with proxy.client() as client:
        assert client.request("GET", "/w", chaos=f"{status} header=ETag:abc").status == status
        assert client.request("GET", "/w").body == b"ok"


@pytest.mark.parametrize("framing", ["size=1000", "size=1000 chunked"])
def test_head(proxy: RunningProxy, framing: str) -> None:
    with proxy.client() as client:
        response = client.request("HEAD", "/w", chaos=framing)
        assert response.status == 200
        if "chunked" not in framing:
            assert response.header("content-length") == "1000"
        assert client.request("GET", "/w").body == b"ok"


# --- interim responses --------------------------------------------------------------------------


def test_100_continue_is_the_upstreams_to_say(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    headers = {"Expect": "100-continue", "Content-Length": "5"}
    with proxy.client() as client:
        client.send(request_bytes("POST", "/w", headers, chaos="continue echo", request_id="e100"))
        assert client.read_head().status == 100
        client.send(b"hello")
        response = client.read_response("POST")
    assert (response.body, response.interim) == (b"hello", [])
    (seen,) = shared_chaos.seen("e100")
    assert (seen.header("expect") or "").lower() == "100-continue"


def test_expect_may_be_answered_with_a_refusal(proxy: RunningProxy) -> None:
    headers = {"Expect": "100-continue", "Content-Length": "5"}
    response = proxy.call("POST", "/w", headers, chaos="417 early close")
    assert (response.status, response.interim) == (417, [])


def test_without_expect_the_proxy_says_no_100(proxy: RunningProxy) -> None:
    assert proxy.call("POST", "/w", body=b"x" * 100_000, chaos="200").interim == []


def test_103_passes(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/w", chaos="200 interim=103 interim=103")
    assert [status for status, _ in response.interim] == [103, 103]
    assert ("Link", "</a.css>; rel=preload") in response.interim[0][1]
    assert response.body == b"ok"


# --- header fields ------------------------------------------------------------------------------


def test_hop_by_hop_fields_stay_behind(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    headers = {
        "Connection": "keep-alive, X-Mine, te",
        "Keep-Alive": "timeout=5",
        "Proxy-Connection": "keep-alive",
        "Proxy-Authorization": "Basic eDp5",
        "TE": "trailers",
        "Upgrade": "h2c",
        "X-Mine": "1",
        "X-Kept": "2",
    }
    response = proxy.call(
        "GET",
        "/w",
        headers,
        chaos="header=Connection:X-Theirs header=X-Theirs:1 header=Keep-Alive:timeout=9 "
        "header=Proxy-Authenticate:Basic header=X-Stays:1",
    )
    (seen,) = shared_chaos.seen(response.id)
    for name in ("keep-alive", "proxy-connection", "proxy-authorization", "x-mine", "upgrade"):
        assert seen.values(name) == [], name
    assert seen.header("x-kept") == "2"
    assert seen.header("te") == "trailers", "TE: trailers alone passes"
    assert response.values("x-theirs") == response.values("keep-alive") == []
    assert response.header("x-stays") == "1"


@pytest.mark.parametrize("value", ["gzip", "trailers, deflate;q=0.5"])
def test_other_te_codings_stay_behind(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, value: str
) -> None:
    response = proxy.call("GET", "/w", {"TE": value})
    assert (shared_chaos.seen(response.id)[0].header("te") or "trailers") == "trailers"


def test_order_and_spelling_are_kept(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    fields = [
        ("x-lower", "1"), ("X-UPPER", "2"), ("Cookie", "a=b"), ("X-Mixed-CASE", "3"),
        ("X-Twice", "first"), ("x-middle", "m"), ("X-Twice", "second"),
        ("X-Inside", "a  b\tc"), ("X-Latin", "\xe9"), ("X-Empty", ""),
    ]  # fmt: skip
    response = proxy.call(
        "GET",
        "/w",
        fields,
        chaos="header=set-cookie:a=1 header=X-B:2 header=Set-Cookie:b=2 header=ETAG:x",
    )
    (seen,) = shared_chaos.seen(response.id)
    names = {name for name, _ in fields}
    assert [one for one in seen.headers if one[0] in names] == fields
    passed = [
        one for one in response.headers if one[0] in ("set-cookie", "X-B", "Set-Cookie", "ETAG")
    ]
    assert passed == [("set-cookie", "a=1"), ("X-B", "2"), ("Set-Cookie", "b=2"), ("ETAG", "x")]


def test_inbound_adds_forwarded_fields(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = proxy.call("GET", "/", {"Host": "shop.example"}, listener="inbound")
    (seen,) = shared_chaos.seen(response.id)
    assert seen.header("x-forwarded-for") == "127.0.0.1"
    assert seen.header("x-forwarded-proto") == "http"
    assert seen.header("x-forwarded-host") == "shop.example"
    assert seen.header("host") == "shop.example"


def test_x_forwarded_for_is_appended_to(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = proxy.call("GET", "/", {"X-Forwarded-For": "10.1.2.3"}, listener="inbound")
    values = shared_chaos.seen(response.id)[0].values("x-forwarded-for")
    assert [one.strip() for one in ", ".join(values).split(",")] == ["10.1.2.3", "127.0.0.1"]


def test_outbound_adds_none_of_them(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = proxy.call("GET", "/w")
    (seen,) = shared_chaos.seen(response.id)
    assert [name for name, _ in seen.headers if name.lower().startswith("x-forwarded")] == []


@pytest.mark.parametrize("listener", ["outbound", "inbound"])
def test_via_both_ways(proxy: RunningProxy, shared_chaos: ChaosUpstream, listener: str) -> None:
    response = proxy.call(
        "GET", "/w", {"Via": "1.0 earlier"}, chaos="header=Via:1.1_later", listener=listener
    )
    request_via = ", ".join(shared_chaos.seen(response.id)[0].values("via"))
    response_via = ", ".join(response.values("via"))
    assert request_via.startswith("1.0 earlier, 1.1 ")
    assert response_via.startswith("1.1 later, 1.1 ")


def test_nothing_is_added_twice(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = proxy.call("POST", "/w", body=b"x", listener="inbound")
    for headers in (shared_chaos.seen(response.id)[0].headers, response.headers):
        names = [name.lower() for name, _ in headers]
        assert len(names) == len(set(names)), names


# --- HTTP/1.0 -----------------------------------------------------------------------------------


def test_a_10_client_gets_no_chunks_and_the_end(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        client.send(request_bytes("GET", "/w", version="HTTP/1.0", chaos="size=5000 chunked"))
        response = client.read_response()
    assert response.header("transfer-encoding") is None
    assert response.body == pattern(5000)


def test_a_10_client_may_ask_for_keep_alive(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        for _ in range(3):
            response = client.request("GET", "/w", {"Connection": "keep-alive"}, version="HTTP/1.0")
            assert response.body == b"ok"
            assert (response.header("connection") or "").lower() == "keep-alive"


def test_a_10_client_gets_no_interim_response(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/w", version="HTTP/1.0", chaos="interim=103")
    assert (response.status, response.interim) == (200, [])


def test_a_10_upstream(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/w", chaos="http10 until-close size=300")
    assert (response.body, response.version) == (pattern(300), "HTTP/1.1")


# --- upstreams that do not keep to the rules ----------------------------------------------------


def test_a_second_answer_never_reaches_the_next_request(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    """An upstream that answers twice has lost its place: its connection is not used again."""
    with proxy.client() as client:
        first = client.request("GET", "/w2", chaos="200 twice size=8 header=X-Answer:first")
        assert first.body == pattern(8)
        time.sleep(0.05)
        second = client.request("GET", "/w2", chaos="200 header=X-Answer:second")
        assert second.header("x-answer") == "second"
    seen = shared_chaos.seen(first.id)[0], shared_chaos.seen(second.id)[0]
    assert seen[0].connection != seen[1].connection


def test_an_early_answer_is_passed_on(proxy: RunningProxy) -> None:
    """A 413 while the upload is still running goes to the client; the connection then ends."""
    with proxy.client() as client:
        client.send(
            request_bytes("POST", "/w", {"Content-Length": "1000000"}, chaos="413 early close")
        )
        client.send(b"x" * 1000)
        response = client.read_response("POST")
        assert (response.status, response.body) == (413, b"ok")
        assert client.closed()
    eventually(lambda: proxy.in_flight() == 0)
