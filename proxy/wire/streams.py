"""The seam between exchanges and connections: messages, not bytes of a protocol.

A `ClientStream` is one client's side of one exchange, an `UpstreamStream` the side of one attempt.
Through both go heads as values with the proxy's own fields, pieces of bodies without framing, and
an end with trailers. How that looks in bytes is the stream's alone.

    client ──▶ ClientStream ──on_body, …──▶ StreamHandler ◀──on_head, …── UpstreamStream ◀── server
                     ▲                       │         │                        ▲
                     └──write_head, … end────┘         └──send_head, … end──────┘

An HTTP/1 connection is its one stream, exchange after exchange: no object for each request.
These are classes and no protocols, for calls through a protocol cost what they cost in Python.
"""

from typing import Final, Protocol, TypeAlias

from proxy.config.model import LimitsConfig, Listener
from proxy.errors import ProxyError
from proxy.http.h1.request import RequestParser
from proxy.http.message import OwnFields, RequestHead, ResponseHead
from proxy.wire.alarm import Alarm

Trailers: TypeAlias = list[tuple[bytes, bytes]]
"""Fields behind a body, names as spelled."""
NO_TRAILERS: Final[Trailers] = []


class StreamHandler:
    """What hears from the streams of an exchange; by default nothing of it matters."""

    __slots__ = ()

    # --- from the client's stream, until `ClientStream.finish` -----------------------------------

    def on_body(self, piece: bytes) -> None:
        """Another part of the request's body; in a tunnel, bytes as they came."""

    def on_body_end(self, trailers: Trailers) -> None:
        """The request's body is whole."""

    def on_body_error(self, error: ProxyError) -> None:
        """The request's body turned out malformed or too large; nothing more of it comes."""

    def on_client_end(self) -> None:
        """In a tunnel: the client sends no more."""

    def on_client_gone(self) -> None:
        """The client's connection is lost, or closed in the middle of an exchange."""

    def on_client_writable(self, writable: bool) -> None:
        """The client takes more, or should not be sent more for now."""

    def on_alarm(self) -> None:
        """The stream's alarm has rung."""

    # --- from an upstream's stream. After `on_end` or `on_lost`: nothing more --------------------

    def on_informational(self, head: ResponseHead) -> None:
        """A 1xx head before the final one."""

    def on_head(self, head: ResponseHead, piece: bytes, ended: bool, trailers: Trailers) -> None:
        """The final head, with the body that came with it; `ended`: that was all of it."""

    def on_piece(self, piece: bytes) -> None:
        """Another part of the response's body; in a tunnel, bytes as they came."""

    def on_end(self, trailers: Trailers) -> None:
        """The response's body is whole; in a tunnel, the upstream sends no more."""

    def on_lost(self, error: ProxyError) -> None:
        """The response broke off, or never came."""

    def on_upstream_writable(self, writable: bool) -> None:
        """The upstream takes more, or should not be sent more for now."""


