"""Reads a request's whole body before any attempt: what is stored needs it first."""

from time import monotonic
from typing import Final

from proxy.errors import BodyTimeout, BodyTooLarge
from proxy.exchange.body import RequestBody
from proxy.exchange.carrier import Carrier
from proxy.http.making import make_response

WHOLE: Final = -1
"""No limit: a body that is not kept, only looked at as it passes."""


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


async def gather_up_to(carrier: Carrier, limit: int) -> bool:
    """Read the body until it is complete, or until more than `limit` bytes of it are here.

    WHOLE: to its end, of a body that was forfeited. Returns whether it is complete and not longer.
    Answers Expect: 100-continue, and stops the clocks, like `gather`. Raises BodyTimeout.
    """
    request = carrier.request
    body, timing = request.body, request.timing
    assert body is not None
    if body.complete or body.size > limit >= 0:
        return body.complete and _within(body, limit)
    if not body.started:
        request.stream.write_informational(make_response(100, [], None))
        body.start()
    timing.activity = monotonic()
    timing.deadline.pause(timing.activity)
    body.gather(max(limit, 0))
    try:
        while not body.complete and _within(body, limit):
            await carrier.wait(timing.idle_at)
            if not body.complete and monotonic() >= timing.idle_at:
                raise BodyTimeout(
                    f"The client sent none of the request's body for {timing.idle_seconds:g} s."
                )
    finally:
        body.stop_gathering()
        timing.deadline.resume(monotonic())
    return body.complete and _within(body, limit)


def _within(body: RequestBody, limit: int) -> bool:
    return limit < 0 or body.size <= limit


def _too_large(limit: int, where: str) -> BodyTooLarge:
    return BodyTooLarge(f"The request's body has more than {limit} bytes ({where}).")
