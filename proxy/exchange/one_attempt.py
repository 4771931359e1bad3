"""One attempt, made and run: `retrying`, `hedging` and `fallback` decide what follows it."""

from proxy.errors import ProxyError
from proxy.exchange.attempt import Attempt
from proxy.exchange.binding import Binding
from proxy.exchange.carrier import Carrier
from proxy.exchange.faults import draw_fault
from proxy.exchange.grpc_attempt import GrpcAttempt
from proxy.exchange.script import SUSPENDED
from proxy.exchange.tunnel import ConnectAttempt
from proxy.wire.alarm import NEVER


def new_attempt(
    carrier: Carrier,
    binding: Binding,
    number: int = 1,
    wait: float = 0.0,
    repeat: int = 0,
    now: float = 0.0,
) -> Attempt:
    """The attempt of this number, with its fault if it suffers one. It has not begun.

    `wait`: the seconds before it. `repeat`: how often the upstream may have seen the request.
    `now`: when it starts, if that is known.
    """
    request = carrier.request
    if request.head.method == "CONNECT":
        return ConnectAttempt(request, binding, carrier, number, wait, repeat, now)
    if request.grpc:
        attempt: Attempt = GrpcAttempt(request, binding, carrier, number, wait, repeat, now)
    else:
        attempt = Attempt(request, binding, carrier, number, wait, repeat, now)
    if binding.faults is not None:
        draw_fault(attempt, binding.faults)
    return attempt


async def run_attempt(carrier: Carrier, attempt: Attempt) -> None:
    """Make one attempt and wait until it is done. Raises its failure, or what ends the exchange."""
    attempt.begin()
    try:
        while not attempt.over:
            carrier.expect(NEVER)
            await SUSPENDED
            carrier.heard()
    except ProxyError as error:
        attempt.cancel(error)
        raise
    raise_failure(attempt)


def raise_failure(attempt: Attempt) -> None:
    """Raise what an attempt ended with instead of a response, if it did."""
    if attempt.bug is not None:
        raise attempt.bug
    failure, attempt.error = attempt.error, None
    if failure is not None:
        raise failure
