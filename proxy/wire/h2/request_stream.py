"""The client's side of an exchange on an HTTP/2 connection: one stream.

    begin ──▶ exchange ──finish──▶ recycled
                 └─ CONNECT, WebSocket ──open_tunnel──▶ tunnel: DATA are its bytes

A request whose client broke a rule is reset at once, while its exchange ends in its own time: what
that still writes is dropped.
"""

from time import monotonic
from typing import Final

from proxy.errors import BadRequest
from proxy.http.h2.blocks import response_block
from proxy.http.h2.frames import CANCEL, CONNECT_ERROR, INTERNAL_ERROR, NO_ERROR
from proxy.http.message import OwnFields, RequestHead, ResponseHead
from proxy.wire.h2.connection import Connection
from proxy.wire.h2.streams import MOST_PIECES, Stream
from proxy.wire.limits import body_too_large
from proxy.wire.streams import NO_TRAILERS, ClientStream, Trailers
from proxy.wire.tls import certificate_of

EARLY_SECONDS: Final = 0.25
"""Seconds for a client to end a request whose response is already whole."""
_NO_FIELDS: Final[OwnFields] = []


class RequestConnection(Connection):
    """A client's connection, as its streams see it."""

    __slots__ = ()

    def settled(self, request: "RequestStream", now: float) -> None:
        """The exchange of a stream is over: the stream no longer counts."""
        raise NotImplementedError

    def tell_later(self, stream: Stream) -> None:
        """Deliver the stream in the loop's next turn."""
        raise NotImplementedError

    @property
    def body_limit(self) -> int:
        """Maximum bytes of a body; 0: no limit."""
        raise NotImplementedError

    @property
    def patience(self) -> float:
        """Seconds for a client to read the rest of an answer."""
        raise NotImplementedError


