"""Tunnels: after a CONNECT, or a 101, bytes go both ways until both sides have ended.

Either side may end its half first (RFC 9110 section 9.3.6); the other goes on. What ends a
tunnel: both halves ended, one side gone, no byte either way for `timeouts.idle`, or the drain.
A side that speaks TLS with the proxy has no halves: its end is the tunnel's. A side that is lost
before it has ended its half is a reset for the other one, never an end.
"""

from time import monotonic
from typing import TYPE_CHECKING

from proxy.errors import ClientGone, ProxyError
from proxy.exchange.attempt import Attempt
from proxy.http.response import ResponseHead
from proxy.wire.upstream import UpstreamConnection

if TYPE_CHECKING:
    from proxy.exchange.exchange import Exchange


def _established() -> ResponseHead:
    """The answer to a CONNECT: no body, and no field that could mean one (section 9.3.6)."""
    head = ResponseHead()
    head.status = 200
    head.status_line = head.front = b"HTTP/1.1 200 Connection established\r\n"
    head.keep_alive = True
    head.length = None
    head.chunked = False
    head.lines = []
    head.held = {}
    return head


class ConnectAttempt(Attempt):
    """An attempt at a CONNECT: once there is a connection it has succeeded."""

    __slots__ = ()

    def _send(self, connection: UpstreamConnection) -> None:
        self.head = _established()
        connection.begin_tunnel(self)


class Tunnel:
    """One tunnel, in the place of a relay."""

    goes_on = True
    __slots__ = ("_attempt", "_client_ended", "_exchange", "_told_client")

    def __init__(self, exchange: "Exchange", attempt: Attempt) -> None:
        self._exchange = exchange
        self._attempt = attempt
        self._client_ended = False
        self._told_client = False

    @property
    def ends_by_close(self) -> bool:
        """Whether the end of the client's connection would be taken for the upstream's."""
        return not self._attempt.ended

    def commit(self, head: ResponseHead) -> None:
        """Tell the client, and let flow what either side has sent already."""
        exchange = self._exchange
        upgrade = head.held.get(b"upgrade")
        switched = b"Connection: Upgrade\r\nUpgrade: " + upgrade[0] + b"\r\n" if upgrade else b""
        own = exchange.gate.tunnel_fields(exchange)
        piece = self._attempt.piece
        exchange.activity = monotonic()
        exchange.downstream.write(b"".join((head.front, switched, own, piece)))
        exchange.bytes_out += len(piece)
        early = exchange.downstream.begin_tunnel()
        if early:
            self.on_client_bytes(early)

    def on_client_bytes(self, data: bytes) -> None:
        exchange = self._exchange
        connection = self._attempt.connection
        exchange.activity = monotonic()
        exchange.bytes_in += len(data)
        if connection is not None:
            connection.write(data)
            if connection.write_paused:
                exchange.downstream.pause_reading()

    def on_piece(self, piece: bytes) -> None:
        exchange = self._exchange
        exchange.activity = monotonic()
        exchange.bytes_out += len(piece)
        exchange.downstream.write(piece)

    def on_client_end(self) -> None:
        """The client sends no more; the upstream may."""
        self._client_ended = True
        if self._attempt.connection is not None:
            self._attempt.connection.end_tunnel()

    async def run(self) -> None:
        """Until it ends."""
        exchange = self._exchange
        attempt = self._attempt
        try:
            while not (self._client_ended and attempt.ended):
                await exchange.wait(exchange.idle_at)
                if attempt.ended and not self._told_client:
                    self._told_client = True
                    exchange.downstream.end_tunnel()
                    if attempt.connection is None or not attempt.connection.half_closes:
                        break
                if monotonic() >= exchange.idle_at:
                    break
        except ProxyError as error:
            # Whoever has not ended its own half yet was cut off, and the other side must see that.
            self._leave(reset=not self._client_ended)
            if not isinstance(error, ClientGone):
                raise
        else:
            self._leave(reset=False)

    def _leave(self, *, reset: bool) -> None:
        connection, self._attempt.connection = self._attempt.connection, None
        if connection is not None:
            # Not given back: the pool takes it off its books when it is closed, and what was
            # sent just now still has to leave.
            connection.detach()
            connection.leave_tunnel(reset=reset)
