"""Tunnels: after a CONNECT or a 101, bytes flow both ways until both sides have ended.

Either side may end its half first (RFC 9110 section 9.3.6); the other continues. A tunnel ends when
both halves have ended and the upstream's last bytes were sent, one side is lost, no byte moves for
`timeouts.idle`, or by the drain. A side that uses TLS with the proxy has no halves: its end is the
tunnel's end.

No end may hide a loss. If a side is lost before it has ended its half, the other side gets a reset.
So does, at the end by `timeouts.idle`, a side that waits for the other half after its own end, and
both if bytes wait for one that does not read. Only a tunnel in which both were silent gets an end.
"""

from time import monotonic

from proxy.errors import ClientGone, ProxyError, UpstreamTruncated
from proxy.exchange.attempt import Attempt
from proxy.exchange.events import MOVED
from proxy.exchange.marks import IDLE
from proxy.exchange.request import Request
from proxy.exchange.script import Script
from proxy.http.making import make_response
from proxy.wire.streams import StreamHandler, Trailers, UpstreamStream


class ConnectAttempt(Attempt):
    """An attempt at a CONNECT: once there is a stream it has succeeded."""

    __slots__ = ()

    def _send(self, stream: UpstreamStream, now: float) -> None:
        """The answer has no body and no framing field (RFC 9110 section 9.3.6)."""
        self.head = make_response(200, [], None)
        stream.begin_tunnel(self)
        self._succeed(200)


