"""A client's connection: finds requests in its bytes and has them carried, one after the other.

    HEAD ──whole head──> EXCHANGE ──finish──> HEAD        (pipelined requests wait their turn)
      └──refused──> LINGER <──finish, not to be kept──┘
                      └──> closed

In EXCHANGE the exchange owns the alarm; in the other states the connection does. LINGER: the
answer is out, what the client still sends is read and dropped for a moment, because closing a
socket with unread bytes resets it and may destroy the answer on its way (RFC 9112 section 9.6).
"""

import asyncio
from enum import Enum
from time import monotonic
from typing import Final, Protocol, cast

from proxy.config.model import LimitsConfig, Listener
from proxy.errors import (
    BadRequest,
    ConnectionsFull,
    HeaderTimeout,
    ProxyError,
)
from proxy.http.chunked import ChunkError
from proxy.http.framing import BodyDecoder
from proxy.http.request import HEAD_END, RequestHead, RequestParser, early_fault
from proxy.wire.alarm import Alarm
from proxy.wire.flow import FlowControlled, reset_on_close
from proxy.wire.limits import body_too_large, head_too_large

LINGER_SECONDS = 1.0
GRACE = 1.0
"""Seconds for another request behind the last response of a gate that has begun to close."""
_PIPELINE_BYTES = 64 * 1024


class RequestHandler(Protocol):
    """What the exchange hears from its client's connection, until it calls `finish`."""

    def on_body(self, piece: bytes) -> None: ...

    def on_body_end(self) -> None: ...

    def on_body_error(self, error: ProxyError) -> None: ...

    def on_client_gone(self) -> None: ...

    def on_client_end(self) -> None:
        """In a tunnel: it sends no more."""

    def on_client_writable(self, writable: bool) -> None: ...

    def on_alarm(self) -> None: ...


class Gate(Protocol):
    """What stands behind a listener: carries requests, answers what is no request."""

    listener: Listener
    limits: LimitsConfig
    parser: RequestParser
    connections: set["Downstream"]
    closing: bool

    def begin(self, downstream: "Downstream", head: RequestHead, piece: bytes) -> None:
        """Start an exchange: sets `downstream.handler`, or finishes at once.

        `piece` is the body that came with the head; `downstream.receiving` tells if more follows.
        """

    def refuse(self, downstream: "Downstream", error: ProxyError) -> None:
        """Send the answer to something that never became a request."""


class State(Enum):
    HEAD = "head"
    EXCHANGE = "exchange"
    TUNNEL = "tunnel"
    LINGER = "linger"
    CLOSED = "closed"


# A global is read ten times as fast as a member through its enum (CPython 3.11).
_HEAD: Final = State.HEAD
_EXCHANGE: Final = State.EXCHANGE
_TUNNEL: Final = State.TUNNEL
_LINGER: Final = State.LINGER
_CLOSED: Final = State.CLOSED


