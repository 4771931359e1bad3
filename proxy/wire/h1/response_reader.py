"""Finds responses in the bytes of an upstream's HTTP/1 connection, and says what a loss means.

While the connection is IDLE, nothing may arrive: bytes or an end make it unusable at once, so that
the pool never lends a connection that is known to be dead.

Work is bounded: after many tiny chunks or informational heads the work continues in the loop's
queue (`wire/turns.py`); until then nothing is read, and a loss is reported after that work.
"""

from collections.abc import Callable
from typing import Final, cast

from proxy.errors import ProxyError, UpstreamMalformed, UpstreamReset, UpstreamTruncated
from proxy.http.h1.chunked import ChunkError
from proxy.http.h1.framing import BodyDecoder, CloseDecoder
from proxy.http.h1.request import HEAD_END
from proxy.http.h1.response import ResponseParser, body_decoder, early_fault, stray_fault
from proxy.http.message import RequestHead, ResponseHead
from proxy.wire.flow import unread
from proxy.wire.h1.request_writer import (
    BODY,
    CLOSED,
    HEAD,
    IDLE,
    TUNNEL,
    Http1Session,
    RequestWriter,
)
from proxy.wire.streams import NO_TRAILERS, Trailers, UpstreamSession
from proxy.wire.tls import openssl_code
from proxy.wire.turns import do_later

_INFORMATIONAL_HEADS: Final = 8
"""Maximum passed on in one turn. All of one response have at most `MAX_HEAD_BYTES`."""
MAX_HEAD_BYTES: Final = 64 * 1024
"""Maximum bytes of a response's head (Envoy's default is 60 KiB)."""
_parser: Final = ResponseParser()
"""One for all connections, so that shared parts are remembered once."""