class Tunnel(StreamHandler):
    """One tunnel, instead of a relay. `over`: both halves have ended, or none can continue."""

    __slots__ = (
        "_attempt",
        "_client",
        "_client_ended",
        "_client_lost",
        "_client_took",
        "_owner",
        "_record",
        "_timing",
        "_told_client",
        "_upstream",
        "_upstream_took",
        "over",
    )

    def __init__(self, request: Request, attempt: Attempt, owner: Script) -> None:
        """`owner` is woken when a half ends or the tunnel fails."""
        self._owner = owner
        self._attempt = attempt
        self._client = request.stream
        self._record = request.record
        self._timing = request.timing
        self._upstream = attempt.stream
        self._client_ended = False
        self._client_lost = False
        self._told_client = False
        self._client_took = self._upstream_took = 0  # bytes, at the last time it was looked at
        self.over = False

    @property
    def upstream_ended(self) -> bool:
        return self._attempt.ended

    def take_over(self, early: bytes) -> None:
        """The head was sent: start the flow; the client has already sent `early`."""
        self._timing.activity = monotonic()
        self._record.bytes_out += len(self._attempt.piece)
        self._client.handler = self
        upstream = self._upstream
        if upstream is not None:
            upstream.handler = self
            if self._client.write_paused:
                self.on_client_writable(False)
        if early:
            self.on_body(early)
        if self._attempt.ended:
            self._end_of_upstream()

    def close(self) -> None:
        """It is over, or idle: end what has not ended, or cut it if the other half has ended."""
        if not self._client_lost and not self._told_client:
            self._client.end_tunnel()
        self._leave(reset=not self._client_ended and (self._client_lost or self._attempt.ended))

    def _leave(self, *, reset: bool) -> None:
        """Close the upstream's side. `reset`: it must see that it was cut."""
        stream, self._attempt.stream = self._attempt.stream, None
        self._upstream = None
        if stream is not None:
            stream.detach()
            # A connection of its own is not returned: the pool forgets it when it is closed, and
            # the last bytes must still be sent.
            if stream.leave_tunnel(reset=reset):
                self._attempt.pool.give_back(stream, True)

    def break_off(self) -> None:
        """It failed, or the drain ended: a half that has not ended is cut."""
        upstream = self._upstream
        owed = upstream is not None and upstream.write_paused
        self._leave(reset=owed or not self._client_ended)

    def is_idle(self) -> bool:
        """Whether it must end because no byte moved for `timeouts.idle`.

        Raises the failure if the end would hide a loss.
        """
        timing = self._timing
        now = monotonic()
        if now < timing.idle_at:
            return False
        moves = self._moves()
        if moves or timing.marks is not None:
            if not moves:
                self._record.observe(IDLE)
            timing.activity = now
            return False
        seconds = timing.idle_seconds
        if self._client.write_paused:
            raise ClientGone(f"The client read nothing of the tunnel for {seconds:g} s.")
        if self._upstream is not None and self._upstream.write_paused:
            raise UpstreamTruncated(f"The upstream read nothing of the tunnel for {seconds:g} s.")
        if self._client_ended and not self._attempt.ended:
            raise UpstreamTruncated(
                f"The upstream did not end its half of the tunnel, and sent nothing for "
                f"{seconds:g} s after the client's end."
            )
        return True

    def _moves(self) -> bool:
        """Whether one side reads what waits for it, slower than any event tells."""
        moves = False
        record, upstream = self._record, self._upstream
        unsent = self._client.unsent_bytes
        if unsent:
            before, self._client_took = self._client_took, record.bytes_out - unsent
            moves = self._client_took > before
        unsent = upstream.unsent_bytes if upstream is not None else 0
        if unsent:
            before, self._upstream_took = self._upstream_took, record.bytes_in - unsent
            moves = moves or self._upstream_took > before
        return moves

    # --- from the upstream ------------------------------------------------------------------------

    def on_piece(self, piece: bytes) -> None:
        self._timing.activity = monotonic()
        self._record.bytes_out += len(piece)
        self._client.write_tunnel(piece)

    def on_end(self, trailers: Trailers) -> None:
        self._attempt.ended = True
        self._end_of_upstream()

    def _end_of_upstream(self) -> None:
        upstream = self._upstream
        if not self._told_client:
            self._told_client = True
            self._client.end_tunnel()
            if upstream is None or not upstream.half_closes:
                self.over = True
        self._check_over()

    def on_lost(self, error: ProxyError) -> None:
        self._owner.wake(error)

    def on_upstream_writable(self, writable: bool) -> None:
        if writable:
            self._timing.activity = monotonic()
            self._client.resume_reading()
            if self._client_ended and self._attempt.ended:
                self._check_over()
            return
        if self._upstream is not None:
            self._upstream_took = self._record.bytes_in - self._upstream.unsent_bytes
        self._client.pause_reading()

    # --- from the client --------------------------------------------------------------------------

    def on_body(self, piece: bytes) -> None:
        self._timing.activity = monotonic()
        self._record.bytes_in += len(piece)
        upstream = self._upstream
        if upstream is not None:
            upstream.write_tunnel(piece)
            if upstream.write_paused:
                self._client.pause_reading()

    def on_client_end(self) -> None:
        self._client_ended = True
        if self._upstream is not None:
            self._upstream.end_tunnel()
        self._check_over()

    def on_client_gone(self) -> None:
        self._client_lost = True
        if self._client_ended and self._attempt.ended:
            return  # it sends its last bytes to the upstream
        self.over = True
        self._owner.wake(MOVED)

    def on_client_writable(self, writable: bool) -> None:
        upstream = self._upstream
        if not writable:
            self._client_took = self._record.bytes_out - self._client.unsent_bytes
        if upstream is not None:
            if writable:
                upstream.resume_reading()
            else:
                upstream.pause_reading()
        if writable:
            self._timing.activity = monotonic()

    def on_alarm(self) -> None:
        self._timing.ring()

    def _check_over(self) -> None:
        """Both halves have ended, and the upstream has got all of the client's: it is over."""
        if self._client_ended and self._attempt.ended and not self.over:
            upstream = self._upstream
            if upstream is not None:
                upstream.await_last_bytes()
            self.over = upstream is None or not upstream.write_paused
        self._owner.wake(MOVED)
