"""Asks a route's promises: before its upstream, and after a failure."""

from proxy.errors import ProxyError
from proxy.exchange.answers import Answer
from proxy.exchange.attempt import Attempt
from proxy.exchange.carrier import Carrier
from proxy.exchange.claim import Claim
from proxy.exchange.promise import Promise


async def keep(carrier: Carrier, claim: Claim, answer: Answer) -> Answer:
    """Record an upstream's answer before it is sent; returns the answer to send."""
    assert answer.attempt is not None
    try:
        recorded: Answer = await claim.keep(carrier, answer)
    except ProxyError:
        answer.attempt.give_up()
        raise
    return recorded


async def enter(carrier: Carrier, promises: list[Promise]) -> Answer | None:
    """The first answer of a promise. Raises the first refusal."""
    for promise in promises:
        answer: Answer | None = await promise.enter(carrier)
        if answer is not None:
            return answer
    return None


def covers(
    carrier: Carrier, promises: list[Promise], error: ProxyError | None, status: int
) -> bool:
    """Whether a promise may answer instead of this failure, or final status of the upstream."""
    return any([promise.covers(carrier, error, status) for promise in promises])


async def rescue(
    carrier: Carrier,
    promises: list[Promise],
    error: ProxyError | None,
    attempt: Attempt | None,
) -> Answer | None:
    """The answer instead of a failure, or of an attempt's response; None: there is none.

    The attempt's response is dropped only if it is replaced.
    """
    status = attempt.record.status if attempt is not None else 0
    for promise in promises:
        if not promise.covers(carrier, error, status):
            continue
        if attempt is not None:
            attempt.hold()
        answer: Answer | None = await promise.rescue(carrier, error, status)
        if answer is not None:
            if attempt is not None:
                attempt.drop()
            if error is not None:
                carrier.request.record.failed(error)
            return answer
        if attempt is not None:
            attempt.go_on()
    return None
