"""What is no request is refused with a status and a closed connection; so is what is too large."""

import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from chaos.upstream import ChaosUpstream
from integration.raw_client import BrokenOff, request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, route

CONNECTIONS = 40
LIMITS = {
    "connections": CONNECTIONS,
    "header_bytes": "4KiB",
    "url_bytes": "1KiB",
    "headers": 30,
    "header_timeout": "800ms",
    "idle_timeout": "400ms",
    "body_bytes": "10KiB",
}


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    chaos = {"endpoints": [shared_chaos.url]}
    return module_proxy(
        {
            "upstreams": {"chaos": chaos, "app": chaos},
            "routes": [route("r")],
            "limits": LIMITS,
        }
    )


MALFORMED = {
    "length and encoding": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    "two lengths": b"Content-Length: 3\r\nContent-Length: 4\r\n",
    "a list of lengths": b"Content-Length: 3, 4\r\n",
    "signed length": b"Content-Length: +3\r\n",
    "negative length": b"Content-Length: -3\r\n",
    "length in hex": b"Content-Length: 0x3\r\n",
    "empty length": b"Content-Length:\r\n",
    "encoding not chunked": b"Transfer-Encoding: gzip\r\n",
    "chunked not last": b"Transfer-Encoding: chunked, gzip\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "misspelt chunked": b"Transfer-Encoding: xchunked\r\n",
    "obs-fold": b"X-A: 1\r\n  2\r\n",
    "bare LF": b"X-A: 1\nX-B: 2\r\n",
    "bare CR": b"X-A: 1\rX-B: 2\r\n",
    "space before the colon": b"X-A : 1\r\n",
    "NUL in a value": b"X-A: a\x00b\r\n",
    "control character": b"X-A: a\x01b\r\n",
    "two hosts": b"Host: other.test\r\n",
    "no colon": b"nonsense\r\n",
    "empty name": b": 1\r\n",
    "name with a space": b"X A: 1\r\n",
}


@pytest.mark.parametrize("listener", ["outbound", "inbound"])
@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_fields(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, what: str, listener: str
) -> None:
    path = f"/r/{list(MALFORMED).index(what)}-{listener}"
    with proxy.client(listener) as client:
        client.send(
            b"POST %b HTTP/1.1\r\nHost: a.test\r\n%b\r\nabc" % (path.encode(), MALFORMED[what])
        )
        response = client.read_response()
        assert (response.status, response.why) == (400, "bad-request")
        assert response.header("connection") == "close"
        assert client.closed()
    assert shared_chaos.seen_path(path) == []


@pytest.mark.parametrize(
    "line",
    [
        b"GET  /r HTTP/1.1",
        b"GET /r  HTTP/1.1",
        b"GET /r",
        b"GET /r HTTP/1.1 x",
        b"GET /r HTTP/2.0",
        b"GET /r http/1.1",
        b"G\x01T /r HTTP/1.1",
        b"GET /r\x00 HTTP/1.1",
        b"GET r HTTP/1.1",
        b" GET /r HTTP/1.1",
        b"PRI * HTTP/2.0",
    ],
)
def test_malformed_request_lines(proxy: RunningProxy, line: bytes) -> None:
    with proxy.client() as client:
        client.send(line + b"\r\nHost: a.test\r\n\r\n")
        response = client.read_response()
        assert (response.status, response.header("connection")) == (400, "close")
        assert client.closed()


@pytest.mark.parametrize(
    "chunk",
    [b"z\r\n", b"-1\r\n", b"3\r\nabcd\r\n", b"1\nx\r\n", b"fffffffffffffffff\r\n", b" 1\r\n"],
)
def test_malformed_chunks(proxy: RunningProxy, shared_chaos: ChaosUpstream, chunk: bytes) -> None:
    """Too late for the head; the upstream never sees a whole request."""
    request_id = f"chunk-{chunk.hex()}"
    with proxy.client() as client:
        client.send(
            request_bytes(
                "POST", "/r", {"Transfer-Encoding": "chunked"}, chunk, request_id=request_id
            )
        )
        response = client.read_response("POST")
        assert (response.status, response.why) == (400, "bad-request")
        assert client.closed()
    assert not [one for one in shared_chaos.seen(request_id) if one.complete.is_set()]


