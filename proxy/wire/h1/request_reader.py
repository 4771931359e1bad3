"""Finds requests in the bytes of a client's HTTP/1 connection, and begins them in order.

The first bytes also choose the protocol. A request begins with its head and the part of its body
that arrived with it; the rest of the body goes to its exchange piece by piece.

Work is bounded: after a request that ends at once, or after many tiny chunks, the work continues
in the loop's queue (`wire/turns.py`); until then nothing is read. Nothing is read either from a
client that does not read its answers. An end that arrives meanwhile is handled after that work.
"""

import asyncio
import re
from time import monotonic
from typing import Final, cast

from proxy.errors import BadRequest, ProxyError
from proxy.http.authority import Authority
from proxy.http.h1.chunked import ChunkError
from proxy.http.h1.framing import BodyDecoder
from proxy.http.h1.request import HEAD_END, body_decoder, early_fault
from proxy.http.h2.frames import PREFACE
from proxy.http.message import RequestHead
from proxy.wire.h1.closing import CLOSED, EXCHANGE, HEAD, TUNNEL, ClosingConnection
from proxy.wire.h1.plain_connect import check_bound, not_plain_http, speaks_http, speaks_tls
from proxy.wire.limits import body_too_large, head_too_large
from proxy.wire.streams import NO_TRAILERS, Gate, Trailers
from proxy.wire.turns import do_later

_PIPELINE_BYTES: Final = 64 * 1024
_P: Final = 0x50
"""How HTTP/2's preface begins."""
_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)*")


