"""Relays a gRPC response: its end has a status, and a broken one gets a status too.

A client never has to guess from a reset: after its head, a response that will not be completed is
ended by trailers with a status. Silence ends a stream only if `timeouts.stream_idle` says so, but a
client that takes none of the bytes that wait for it is ended by `timeouts.idle`.
"""

from proxy.errors import ClientGone, ProxyError, ReceiveError, RelayError, UpstreamTruncated
from proxy.exchange.events import MOVED
from proxy.exchange.grpc_attempt import GrpcAttempt
from proxy.exchange.marks import IDLE, STREAM_IDLE
from proxy.exchange.relay import Relay
from proxy.exchange.request import Request
from proxy.exchange.script import Script
from proxy.grpc_status import UNAVAILABLE
from proxy.http.grpc import status_trailers
from proxy.wire.streams import Trailers


class GrpcRelay(Relay):
    """Relays one response of a gRPC call."""

    __slots__ = ("_call", "_silence")

    def __init__(self, request: Request, attempt: GrpcAttempt, owner: Script) -> None:
        super().__init__(request, attempt, owner)
        self._call = attempt
        self._silence = request.timing.idle_seconds

    def take_over(self) -> None:
        super().take_over()
        if self._client.write_paused:
            self._expect(moving=False)

    def on_end(self, trailers: Trailers) -> None:
        self._call.on_end(trailers)
        self._owner.wake(MOVED)

    def _end(self) -> None:
        self._request.record.grpc = self._call.record.grpc
        super()._end()

    def give_up(self, error: ProxyError) -> bool:
        """End the response with a status, unless the client is gone."""
        self._call.lose(error)
        super().give_up(error)
        record = self._request.record
        if isinstance(error, ClientGone) or self.ended:
            record.grpc = error.grpc
            return False
        lost = isinstance(error, ReceiveError | RelayError)
        record.grpc = UNAVAILABLE if lost else error.grpc
        self._client.end(status_trailers(record.grpc, error.detail))
        return True

    def on_client_writable(self, writable: bool) -> None:
        self._expect(moving=writable)
        super().on_client_writable(writable)
        if not writable:
            self._owner.wake(MOVED)

    def _expect(self, *, moving: bool) -> None:
        """Which clock watches the stream: bytes that wait must move, silence may last."""
        idle = self._request.binding.policies.timeouts.idle
        self._timing.idle_seconds = self._silence if moving else idle

    @property
    def _mark(self) -> str:
        return IDLE if self._client.write_paused else STREAM_IDLE

    def _silent(self, seconds: float) -> ProxyError:
        return UpstreamTruncated(
            f"Neither side sent a message for {seconds:g} s (timeouts.stream_idle)."
        )
