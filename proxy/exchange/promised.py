"""Waiting for the store."""

from asyncio import Future
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from proxy.exchange.carrier import Carrier
from proxy.wire.alarm import NEVER

R = TypeVar("R")


async def promised(carrier: Carrier, future: "Future[R]", *, deadline: bool = True) -> R:
    """Wait for the store. Raises its refusals, and at the request's deadline RequestTimeout.

    If the exchange ends before, what was asked for is still done.
    """
    future.add_done_callback(partial(_wake, carrier))
    timing = carrier.request.timing
    until = timing.deadline.at if deadline and timing.marks is None else NEVER
    while not future.done():
        await carrier.wait(until)
        if not future.done() and monotonic() >= until:
            raise timing.request_timeout()
    return future.result()


def _wake(carrier: Carrier, future: "Future[Any]") -> None:
    heard(future)  # the exchange may have ended before
    carrier.wake(future)


def heard(future: "Future[Any]") -> None:
    """Nothing waits for it: a failure of the store is logged where it happened."""
    if not future.cancelled():
        future.exception()
