"""Rows of HTTP/2's rules over real sockets, through the real command: one process for all.

What a client sees must not depend on how its frames are read, nor on whether the upstream answers
at once or after the request's end: each row is played in all these ways.
"""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance.http2_rows import ROWS, Row
from conformance.http2_wire import CLOSED, Expected, Heads, Wire
from conformance.strict import Requests
from integration.pki import Pki
from integration.running_proxy import RunningProxy, eventually
from issues.bed import RawUpstream

HOW = ("together", "apart", "first")
"""The frames of a row: in one write, each in its own, the first one alone and then the others."""
APART = 0.003
"""Seconds between two writes, in which the proxy reads the first one."""
BODY = b"0123456789"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)


class Upstream(RawUpstream):
    """Answers each request. `at_once`: it does not wait for the request's body."""

    def __init__(self) -> None:
        self.at_once = False
        super().__init__(self._answer_all)

    def _answer_all(self, connection: socket.socket) -> None:
        read, answered = Requests(), 0
        while data := connection.recv(65536):
            read.feed(data)
            due = read.messages if self.at_once else read.whole
            while answered < len(due):
                head = due[answered].first[0] == "HEAD"
                answered += 1
                connection.sendall(ANSWER if head else ANSWER + BODY)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.stop()


def _start(directory: Path, upstream: Upstream, **inbound: object) -> RunningProxy:
    app = {"endpoints": [upstream.url]}
    settings = {
        "upstreams": {"app": app},
        "listeners": {"inbound": inbound},
        "routes": [{"name": "all", "upstream": "app"}],
        "access_log": {"requests": "none"},
        "drain": {"delay": "60s", "timeout": "61s"},
    }
    return RunningProxy(directory, settings)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[RunningProxy]:
    proxy = _start(tmp_path_factory.mktemp("proxy"), upstream)
    yield proxy
    proxy.kill()
    proxy.assert_sound()


def play(row: Row, port: int, how: str, context: ssl.SSLContext | None = None) -> None:
    """Raises AssertionError with what came. `how`: one of HOW."""
    wire = Wire(port, context, greet=row.greeted)
    first = True
    ready = b""
    try:
        for step in row.steps(wire):
            if isinstance(step, Expected):
                wire.send(ready)
                ready = b""
                wire.expect(step)
                continue
            ready += step
            if how == "apart" or (how == "first" and first):
                wire.send(ready)
                time.sleep(APART)
                ready = b""
            first = False
    finally:
        wire.close()


def play_all(rows: list[Row], port: int, how: str, context: ssl.SSLContext | None = None) -> None:
    failed = []
    for row in rows:
        try:
            play(row, port, how, context)
        except (AssertionError, OSError) as error:
            failed.append(f"{row}: {error!r}")
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("at_once", [False, True], ids=["whole", "early"])
def test_rows(proxy: RunningProxy, upstream: Upstream, at_once: bool, how: str) -> None:
    upstream.at_once = at_once
    play_all(ROWS, proxy.outbound if how == "first" else proxy.inbound, how)
    eventually(lambda: proxy.metric("proxy_streams") == 0)


@pytest.mark.parametrize(
    "closing", [False, pytest.param(True, marks=pytest.mark.long)], ids=["open", "closing"]
)
def test_rows_under_tls(tmp_path: Path, upstream: Upstream, closing: bool) -> None:
    pki = Pki(tmp_path)
    cert, key = pki.files("127.0.0.1")
    context = pki.client()
    context.set_alpn_protocols(["h2"])
    upstream.at_once = True
    # Under TLS a connection closes a second after its GOAWAY.
    rows = [row for row in ROWS if (CLOSED in row.steps(Heads())) == closing]
    proxy = _start(tmp_path, upstream, tls={"cert": cert, "key": key})
    try:
        play_all(rows, proxy.inbound, "together", context)
        proxy.assert_sound()
    finally:
        proxy.kill()


@pytest.mark.parametrize("listener", ["inbound", "outbound"])
def test_rows_while_it_drains(tmp_path: Path, upstream: Upstream, listener: str) -> None:
    """In `drain.delay`, in which new connections still come."""
    upstream.at_once = True
    proxy = _start(tmp_path, upstream)
    try:
        assert proxy.ask("POST", "/drain")[0] == 202
        play_all(ROWS, getattr(proxy, listener), "together")
        proxy.assert_sound()
    finally:
        proxy.kill()
