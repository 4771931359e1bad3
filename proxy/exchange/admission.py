"""Waiting for a gate's permit."""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from proxy.exchange.events import ALARM, GRANTED
from proxy.policies.gate import Answer, Gate, Permit, Refusal, Wait

if TYPE_CHECKING:
    from proxy.exchange.exchange import Exchange


async def wait_for_permit(exchange: "Exchange", gate: Gate, answer: Answer) -> Permit:
    """The permit, once this exchange's turn has come.

    Raises the refusal's error, the wait's when its deadline passes, or RequestTimeout.
    """
    if isinstance(answer, Refusal):
        raise answer.error()
    assert isinstance(answer, Wait)
    # From the loop, not within the call that freed the permit: a long queue whose exchanges end
    # at once would become as many calls within calls.
    loop = asyncio.get_running_loop()
    answer.on_granted = lambda: loop.call_soon(exchange.wake, GRANTED)
    try:
        while answer.permit is None:
            happened = await exchange.wait(min(answer.deadline, exchange.deadline.at))
            if happened is ALARM and answer.permit is None:
                if exchange.deadline.expired(monotonic()):
                    raise exchange.request_timeout()
                raise answer.timeout()
    except Exception:
        gate.abandon(answer)
        raise
    finally:
        exchange.queued = monotonic() - exchange.started
    return answer.permit
