"""A client of HTTP/2 frames that sees every frame that comes, in order, over a real socket."""

import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

import hpack
from integration.http2_client import (
    ACK,
    CODES,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    Fields,
    frame,
    settings,
)

PATIENCE = 5.0
"""Seconds for what is expected; more than is waited for by those who ask such questions."""

GET: Fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "shop")]
POST: Fields = [(":method", "POST"), *GET[1:]]


@dataclass(frozen=True)
class Frame:
    """One frame that came."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> str:
        """Of RST_STREAM and GOAWAY."""
        at = 4 if self.kind == GOAWAY else 0
        return CODES[struct.unpack_from(">L", self.payload, at)[0]]

    @property
    def ends(self) -> bool:
        return self.kind in (HEADERS, DATA) and self.flags & END_STREAM != 0


@dataclass(frozen=True)
class Expected:
    """`met` by the first frame that it is true of; `closed`: by the connection's end instead.

    `only`: the first frame of this kind must meet it.
    """

    what: str
    met: Callable[[Frame], bool]
    closed: bool = False
    only: int | None = None


def _is(kind: int, *, stream: int | None = None) -> Callable[[Frame], bool]:
    return lambda one: one.kind == kind and stream in (None, one.stream)


def goaway(*codes: str) -> Expected:
    return Expected(
        f"GOAWAY {codes}", lambda one: one.kind == GOAWAY and one.code in codes, only=GOAWAY
    )


def refused(*codes: str) -> Expected:
    """A stream error, or a connection error, which every stream error may be treated as."""
    kinds = (RST_STREAM, GOAWAY)
    return Expected(f"error {codes}", lambda one: one.kind in kinds and one.code in codes)


def reset(stream: int, code: str) -> Expected:
    is_reset = _is(RST_STREAM, stream=stream)
    return Expected(
        f"RST_STREAM {code}", lambda one: is_reset(one) and one.code == code, only=RST_STREAM
    )


def data_of(size: int) -> Expected:
    return Expected(
        f"DATA of {size} bytes",
        lambda one: one.kind == DATA and len(one.payload) == size,
        only=DATA,
    )


def pong(payload: bytes = bytes(8)) -> Expected:
    return Expected(
        "PING ACK",
        lambda one: one.kind == PING and one.flags & ACK == ACK and one.payload == payload,
        only=PING,
    )


ANSWER = Expected("HEADERS of the answer", _is(HEADERS, stream=1))
GREETED = Expected("SETTINGS", _is(SETTINGS))
SETTINGS_ACKED = Expected("SETTINGS ACK", lambda one: one.kind == SETTINGS and one.flags & ACK == 1)
STREAM_ENDED = Expected("the end of the stream", lambda one: one.ends)
CLOSED = Expected("the connection's end", lambda one: False, closed=True)

Step = bytes | Expected


class Heads:
    """Requests' heads, in the order in which a connection must send them."""

    def __init__(self) -> None:
        self.encoder = hpack.Encoder()

    def head(
        self, stream: int, fields: Fields = GET, *, ended: bool = True, more: bytes = b""
    ) -> bytes:
        """HEADERS; `more` is put behind the encoded fields."""
        flags = END_HEADERS | (END_STREAM if ended else 0)
        return frame(HEADERS, flags, stream, self.block(fields) + more)

    def block(self, fields: Fields = GET) -> bytes:
        encoded: bytes = self.encoder.encode(fields)
        return encoded


class Wire(Heads):
    """One connection. `greet`: exchange SETTINGS first, and wait for both acknowledgements."""

    def __init__(
        self, port: int, context: ssl.SSLContext | None = None, *, greet: bool = True
    ) -> None:
        super().__init__()
        self.seen: list[Frame] = []
        self.closed = False
        self._rest = b""
        self._fresh: list[Frame] = []
        plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = plain
        if context is not None:
            self._socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        if greet:
            self.send(PREFACE + settings((4, 65535)))
            self.expect(GREETED)
            self.send(frame(SETTINGS, ACK))
            self.expect(SETTINGS_ACKED)

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError:
            self.closed = True

    def expect(self, expected: Expected) -> None:
        """Wait until it is met; what came before it is passed over."""
        end = time.monotonic() + PATIENCE
        while True:
            while self._fresh:
                one = self._fresh.pop(0)
                if expected.met(one):
                    return
                assert one.kind != expected.only, f"{one} instead of {expected.what}"
            if self.closed and not self._read():
                assert expected.closed, f"closed before {expected.what}: {self.seen}"
                return
            assert time.monotonic() < end, f"no {expected.what} came: {self.seen}"
            self._read()

    def _read(self) -> bool:
        self._socket.settimeout(0.2)
        try:
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return False
        self._rest += data
        while len(self._rest) >= 9:
            high, low, kind, flags, stream = struct.unpack_from(">BHBBL", self._rest)
            size = 9 + (high << 16 | low)
            if len(self._rest) < size:
                break
            one = Frame(kind, flags, stream, self._rest[9:size])
            self._rest = self._rest[size:]
            self._fresh.append(one)
            self.seen.append(one)
        return True
