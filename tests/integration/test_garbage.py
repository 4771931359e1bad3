"""Garbage of every kind never ends the process, prints no traceback and leaves nothing behind."""

import random
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from chaos.upstream import ChaosUpstream
from integration.raw_client import RawClient, request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, route

TLS_HELLO = bytes.fromhex(
    "16030100c8010000c40303000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f00"
)
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
NEARLY_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r!\x00\x00\x00\x04\x00\x00\x00\x00\x00"
WHOLE = request_bytes("POST", "/g", {"Connection": "close"}, b"0123456789")


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    chaos = {"endpoints": [shared_chaos.url]}
    return module_proxy(
        {
            "upstreams": {"chaos": chaos, "app": chaos},
            "routes": [route("g")],
            "limits": {"header_timeout": "1s", "idle_timeout": "1s"},
        }
    )


@pytest.fixture(autouse=True)
def _well_afterwards(proxy: RunningProxy) -> Iterator[None]:
    yield
    assert proxy.call("GET", "/g").body == b"ok"
    eventually(lambda: proxy.in_flight() == 0)
    proxy.assert_sound()


@pytest.mark.parametrize("listener", ["outbound", "inbound"])
@pytest.mark.parametrize("sent", [TLS_HELLO, NEARLY_HTTP2, b"\x00" * 100, b"\r\n" * 50 + b"\x80"])
def test_other_protocols(proxy: RunningProxy, listener: str, sent: bytes) -> None:
    with proxy.client(listener) as client:
        client.send(sent)
        client.half_close()
        rest = client.read_rest()
    assert rest == b"" or rest.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("listener", ["outbound", "inbound"])
def test_http2_and_then_nothing(proxy: RunningProxy, listener: str) -> None:
    with proxy.client(listener) as client:
        client.send(HTTP2_PREFACE)
        client.half_close()
        rest = client.read_rest()
    assert rest[3:4] == b"\x04", "SETTINGS are the first frame"


@pytest.mark.parametrize("seed", range(6))
def test_random_bytes(proxy: RunningProxy, seed: int) -> None:
    source = random.Random(seed)
    for _ in range(20):
        with proxy.client(source.choice(["outbound", "inbound"])) as client:
            try:
                client.send(source.randbytes(source.randint(1, 3000)))
                client.half_close()
                rest = client.read_rest()
            except ConnectionError:
                continue
        assert rest == b"" or rest[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 414")


@pytest.mark.parametrize("seed", range(6))
def test_requests_with_flipped_bytes(proxy: RunningProxy, seed: int) -> None:
    source = random.Random(seed)
    for _ in range(30):
        raw = bytearray(WHOLE)
        for _ in range(source.randint(1, 4)):
            raw[source.randrange(len(raw))] = source.randrange(256)
        with proxy.client() as client:
            try:
                client.send(bytes(raw))
                client.half_close()
                rest = client.read_rest()
            except ConnectionError:
                continue
        assert rest == b"" or rest.startswith(b"HTTP/1.1 ")


def test_every_half_request(proxy: RunningProxy) -> None:
    for end in range(len(WHOLE)):
        client = proxy.client()
        client.send(WHOLE[:end])
        if end % 2:
            client.close()
        else:
            client.reset()
    eventually(lambda: proxy.metric("proxy_connections", listener="outbound") == 0)


@pytest.mark.parametrize("wait", [0, 0.002, 0.02])
def test_clients_that_leave_at_any_moment(proxy: RunningProxy, wait: float) -> None:
    for number in range(30):
        client = proxy.client()
        client.send(request_bytes("GET", "/g", chaos="size=200000 pieces=3 interval=0.01"))
        time.sleep(wait)
        client.reset() if number % 2 else client.close()


def test_connections_that_say_nothing(proxy: RunningProxy) -> None:
    for _ in range(100):
        proxy.client().close()


def test_garbage_at_the_admin_address(proxy: RunningProxy) -> None:
    for sent in (TLS_HELLO, HTTP2_PREFACE, b"\x00" * 100, b"GET / HTTP/1.1\r\nHost: a\r\nX"):
        with RawClient(proxy.admin) as client:
            client.send(sent)
            client.half_close()
            try:
                client.read_rest()
            except ConnectionError:
                continue
    assert proxy.ask("GET", "/health/live")[0] == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\x01\x02\r\n\r\n",
        TLS_HELLO,
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/3.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 300_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
    ],
)
def test_garbage_from_the_upstream(proxy: RunningProxy, answer: bytes) -> None:
    """What is no response is answered 502, and nothing of it reaches the client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with proxy.client() as client:
            raw = request_bytes("POST", f"http://127.0.0.1:{port}/", {}, b"")
            client.send(raw)
            listener.settimeout(3)
            upstream, _ = listener.accept()
            with upstream:
                upstream.settimeout(3)
                upstream.recv(65536)
                try:
                    upstream.sendall(answer)
                    upstream.shutdown(socket.SHUT_WR)
                except OSError:
                    assert len(answer) > 1000, "hung up on before it had spoken"
                response = client.read_response("POST")
    assert (response.status, response.why in ("upstream-malformed", "upstream-reset")) == (
        502,
        True,
    )


@pytest.mark.parametrize("chunk", [b"zz\r\nabc\r\n", b"3\r\nabcdef\r\n0\r\n\r\n", b"-1\r\n"])
def test_garbage_in_an_upstreams_chunks(proxy: RunningProxy, chunk: bytes) -> None:
    """After the head it is a truncation: never ended as if it were whole."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with proxy.client() as client:
            client.send(request_bytes("GET", f"http://127.0.0.1:{port}/", {}))
            upstream, _ = listener.accept()
            with upstream:
                upstream.recv(65536)
                upstream.sendall(head)
                assert client.read_head().status == 200
                upstream.sendall(chunk)
                try:
                    rest = client.read_rest()
                except ConnectionError:
                    rest = b""
    assert not rest.endswith(b"0\r\n\r\n")
