"""Two links of the demo's HTTP/2 beside each other, without sockets."""

import asyncio
from typing import Any

import pytest

from proxy.demo.http2 import Http2Link
from proxy.http.h2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    goaway,
    pack_head,
    ping,
    rst_stream,
    settings_frame,
)


class Pipe(asyncio.Transport):
    """What a link wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        written, self.written = self.written, b""
        return written


class Link(Http2Link):
    """Notes its events."""

    def __init__(self, *, client: bool) -> None:
        super().__init__(client=client)
        self.pipe = Pipe()
        self.events: list[tuple[Any, ...]] = []
        self.connection_made(self.pipe)

    def on_fields(self, stream: int, fields: dict[bytes, bytes], ended: bool) -> None:
        self.events.append(("fields", stream, fields, ended))

    def on_data(self, stream: int, data: bytes, ended: bool) -> None:
        self.events.append(("data", stream, data, ended))

    def on_reset(self, stream: int, why: str) -> None:
        self.events.append(("reset", stream, why))

    def on_closed(self, why: str) -> None:
        self.events.append(("closed", why))


@pytest.fixture
def client() -> Link:
    return Link(client=True)


@pytest.fixture
def server(client: Link) -> Link:
    """Has read the client's preface and SETTINGS."""
    server = Link(client=False)
    server.data_received(client.pipe.take())
    client.data_received(server.pipe.take())
    server.data_received(client.pipe.take())
    assert server.pipe.take() == b""
    return server


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return pack_head(0, len(payload), kind, flags, stream) + payload


def test_a_message_arrives_whatever_its_bytes_are_cut_into(client: Link, server: Link) -> None:
    client.send_fields(1, [(b":path", b"/a"), (b"x-own", b"1" * 300)], ended=False)
    assert client.send_data(1, b"message", ended=True)
    for byte in client.pipe.take():
        server.data_received(bytes((byte,)))
    assert server.events == [
        ("fields", 1, {b":path": b"/a", b"x-own": b"1" * 300}, False),
        ("data", 1, b"message", True),
    ]


def test_a_head_in_several_frames_and_padding(client: Link, server: Link) -> None:
    client.send_fields(1, [(b":path", b"/a"), (b"x-own", b"1")], ended=True)
    block = client.pipe.take()[9:]
    server.data_received(_frame(HEADERS, END_STREAM, 1, block[:3]))
    assert server.events == []
    server.data_received(_frame(CONTINUATION, END_HEADERS, 1, block[3:]))
    server.data_received(_frame(DATA, PADDED, 1, b"\x02m\0\0"))
    assert server.events == [
        ("fields", 1, {b":path": b"/a", b"x-own": b"1"}, True),
        ("data", 1, b"m", False),
    ]


def test_what_the_peer_asks_for_is_answered(server: Link) -> None:
    server.data_received(ping(b"12345678", ack=False) + settings_frame([(1, 0)]))
    assert server.pipe.take() == ping(b"12345678", ack=True) + b"\0\0\0\x04\x01\0\0\0\0"
    server.data_received(rst_stream(3, 8) + _frame(0x20, 0, 1, b"unknown"))
    assert server.events == [("reset", 3, "CANCEL")]


def test_a_message_beyond_the_window_is_not_sent(client: Link, server: Link) -> None:
    full = b"x" * 16384
    sent = 0
    while client.send_data(1, full, ended=False):
        sent += len(full)
    assert 0 < sent <= 65535
    server.data_received(client.pipe.take())
    client.data_received(server.pipe.take())
    assert client.send_data(3, full, ended=False), "the server has given the window back"


def test_goaway_and_the_end(client: Link, server: Link) -> None:
    assert not client.going
    client.data_received(goaway(0, 0))
    assert client.going
    client.connection_lost(None)
    assert client.events == [("closed", "the connection was lost")]
    assert not client.open


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.1"])
def test_what_is_no_http2_is_refused(data: bytes) -> None:
    server = Link(client=False)
    server.data_received(data)
    assert server.pipe.closed
    server.connection_lost(None)
    assert server.events == [("closed", "the connection does not begin with HTTP/2's preface")]


def test_a_frame_that_is_too_large_closes(server: Link) -> None:
    server.data_received(b"\x00\x40\x01\0\0\0\0\0\x01")
    assert server.pipe.closed
