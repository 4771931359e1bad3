"""Waiting for a gate's permit."""

import asyncio
from time import monotonic

from proxy.exchange.carrier import Carrier
from proxy.exchange.events import ALARM, GRANTED
from proxy.policies.gate import Answer, Gate, Permit, Refusal, Wait


async def wait_for_permit(carrier: Carrier, gate: Gate, answer: Answer) -> Permit:
    """Wait for the permit.

    Raises the refusal's error, the wait's error at its deadline, or RequestTimeout.
    """
    if isinstance(answer, Refusal):
        raise answer.error()
    assert isinstance(answer, Wait)
    timing, record = carrier.request.timing, carrier.request.record
    loop = asyncio.get_running_loop()
    before = record.queued

    def on_granted() -> None:
        if answer.permit is not None:
            record.queued = monotonic() - timing.started
        # From the loop, not within the call that freed the permit: a long queue of exchanges that
        # end at once would recurse.
        loop.call_soon(carrier.wake, GRANTED)

    answer.on_granted = on_granted
    try:
        while answer.permit is None:
            until = min(answer.deadline, answer.turn, timing.deadline.at)
            happened = await carrier.wait(until)
            if answer.permit is not None:
                break
            now = monotonic()
            if happened is ALARM and timing.deadline.expired(now):
                raise timing.request_timeout()
            if happened is GRANTED or now >= min(answer.turn, answer.deadline):
                gate.grant(answer, now)
            if happened is ALARM and answer.permit is None and now >= answer.deadline:
                raise answer.timeout()
    except Exception:
        gate.abandon(answer)
        raise
    finally:
        answer.on_granted = None
        if answer.permit is None or record.queued == before:
            record.queued = monotonic() - timing.started
    return answer.permit