class RequestStream(ClientStream):
    """One stream of a client. The object is used again for other streams of its connection.

    `finished`: its exchange is over. `tunnels`: bytes pass unchanged.

    HTTP/1 cannot follow a CONNECT on a stream; such a CONNECT is refused, so there is no
    `expect_plain_http`.
    """

    __slots__ = ("_connection", "_early", "_opens", "finished", "stream", "tunnels")

    def __init__(self, connection: RequestConnection) -> None:
        super().__init__()
        self._connection = connection
        self.stream = Stream(0, 0, 0.0)
        self.stream.owner = self
        self._early: list[bytes] = []
        self._clear()

    def _clear(self) -> None:
        self._opens = False
        self.tunnels = False
        self.finished = False

    # --- for the connection -----------------------------------------------------------------------

    def use_for(self, number: int, window: int, now: float) -> None:
        """Begin another stream."""
        self.stream.begin(number, window, now)
        self.receiving = False
        self.write_paused = False
        self._clear()

    def discard(self) -> None:
        """It is not used again."""
        self.alarm.close()
        self.stream.owner = None

    def take(self, head: RequestHead) -> bytes:
        """The head of its request: returns the part of the body that has come.

        Raises BodyTooLarge.
        """
        stream = self.stream
        stream.expected = head.length if head.sized else -1
        if not head.has_body:
            self._opens = head.method == "CONNECT" or head.upgrade is not None
            if self._opens:
                self._early, stream.pieces = stream.pieces, []
                stream.holding = True
            return b""
        limit = self._connection.body_limit
        if limit and (head.length > limit or stream.body_bytes > limit):
            raise body_too_large(limit)
        self.receiving = not stream.arrived_end
        stream.arrived_end = False
        return self._pieces()

    def _pieces(self) -> bytes:
        pieces = self.stream.pieces
        if not pieces:
            return b""
        self.stream.pieces = []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @property
    def fault(self) -> str:
        """Why the body contradicts the head (RFC 9113 section 8.1.1); "": it does not."""
        stream = self.stream
        expected = stream.expected
        if expected >= 0:
            if stream.body_bytes > expected:
                return "there is more DATA than content-length says"
            if stream.remote_ended and stream.body_bytes < expected:
                return "there is less DATA than content-length says"
        return ""

    @property
    def connects(self) -> bool:
        """Whether its DATA are the bytes of a tunnel, open or not yet."""
        section = self.stream.section
        if section is not None:
            return section.values(b":method") == [b"CONNECT"]
        return self._opens or self.tunnels

    def on_arrival(self) -> None:
        """More of it has come."""
        stream = self.stream
        if self.finished:
            stream.pieces = []
            if stream.remote_ended and stream.local_ended:
                self._connection.settled(self, monotonic())
        elif self.tunnels:
            self._on_tunnel()
        elif self._opens:
            self._early.append(self._pieces())
            if len(self._early) > MOST_PIECES:
                self._early = [b"".join(self._early)]
        elif self.receiving:
            self._on_body()
        else:
            stream.pieces = []

    def _on_body(self) -> None:
        stream, handler = self.stream, self.handler
        limit = self._connection.body_limit
        if limit and stream.body_bytes > limit:
            self.receiving = False
            stream.holding = True
            stream.pieces = []
            if handler is not None:
                handler.on_body_error(body_too_large(limit))
            return
        piece = self._pieces()
        if piece and handler is not None:
            handler.on_body(piece)
        handler = self.handler  # it may be another one now
        if stream.arrived_end and self.receiving and not stream.closed:
            stream.arrived_end = False
            self.receiving = False
            if handler is not None:
                handler.on_body_end(self.request_trailers)

    def _on_tunnel(self) -> None:
        stream = self.stream
        piece = self._pieces()
        if piece and self.handler is not None:
            self.handler.on_body(piece)
        if stream.arrived_end and not stream.closed:
            stream.arrived_end = False
            if self.handler is not None:
                self.handler.on_client_end()

    def on_gone(self, fault: str) -> None:
        """It is closed: by the client, or because of its `fault`."""
        handler, self.handler = self.handler, None
        self.receiving = False
        if handler is None:
            if self.finished:
                self._connection.settled(self, monotonic())
        elif fault and not self.tunnels:
            handler.on_body_error(BadRequest(f"The request is malformed: {fault}."))
        else:
            handler.on_client_gone()

    def on_writable(self, writable: bool) -> None:
        self.write_paused = not writable
        if self.handler is not None:
            self.handler.on_client_writable(writable)
        elif writable and self.finished:
            self._end(monotonic())

    def ring(self) -> None:
        """Its alarm has rung."""
        if self.handler is not None:
            self.handler.on_alarm()
        elif self.finished:
            # The client did not end its request, or reads none of the answer.
            code = NO_ERROR if self.stream.local_ended else CANCEL
            self._connection.reset(self.stream, code)
            self._connection.settled(self, monotonic())

    # --- what the exchange reads ------------------------------------------------------------------

    @property
    def request_bytes(self) -> int:
        return self.stream.body_bytes

    @property
    def certificate(self) -> bytes:
        return certificate_of(self._connection.channel.transport)

    @property
    def unsent_bytes(self) -> int:
        return self.stream.waiting_bytes

    @property
    def request_trailers(self) -> Trailers:
        return self.stream.arrived_trailers

    # --- what the exchange writes -----------------------------------------------------------------

    def write_informational(self, head: ResponseHead) -> None:
        if not self.stream.closed:
            connection = self._connection
            block = response_block(connection.encoder, head, _NO_FIELDS)
            connection.write_headers(self.stream, block, False)

    def write_head(
        self,
        head: ResponseHead,
        own: OwnFields,
        piece: bytes,
        ended: bool,
        trailers: Trailers,
        last: bool,
    ) -> None:
        """`last` means nothing here: the connection says by itself when it goes away."""
        stream, connection = self.stream, self._connection
        if stream.closed:
            return
        stream.answered = True
        alone = ended and not piece and not trailers
        connection.write_headers(stream, response_block(connection.encoder, head, own), alone)
        if piece:
            connection.write(stream, piece, ended and not trailers)
        if ended and trailers:
            connection.end(stream, trailers)

    def write_body(self, piece: bytes) -> None:
        self._connection.write(self.stream, piece, False)

    def end(self, trailers: Trailers) -> None:
        self._connection.end(self.stream, trailers)

    def open_tunnel(self, head: ResponseHead, own: OwnFields, piece: bytes) -> bytes:
        self._opens = False
        self.tunnels = True
        early = b"".join(self._early)
        self._early = []
        self.write_head(head, own, piece, False, NO_TRAILERS, False)
        if self.stream.remote_ended:
            self._connection.tell_later(self.stream)
        self.resume_reading()
        return early

    def write_tunnel(self, data: bytes) -> None:
        self._connection.write(self.stream, data, False)

    def end_tunnel(self) -> None:
        self._connection.end(self.stream, NO_TRAILERS)

    def break_off(self, *, hard: bool, cancelled: bool = False) -> None:
        self.handler = None
        code = INTERNAL_ERROR
        if cancelled:
            code = CANCEL
        elif self.tunnels:
            code = CONNECT_ERROR
        self._connection.reset(self.stream, code)

    def finish(self, now: float) -> None:
        """The exchange is over; the rest of its answer may still wait for the client's window."""
        self.handler = None
        self.receiving = False
        self.finished = True
        self._early = []
        stream = self.stream
        if stream.waiting and not stream.closed:
            self.alarm.set(now + self._connection.patience)
        else:
            self._end(now)

    def _end(self, now: float) -> None:
        stream, connection = self.stream, self._connection
        if not stream.closed:
            if not stream.local_ended:
                connection.reset(stream, INTERNAL_ERROR)
            elif not stream.remote_ended:
                # An early answer. A client that is told to stop (RFC 9113 section 8.1) may take
                # that for a failure, so it first gets a moment to end a short request by itself.
                stream.holding = True
                self.alarm.set(now + EARLY_SECONDS)
                return
        connection.settled(self, now)

    def pause_reading(self) -> None:
        self._connection.hold(self.stream)

    def resume_reading(self) -> None:
        self._connection.release(self.stream)
