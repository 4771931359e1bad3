"""An HTTP/1 connection to an endpoint: sends one request at a time, and finds its response.

    IDLE ──send_head──> HEAD ──final head──> BODY ──end──> IDLE (or closed)
                 1xx ──> HEAD ──101──> TUNNEL <──begin_tunnel── IDLE

It is the `UpstreamStream` of each of its attempts, and writes their requests. While it is IDLE,
nothing may arrive: bytes or an end make it unusable at once, so that the pool never lends a
connection that is known to be dead.

Work is bounded: after many tiny chunks or informational heads the work continues in the loop's
queue (`wire/turns.py`); until then nothing is read, and a loss is reported after that work.
"""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final, cast

from proxy.errors import ProxyError, UpstreamMalformed, UpstreamReset, UpstreamTruncated
from proxy.http.h1.chunked import ChunkError
from proxy.http.h1.framing import BodyDecoder, CloseDecoder
from proxy.http.h1.request import HEAD_END
from proxy.http.h1.response import ResponseParser, body_decoder, early_fault, stray_fault
from proxy.http.message import OwnFields, RequestHead, ResponseHead
from proxy.wire.flow import JOINED_BYTES, Channel, reset_on_close, unread
from proxy.wire.h1.head_writer import HEAD_ENDS, add_own, last_chunk, request_front
from proxy.wire.streams import (
    NO_TRAILERS,
    StreamHandler,
    Trailers,
    UpstreamSession,
    UpstreamStream,
)
from proxy.wire.tls import openssl_code
from proxy.wire.turns import do_later

LINGER_SECONDS = 1.0
_INFORMATIONAL_HEADS: Final = 8
"""Maximum passed on in one turn. All of one response have at most `MAX_HEAD_BYTES`."""
_LATER_BYTES: Final = 64 * 1024
"""Above this many bytes to be written later, no more is taken."""
MAX_HEAD_BYTES: Final = 64 * 1024
"""Maximum bytes of a response's head (Envoy's default is 60 KiB)."""


_parser: Final = ResponseParser()
"""One for all connections, so that shared parts are remembered once."""


class State(Enum):
    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    TUNNEL = "tunnel"
    CLOSED = "closed"


# Reading a global is ten times as fast as reading an enum member (CPython 3.11).
_IDLE: Final = State.IDLE
_HEAD: Final = State.HEAD
_BODY: Final = State.BODY
_TUNNEL: Final = State.TUNNEL
_CLOSED: Final = State.CLOSED


