"""Holds a response until it is complete: what is recorded must be known before it is sent."""

from time import monotonic

from proxy.errors import ProxyError, UpstreamTruncated
from proxy.exchange.answers import Answer
from proxy.exchange.attempt import Attempt
from proxy.exchange.carrier import Carrier
from proxy.exchange.events import MOVED
from proxy.exchange.script import Script
from proxy.http.message import ResponseHead
from proxy.wire.streams import StreamHandler, Trailers

_STREAMS = (b"text/event-stream", b"multipart/x-mixed-replace")
"""Media types of responses without an end."""


class Holder(StreamHandler):
    """Takes the pieces of a response, and wakes its owner when it ends, is lost or is too long."""

    __slots__ = ("_attempt", "_limit", "_owner", "_pieces", "activity", "ended", "error", "size")

    def __init__(self, attempt: Attempt, owner: Script, limit: int) -> None:
        self._attempt = attempt
        self._owner = owner
        self._limit = limit
        self._pieces = [attempt.piece]
        self.size = len(attempt.piece)
        self.ended = attempt.ended
        self.error: ProxyError | None = attempt.error
        self.activity = monotonic()

    @property
    def over(self) -> bool:
        return self.ended or self.error is not None or self.size > self._limit

    @property
    def content(self) -> bytes:
        return b"".join(self._pieces)

    def on_piece(self, piece: bytes) -> None:
        self.activity = monotonic()
        self._pieces.append(piece)
        self.size += len(piece)
        if self.size > self._limit:
            self._owner.wake(MOVED)

    def on_end(self, trailers: Trailers) -> None:
        self.ended = True
        self._attempt.on_end(trailers)
        self._owner.wake(MOVED)

    def on_lost(self, error: ProxyError) -> None:
        self.error = error
        self._owner.wake(MOVED)

    def on_upstream_writable(self, writable: bool) -> None:
        self._attempt.on_upstream_writable(writable)


async def hold(carrier: Carrier, answer: Answer, limit: int) -> bytes | None:
    """The whole body of an upstream's answer; None if it is longer than `limit`.

    The answer then goes on where this stopped. Raises the failure of a response that breaks off.
    """
    attempt = answer.attempt
    assert attempt is not None
    if answer.ended:
        return answer.piece if len(answer.piece) <= limit else None
    head = answer.head
    if head.length is not None and head.length > limit:
        return None
    stream = attempt.stream
    assert stream is not None
    holder = Holder(attempt, carrier, limit)
    stream.handler = holder
    seconds = carrier.request.timing.idle_seconds
    while not holder.over:
        await carrier.wait(holder.activity + seconds)
        if not holder.over and monotonic() >= holder.activity + seconds:
            raise UpstreamTruncated(
                f"The upstream sent none of the response's body for {seconds:g} s."
            )
    if holder.error is not None:
        raise holder.error
    answer.piece = attempt.piece = holder.content
    if not holder.ended:
        stream.handler = attempt
        return None
    answer.ended = True
    answer.trailers = attempt.trailers
    return answer.piece if holder.size <= limit else None


def is_endless(head: ResponseHead) -> bool:
    """Whether it begins a response that has no end to wait for."""
    kinds = head.values(b"content-type")
    return any([kind.lower().startswith(_STREAMS) for kind in kinds])
