"""A client's HTTP/1 connection: finds requests in its bytes, and processes them in order.

    HEAD ──whole head──> EXCHANGE ──finish──> HEAD        (pipelined requests wait their turn)
      └──refused──> LINGER <──finish, not to be kept──┘
                      └──> closed

It is the `ClientStream` of each of its exchanges, and writes their responses. In EXCHANGE the
exchange owns the alarm; in the other states the connection does. LINGER: the answer is sent, and
what the client still sends is read and dropped for a moment, because closing a socket with unread
bytes resets it and may destroy the answer in transit (RFC 9112 section 9.6).

Work is bounded: after a request that ends at once, or after many tiny chunks, the work continues
in the loop's queue (`wire/turns.py`); until then nothing is read. Nothing is read either from a
client that does not read its answers.
"""

import asyncio
import re
from enum import Enum
from random import random
from time import monotonic
from typing import Final, cast

from proxy.errors import (
    BadRequest,
    ConnectionsFull,
    HeaderTimeout,
    ProxyError,
)
from proxy.http.authority import Authority
from proxy.http.h1.chunked import ChunkError
from proxy.http.h1.framing import BodyDecoder
from proxy.http.h1.request import HEAD_END, body_decoder, early_fault
from proxy.http.h2.frames import PREFACE
from proxy.http.message import OwnFields, RequestHead, ResponseHead
from proxy.wire.alarm import Alarm
from proxy.wire.flow import JOINED_BYTES, Channel, peek, reset_on_close
from proxy.wire.h1.head_writer import (
    CHUNKED,
    CLOSE,
    ESTABLISHED,
    HEAD_ENDS,
    KEEP_ALIVE,
    add_own,
    last_chunk,
    response_front,
)
from proxy.wire.h1.plain_connect import (
    ACCESS_DENIED,
    check_bound,
    not_plain_http,
    speaks_http,
    speaks_tls,
)
from proxy.wire.h2.downstream import Http2Downstream
from proxy.wire.limits import body_too_large, head_too_large
from proxy.wire.streams import NO_TRAILERS, ClientStream, Gate, Trailers
from proxy.wire.tls import chosen_protocol
from proxy.wire.turns import do_later

LINGER_SECONDS: Final = 1.0
GRACE: Final = 1.0
"""Seconds for another request after the last response of a closing gate."""
_PIPELINE_BYTES: Final = 64 * 1024
_P: Final = 0x50
"""How HTTP/2's preface begins."""
_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)*")


class State(Enum):
    HEAD = "head"
    EXCHANGE = "exchange"
    TUNNEL = "tunnel"
    LINGER = "linger"
    CLOSED = "closed"


# Reading a global is ten times as fast as reading an enum member (CPython 3.11).
_HEAD: Final = State.HEAD
_EXCHANGE: Final = State.EXCHANGE
_TUNNEL: Final = State.TUNNEL
_LINGER: Final = State.LINGER
_CLOSED: Final = State.CLOSED


