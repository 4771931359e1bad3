"""The seam between exchanges and connections: messages, not bytes of a protocol.

A `ClientStream` is the client's side of one exchange, an `UpstreamStream` the upstream's side of
one attempt. Both transport heads as values with the proxy's own fields, pieces of bodies without
framing, and an end with trailers. Only the stream knows the bytes.

    client ──▶ ClientStream ──on_body, …──▶ StreamHandler ◀──on_head, …── UpstreamStream ◀── server
                     ▲                       │         │                        ▲
                     └──write_head, … end────┘         └──send_head, … end──────┘

An HTTP/1 connection is its own stream for all its exchanges, so a request needs no new object.
These are classes, not protocols, because compiled code calls a protocol as slowly as Python does.
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from proxy.config.model import LimitsConfig, Listener
from proxy.errors import ProxyError
from proxy.http.h1.request import RequestParser
from proxy.http.h2.head import RequestReader
from proxy.http.message import OwnFields, RequestHead, ResponseHead
from proxy.wire.alarm import Alarm

Trailers: TypeAlias = list[tuple[bytes, bytes]]
"""Fields after a body, names as spelled."""
NO_TRAILERS: Final[Trailers] = []


class StreamHandler:
    """Receives the events of an exchange's streams; by default it ignores them."""

    __slots__ = ()

    # --- from the client's stream, until `ClientStream.finish` -----------------------------------

    def on_body(self, piece: bytes) -> None:
        """A piece of the request's body; in a tunnel, received bytes."""

    def on_body_end(self, trailers: Trailers) -> None:
        """The request's body is complete."""

    def on_body_error(self, error: ProxyError) -> None:
        """The request's body is malformed or too large; no more of it follows."""

    def on_client_end(self) -> None:
        """In a tunnel: the client has ended its side."""

    def on_client_gone(self) -> None:
        """The client's connection is lost, or closed in the middle of an exchange."""

    def on_client_writable(self, writable: bool) -> None:
        """Whether writing to the client must pause."""

    def on_alarm(self) -> None:
        """The stream's alarm has rung."""

    # --- from an upstream's stream. No event follows `on_end` or `on_lost` -----------------------

    def on_informational(self, head: ResponseHead) -> None:
        """A 1xx head before the final one."""

    def on_head(self, head: ResponseHead, piece: bytes, ended: bool, trailers: Trailers) -> None:
        """The final head, with the first piece of the body; `ended`: the body is complete."""

    def on_piece(self, piece: bytes) -> None:
        """A piece of the response's body; in a tunnel, received bytes."""

    def on_end(self, trailers: Trailers) -> None:
        """The response's body is complete; in a tunnel, the upstream has ended its side."""

    def on_lost(self, error: ProxyError) -> None:
        """The response was truncated, or never arrived."""

    def on_upstream_writable(self, writable: bool) -> None:
        """Whether writing to the upstream must pause."""


