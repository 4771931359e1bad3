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
    body = request.body
    if body is None:
        return b""
    if not body.whole:
        return None
    if request.head.length > limit or body.size > limit:
        raise _too_large(limit, where)
    if not await gather_up_to(carrier, limit):
        raise _too_large(limit, where)
    return body.content


async def gather_up_to(carrier: Carrier, limit: int | None) -> bool:
    """Read the body until it is complete, or until more than `limit` bytes of it are here.

    None: to its end, of a body that was forfeited. Returns whether it is complete and not longer.
    Answers Expect: 100-continue, and stops the clocks, like `gather`. Raises BodyTimeout.
    """
    request = carrier.request
    body, timing = request.body, request.timing
    assert body is not None
    if body.complete or (limit is not None and max(request.head.length, body.size) > limit):
        return body.complete and (limit is None or body.size <= limit)
    if not body.started:
        request.stream.write_informational(make_response(100, [], None))
        body.start()
    timing.activity = monotonic()
    timing.deadline.pause(timing.activity)
    body.gather(limit or 0)
    try:
        while not body.complete and (limit is None or body.size <= limit):
            await carrier.wait(timing.idle_at)
            if not body.complete and monotonic() >= timing.idle_at:
                raise BodyTimeout(
                    f"The client sent none of the request's body for {timing.idle_seconds:g} s."
                )
    finally:
        body.stop_gathering()
        timing.deadline.resume(monotonic())
    return body.complete and (limit is None or body.size <= limit)


def _too_large(limit: int, where: str) -> BodyTooLarge:
    return BodyTooLarge(f"The request's body has more than {limit} bytes ({where}).")
