"""HTTP/2 upstreams that turn frames against the proxy: a clear failure, and bounded memory."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from chaos.upstream import ChaosUpstream
from integration.http2_client import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    frame,
    literal,
    settings,
    window,
)
from integration.raw_client import BrokenOff
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, Settings, route

MIB = 1024 * 1024
MAY_TAKE = 8 * MIB
LEAVES = frame(GOAWAY, 0, 0, struct.pack(">LL", 1, 0))
"""Ends a connection that an attack does not, so that each test has its own, and stream 1."""
OK = frame(HEADERS, END_HEADERS, 1, b"\x88")
INFORMED = frame(HEADERS, END_HEADERS, 1, literal(b":status", b"103"))
ENDS = frame(DATA, END_STREAM, 1, b"y")
EARLY = frame(DATA, 0, 1, b"x")
BOMB = b"\x88\x40\x01x\x7f\xa1\x1e" + 4000 * b"v" + 12_000 * b"\xbe"

ATTACKS = {
    "a field block without end": frame(HEADERS, 0, 1, b"\x88") + 5000 * frame(CONTINUATION, 0, 1),
    "a field block of 16 KiB that says 48 MiB": frame(HEADERS, END_HEADERS | END_STREAM, 1, BOMB),
    "PING without end": 5000 * frame(PING, 0, 0, bytes(8)),
    "SETTINGS without end": 5000 * settings((3, 100)),
    "PRIORITY without end": 5000 * frame(PRIORITY, 0, 1, struct.pack(">LB", 0, 0)),
    "WINDOW_UPDATE without end": 5000 * window(0, 1),
    "a pushed response": frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2\x82"),
    "a window above 2^31-1": window(0, 2**31 - 1),
    "a frame of 1 MiB": b"\x10\x00\x00\x00\x00\x00\x00\x00\x01" + bytes(100_000),
    "a stream that was not asked for": frame(HEADERS, END_HEADERS | END_STREAM, 2, b"\x88"),
    "DATA before its head": frame(DATA, END_STREAM, 1, b"x") + LEAVES,
    "DATA before its head, read together": EARLY + OK + ENDS + LEAVES,
    "DATA between two heads, read together": INFORMED + EARLY + OK + ENDS + LEAVES,
    "empty DATA before its head": frame(DATA, 0, 1) + OK + ENDS + LEAVES,
}


class Upstream:
    """Greets each connection in HTTP/2, and sends the attack when a request has come."""

    def __init__(self) -> None:
        self.attack = b""
        self.asked = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.sendall(settings())
                came = b""
                while b"\x01\x05\x00\x00\x00\x01" not in came:  # HEADERS that end stream 1
                    data = connection.recv(65536)
                    if not data:
                        return
                    came += data
                self.asked.set()
                connection.sendall(self.attack)
                while connection.recv(65536):
                    pass
            except OSError:
                return


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy],
    upstream: Upstream,
    shared_chaos: ChaosUpstream,
) -> RunningProxy:
    made = module_proxy(
        {
            "upstreams": {
                "hostile": {
                    "endpoints": [f"http://127.0.0.1:{upstream.port}"],
                    "protocol": "http2",
                },
                "chaos": {"endpoints": [shared_chaos.url]},
            },
            "policies": {"default": {"retry": ONCE, "timeouts": {"attempt": "3s"}}},
            "routes": [route("hostile", "hostile"), route("beside")],
        }
    )
    assert made.call("GET", "/beside").status == 200
    return made


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks(proxy: RunningProxy, upstream: Upstream, attack: str) -> None:
    upstream.attack = ATTACKS[attack]
    before = proxy.memory
    answer = proxy.call("GET", "/hostile")
    assert (answer.status, answer.problem["reason"]) == (502, "upstream-malformed")
    assert proxy.call("GET", "/beside").status == 200
    assert proxy.memory - before < MAY_TAKE
    eventually(lambda: proxy.in_flight() == 0)


def test_informational_heads_without_end(proxy: RunningProxy, upstream: Upstream) -> None:
    """Each is passed on, so they are bounded by time and by what the client reads."""
    upstream.attack = 20_000 * frame(HEADERS, END_HEADERS, 1, b"\x08\x03103") + OK + LEAVES
    upstream.asked.clear()
    before = proxy.memory
    with proxy.client() as client:
        client.send(b"GET /hostile HTTP/1.1\r\nHost: a\r\n\r\n")
        assert upstream.asked.wait(3)
        assert proxy.call("GET", "/beside").status == 200
        assert proxy.memory - before < MAY_TAKE
    eventually(lambda: proxy.in_flight() == 0)
    # The connection ends with what is still to be read; another test must not get a stream on it.
    eventually(lambda: proxy.metric("proxy_upstream_connections", upstream="hostile") == 0)


def test_empty_data_without_end(proxy: RunningProxy, upstream: Upstream) -> None:
    """What looks whole is the proxy's own answer; a response that had begun is cut off."""
    upstream.attack = OK + 5000 * frame(DATA, 0, 1)
    whole = None
    with suppress(BrokenOff):
        whole = proxy.call("GET", "/hostile")
    assert whole is None or whole.problem["reason"] == "upstream-malformed", whole
    assert proxy.call("GET", "/beside").status == 200
    eventually(lambda: proxy.in_flight() == 0)