class UpstreamConnection(UpstreamStream):
    """One connection. `on_closed` is called exactly once with its session.

    It is an asyncio protocol by its methods: a compiled class cannot have that base class.
    """

    __slots__ = (
        "_buffer",
        "_channel",
        "_chunks",
        "_decoder",
        "_ended",
        "_held_back",
        "_informed",
        "_informed_bytes",
        "_later",
        "_later_bytes",
        "_lost",
        "_lost_by",
        "_method",
        "_on_closed",
        "_queued",
        "_reusable",
        "_state",
        "_upgrade",
        "_whole_bytes",
        "exchanges",
    )

    _channel: Channel

    def __init__(self, on_closed: Callable[[UpstreamSession], None]) -> None:
        super().__init__()
        self.session = Http1Session(self)
        self._on_closed = on_closed
        self._state = _IDLE
        self._decoder: BodyDecoder | None = None
        self._buffer = b""
        self._later: list[bytes] | None = None  # under TLS: parts of a body to be written soon
        self._later_bytes = 0
        self._held_back = False  # no more is taken until they are written
        self._method = ""
        self._chunks = False
        self._upgrade = False
        self._reusable = True
        self._whole_bytes = 0
        self._queued = False
        self._ended = False  # this and the loss wait for the queued work
        self._lost = False
        self._lost_by: Exception | None = None
        self._informed = 0  # the exchange that got informational heads last
        self._informed_bytes = 0
        self.exchanges = 0

    # --- for the pool -----------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether it is open, without an exchange, and has received nothing unexpected."""
        return self._state is _IDLE and self._reusable and not self._channel.closing

    def close(self) -> None:
        self._reusable = False
        self._channel.transport.close()

    def abort(self) -> None:
        """Close at once, and discard unsent bytes."""
        self._reusable = False
        self.handler = None
        self._channel.transport.abort()

    # --- for the attempt ------------------------------------------------------------------------

    @property
    def payload_bytes(self) -> int:
        return self._decoder.payload_bytes if self._decoder is not None else self._whole_bytes

    @property
    def half_closes(self) -> bool:
        return self._channel.half_closes

    @property
    def upgrades(self) -> bool:
        return True

    def send_head(
        self,
        handler: StreamHandler,
        head: RequestHead,
        own: OwnFields,
        piece: bytes,
        ended: bool,
        trailers: Trailers,
    ) -> None:
        """Send everything in one write; a long piece is not copied."""
        self.handler = handler
        self._method = head.method
        self._chunks = head.chunked
        self._upgrade = b"upgrade" in head.held and head.upgrade is not None
        self._state = _HEAD
        self._decoder = None
        self._whole_bytes = 0
        self.exchanges += 1
        if self._buffer:
            # Not within this call: the attempt is only beginning.
            asyncio.get_running_loop().call_soon(self._fail_stray)
            return
        if self._later:
            self._write_now()
        parts = [request_front(head)]
        add_own(parts, own)
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

    def write_body(self, piece: bytes) -> None:
        if self._later is not None:
            self._write_later(
                (b"%x\r\n" % len(piece), piece, b"\r\n") if self._chunks else (piece,)
            )
        elif self._chunks:
            self._channel.write_long(b"%x\r\n" % len(piece), piece, b"\r\n")
        else:
            self._channel.write(piece)

    def end(self, trailers: Trailers) -> None:
        if not self._chunks:
            return
        if self._later is not None:
            self._write_later((last_chunk(trailers),))
        else:
            self._channel.write(last_chunk(trailers))

    def _write_later(self, parts: tuple[bytes, ...]) -> None:
        """Write in the loop's next turn, after it has read what has arrived.

        A write that fails loses an early answer: under TLS nothing can be read after it.
        """
        later = cast(list[bytes], self._later)
        if not later:
            asyncio.get_running_loop().call_soon(self._write_now)
        later.extend(parts)
        for part in parts:
            self._later_bytes += len(part)
        if self._later_bytes > _LATER_BYTES and not self.write_paused:
            self._held_back = True
            self.pause_writing()

    def _write_now(self) -> None:
        later, self._later = self._later, []
        self._later_bytes = 0
        held_back, self._held_back = self._held_back, False
        if held_back:
            self.write_paused = False
        if later and not self._channel.closing:
            self._channel.transport.writelines(later)
        if held_back and not self.write_paused:
            self.resume_writing()

    def begin_tunnel(self, handler: StreamHandler) -> None:
        self.handler = handler
        self._state = _TUNNEL
        self._reusable = False
        early, self._buffer = self._buffer, b""
        if early:
            handler.on_piece(early)

    def write_tunnel(self, data: bytes) -> None:
        self._channel.write(data)

    def end_tunnel(self) -> None:
        if self._channel.closing:
            return
        if self._channel.half_closes:
            self._channel.transport.write_eof()
            return
        handler, self.handler = self.handler, None
        self.close()
        if handler is not None:
            handler.on_end(NO_TRAILERS)

    def leave_tunnel(self, *, reset: bool) -> bool:
        """Give the last bytes a moment to be sent, then close."""
        transport = self._channel.transport
        if reset and not transport.is_closing():
            reset_on_close(transport)
            if not self.half_closes:
                transport.abort()  # TLS would send close_notify first
        self.close()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.abort)
        return False

    def detach(self) -> None:
        self.handler = None
        if not self._channel.reading:
            self.resume_reading()

    def pause_reading(self) -> None:
        self._channel.pause_reading()

    def resume_reading(self) -> None:
        self._channel.resume_reading()

    # --- events of the transport --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._channel = Channel(cast(asyncio.Transport, transport))
        if not self._channel.half_closes:
            self._later = []

    def data_received(self, data: bytes) -> None:
        if self._state is _BODY:
            self._on_body(data)
        elif self._state is _HEAD:
            self._on_head_bytes(data)
        elif self._state is _TUNNEL:
            if self.handler is not None:
                self.handler.on_piece(data)
        elif self._state is _IDLE:
            self._on_stray(data)

    def _on_stray(self, data: bytes) -> None:
        """Handle bytes without a request: a second answer, or bytes after a response's end.

        A server may also send first: the first request decides, as a tunnel accepts it.
        """
        self._buffer += data
        if self.exchanges or len(self._buffer) > MAX_HEAD_BYTES:
            self.close()

    def eof_received(self) -> bool:
        self._reusable = False
        if self._queued:
            self._ended = True
            return True
        if self._state is _TUNNEL:
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
        if exc is not None and not self._lost and (self._state is _HEAD or self._state is _BODY):
            self._read_the_rest()
        if self._queued:
            self._lost, self._lost_by = True, exc
            return
        self._on_loss(exc)
        self._buffer = b""
        self._state = _CLOSED
        session = cast(Http1Session, self.session)
        session.connection = session.on_room = None
        self._on_closed(session)

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.handler is not None:
            self.handler.on_upstream_writable(False)

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.handler is not None:
            self.handler.on_upstream_writable(True)

    # --- responses ----------------------------------------------------------------------------

    def _on_head_bytes(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        passed = 0
        while True:
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
            if self._informed != self.exchanges:
                self._informed, self._informed_bytes = self.exchanges, 0
            self._informed_bytes += end
            if self._informed_bytes > MAX_HEAD_BYTES:
                self._fail(UpstreamMalformed("The upstream sent too many informational responses."))
                return
            if self.handler is not None:
                self.handler.on_informational(head)
            if not data:
                return
            passed += 1
            if passed == _INFORMATIONAL_HEADS:
                self._buffer = data
                self._go_on_later()
                return

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
            self._state = _BODY
        else:
            self._state = _IDLE
            self.handler = None
            if rest:
                self.close()
        if handler is not None:
            handler.on_head(head, piece, rest is not None, self._trailers)
        if rest is None and self._decoder is not None and self._decoder.stalled:
            self._go_on_later()

    @property
    def _trailers(self) -> Trailers:
        return self._decoder.trailers if self._decoder is not None else NO_TRAILERS

    def _go_on_later(self) -> None:
        """Let other connections run before the received bytes are processed."""
        if not self._queued:
            self._queued = True
            self._channel.hold()
            do_later(self._go_on)

    def _go_on(self) -> None:
        self._queued = False
        if self.handler is not None:  # else the attempt was given up
            if self._state is _BODY:
                self._on_body(b"")
            elif self._state is _HEAD:
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

    def _switch(self, head: ResponseHead, data: bytes) -> None:
        """Handle a 101: a tunnel from now on (RFC 9110 section 15.2.2)."""
        if not self._upgrade or b"upgrade" not in head.held:
            self._fail(
                UpstreamMalformed("The upstream switched protocols without a request to do so.")
            )
            return
        if self._later:
            self._write_now()
        self._state = _TUNNEL
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
        self._state = _IDLE
        if rest:
            self.close()
        handler = self.handler
        self.handler = None
        if handler is not None:
            handler.on_end(decoder.trailers)

    def _read_the_rest(self) -> None:
        """A write failed, but an early answer may have arrived before: read it from the socket.

        With TLS that is not possible.
        """
        if not self.half_closes:
            return
        data = unread(self._channel.transport)
        if data:
            self.data_received(data)

    def _fail_stray(self) -> None:
        if self._state is _HEAD:
            self._fail(UpstreamMalformed(stray_fault(self._buffer)))

    # --- losses -------------------------------------------------------------------------------

    def _on_loss(self, exc: Exception | None, *, ended: bool = False) -> None:
        """The connection ended or broke; the meaning depends on the state of the response.

        `ended`: the peer ended it in order. Otherwise it does not end a body (RFC 9112 section
        9.8): under TLS an attacker can close the connection, but cannot send close_notify.
        """
        state = self._state
        if state is _HEAD:
            new_tls = self.exchanges == 1 and not self.half_closes
            self._fail(UpstreamReset(_lost_before_head(self._buffer, exc, new_tls=new_tls)))
        elif state is _BODY:
            if ended and isinstance(self._decoder, CloseDecoder):
                self._state = _IDLE
                handler, self.handler = self.handler, None
                if handler is not None:
                    handler.on_end(NO_TRAILERS)
            else:
                self._fail(UpstreamTruncated("The upstream closed before the end of its response."))
        elif state is _TUNNEL:
            self._fail(UpstreamTruncated("The upstream's side of the tunnel was lost."))

    def _fail(self, error: ProxyError) -> None:
        self._state = _IDLE
        handler, self.handler = self.handler, None
        self._reusable = False
        self._channel.transport.abort()
        if handler is not None:
            handler.on_lost(error)


class Http1Session(UpstreamSession):
    """A connection as its pool keeps it: room for one exchange at a time.

    `connection` is None after it is lost, so that no reference cycle remains.
    """

    __slots__ = ("connection",)

    def __init__(self, connection: UpstreamConnection) -> None:
        super().__init__(1)
        self.connection: UpstreamConnection | None = connection

    @property
    def usable(self) -> bool:
        """Whether it is open, without an exchange, and has received nothing unexpected."""
        connection = self.connection
        return connection is not None and connection.usable

    def lend(self) -> UpstreamStream:
        return cast(UpstreamConnection, self.connection)

    def take_back(self, stream: UpstreamStream, reusable: bool) -> None:
        connection = self.connection
        if connection is not None and not (reusable and connection.usable):
            # Half a request may be in its buffer: do not wait for it to be sent.
            connection.abort()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()


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
