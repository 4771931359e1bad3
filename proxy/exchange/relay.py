"""Relays a response to the client after the commit, to its last byte.

The relay is the handler of both streams: a piece of the body goes from one to the other in one
call, and the exchange sleeps until the end.
"""

from time import monotonic

from proxy.errors import ClientGone, ProxyError, UpstreamTruncated
from proxy.exchange.attempt import Attempt
from proxy.exchange.events import MOVED
from proxy.exchange.marks import IDLE
from proxy.exchange.pace import TakingPace
from proxy.exchange.request import Request
from proxy.exchange.script import Script
from proxy.wire.streams import ClientStream, StreamHandler, Trailers


class Relay(StreamHandler):
    """Relays one response. `over`: its body has ended, and the client has read all of it.

    The socket's buffers may still hold a part. `pace` measures how fast the client reads the
    response, from the first time that bytes had to wait; None before, and without a limit.
    """

    __slots__ = (
        "_attempt",
        "_body",
        "_client",
        "_owner",
        "_request",
        "_taken",
        "_timing",
        "_upstream",
        "ended",
        "pace",
    )

    def __init__(self, request: Request, attempt: Attempt, owner: Script) -> None:
        """`owner` is woken when it ends or fails."""
        self._owner = owner
        self._attempt = attempt
        self._request = request
        self._body = request.body
        self._client = request.stream
        self._timing = request.timing
        self._upstream = attempt.source
        self._taken = 0  # bytes, at the last time that the client was looked at
        self.ended = False
        self.pace: TakingPace | None = None

    def take_over(self) -> None:
        """The head was sent: handle both streams' events from now on."""
        self._timing.activity = monotonic()
        self._client.handler = self
        upstream = self._upstream
        if self._attempt.ended:
            self._end()
        elif upstream is not None:
            upstream.handler = self
            if self._client.write_paused:
                upstream.pause_reading()
        if self._client.write_paused:
            self._taken = self._taken_now
            self._measure(True)
        if self._body is not None:
            self._body.forfeit()

    def use_client(self, client: ClientStream) -> None:
        """The client has left, and the rest of the response is for `client`."""
        self._client = client
        self.pace = None
        if self._upstream is not None:
            self._upstream.resume_reading()

    @property
    def over(self) -> bool:
        return self.ended and not self._client.write_paused

    def go_on(self) -> None:
        """Check after an event: end a complete response, raise if nothing moved."""
        if self._attempt.ended and not self.ended:
            self._client.end(self._attempt.trailers)
            self._end()
        self._check_idle()

    def _end(self) -> None:
        """The response was sent completely."""
        self.ended = True
        self._upstream = None
        self._attempt.finish()

    def give_up(self, error: ProxyError) -> bool:
        """Abandon the response because of `error`; True: the client was told, and it has ended."""
        self._upstream = None
        self._attempt.give_up()
        return False

    def _check_idle(self) -> None:
        """Raise the failure if no byte moved for `timeouts.idle`."""
        timing = self._timing
        if self.over or monotonic() < timing.idle_at:
            return
        moves = self._moves()
        if moves or timing.marks is not None:
            if not moves:
                self._request.record.observe(self._mark)
            timing.activity = monotonic()
            return
        seconds = timing.idle_seconds
        if self._client.write_paused:
            raise ClientGone(f"The client read none of the response for {seconds:g} s.")
        raise self._silent(seconds)

    def _moves(self) -> bool:
        """Whether one side reads what waits for it, slower than any event tells.

        A transport can be written to again only when a third of the kernel's buffer is free.
        """
        if not self._client.write_paused:
            return self._body is not None and self._body.moves()
        before, self._taken = self._taken, self._taken_now
        return self._taken > before

    @property
    def _taken_now(self) -> int:
        """Grows by the bytes that the client takes."""
        upstream = self._upstream
        passed = upstream.payload_bytes if upstream is not None else self._request.record.bytes_out
        return passed - self._client.unsent_bytes

    @property
    def _mark(self) -> str:
        """The clock that expired, if the timeouts only observe."""
        return IDLE

    def _silent(self, seconds: float) -> ProxyError:
        return UpstreamTruncated(
            f"The upstream sent none of the response's body for {seconds:g} s."
        )

    # --- from the upstream ------------------------------------------------------------------------

    def on_piece(self, piece: bytes) -> None:
        self._timing.activity = monotonic()
        self._client.write_body(piece)

    def on_end(self, trailers: Trailers) -> None:
        self._attempt.ended = True
        self._attempt.trailers = trailers
        self._owner.wake(MOVED)

    def on_lost(self, error: ProxyError) -> None:
        self._owner.wake(error)

    def on_upstream_writable(self, writable: bool) -> None:
        if self._body is not None:
            self._body.on_writable(writable)
        if writable:
            self._timing.activity = monotonic()

    # --- from the client --------------------------------------------------------------------------

    def on_body(self, piece: bytes) -> None:
        self._timing.activity = monotonic()
        if self._body is not None:
            self._body.on_piece(piece)

    def on_body_end(self, trailers: Trailers) -> None:
        if self._body is not None:
            self._body.on_end(trailers)

    def on_body_error(self, error: ProxyError) -> None:
        self._owner.wake(error)

    def on_client_gone(self) -> None:
        if not self._owner.goes_on_alone():
            self._owner.wake(client_gone())

    def on_client_writable(self, writable: bool) -> None:
        upstream = self._upstream
        self._measure(not writable)
        if not writable:
            self._taken = self._taken_now
            if upstream is not None:
                upstream.pause_reading()
            return
        if upstream is not None:
            upstream.resume_reading()
        self._timing.activity = monotonic()
        self._owner.wake(MOVED)

    def _measure(self, waits: bool) -> None:
        """Tell the pace whether bytes wait for the client now."""
        if self.pace is None:
            rate = self._request.body_rate
            if not rate:
                return
            self.pace = TakingPace(self._client, rate)
        self.pace.wait(waits)
        self._timing.look_at(self.pace.look_at)

    def on_alarm(self) -> None:
        self._timing.ring()


def client_gone() -> ClientGone:
    return ClientGone("The client closed its connection before the end of the response.")