class ResponseReader(RequestWriter):
    """The reading half of a connection to an upstream.

    `exchanges` counts requests. `_asked` is the one in flight, `_method` that of the last one.
    `on_closed` is called exactly once with the connection's session.
    """

    __slots__ = (
        "_asked",
        "_buffer",
        "_decoder",
        "_ended",
        "_informed",
        "_informed_bytes",
        "_lost",
        "_lost_by",
        "_method",
        "_on_closed",
        "_queued",
        "_whole_bytes",
        "exchanges",
    )

    def __init__(self, on_closed: Callable[[UpstreamSession], None]) -> None:
        super().__init__()
        self._on_closed = on_closed
        self._decoder: BodyDecoder | None = None
        self._buffer = b""
        self._method = ""
        self._asked: RequestHead | None = None
        self._whole_bytes = 0
        self._queued = False
        self._ended = False  # this and the loss wait for the queued work
        self._lost = False
        self._lost_by: Exception | None = None
        self._informed = 0  # the exchange that got informational heads last
        self._informed_bytes = 0
        self.exchanges = 0

    @property
    def payload_bytes(self) -> int:
        return self._decoder.payload_bytes if self._decoder is not None else self._whole_bytes

    @property
    def _trailers(self) -> Trailers:
        return self._decoder.trailers if self._decoder is not None else NO_TRAILERS

    # --- bytes, their end, and the connection's ---------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._state is BODY:
            self._on_body(data)
        elif self._state is HEAD:
            self._on_head_bytes(data)
        elif self._state is TUNNEL:
            if self.handler is not None:
                self.handler.on_piece(data)
        elif self._state is IDLE:
            self._on_stray(data)

    def eof_received(self) -> bool:
        self._reusable = False
        if self._queued:
            self._ended = True
            return True
        if self._state is TUNNEL:
            handler = self.handler
            if not self.half_closes:
                self.handler = None
            if handler is not None:
                handler.on_end(NO_TRAILERS)
            return self.half_closes  # the other direction may continue
        self._on_loss(None, ended=True)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._reusable = False
        if exc is not None and not self._lost and (self._state is HEAD or self._state is BODY):
            self._read_the_rest()
        if self._queued:
            self._lost, self._lost_by = True, exc
            return
        self._on_loss(exc)
        self._buffer = b""
        self._state = CLOSED
        session = cast(Http1Session, self.session)
        session.connection = session.on_room = None
        self._on_closed(session)

    def _read_the_rest(self) -> None:
        """A write failed, but an early answer may have arrived before: read it from the socket.

        With TLS that is not possible.
        """
        if not self.half_closes:
            return
        data = unread(self._channel.transport)
        if data:
            self.data_received(data)

    # --- bytes without a request ------------------------------------------------------------------

    def _on_stray(self, data: bytes) -> None:
        """Handle bytes without a request: a second answer, or bytes after a response's end.

        A server may also send first, and much: the first request decides, as a tunnel accepts it.
        """
        self._buffer += data
        if self.exchanges:
            self.close()
        elif len(self._buffer) > MAX_HEAD_BYTES:
            self.pause_reading()

    def _fail_stray(self) -> None:
        if self._state is HEAD:
            self._fail(UpstreamMalformed(stray_fault(self._buffer)))

    # --- responses ----------------------------------------------------------------------------

    def _on_head_bytes(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        passed = 0
        while True:
            if data.startswith(_parser.last_raw):
                head, end = _parser.last, len(_parser.last_raw)
            else:
                end = data.find(HEAD_END)
                if end < 0:
                    self._keep_partial(data)
                    return
                end += 4  # HEAD_END's own
                if end > MAX_HEAD_BYTES:
                    self._fail(_head_too_large())
                    return
                try:
                    head = _parser.parse(data if end == len(data) else data[:end])
                except UpstreamMalformed as error:
                    self._fail(error)
                    return
            data = data[end:]
            if head.status >= 200 or head.status == 101:
                self._on_final_head(head, data)
                return
            if not self._on_informational_head(head, end) or not data:
                return
            passed += 1
            if passed == _INFORMATIONAL_HEADS:
                self._buffer = data
                self._go_on_later()
                return

    def _on_informational_head(self, head: ResponseHead, size: int) -> bool:
        """Pass it on; False: those of this exchange are too long together, and it has failed."""
        if self._informed != self.exchanges:
            self._informed, self._informed_bytes = self.exchanges, 0
        self._informed_bytes += size
        if self._informed_bytes > MAX_HEAD_BYTES:
            self._fail(UpstreamMalformed("The upstream sent too many informational responses."))
            return False
        if self.handler is not None:
            self.handler.on_informational(head)
        return True

    def _keep_partial(self, data: bytes) -> None:
        if len(data) > MAX_HEAD_BYTES:
            self._fail(_head_too_large())
            return
        fault = early_fault(data)
        if fault:
            self._fail(UpstreamMalformed(fault))
            return
        self._buffer = data

    def _on_final_head(self, head: ResponseHead, data: bytes) -> None:
        handler = self.handler
        self._reusable = head.keep_alive
        if head.status == 101:
            self._switch(head, data)
            return
        piece: bytes = b""
        rest: bytes | None = data
        if data and len(data) == head.length and head.has_body(self._method):
            # Most bodies arrive complete with their heads: no end to search for.
            piece, rest = data, b""
            self._whole_bytes = len(data)
        elif decoder := body_decoder(head, self._method):
            self._decoder = decoder
            try:
                piece, rest = decoder.scan(data) if data else (b"", None)
            except ChunkError as error:
                self._fail(UpstreamMalformed(f"The upstream's chunked body is malformed: {error}."))
                return
        if rest is None:
            self._state = BODY
        else:
            self._state = IDLE
            self.handler = None
            if rest:
                self.close()
        if handler is not None:
            handler.on_head(head, piece, rest is not None, self._trailers)
        if rest is None and self._decoder is not None and self._decoder.stalled:
            self._go_on_later()

    def _switch(self, head: ResponseHead, data: bytes) -> None:
        """Handle a 101: a tunnel from now on (RFC 9110 section 15.2.2)."""
        asked = self._asked
        if asked is None or asked.upgrade is None or b"upgrade" not in head.held:
            self._fail(
                UpstreamMalformed("The upstream switched protocols without a request to do so.")
            )
            return
        if self._later:
            self._write_now()
        self._state = TUNNEL
        self._reusable = False
        if self.handler is not None:
            self.handler.on_head(head, data, False, NO_TRAILERS)

    def _on_body(self, data: bytes) -> None:
        decoder = cast(BodyDecoder, self._decoder)
        try:
            piece, rest = decoder.scan(data)
        except ChunkError as error:
            self._fail(UpstreamTruncated(f"The upstream's chunked body is malformed: {error}."))
            return
        if rest is None and decoder.stalled:
            self._go_on_later()
        handler = self.handler
        if piece and handler is not None:
            handler.on_piece(piece)
        if rest is None:
            return
        self._state = IDLE
        if rest:
            self.close()
        handler = self.handler
        self.handler = None
        if handler is not None:
            handler.on_end(decoder.trailers)

    def _go_on_later(self) -> None:
        """Let other connections run before the received bytes are processed."""
        if not self._queued:
            self._queued = True
            self._channel.hold()
            do_later(self._go_on)

    def _go_on(self) -> None:
        self._queued = False
        if self.handler is not None:  # else the attempt was given up
            if self._state is BODY:
                self._on_body(b"")
            elif self._state is HEAD:
                self._on_head_bytes(b"")
        if self._queued:
            return
        self._channel.release()
        if self._ended:
            self._ended = False
            if not self.eof_received():
                self._channel.transport.close()
        if self._lost:
            lost_by, self._lost_by = self._lost_by, None
            self.connection_lost(lost_by)

    # --- losses -------------------------------------------------------------------------------

    def _on_loss(self, exc: Exception | None, *, ended: bool = False) -> None:
        """The connection ended or broke; the meaning depends on the state of the response.

        `ended`: the peer ended it in order. Otherwise it does not end a body (RFC 9112 section
        9.8): under TLS an attacker can close the connection, but cannot send close_notify.
        """
        state = self._state
        if state is HEAD:
            new_tls = self.exchanges == 1 and not self.half_closes
            self._fail(UpstreamReset(_lost_before_head(self._buffer, exc, new_tls=new_tls)))
        elif state is BODY:
            if ended and isinstance(self._decoder, CloseDecoder):
                self._state = IDLE
                handler, self.handler = self.handler, None
                if handler is not None:
                    handler.on_end(NO_TRAILERS)
            else:
                self._fail(UpstreamTruncated("The upstream closed before the end of its response."))
        elif state is TUNNEL:
            self._fail(UpstreamTruncated("The upstream's side of the tunnel was lost."))

    def _fail(self, error: ProxyError) -> None:
        self._state = IDLE
        handler, self.handler = self.handler, None
        self._reusable = False
        self._channel.transport.abort()
        if handler is not None:
            handler.on_lost(error)


def _head_too_large() -> UpstreamMalformed:
    return UpstreamMalformed("The upstream's response head is too large.")


def _lost_before_head(received: bytes, exc: Exception | None, *, new_tls: bool) -> str:
    """The failure of a connection that ended after `received` bytes of a response's head."""
    how = "reset" if exc is not None else "closed"
    if received:
        return f"The upstream {how} the connection in the middle of its response head."
    if new_tls:
        # In TLS 1.3 a server checks the client's certificate after the client's handshake.
        code = openssl_code(exc) if exc is not None else None
        why = f" ({code.replace('_', ' ').lower()})" if code else ""
        return (
            f"The upstream {how} the connection right after the TLS handshake{why}: see whether "
            "it requires another client certificate than the one it got."
        )
    return f"The upstream {how} the connection."
