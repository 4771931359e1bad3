"""Waiting for a place in the bulkhead."""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from proxy.errors import BulkheadFull, QueueTimeout
from proxy.exchange.binding import Binding
from proxy.exchange.events import ALARM, GRANTED
from proxy.policies.bulkhead import BulkheadPermit, BulkheadRefusal, BulkheadWait

if TYPE_CHECKING:
    from proxy.exchange.exchange import Exchange


async def wait_for_place(
    exchange: "Exchange", binding: Binding, place: BulkheadWait | BulkheadRefusal
) -> BulkheadPermit:
    """The permit, once this exchange's turn has come.

    Raises BulkheadFull where there is no room to wait, QueueTimeout or RequestTimeout.
    """
    bulkhead = binding.bulkhead
    if isinstance(place, BulkheadRefusal):
        raise BulkheadFull(
            f"All {place.limit} places of bulkhead {bulkhead.name!r} are taken, and its "
            f"queue of {place.max_queue} is full."
        )
    # From the loop, not within the call that freed the place: a long queue whose exchanges end at
    # once would become as many calls within calls.
    loop = asyncio.get_running_loop()
    place.on_granted = lambda: loop.call_soon(exchange.wake, GRANTED)
    try:
        while place.permit is None:
            happened = await exchange.wait(min(place.deadline, exchange.deadline.at))
            if happened is ALARM and place.permit is None:
                if exchange.deadline.expired(monotonic()):
                    raise exchange.request_timeout()
                seconds = binding.policies.bulkhead.queue_timeout
                raise QueueTimeout(
                    f"No place in bulkhead {bulkhead.name!r} came free within {seconds:g} s "
                    "(bulkhead.queue_timeout)."
                )
    except Exception:
        bulkhead.abandon(place)
        raise
    finally:
        exchange.queued = monotonic() - exchange.started
    return place.permit
