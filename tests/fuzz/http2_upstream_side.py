"""Arbitrary frames from an HTTP/2 upstream, as the answer to one request of an HTTP/1.1 client.

What has to hold whatever they are: no exception but the handled ones and no answer `internal`;
strict llhttp reads what the client gets; a response that looks whole to the client is the proxy's
own, has all the bytes of its length, or ended with END_STREAM; nothing is left behind.
"""

import struct
from types import SimpleNamespace

from conformance.strict import Responses
from exchange.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PUSH_PROMISE,
    data,
    frame,
    rst,
    settings,
    window,
)
from exchange.stage import Stage

from fuzz.controls import End, read_controls, with_controls
from fuzz.upstream_side import SCENES
from proxy.upstream.endpoint import HTTP1_SECONDS

CONFIG = """
service: stage
upstreams:
  shop: {protocol: http2, endpoints: ["http://10.0.0.1:80"]}
limits: {header_timeout: 10s, idle_timeout: 20s}
policies:
  default:
    timeouts: {attempt: 5s, request: 5s, idle: 5s}
    retry: {attempts: 1}
    circuit_breaker: {mode: "off"}
routes:
  - {name: shop, upstream: shop}
"""
_HEAD = 1
_WITHOUT_BODY = (204, 304)


def run(stage: Stage, data: bytes) -> None:
    """Raises if anything is wrong. The scene: what the upstream was asked."""
    controls = read_controls(data)
    settled: list[tuple[int, str]] = []
    stage.gateway.observers[:] = [lambda record: settled.append((record.status, record.reason))]
    client = stage.ask(SCENES[controls.scene])
    server = stage.accept_http2(greet=False)
    server.send(settings())
    for piece in controls.pieces:
        if not server.closed and server.reading:
            server.send(piece)
    if controls.end is End.RESET:
        server.reset()
    elif controls.end is End.SILENCE:
        stage.pass_time(6)
    elif not server.closed:
        server.close()
    while stage.connects:
        stage.refuse()
    looks = SimpleNamespace(
        came=client.received(), reset=client.closed == "abort", hung_up=bool(client.closed)
    )
    if not client.closed:
        client.close()
    while stage.connects:
        stage.refuse()
    server.close()
    stage.pass_time(
        HTTP1_SECONDS + 1
    )  # an endpoint that required HTTP/1.1 is asked in HTTP/2 again
    while stage.connects:
        stage.refuse()
    stage.assert_at_rest()
    assert client.gone, "the client's connection is still there"
    assert stage.loop.timers == 0, "something is still waited for"
    ((_, reason),) = settled
    assert reason != "internal"
    _check(looks, controls.sent, controls.scene)
    stage.clients.clear()
    stage.servers.clear()


def _check(looks: SimpleNamespace, sent: bytes, scene: int) -> None:
    came = looks.came
    while came.startswith(b"HTTP/1.1 1") and not came.startswith(b"HTTP/1.1 101 "):
        came = came.partition(b"\r\n\r\n")[2]
    if scene == _HEAD or came.startswith(b"HTTP/1.1 101 "):
        return
    seen = Responses()
    seen.feed(came)
    assert not seen.fault, (seen.fault, came)
    assert len(seen.messages) <= 1, came
    for message in seen.messages:
        if any(b"details=" in value for value in message.values(b"proxy-status")):
            assert message.whole
        elif message.first in _WITHOUT_BODY:
            assert message.whole or not message.head_whole
        elif message.values(b"transfer-encoding"):
            assert not message.whole or _ends(sent), came
        elif not message.values(b"content-length"):
            whole = message.whole or (message.head_whole and looks.hung_up and not looks.reset)
            assert not whole or _ends(sent), came


def _ends(sent: bytes) -> bool:
    """Whether the upstream ended stream 1."""
    at = 0
    while len(sent) - at >= 9:
        kind, flags, stream = struct.unpack_from(">BBL", sent, at + 3)
        if kind in (HEADERS, DATA) and flags & END_STREAM and stream & 0x7FFFFFFF == 1:
            return True
        at += 9 + (sent[at] << 16 | sent[at + 1] << 8 | sent[at + 2])
    return False


def seeds() -> list[bytes]:
    """Lawful and unlawful answers: the mutations make the rest."""
    ok, ended = b"\x88", END_HEADERS | END_STREAM
    sized = ok + b"\x0f\x0d\x012"
    rows = [
        frame(HEADERS, ended, 1, ok),
        frame(HEADERS, END_HEADERS, 1, sized) + data(1, b"ok", ended=True),
        frame(HEADERS, END_HEADERS, 1, sized) + data(1, b"okay", ended=True),
        frame(HEADERS, END_HEADERS, 1, sized) + data(1, b"o", ended=True),
        frame(HEADERS, END_HEADERS, 1, ok) + data(1, b"a") + data(1, b"b", ended=True),
        frame(HEADERS, END_HEADERS, 1, ok) + data(1, b"a") + rst(1),
        frame(HEADERS, END_HEADERS, 1, ok)
        + data(1, b"a")
        + frame(HEADERS, ended, 1, b"\x00\x03x-t\x01y"),
        frame(HEADERS, END_HEADERS, 1, b"\x08\x03103") + frame(HEADERS, ended, 1, ok),
        frame(HEADERS, END_HEADERS, 1, b"\x08\x03100") + frame(HEADERS, ended, 1, b"\x89"),
        frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, END_HEADERS, 1, ok) + rst(1, 0),
        frame(HEADERS, ended | PADDED, 1, b"\x02" + ok + bytes(2)),
        frame(HEADERS, ended, 1, ok) + rst(1, 0),
        rst(1, 7),
        rst(1, 13),
        frame(GOAWAY, 0, 0, bytes(8)),
        frame(HEADERS, ended, 1, ok) + frame(GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0"),
        frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2\x82"),
        frame(PING, 0, 0, bytes(8)) + frame(HEADERS, ended, 1, ok),
        settings((4, 0), (1, 0), (3, 0)) + frame(HEADERS, ended, 1, ok) + window(0, 9),
        settings((8, 1)) + frame(4, ACK) + frame(HEADERS, END_HEADERS, 1, ok),
        frame(HEADERS, ended, 1, b"\x08\x03101") + data(1, b"x"),
        frame(HEADERS, ended, 1, ok + b"\x00\x0aconnection\x05close"),
        frame(HEADERS, END_HEADERS, 1, b"\x08\x03304") + data(1, b"", ended=True),
        data(1, b"x") + frame(HEADERS, ended, 1, ok),
        frame(HEADERS, ended, 3, ok),
        frame(HEADERS, END_HEADERS, 1, ok) + frame(DATA, PADDED, 1, b"\x09a"),
    ]
    return [with_controls(row, scene=at % 8, end=at % 3) for at, row in enumerate(rows)]