class Downstream(FlowControlled):
    """One client connection of a listener.

    `requests` counts heads read. `handler` is the exchange under way, None between two.
    `receiving`: the end of the request's body has not come yet.
    """

    __slots__ = (
        "_advancing",
        "_buffer",
        "_decoder",
        "_gate",
        "_head_started",
        "_linger_until",
        "_state",
        "alarm",
        "client",
        "handler",
        "receiving",
        "requests",
    )

    alarm: Alarm

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate
        self._state = _HEAD
        self._buffer = b""
        self._decoder: BodyDecoder | None = None
        self._advancing = False
        self._head_started = False
        self._linger_until = 0.0
        self.handler: RequestHandler | None = None
        self.client = ""
        self.receiving = False
        self.requests = 0

    # --- what the exchange does ---------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Between two requests, with nothing of another one received."""
        return self._state is _HEAD and not self._buffer

    @property
    def request_bytes(self) -> int:
        """Body bytes of the request so far, framing left out."""
        return self._decoder.payload_bytes if self._decoder is not None else 0

    def finish(self, *, keep_alive: bool, now: float) -> None:
        """The exchange is over, as of `now`, and its answer written: read on, or close."""
        self.handler = None
        if self._state is _CLOSED:
            return
        if keep_alive and not self.receiving and not self._transport.is_closing():
            self._state = _HEAD
            gate = self._gate
            # A closing gate's response that did not say so had begun before: another may be
            # coming.
            self.alarm.set(now + (GRACE if gate.closing else gate.limits.idle_timeout))
            if self._buffer:  # the next request was pipelined
                self._advance()
            elif not self._reading:
                self.resume_reading()
        else:
            self._linger(more=self.receiving or bool(self._buffer))

    def begin_tunnel(self) -> bytes:
        """Pass bytes on as they are from now on; those that have come already."""
        self._state = _TUNNEL
        self.resume_reading()
        early, self._buffer = self._buffer, b""
        return early

    def end_tunnel(self) -> None:
        """Nothing more will be sent; what the client sends still goes on, if not under TLS."""
        if self._transport.is_closing():
            return
        if self.half_closes:
            self._transport.write_eof()
        else:
            self._transport.close()

    def cut(self, *, reset: bool = False) -> None:
        """Close without an end to what was begun, so that nothing looks whole that is not.

        `reset`: the response is one whose end is the connection's, so closing properly would
        be its end: reset the connection instead.
        """
        self.handler = None
        if self._state is _CLOSED:
            return
        if reset:
            reset_on_close(self._transport)
            self._transport.abort()
        else:
            self._transport.close()

    def close_idle(self) -> None:
        """Close if no request is under way."""
        if self.idle:
            self._close()

    # --- what the event loop does -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.alarm = Alarm(asyncio.get_running_loop(), self._on_alarm)
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if peer else ""
        gate = self._gate
        gate.connections.add(self)
        if len(gate.connections) > gate.limits.connections:
            self._refuse_connection()
        else:
            self.alarm.set(monotonic() + gate.limits.header_timeout)

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is _HEAD:
            self._buffer = self._buffer + data if self._buffer else data
            self._advance()
        elif state is _TUNNEL:
            if self.handler is not None:
                self.handler.on_body(data)
        elif state is _EXCHANGE:
            if self.receiving:
                self._on_body(data)
            else:
                self._buffer += data
                if len(self._buffer) > _PIPELINE_BYTES:
                    self.pause_reading()

    def eof_received(self) -> bool:
        """The client sends no more. In the middle of an exchange that counts as gone."""
        if self._state is _TUNNEL and self.handler is not None:
            self.handler.on_client_end()
            return self.half_closes
        if self._state is _HEAD and self._buffer:
            self._refuse(BadRequest("The connection ended in the middle of a request's head."))
            return self.half_closes
        if self.handler is not None:
            self._transport.abort()  # closing would wait until all that is written is taken
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = _CLOSED
        self._buffer = b""  # the cycle collector may take its time
        self.alarm.close()
        self._gate.connections.discard(self)
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.on_client_gone()

    def on_writable(self, writable: bool) -> None:
        if self.handler is not None:
            self.handler.on_client_writable(writable)

    def _on_alarm(self) -> None:
        if self._state is _EXCHANGE or self._state is _TUNNEL:
            if self.handler is not None:
                self.handler.on_alarm()
        elif self._state is _LINGER:
            self._end_lingering()
        elif self._buffer or self.requests == 0:
            seconds = self._gate.limits.header_timeout
            self._refuse(HeaderTimeout(f"No whole request head came within {seconds:g} s."))
        else:
            self._close()

    # --- requests -----------------------------------------------------------------------------

    def _advance(self) -> None:
        """Begin the request at the front of the buffer; more than one, if they end at once."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._buffer and self._state is _HEAD and self._begin():
                pass
        finally:
            self._advancing = False
        if not self._reading:
            self._read_on()

    def _read_on(self) -> None:
        """Read again, unless enough requests wait already, or one whose body has its own pace."""
        if self._state is _HEAD or (
            self._state is _EXCHANGE and not self.receiving and len(self._buffer) <= _PIPELINE_BYTES
        ):
            self.resume_reading()

    def _begin(self) -> bool:
        """Whether a whole head was there."""
        data = self._buffer
        end = data.find(HEAD_END)
        if end < 0 or data[:1] == b"\r":
            return self._await_head(data)
        end += 4  # HEAD_END's own
        self._buffer = data[end:]
        try:
            if end > self._gate.limits.header_bytes:
                raise head_too_large(data, self._gate.limits)
            head = self._gate.parser.parse(data if end == len(data) else data[:end])
            piece = b""
            self._decoder = None
            if head.length or head.chunked:
                self._decoder = head.body_decoder()
                piece = self._first_piece(head)
        except ProxyError as error:
            self._refuse(error)
            return False
        self._head_started = False
        self._state = _EXCHANGE
        self.requests += 1
        self._gate.begin(self, head, piece)
        return True

    def _first_piece(self, head: RequestHead) -> bytes:
        """The body that came with the head, so that both can go on as one write."""
        limit = self._gate.limits.body_bytes
        if limit and head.length > limit:
            raise body_too_large(limit)
        self.receiving = True
        data, self._buffer = self._buffer, b""
        return self._scan(data) if data else b""

    def _scan(self, data: bytes) -> bytes:
        """The body's part of `data`; what is behind the body's end stays in the buffer."""
        decoder = cast(BodyDecoder, self._decoder)
        try:
            piece, rest = decoder.scan(data)
        except ChunkError as error:
            raise BadRequest(f"The request's chunked body is malformed: {error}.") from None
        limit = self._gate.limits.body_bytes
        if limit and decoder.payload_bytes > limit:
            raise body_too_large(limit)
        if rest is not None:
            self.receiving = False
            self._buffer = rest
        return piece

    def _await_head(self, data: bytes) -> bool:
        """Empty lines before a request are passed over (RFC 9112 section 2.2)."""
        empty = 0
        while data.startswith(b"\r\n", empty):
            empty += 2
        if empty or data == b"\r":
            self._buffer = data[empty:]
            return self._buffer not in (b"", b"\r")
        limits = self._gate.limits
        fault = (
            head_too_large(data, limits) if len(data) > limits.header_bytes else early_fault(data)
        )
        if fault is None and data.find(b"\r\n") < 0 and len(data) > limits.url_bytes + 32:
            fault = head_too_large(data, limits)
        if fault is not None:
            self._refuse(fault)
        elif not self._head_started:
            self._head_started = True
            if self.requests:  # a first request's time began with the accept
                self.alarm.set(monotonic() + limits.header_timeout)
        return False

    def _on_body(self, data: bytes) -> None:
        handler = self.handler
        if handler is None:
            return
        try:
            piece = self._scan(data)
        except ProxyError as error:
            handler.on_body_error(error)
            return
        if piece:
            handler.on_body(piece)
        if not self.receiving and self.handler is handler:
            handler.on_body_end()

    # --- endings ------------------------------------------------------------------------------

    def _refuse(self, error: ProxyError) -> None:
        self._state = _EXCHANGE
        self.receiving = False
        self._buffer = b""
        self._gate.refuse(self, error)
        self._linger(more=True)

    def _refuse_connection(self) -> None:
        limit = self._gate.limits.connections
        self._refuse(ConnectionsFull(f"The listener has its {limit} connections (limits)."))

    def _end_lingering(self) -> None:
        """Time is up, unless a slow client is still being sent the answer's last bytes."""
        now = monotonic()
        if self._transport.get_write_buffer_size() and now < self._linger_until:
            self.alarm.set(now + LINGER_SECONDS)
        elif self.half_closes or self._transport.is_closing():
            self._transport.abort()
        else:
            self._transport.close()  # its end has not been sent yet, see `_linger`

    def _close(self) -> None:
        """Nothing was begun, and nothing will be."""
        self._transport.close()
        if not self.half_closes:
            # TLS then waits for the client's end, and a client that sleeps in a pool sends none.
            self._state = _LINGER
            self.alarm.set(monotonic() + LINGER_SECONDS)

    def _linger(self, *, more: bool) -> None:
        """`more`: something may still come from the client.

        Under TLS sending cannot end alone, and the end may be the response's. So where nothing
        more is to come the connection is closed at once, else when it has been read for a while.
        """
        self._state = _LINGER
        self.receiving = False
        self._buffer = b""
        now = monotonic()
        self._linger_until = now + self._gate.limits.idle_timeout
        self.alarm.set(now + LINGER_SECONDS)
        if self._transport.is_closing():
            return  # it was cut, and may never get rid of what is written
        self.resume_reading()
        if self.half_closes:
            self._transport.write_eof()
        elif not more:
            self._end_lingering()