def test_what_was_in_order_before_is_answered(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        client.send(request_bytes("GET", "/r", chaos="delay=0.1") + b"nonsense\r\n\r\n")
        assert client.read_response().body == b"ok"
        assert client.read_response().status == 400
        assert client.closed()


def test_a_url_that_is_too_long(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/r?" + "x" * 1100)
    assert (response.status, response.why) == (414, "url-too-long")
    assert proxy.call("GET", "/r?" + "x" * 900).status == 200


def test_a_head_that_is_too_large(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/r", {"X-Large": "x" * 4200})
    assert (response.status, response.why) == (431, "headers-too-large")
    assert response.header("connection") == "close"


def test_a_head_without_end(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        client.send(b"GET /r HTTP/1.1\r\nHost: a\r\nX-A: ")
        client.send(b"a" * 5000)
        assert client.read_response().status == 431
        assert client.closed()


def test_too_many_fields(proxy: RunningProxy) -> None:
    fields = {f"X-{number}": "1" for number in range(31)}
    response = proxy.call("GET", "/r", fields)
    assert (response.status, response.why) == (431, "headers-too-large")


def test_a_body_that_says_it_is_too_large(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    with proxy.client() as client:
        client.send(request_bytes("POST", "/r", {"Content-Length": "10241"}, request_id="declared"))
        response = client.read_response("POST")
        assert (response.status, response.why) == (413, "body-too-large")
        assert client.closed()
    assert shared_chaos.seen("declared") == []
    assert proxy.call("POST", "/r", body=b"x" * 10240).status == 200


def test_chunks_that_become_too_large(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    with proxy.client() as client:
        chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
        client.send(
            request_bytes(
                "POST", "/r", {"Transfer-Encoding": "chunked"}, chunk * 3, request_id="grown"
            )
        )
        response = client.read_response("POST")
        assert (response.status, response.why) == (413, "body-too-large")
    assert not [one for one in shared_chaos.seen("grown") if one.complete.is_set()]


@pytest.mark.parametrize("sent", [b"GET /r HT", b"GET /r HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_that_does_not_end(proxy: RunningProxy, sent: bytes) -> None:
    started = time.monotonic()
    with proxy.client() as client:
        client.send(sent)
        response = client.read_response()
        assert (response.status, response.why) == (408, "header-timeout")
        assert client.closed()
    assert 0.8 <= time.monotonic() - started < 5


def test_a_head_that_drips(proxy: RunningProxy) -> None:
    """A byte now and then does not move the deadline."""
    with proxy.client() as client:
        client.send(b"GET /")
        dripped = 0
        while client.stays_open(0.05):
            client.send(b"r")
            dripped += 1
            assert dripped < 200
        assert client.read_response().status == 408


def test_an_idle_connection_is_closed_without_a_word(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        started = time.monotonic()
        assert client.request("GET", "/r").status == 200
        assert client.closed()
        assert 0.4 <= time.monotonic() - started < 5


def test_too_many_connections(proxy: RunningProxy) -> None:
    eventually(lambda: proxy.metric("proxy_connections", listener="outbound") == 0)
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            client = stack.enter_context(proxy.client())
            client.send(request_bytes("GET", "/r", chaos="hang"))
        eventually(lambda: proxy.metric("proxy_connections", listener="outbound") >= CONNECTIONS)
        with proxy.client() as extra:
            response = extra.read_response()
            assert (response.status, response.why) == (503, "connections-full")
            assert response.header("retry-after") == "1"
            assert extra.closed()
        with proxy.client("inbound") as other_door:
            assert other_door.request("GET", "/r").status == 200
    eventually(lambda: proxy.metric("proxy_connections", listener="outbound") == 0)
    assert proxy.call("GET", "/r").status == 200


def test_a_half_closed_client_still_gets_its_answer(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        client.send(request_bytes("GET", "/r", chaos="delay=0.1"))
        client.half_close()
        try:
            assert client.read_response().body == b"ok"
        except (BrokenOff, ConnectionError):
            eventually(lambda: proxy.in_flight() == 0)  # taken for a client that left: allowed
