"""How an exchange's coroutine waits for the store: it cannot await futures."""

from asyncio import Future
from typing import TypeVar

from proxy.exchange.carrier import Carrier

T = TypeVar("T")


async def outcome(carrier: Carrier, future: "Future[T]") -> T:
    """The result of an operation. Raises its failure, or what ends the exchange.

    The client's leaving ends the wait, not the operation. With a deadline of the request the wait
    ends then, with RequestTimeout.
    """
    future.add_done_callback(carrier.wake)
    timing = carrier.request.timing
    while not future.done():
        await carrier.wait(timing.deadline.at)
        if not future.done() and timing.time_left <= 0:
            raise timing.request_timeout()
    return future.result()
