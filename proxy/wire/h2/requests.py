"""The streams of an HTTP/2 connection to an endpoint: a request and its response on each.

    lent ──send_head──▶ open ──response, request ended──▶ returned
                           └──returned before that──▶ RST_STREAM(CANCEL)

What came of a stream in one read reaches its handler as one event, so a short response is known
whole before anything is committed. A reader that is paused keeps its own window closed, never the
connection's.
"""

from typing import Final, cast

from proxy.http.h2.blocks import request_block
from proxy.http.h2.extended_connect import connect_block, switched
from proxy.http.h2.frames import CANCEL
from proxy.http.h2.head import response_store
from proxy.http.h2.judge import Malformed
from proxy.http.message import OwnFields, RequestHead, ResponseHead
from proxy.wire.h2.connection import Connection
from proxy.wire.h2.streams import Stream
from proxy.wire.streams import (
    NO_TRAILERS,
    StreamHandler,
    Trailers,
    UpstreamSession,
    UpstreamStream,
)

MAX_HEAD_BYTES: Final = 64 * 1024
"""Maximum bytes of a response's head, as over HTTP/1."""
MAX_FIELDS: Final = 1000
LINGER_SECONDS: Final = 60.0
"""Seconds for the upstream to allow the last bytes of a tunnel."""

_store: Final = response_store()
"""One for all connections, so that fields are remembered once."""


class Requests(Connection):
    """The part of the connection that its streams use.

    `scheme`: of all requests; `next_id`: of the next stream.
    """

    __slots__ = ("next_id", "scheme")

    def __init__(self, scheme: str) -> None:
        super().__init__(_store, max_bytes=MAX_HEAD_BYTES, max_fields=MAX_FIELDS)
        self.scheme = scheme
        self.next_id = 1
        self.joins = True

    def on_first(self) -> None:
        """A stream begins while none is open."""

    def send_request(
        self,
        owner: UpstreamStream,
        head: RequestHead,
        own: OwnFields,
        ended: bool,
        protocol: bytes | None,
    ) -> Stream:
        """Begin a stream with a request's head; `ended`: it has no body.

        `protocol`: what an upgrade asks for, None for any other request.
        """
        number = self.next_id
        self.next_id = number + 2
        stream = Stream(number, self.initial_window, 0.0)
        stream.owner = owner
        if not self.streams:
            self.on_first()
        self.count(stream)
        if protocol is None:
            block = request_block(self.encoder, head, own, self.scheme)
        else:
            block = connect_block(self.encoder, head, own, self.scheme, protocol)
            ended = False
        self.write_headers(stream, block, ended)
        return stream

    def give_up(self, stream: Stream) -> None:
        """The exchange needs nothing more of a stream."""
        if not stream.closed and not (stream.remote_ended and stream.local_ended):
            self.reset(stream, CANCEL)
        self.forget(stream)

    def leave_later(self, stream: Stream) -> None:
        """The same, once the last bytes were sent: its owner is leaving."""
        if stream.waiting and not stream.closed:
            self._loop.call_later(LINGER_SECONDS, self.leave_now, stream)
        else:
            self.give_up(stream)

    def leave_now(self, stream: Stream) -> None:
        """The last bytes were sent, or have waited long enough."""
        raise NotImplementedError