class ClientStream:
    """One client's side of one exchange.

    `handler` hears from it. `client` is the peer's address. `receiving`: the end of the request's
    body has not come yet. `write_paused`: bytes that the client has not taken wait in memory.
    """

    __slots__ = ("alarm", "client", "handler", "receiving", "write_paused")

    alarm: Alarm

    def __init__(self) -> None:
        self.handler: StreamHandler | None = None
        self.client = ""
        self.receiving = False
        self.write_paused = False

    @property
    def request_bytes(self) -> int:
        """Body bytes of the request so far, framing left out."""
        raise NotImplementedError

    @property
    def request_trailers(self) -> Trailers:
        """The fields behind the request's body, once that has ended."""
        raise NotImplementedError

    def write_informational(self, head: ResponseHead) -> None:
        """Send a 1xx head, if the client can know it (RFC 9110 section 15.2)."""
        raise NotImplementedError

    def write_head(
        self,
        head: ResponseHead,
        own: OwnFields,
        piece: bytes,
        ended: bool,
        trailers: Trailers,
        last: bool,
    ) -> None:
        """Send the final head, and what there is of the body.

        `ended`: that is all of it, and `trailers` are its. `last`: the client should send no
        other request this way.
        """
        raise NotImplementedError

    def write_body(self, piece: bytes) -> None:
        """Send another part of the body."""
        raise NotImplementedError

    def end(self, trailers: Trailers) -> None:
        """The body has ended."""
        raise NotImplementedError

    def open_tunnel(self, head: ResponseHead, own: OwnFields, piece: bytes) -> bytes:
        """Send the head that opens a tunnel, and the tunnel's first bytes.

        From then on bytes pass as they are. Returns those that the client has sent already.
        """
        raise NotImplementedError

    def write_tunnel(self, data: bytes) -> None:
        """Send bytes as they are."""
        raise NotImplementedError

    def end_tunnel(self) -> None:
        """Nothing more will be sent; what the client sends still comes, if not under TLS."""
        raise NotImplementedError

    def break_off(self, *, hard: bool) -> None:
        """Stop without an end to what was begun, so that nothing looks whole that is not.

        `hard`: an orderly close would look like the end.
        """
        raise NotImplementedError

    def finish(self, now: float) -> None:
        """The exchange is over, as of `now`: read on, or close."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        raise NotImplementedError

    def resume_reading(self) -> None:
        raise NotImplementedError


class UpstreamSession:
    """A connection to an endpoint, as its pool keeps it.

    `room` is how many leases it gives at once; the other side may change that. The pool alone
    writes `lent` (leases that are out), `served` (leases given so far) and `idle_since`.
    """

    __slots__ = ("idle_since", "lent", "room", "served")

    def __init__(self, room: int) -> None:
        self.room = room
        self.lent = 0
        self.served = 0
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        """It may give another lease once there is room: open, not leaving, nothing unexpected."""
        raise NotImplementedError

    def lend(self) -> "UpstreamStream":
        """A stream for one exchange. Only while it is usable and has room."""
        raise NotImplementedError

    def take_back(self, stream: "UpstreamStream", reusable: bool) -> None:
        """An exchange is done with its stream. `reusable`: it ended in good order.

        Where it did not, what is left of it is ended at once; what is buffered is dropped.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End it in good order, what is buffered included. Harmless on a closed one."""
        raise NotImplementedError


class UpstreamStream:
    """The upstream's side of one attempt: a lease of its `session`.

    `handler` hears from it, None: nothing does. `write_paused`: bytes that the upstream has not
    taken wait in memory.
    """

    __slots__ = ("handler", "session", "write_paused")

    session: UpstreamSession

    def __init__(self) -> None:
        self.handler: StreamHandler | None = None
        self.write_paused = False

    @property
    def payload_bytes(self) -> int:
        """Body bytes of the response so far, framing left out."""
        raise NotImplementedError

    @property
    def half_closes(self) -> bool:
        """Whether sending can end while receiving goes on."""
        raise NotImplementedError

    def send_head(
        self,
        handler: StreamHandler,
        head: RequestHead,
        own: OwnFields,
        piece: bytes,
        ended: bool,
        trailers: Trailers,
    ) -> None:
        """Send a request's head, and what there is of its body; `ended`: that is all of it."""
        raise NotImplementedError

    def write_body(self, piece: bytes) -> None:
        """Send another part of the body."""
        raise NotImplementedError

    def end(self, trailers: Trailers) -> None:
        """The body has ended."""
        raise NotImplementedError

    def begin_tunnel(self, handler: StreamHandler) -> None:
        """Pass bytes as they are from now on; `on_end` tells that no more will come."""
        raise NotImplementedError

    def write_tunnel(self, data: bytes) -> None:
        """Send bytes as they are."""
        raise NotImplementedError

    def end_tunnel(self) -> None:
        """Nothing more will be sent; what comes still does, except under TLS: that is the end."""
        raise NotImplementedError

    def leave_tunnel(self, *, reset: bool) -> None:
        """Close. `reset`: what was sent has not come to an end, and must not look as if it had."""
        raise NotImplementedError

    def detach(self) -> None:
        """Nothing more is told to the handler."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        raise NotImplementedError

    def resume_reading(self) -> None:
        raise NotImplementedError


class ClientConnection(Protocol):
    """A client's connection, as those see it who end it from outside."""

    def close_idle(self) -> None:
        """Close if no request is under way."""

    def cut(self) -> None:
        """Close, whatever is under way."""


class Gate:
    """What stands behind a listener: carries requests, answers what is no request.

    `limits` and `parser` are those of the latest configuration. `closing`: every response is its
    connection's last.
    """

    listener: Listener
    limits: LimitsConfig
    parser: RequestParser

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.connections: set[ClientConnection] = set()
        self.closing = False

    def begin(self, client: ClientStream, head: RequestHead, piece: bytes) -> None:
        """Start an exchange: sets `client.handler`, or finishes at once.

        `piece` is the body that came with the head; `client.receiving` tells if more follows.
        """
        raise NotImplementedError

    def refuse(self, client: ClientStream, error: ProxyError) -> None:
        """Send the answer to something that never became a request."""
        raise NotImplementedError