class Downstream(ClientStream):
    """One client connection of a listener.

    `requests` counts heads read. `_bound`: the authority of a CONNECT that plain HTTP must
    follow, `_unheard`: none has arrived yet. `handler` is the exchange in flight, None between two.

    It is an asyncio protocol by its methods: a compiled class cannot have that base class.
    """

    __slots__ = (
        "_advancing",
        "_asked",
        "_bound",
        "_buffer",
        "_channel",
        "_chunks",
        "_decoder",
        "_ended",
        "_ends_by_close",
        "_gate",
        "_head_started",
        "_keep_alive",
        "_leaves_at",
        "_linger_until",
        "_queued",
        "_state",
        "_tls",
        "_unheard",
        "requests",
    )

    _channel: Channel
    _asked: RequestHead

    def __init__(self, gate: Gate, *, tls: bool = False) -> None:
        """`tls`: its transport has finished a handshake."""
        super().__init__()
        self._gate = gate
        self._tls = tls
        self._state = _HEAD
        self._buffer = b""
        self._decoder: BodyDecoder | None = None
        self._advancing = False
        self._queued = False
        self._ended = False  # the client's end arrived before its requests were begun
        self._head_started = False
        self._keep_alive = False
        self._chunks = False
        self._ends_by_close = False
        self._linger_until = 0.0
        self._leaves_at = 0.0  # after `limits.connection_age`; 0.0: never
        self._bound: Authority | None = None
        self._unheard = False
        self.requests = 0

    @property
    def idle(self) -> bool:
        """Whether it is between two requests and has received nothing of the next one."""
        return self._state is _HEAD and not self._buffer

    @property
    def request_bytes(self) -> int:
        return self._decoder.payload_bytes if self._decoder is not None else 0

    @property
    def unsent_bytes(self) -> int:
        return self._channel.unsent_bytes

    @property
    def half_closes(self) -> bool:
        """Whether sending can end while receiving continues."""
        return self._channel.half_closes

    # --- what the exchange writes -----------------------------------------------------------------

    def write_informational(self, head: ResponseHead) -> None:
        if self._asked.version != 10:
            self._channel.write(response_front(head) + HEAD_ENDS)

    def write_head(
        self,
        head: ResponseHead,
        own: OwnFields,
        piece: bytes,
        ended: bool,
        trailers: Trailers,
        last: bool,
    ) -> None:
        """Send head and body in one write; a long piece is not copied.

        An early answer is the connection's last: the rest of the request is not read.
        """
        parts = [response_front(head)]
        if head.length is None and head.status != 204:
            self._frame(parts, head)
        add_own(parts, own)
        if last or (ended and self.receiving):
            self._keep_alive = False
        if not self._keep_alive:
            parts.append(CLOSE)
        elif self._asked.version == 10:
            parts.append(KEEP_ALIVE)
        parts.append(HEAD_ENDS)
        if not self._chunks:
            self._channel.write_parts(parts, piece)
            return
        if piece:
            parts.append(b"%x\r\n" % len(piece))
            if ended or len(piece) <= JOINED_BYTES:
                parts.append(piece)
                piece = b""
                parts.append(b"\r\n")
        if ended:
            parts.append(last_chunk(trailers))
        self._channel.write_parts(parts, piece)
        if piece:
            self._channel.write(b"\r\n")

    def _frame(self, parts: list[bytes], head: ResponseHead) -> None:
        """Add the framing of a body of unknown length (RFC 9112 section 6.3)."""
        to_1_0 = self._asked.version == 10
        if not head.has_body(self._asked.method):
            if head.chunked and not to_1_0:
                parts.append(CHUNKED)
        elif to_1_0:
            self._ends_by_close = True
            self._keep_alive = False
        else:
            # If the upstream ends the body by closing, the client gets chunks too, so that it can
            # distinguish a complete body from a truncated one.
            self._chunks = True
            parts.append(CHUNKED)

    def write_body(self, piece: bytes) -> None:
        if self._chunks:
            self._channel.write_long(b"%x\r\n" % len(piece), piece, b"\r\n")
        else:
            self._channel.write(piece)

    def end(self, trailers: Trailers) -> None:
        if self._chunks:
            self._channel.write(last_chunk(trailers))

    def open_tunnel(self, head: ResponseHead, own: OwnFields, piece: bytes) -> bytes:
        self._keep_alive = False
        established = self._asked.method == "CONNECT" and not head.status_line
        parts = [ESTABLISHED if established else response_front(head)]
        add_own(parts, own)
        parts.append(HEAD_ENDS)
        self._channel.write_parts(parts, piece)
        self._state = _TUNNEL
        self.resume_reading()
        early, self._buffer = self._buffer, b""
        return early

    def expect_plain_http(self, own: OwnFields) -> None:
        self._bound = self._asked.authority
        self._unheard = True
        parts = [ESTABLISHED]
        add_own(parts, own)
        parts.append(HEAD_ENDS)
        self._channel.write_parts(parts, b"")
        self._state = _HEAD
        self.alarm.set(monotonic() + self._gate.limits.header_timeout)

    def write_tunnel(self, data: bytes) -> None:
        self._channel.write(data)

    def end_tunnel(self) -> None:
        if self._channel.closing:
            return
        if self._channel.half_closes:
            self._channel.transport.write_eof()
        else:
            self._channel.transport.close()

    def break_off(self, *, hard: bool) -> None:
        self.handler = None
        self._keep_alive = False
        if self._state is _CLOSED:
            return
        if hard or self._ends_by_close:
            reset_on_close(self._channel.transport)
            self._channel.transport.abort()
        else:
            self._channel.transport.close()

    def finish(self, now: float) -> None:
        self.handler = None
        if self._state is _CLOSED:
            return
        if self._keep_alive and not self.receiving and not self._channel.closing:
            self._state = _HEAD
            gate = self._gate
            # A closing gate's response without Connection: close had begun before, so another
            # request may arrive.
            self.alarm.set(now + (GRACE if gate.closing else gate.limits.idle_timeout))
            if self._buffer:  # the next request was pipelined
                self._advance()
            elif self.write_paused or not self._channel.reading:
                self._read_on()
        else:
            self._linger(more=self.receiving or bool(self._buffer))

    def pause_reading(self) -> None:
        self._channel.pause_reading()

    def resume_reading(self) -> None:
        self._channel.resume_reading()

    def cut(self) -> None:
        """Close, even with a request in flight."""
        self._buffer = b""
        self.break_off(hard=False)

    def leave(self) -> None:
        """Responses say Connection: close while the gate is closing."""

    def close_idle(self) -> None:
        """Close if no request is in flight."""
        if self.idle:
            self._close(self._gate.limits.idle_timeout)

    # --- events of the transport --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._channel = Channel(cast(asyncio.Transport, transport))
        self.alarm = Alarm(asyncio.get_running_loop(), self._on_alarm)
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if peer else ""
        gate = self._gate
        if self._tls and chosen_protocol(transport) == "h2":
            self._speak_http2(b"")
            return
        gate.connections.add(self)
        limits = gate.limits
        if len(gate.connections) > limits.connections:
            self._refuse_connection()
            return
        now = monotonic()
        self.alarm.set(now + limits.header_timeout)
        if limits.connection_age:
            self._leaves_at = now + limits.connection_age * (0.9 + 0.2 * random())

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
        """The client has ended its side. During an exchange this counts as gone."""
        if self._state is _TUNNEL and self.handler is not None:
            self.handler.on_client_end()
            return self.half_closes
        if self._state is _HEAD and self._buffer and (self._queued or self.write_paused):
            self._ended = True
            return True
        if self._state is _HEAD and self._buffer:
            self._refuse(BadRequest("The connection ended in the middle of a request's head."))
            return self.half_closes
        if self.handler is not None:
            # Closing would wait until the client has read everything.
            self._channel.transport.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = _CLOSED
        self._buffer = b""  # do not wait for the cycle collector
        self.alarm.close()
        self._gate.connections.discard(self)
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.on_client_gone()

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.handler is not None:
            self.handler.on_client_writable(False)

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.handler is not None:
            self.handler.on_client_writable(True)
        elif self._state is _HEAD:
            self._advance()
            self._end_after_requests()

    def _on_alarm(self) -> None:
        if self._state is _EXCHANGE or self._state is _TUNNEL:
            if self.handler is not None:
                self.handler.on_alarm()
        elif self._state is _LINGER:
            self._end_lingering()
        elif self._queued:
            self.alarm.set(monotonic() + self._gate.limits.idle_timeout)  # the proxy is late
        elif self.write_paused:
            # The client reads none of its answers: an orderly close would wait for them.
            self._channel.transport.abort()
        elif self._buffer or self.requests == 0:
            seconds = self._gate.limits.header_timeout
            self._refuse(
                HeaderTimeout(f"The request's head was not complete within {seconds:g} s.")
            )
        else:
            self._close(self._gate.limits.idle_timeout if self._gate.closing else 0.0)

    # --- requests -----------------------------------------------------------------------------

    def _advance(self) -> None:
        """Begin the next request in the buffer, unless the client does not read its answers.

        If it ends at once, the one after it waits in the loop's queue.
        """
        if self._advancing or self._queued:
            return
        if self._buffer and self._state is _HEAD and not self.write_paused:
            self._advancing = True
            try:
                begun = self._begin()
            finally:
                self._advancing = False
            if begun and self._buffer and self._state is _HEAD and not self.write_paused:
                self._go_on_later()
                return
        if self.write_paused or not self._channel.reading:
            self._read_on()

    def _read_on(self) -> None:
        """Resume reading, unless enough requests wait, or a request's body controls reading.

        Between two requests, pause while the client does not read its answers.
        """
        if self._state is _HEAD:
            if self.write_paused:
                self.pause_reading()
            else:
                self.resume_reading()
        elif (
            self._state is _EXCHANGE and not self.receiving and len(self._buffer) <= _PIPELINE_BYTES
        ):
            self.resume_reading()

    def _go_on_later(self) -> None:
        """Let other connections run before the received bytes are processed."""
        if not self._queued:
            self._queued = True
            self._channel.hold()
            do_later(self._go_on)

    def _go_on(self) -> None:
        self._queued = False
        if self._state is _HEAD and not self._channel.closing:
            self._advance()
        elif self._state is _EXCHANGE and self.receiving:
            self._on_body(b"")
        if self._queued:
            return
        self._channel.release()
        self._end_after_requests()

    def _end_after_requests(self) -> None:
        """Handle the client's end that arrived while its requests waited."""
        if self._ended and not self._queued and not self.write_paused:
            self._ended = False
            if not self.eof_received():
                self._channel.transport.close()

    def _begin(self) -> bool:
        """Returns whether a complete head was there."""
        data = self._buffer
        if self._unheard and not speaks_http(data):
            self._drop(data)
            return False
        if self.requests == 0 and self._chooses_protocol(data):
            return False
        if data[:1] == b"\r":
            data = self._buffer = _without_empty_lines(data)
        end = data.find(HEAD_END)
        if end < 0:
            self._await_head(data)
            return False
        end += 4  # HEAD_END's own
        self._buffer = data[end:]
        try:
            if end > self._gate.limits.header_bytes:
                raise head_too_large(data, self._gate.limits)
            head = self._gate.parser.parse(data if end == len(data) else data[:end])
            if self._bound is not None:
                check_bound(head, self._bound)
                self._unheard = False
            piece = b""
            self._decoder = None
            if head.length or head.chunked:
                self._decoder = body_decoder(head)
                piece = self._first_piece(head)
        except ProxyError as error:
            self._refuse(error)
            return False
        self._asked = head
        self._keep_alive = head.keep_alive
        if self._leaves_at and monotonic() >= self._leaves_at:
            self._keep_alive = False
        self._chunks = False
        self._head_started = False
        self._state = _EXCHANGE
        self.requests += 1
        self._gate.begin(self, head, piece)
        return True

    def _chooses_protocol(self, data: bytes) -> bool:
        """Whether a connection's first bytes are HTTP/2's preface, or may become it.

        Under TLS only ALPN chooses HTTP/2 (RFC 9113 section 3.2).
        """
        gate = self._gate
        if data[0] == _P and gate.http2 and not self._tls:
            if PREFACE.startswith(data):
                return True
            if data.startswith(PREFACE):
                self._speak_http2(data)
                return True
        if not gate.http1:
            self._refuse(BadRequest("This listener speaks only HTTP/2 (listeners.*.protocols)."))
            return True
        return False

    def _speak_http2(self, data: bytes) -> None:
        """Hand the connection over to HTTP/2."""
        self._state = _CLOSED
        self._buffer = b""
        self.alarm.close()
        self._gate.connections.discard(self)
        transport = self._channel.transport
        connection = Http2Downstream(self._gate)
        transport.set_protocol(cast(asyncio.BaseProtocol, connection))
        connection.connection_made(transport)
        if data:
            connection.data_received(data)

    def _first_piece(self, head: RequestHead) -> bytes:
        """The body received with the head, so that both can be forwarded in one write."""
        limit = self._gate.limits.body_bytes
        if limit and head.length > limit:
            raise body_too_large(limit)
        self.receiving = True
        data, self._buffer = self._buffer, b""
        return self._scan(data) if data else b""

    def _scan(self, data: bytes) -> bytes:
        """The body's part of `data`; bytes after the body's end stay in the buffer."""
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
        elif decoder.stalled:
            self._go_on_later()
        return piece

    def _await_head(self, data: bytes) -> None:
        """Wait for the rest of a head, unless its beginning is malformed or too long."""
        if data in (b"", b"\r"):
            return
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
            if self.requests:  # the first request's time began with the accept
                self.alarm.set(monotonic() + limits.header_timeout)

    def _on_body(self, data: bytes) -> None:
        handler = self.handler
        if handler is None:
            return
        try:
            piece = self._scan(data)
        except ProxyError as error:
            self._keep_alive = False
            handler.on_body_error(error)
            return
        if piece:
            handler.on_body(piece)
        if not self.receiving and self.handler is not None:
            self.handler.on_body_end(self.request_trailers)

    @property
    def request_trailers(self) -> Trailers:
        return self._decoder.trailers if self._decoder is not None else NO_TRAILERS

    # --- endings ------------------------------------------------------------------------------

    def _refuse(self, error: ProxyError) -> None:
        self._state = _EXCHANGE
        self._asked = _NO_REQUEST
        self._keep_alive = self._chunks = False
        self.receiving = False
        self._buffer = b""
        self._gate.refuse(self, error)
        self._linger(more=True)

    def _drop(self, data: bytes) -> None:
        """Refuse input after a CONNECT that is not plain HTTP; it gets no answer in HTTP."""
        self._state = _EXCHANGE
        self._keep_alive = False
        self._gate.drop(self, not_plain_http(cast(Authority, self._bound), data))
        if speaks_tls(data):
            self._channel.write(ACCESS_DENIED)
        self._linger(more=True)

    def _refuse_connection(self) -> None:
        """Answer at once, in HTTP/2 if its preface has already arrived."""
        start = b"" if self._tls else peek(self._channel.transport, len(PREFACE))
        if start[:4] == PREFACE[:4] and self._gate.http2:
            self._speak_http2(b"")
            return
        limit = self._gate.limits.connections
        self._refuse(
            ConnectionsFull(
                f"The listener has its maximum of {limit} connections (limits.connections)."
            )
        )

    def _end_lingering(self) -> None:
        """Close, unless the answer's last bytes are still being sent to a slow client."""
        now = monotonic()
        transport = self._channel.transport
        if transport.get_write_buffer_size() and now < self._linger_until:
            self.alarm.set(now + LINGER_SECONDS)
        elif self.half_closes or transport.is_closing():
            transport.abort()
        else:
            transport.close()  # its end is not sent yet, see `_linger`

    def _close(self, patience: float) -> None:
        """Close without a request in flight. `patience`: seconds for unsent bytes."""
        transport = self._channel.transport
        transport.close()
        if not self.half_closes or transport.get_write_buffer_size():
            # TLS would wait for close_notify, which an idle pooled client does not send. Unsent
            # bytes would wait for a client that does not read.
            self._state = _LINGER
            now = monotonic()
            self._linger_until = now + patience
            self.alarm.set(now + LINGER_SECONDS)

    def _linger(self, *, more: bool) -> None:
        """`more`: the client may still send something.

        Under TLS sending cannot end alone, and the end may be the response's. The connection is
        therefore closed at once if nothing more can arrive, else after reading for a while.
        """
        self._state = _LINGER
        self.receiving = False
        self._buffer = b""
        now = monotonic()
        self._linger_until = now + self._gate.limits.idle_timeout
        self.alarm.set(now + LINGER_SECONDS)
        if self._channel.closing:
            return  # it was cut, and its buffer may never drain
        self.resume_reading()
        if self.half_closes:
            self._channel.transport.write_eof()
        elif not more:
            self._end_lingering()


def _without_empty_lines(data: bytes) -> bytes:
    """Skip empty lines before a request (RFC 9112 section 2.2), without a step for each."""
    rest = data.lstrip(b"\r\n")
    front = len(data) - len(rest)
    if data[:front] != b"\r\n" * (front // 2):
        matched = cast(re.Match[bytes], _EMPTY_LINES.match(data))
        return data[matched.end() :]
    return rest


def _nothing_asked() -> RequestHead:
    """Stands for the request when there was none: the answer is written as if for this."""
    head = RequestHead()
    head.method = ""
    head.version = 11
    return head


_NO_REQUEST: Final = _nothing_asked()
