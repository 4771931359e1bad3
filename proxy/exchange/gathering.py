"""Reads a request's whole body before any attempt: what is stored needs it first."""

from time import monotonic

from proxy.errors import BodyTimeout, BodyTooLarge
from proxy.exchange.carrier import Carrier
from proxy.http.message import make_response


async def gather(carrier: Carrier, limit: int, where: str) -> bytes | None:
    """The whole body, at most `limit` bytes; None if a part of it is no longer here.

    Answers Expect: 100-continue itself, because no upstream does. The request's clocks stand
    still meanwhile, as while a body flows to an upstream. Raises BodyTooLarge, naming the key
    `where`, or BodyTimeout.
    """
    request = carrier.request
    body, timing = request.body, request.timing
    if body is None:
        return b""
    if not body.whole:
        return None
    if request.head.length > limit or body.size > limit:
        raise _too_large(limit, where)
    if not body.complete:
        if not body.started:
            request.stream.write_informational(make_response(100, [], None))
            body.start()
        timing.activity = monotonic()
        timing.deadline.pause(timing.activity)
        body.gather(limit)
        try:
            while not body.complete:
                await carrier.wait(timing.idle_at)
                if body.size > limit:
                    raise _too_large(limit, where)
                if not body.complete and monotonic() >= timing.idle_at:
                    raise BodyTimeout(
                        f"The client sent none of the request's body for {timing.idle_seconds:g} s."
                    )
        finally:
            body.stop_gathering()
            timing.deadline.resume(monotonic())
    return body.content


def _too_large(limit: int, where: str) -> BodyTooLarge:
    return BodyTooLarge(f"The request's body has more than {limit} bytes ({where}).")