class RequestReader(ClosingConnection):
    """The reading half of a client's connection.

    `requests` counts heads read. `_bound`: the authority of a CONNECT that plain HTTP must
    follow, `_unheard`: none has arrived yet. `handler` is the exchange in flight, None between two.
    """

    __slots__ = (
        "_advancing",
        "_bound",
        "_decoder",
        "_ended",
        "_head_started",
        "_leaves_at",
        "_queued",
        "_tls",
        "_unheard",
        "requests",
    )

    def __init__(self, gate: Gate, *, tls: bool = False) -> None:
        """`tls`: its transport has finished a handshake."""
        super().__init__(gate)
        self._tls = tls
        self._decoder: BodyDecoder | None = None
        self._advancing = False
        self._queued = False
        # The client's end arrived in a tunnel, or before its requests were begun.
        self._ended = False
        self._head_started = False
        self._leaves_at = 0.0  # after `limits.connection_age`; 0.0: never
        self._bound: Authority | None = None
        self._unheard = False
        self.requests = 0

    @property
    def request_bytes(self) -> int:
        return self._decoder.payload_bytes if self._decoder is not None else 0

    @property
    def request_trailers(self) -> Trailers:
        return self._decoder.trailers if self._decoder is not None else NO_TRAILERS

    # --- bytes and their end ----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is HEAD:
            self._buffer = self._buffer + data if self._buffer else data
            self._advance()
        elif state is TUNNEL:
            if self.handler is not None:
                self.handler.on_body(data)
        elif state is EXCHANGE:
            if self.receiving:
                self._on_body(data)
            else:
                self._buffer += data
                if len(self._buffer) > _PIPELINE_BYTES:
                    self.pause_reading()

    def eof_received(self) -> bool:
        """The client has ended its side. During an exchange this counts as gone."""
        if self._state is TUNNEL and self.handler is not None:
            self._ended = True
            self.handler.on_client_end()
            return self.half_closes
        if self._state is HEAD and self._buffer and (self._queued or self.write_paused):
            self._ended = True
            return True
        if self._state is HEAD and self._buffer:
            self._refuse(BadRequest("The connection ended in the middle of a request's head."))
            return self.half_closes
        if self.handler is not None:
            # Closing would wait until the client has read everything.
            self._channel.transport.abort()
        return False

    def _end_after_requests(self) -> None:
        """Handle the client's end that arrived while its requests waited."""
        if self._ended and not self._queued and not self.write_paused:
            self._ended = False
            if not self.eof_received():
                self._channel.transport.close()

    # --- requests ---------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Begin the next request in the buffer, unless the client does not read its answers.

        If it ends at once, the one after it waits in the loop's queue.
        """
        if self._advancing or self._queued:
            return
        if self._buffer and self._state is HEAD and not self.write_paused:
            self._advancing = True
            try:
                begun = self._begin()
            finally:
                self._advancing = False
            if begun and self._buffer and self._state is HEAD and not self.write_paused:
                self._go_on_later()
                return
        if self.write_paused or not self._channel.reading:
            self._read_on()

    def _read_on(self) -> None:
        """Resume reading, unless enough requests wait, or a request's body controls reading.

        Between two requests, pause while the client does not read its answers.
        """
        if self._state is HEAD:
            if self.write_paused:
                self.pause_reading()
            else:
                self.resume_reading()
        elif (
            self._state is EXCHANGE and not self.receiving and len(self._buffer) <= _PIPELINE_BYTES
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
        if self._state is HEAD and not self._channel.closing:
            self._advance()
        elif self._state is EXCHANGE and self.receiving:
            self._on_body(b"")
        if self._queued:
            return
        self._channel.release()
        self._end_after_requests()

    def _begin(self) -> bool:
        """Returns whether a complete head was there."""
        data = self._buffer
        if self._unheard and not speaks_http(data):
            fault = not_plain_http(cast(Authority, self._bound), data)
            self._drop(fault, tls=speaks_tls(data))
            return False
        if self.requests == 0 and self._chooses_protocol(data):
            return False
        if data[:1] == b"\r":
            data = self._buffer = _without_empty_lines(data)
        try:
            head = self._next_head(data)
            if head is None:
                self._await_head(data)
                return False
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
        self._state = EXCHANGE
        self.requests += 1
        self._gate.begin(self, head, piece)
        return True

    def _next_head(self, data: bytes) -> RequestHead | None:
        """The head at the start of `data`; the bytes after it stay in the buffer. None: incomplete.

        Raises the fault of a malformed head, or of one that is too long.
        """
        parser = self._gate.parser
        if data.startswith(parser.last_raw):
            self._buffer = data[len(parser.last_raw) :]
            return parser.last
        if data.endswith(b"\n"):  # there is no body: perhaps a remembered head, byte for byte
            known = parser.known.get(data)
            if known is not None:
                parser.last_raw, parser.last = data, known
                self._buffer = b""
                return known
        end = data.find(HEAD_END)
        if end < 0:
            return None
        end += 4  # HEAD_END's own
        self._buffer = data[end:]
        if end > self._gate.limits.header_bytes:
            raise head_too_large(data, self._gate.limits)
        return parser.parse(data if end == len(data) else data[:end])

    # --- bodies -----------------------------------------------------------------------------------

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

    # --- what is not a request, or not yet one ----------------------------------------------------

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

    def _chooses_protocol(self, data: bytes) -> bool:
        """Whether a connection's first bytes are HTTP/2's preface, or may become it.

        Under TLS only ALPN chooses HTTP/2 (RFC 9113 section 3.2).
        """
        gate = self._gate
        if data[0] == _P and gate.http2 and not self._tls:
            if data.startswith(PREFACE):
                self._speak_http2(data)
                return True
            if PREFACE.startswith(data):
                return True
        if not gate.http1:
            self._refuse(BadRequest("This listener speaks only HTTP/2 (listeners.*.protocols)."))
            return True
        return False

    def _speak_http2(self, data: bytes) -> None:
        """Hand the connection over to HTTP/2, which is imported with the first such connection."""
        from proxy.wire.h2.downstream import Http2Downstream

        self._state = CLOSED
        self._buffer = b""
        self.alarm.close()
        self._gate.connections.discard(self)
        transport = self._channel.transport
        connection = Http2Downstream(self._gate)
        transport.set_protocol(cast(asyncio.BaseProtocol, connection))
        connection.connection_made(transport)
        if data:
            connection.data_received(data)


def _without_empty_lines(data: bytes) -> bytes:
    """Skip empty lines before a request (RFC 9112 section 2.2), without a step for each."""
    rest = data.lstrip(b"\r\n")
    front = len(data) - len(rest)
    if data[:front] != b"\r\n" * (front // 2):
        matched = cast(re.Match[bytes], _EMPTY_LINES.match(data))
        return data[matched.end() :]
    return rest