class ClientStream:
    """The client's side of one exchange.

    `handler` receives its events. `client` is the peer's address. `receiving`: the request's body
    has not ended. `write_paused`: bytes for the client wait in memory.
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
        """Body bytes of the request so far, without framing."""
        raise NotImplementedError

    @property
    def certificate(self) -> bytes:
        """The client's certificate in DER, b"" without one."""
        return b""

    @property
    def unsent_bytes(self) -> int:
        """Bytes written that the client has not received: in memory and in the kernel's buffer."""
        raise NotImplementedError

    @property
    def request_trailers(self) -> Trailers:
        """The fields after the request's body, once it has ended."""
        raise NotImplementedError

    def write_informational(self, head: ResponseHead) -> None:
        """Send a 1xx head, if the client's version allows it (RFC 9110 section 15.2)."""
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
        """Send the final head and the first piece of the body.

        `ended`: the body is complete, with `trailers`. `last`: the client should send no other
        request on this connection.
        """
        raise NotImplementedError

    def write_body(self, piece: bytes) -> None:
        """Send a piece of the body."""
        raise NotImplementedError

    def end(self, trailers: Trailers) -> None:
        """End the body."""
        raise NotImplementedError

    def open_tunnel(self, head: ResponseHead, own: OwnFields, piece: bytes) -> bytes:
        """Send the head that opens a tunnel, and the tunnel's first bytes.

        From then on bytes pass unchanged. Returns those that the client has already sent.
        """
        raise NotImplementedError

    def expect_plain_http(self, own: OwnFields) -> None:
        """Accept a CONNECT: its exchange is over, and plain HTTP to its authority must follow.

        Any other input is reported to the gate: `Gate.drop` or `Gate.refuse`.
        """
        raise NotImplementedError

    def write_tunnel(self, data: bytes) -> None:
        """Send bytes unchanged."""
        raise NotImplementedError

    def end_tunnel(self) -> None:
        """End sending; the client's bytes still arrive, except under TLS."""
        raise NotImplementedError

    def break_off(self, *, hard: bool, cancelled: bool = False) -> None:
        """Stop without ending what was begun, so that no incomplete response looks complete.

        `hard`: an orderly close would look like the end. `cancelled`: nothing failed, the client
        left or the proxy ends; HTTP/2 tells the client so.
        """
        raise NotImplementedError

    def finish(self, now: float) -> None:
        """The exchange is over, at `now`: read the next request, or close."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        raise NotImplementedError

    def resume_reading(self) -> None:
        raise NotImplementedError


class UpstreamSession:
    """A connection to an endpoint, as its pool keeps it.

    `room` is the maximum of concurrent leases; the peer may change it, and when it grows, or is 0,
    `on_room` is called with the session. `on_leaving` is called with it when its peer takes no more
    requests, while those on it go on: only where requests share a connection. Only the pool writes
    both, `lent` (leases that are out), `served` (leases so far) and `idle_since`.
    """

    __slots__ = ("idle_since", "lent", "on_leaving", "on_room", "room", "served")

    def __init__(self, room: int) -> None:
        self.room = room
        self.on_room: Callable[[UpstreamSession], None] | None = None
        self.on_leaving: Callable[[UpstreamSession], None] | None = None
        self.lent = 0
        self.served = 0
        self.idle_since = 0.0

    def leave(self) -> None:
        """Tell the pool that the peer takes no more requests."""
        if self.on_leaving is not None:
            self.on_leaving(self)

    @property
    def usable(self) -> bool:
        """Whether it can lend once there is room: open, not closing, nothing unexpected."""
        raise NotImplementedError

    def lend(self) -> "UpstreamStream":
        """A stream for one attempt. Only while it is usable and has room."""
        raise NotImplementedError

    def take_back(self, stream: "UpstreamStream", reusable: bool) -> None:
        """Return a stream. `reusable`: its response ended in good order.

        Otherwise the stream is closed at once, and buffered bytes are dropped.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close in good order, after buffered bytes. No effect if it is closed."""
        raise NotImplementedError


class UpstreamStream:
    """The upstream's side of one attempt: a lease of its `session`.

    `handler` receives its events, or None. `write_paused`: bytes for the upstream wait in memory.
    """

    __slots__ = ("handler", "session", "write_paused")

    session: UpstreamSession

    def __init__(self) -> None:
        self.handler: StreamHandler | None = None
        self.write_paused = False

    @property
    def payload_bytes(self) -> int:
        """Body bytes of the response so far, without framing."""
        raise NotImplementedError

    @property
    def unsent_bytes(self) -> int:
        """Bytes written that the upstream has not received: in memory and in the kernel's buffer.

        Over HTTP/2 those alone for which it has given no window.
        """
        raise NotImplementedError

    @property
    def half_closes(self) -> bool:
        """Whether sending can end while receiving continues."""
        raise NotImplementedError

    @property
    def upgrades(self) -> bool:
        """Whether it can carry a request to switch protocols (Upgrade)."""
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
        """Send a request's head, and the first piece of its body; `ended`: the body is complete."""
        raise NotImplementedError

    def write_body(self, piece: bytes) -> None:
        """Send a piece of the body."""
        raise NotImplementedError

    def end(self, trailers: Trailers) -> None:
        """End the body."""
        raise NotImplementedError

    def begin_tunnel(self, handler: StreamHandler) -> None:
        """Pass bytes unchanged from now on; `on_end` marks the end."""
        raise NotImplementedError

    def write_tunnel(self, data: bytes) -> None:
        """Send bytes unchanged."""
        raise NotImplementedError

    def end_tunnel(self) -> None:
        """End sending; bytes still arrive, except under TLS, where this closes."""
        raise NotImplementedError

    def await_last_bytes(self) -> None:
        """Nothing more is written to the tunnel: pause writing until its last bytes were sent."""

    def leave_tunnel(self, *, reset: bool) -> bool:
        """Close. `reset`: what was sent is incomplete, and must not look complete.

        Returns whether its session goes on without it, so that the lease must be returned.
        """
        raise NotImplementedError

    def detach(self) -> None:
        """Send no more events to the handler."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        raise NotImplementedError

    def resume_reading(self) -> None:
        raise NotImplementedError


class ClientConnection(Protocol):
    """A client's connection, for code that closes it from outside."""

    def leave(self) -> None:
        """The listener is closing: tell a client that can be told, while requests go on."""

    def close_idle(self) -> None:
        """Close if no request is in flight."""

    def cut(self) -> None:
        """Close, even with a request in flight."""


class Gate:
    """The exchange side of a listener: starts exchanges, and answers invalid requests.

    `limits`, `parser` and `reader` belong to the latest configuration, and so do `http1` and
    `http2`: what clients may speak. `closing`: every response is its connection's last. `streams`
    counts the open streams of HTTP/2.
    """

    listener: Listener
    limits: LimitsConfig
    parser: RequestParser
    reader: RequestReader

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.connections: set[ClientConnection] = set()
        self.closing = False
        self.streams = 0
        self.http1 = True
        self.http2 = True

    def begin(self, client: ClientStream, head: RequestHead, piece: bytes) -> None:
        """Start an exchange: sets `client.handler`, or finishes at once.

        `piece` is the body received with the head; `client.receiving` says whether more follows.
        """
        raise NotImplementedError

    def refuse(self, client: ClientStream, error: ProxyError, grpc: bool = False) -> None:
        """Answer input that is not a request; `grpc`: it would have been a gRPC call."""
        raise NotImplementedError

    def drop(self, client: ClientStream, error: ProxyError) -> None:
        """Record input that is not a request and gets no answer."""
        raise NotImplementedError
