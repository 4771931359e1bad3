"""The response's way to the client: commit, and then its body to the last byte."""

from time import monotonic
from typing import TYPE_CHECKING

from proxy.errors import ClientGone, ProxyError, UpstreamTruncated
from proxy.exchange.answers import retried_status
from proxy.exchange.attempt import Attempt
from proxy.http.response import ResponseHead
from proxy.wire.flow import JOINED_BYTES

if TYPE_CHECKING:
    from proxy.exchange.exchange import Exchange

_LAST_CHUNK = b"0\r\n\r\n"


class Relay:
    """Passes one response on.

    `goes_on`: after the commit there is something left to wait for, in `run`. `ends_by_close`:
    the connection's end will be the body's end.
    """

    __slots__ = ("_attempt", "_chunks", "_exchange", "ends_by_close", "goes_on")

    def __init__(self, exchange: "Exchange", attempt: Attempt) -> None:
        self._exchange = exchange
        self._attempt = attempt
        # Where the upstream ends the body by closing, the client gets chunks: so it can tell a
        # whole body from a part of one.
        self._chunks = False
        self.ends_by_close = False
        self.goes_on = False

    def commit(self, head: ResponseHead) -> None:
        """The head goes to the client: from here on nothing can be done again."""
        exchange = self._exchange
        attempt = self._attempt
        front = head.front
        rules = attempt.binding.response_rules
        if rules is not None:
            front = b"".join((head.status_line, *rules.apply(head.lines)))
        framing = self._framing(head)
        status_field = exchange.status_field
        if not status_field and len(exchange.attempts) > 1:
            status_field = retried_status(exchange, attempt)
        if attempt.ended and exchange.downstream.receiving:
            exchange.keep_alive = False  # an early answer: the rest of the request is not read
        own = exchange.gate.response_fields(exchange, status_field)
        piece = attempt.piece
        if self._chunks and piece:
            piece = self._framed(piece)
        downstream = exchange.downstream
        # Head and body as one write; `own` ends with the empty line. A long piece is not copied.
        if len(piece) <= JOINED_BYTES:
            downstream.write(b"".join((front, framing, own, piece)))
        else:
            downstream.write_both(b"".join((front, framing, own)), piece)
        if downstream.write_paused and attempt.connection is not None:
            attempt.connection.pause_reading()
        if attempt.ended:
            self._end()
        if not attempt.ended or downstream.write_paused:
            exchange.activity = monotonic()
            self.goes_on = True

    def _framing(self, head: ResponseHead) -> bytes:
        """How the client is told where the body ends (RFC 9112 section 6.3)."""
        if head.status == 204:
            return b""  # neither field may say anything there (section 6.1, RFC 9110 section 8.6)
        if head.length is not None:
            return head.length_field
        exchange = self._exchange
        to_1_0 = exchange.head.minor == 0
        if exchange.head.method == "HEAD" or head.status == 304:
            return b"Transfer-Encoding: chunked\r\n" if head.chunked and not to_1_0 else b""
        if to_1_0:
            self.ends_by_close = True
            exchange.keep_alive = False
            return b""
        self._chunks = not head.chunked
        return b"Transfer-Encoding: chunked\r\n"

    def _framed(self, piece: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunks else piece

    def on_piece(self, piece: bytes) -> None:
        """Another part of the body came."""
        exchange = self._exchange
        exchange.activity = monotonic()
        exchange.downstream.write(self._framed(piece))

    async def run(self) -> None:
        """Until the upstream's body has ended, and the client has all of it.

        But for what the socket's buffers hold.
        """
        exchange = self._exchange
        attempt = self._attempt
        if not attempt.ended:
            while not attempt.ended:
                await exchange.wait(exchange.idle_at)
                self._check_idle()
            self._end()
        while exchange.downstream.write_paused:
            await exchange.wait(exchange.idle_at)
            self._check_idle()

    def _end(self) -> None:
        """The body has ended: say so, and give the connection back."""
        if self._chunks:
            self._exchange.downstream.write(_LAST_CHUNK)
        self._attempt.release(reusable=True)

    def _check_idle(self) -> None:
        exchange = self._exchange
        waits = not self._attempt.ended or exchange.downstream.write_paused
        if waits and monotonic() >= exchange.idle_at:
            raise self._stalled()

    def _stalled(self) -> ProxyError:
        """No byte moved for `idle`: whose fault that is."""
        seconds = self._attempt.binding.policies.timeouts.idle
        if self._exchange.downstream.write_paused:
            return ClientGone(f"The client took none of the response for {seconds:g} s.")
        return UpstreamTruncated(f"None of the response's body came for {seconds:g} s.")