class Http2Stream(UpstreamStream):
    """One request and its response. `answered`: the handler has the response's head.

    `protocol`: what an upgrade asks for, None for any other request. `tunnels`: it was accepted,
    and bytes pass unchanged. `leaving`: the exchange is over, and its last bytes still wait.

    A CONNECT has a connection of its own and never comes here: there is no `begin_tunnel`.
    """

    __slots__ = (
        "_connection",
        "_head",
        "_informed",
        "_informed_bytes",
        "_request",
        "_stream",
        "answered",
        "leaving",
        "protocol",
        "tunnels",
    )

    def __init__(self, connection: Requests, session: UpstreamSession) -> None:
        super().__init__()
        self.session = session
        self._connection = connection
        self._stream: Stream | None = None
        self._request: RequestHead | None = None
        self._head: ResponseHead | None = None
        self._informed: list[ResponseHead] = []
        self._informed_bytes = 0
        self.answered = False
        self.leaving = False
        self.tunnels = False
        self.protocol: bytes | None = None

    # --- for the attempt --------------------------------------------------------------------------

    @property
    def payload_bytes(self) -> int:
        return self._stream.body_bytes if self._stream is not None else 0

    @property
    def unsent_bytes(self) -> int:
        return self._stream.waiting_bytes if self._stream is not None else 0

    @property
    def half_closes(self) -> bool:
        return True

    @property
    def upgrades(self) -> bool:
        return self._connection.peer_connects

    def send_head(
        self,
        handler: StreamHandler,
        head: RequestHead,
        own: OwnFields,
        piece: bytes,
        ended: bool,
        trailers: Trailers,
    ) -> None:
        self.handler = handler
        self._request = head
        if b"upgrade" in head.held:
            self.protocol = head.upgrade
        connection = self._connection
        whole = ended and not piece and not trailers
        stream = self._stream = connection.send_request(self, head, own, whole, self.protocol)
        if whole:
            return
        if piece:
            connection.write(stream, piece, ended and not trailers)
        if ended and trailers:
            connection.end(stream, trailers)

    def write_body(self, piece: bytes) -> None:
        if self._stream is not None:
            self._connection.write(self._stream, piece, False)

    def end(self, trailers: Trailers) -> None:
        if self._stream is not None:
            self._connection.end(self._stream, trailers)

    def write_tunnel(self, data: bytes) -> None:
        self.write_body(data)

    def end_tunnel(self) -> None:
        self.end(NO_TRAILERS)

    def leave_tunnel(self, *, reset: bool) -> bool:
        stream, self._stream = self._stream, None
        if stream is not None:
            if reset:
                self._connection.give_up(stream)
            else:
                self._connection.end(stream, NO_TRAILERS)
                self.leaving = True
                self._connection.leave_later(stream)
        return True

    def detach(self) -> None:
        self.handler = None
        self.resume_reading()

    def pause_reading(self) -> None:
        if self._stream is not None:
            self._connection.hold(self._stream)

    def resume_reading(self) -> None:
        if self._stream is not None and self._stream.holding:
            self._connection.release(self._stream)

    def leave(self) -> None:
        """The lease has ended."""
        self.handler = None
        stream, self._stream = self._stream, None
        if stream is not None:
            self._connection.give_up(stream)

    # --- for the connection -----------------------------------------------------------------------

    def receive(self, stream: Stream, head: ResponseHead) -> None:
        """The final head has come; it is delivered after the read."""
        request = cast(RequestHead, self._request)
        protocol = self.protocol
        if protocol is not None:
            if 200 <= head.status < 300:
                self._head = switched(head, request, protocol)
                self.tunnels = True
                return
            if not stream.local_ended:
                self._connection.end(stream, NO_TRAILERS)
        self._head = head
        if not head.has_body(request.method):
            stream.expected = 0
        elif head.length is not None:
            stream.expected = head.length

    def inform(self, head: ResponseHead, size: int) -> None:
        """An informational head has come. Raises Malformed if they are too many."""
        self._informed_bytes += size
        if self._informed_bytes > MAX_HEAD_BYTES:
            raise Malformed("it has too many informational heads")
        self._informed.append(head)

    def deliver(self, stream: Stream) -> bool:
        """Pass on what came in one read; returns whether it began the response."""
        if self._informed:
            informed, self._informed = self._informed, []
            for head in informed:
                if self.handler is not None:
                    self.handler.on_informational(head)
        pieces = stream.pieces
        piece: bytes = b""
        if pieces:
            piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            stream.pieces = []
        ended, stream.arrived_end = stream.arrived_end, False
        handler = self.handler
        if handler is None:
            return False
        final, self._head = self._head, None
        if final is not None:
            self.answered = True
            if ended and not self.tunnels:
                self.handler = None
            handler.on_head(final, piece, ended, stream.arrived_trailers)
            return True
        if piece:
            handler.on_piece(piece)
        handler = self.handler  # it may be another one now
        if ended and handler is not None:
            if not self.tunnels:
                self.handler = None
            handler.on_end(stream.arrived_trailers)
        return False
