"""Fallback: at the very end, what the client gets instead of a failure.

The breaker has heard of the failure by then, and the log keeps its reason: a fallback covers up
nothing but the answer.
"""

from proxy.errors import (
    CircuitOpen,
    ConnectError,
    NoHealthyEndpoint,
    ProxyError,
    ReceiveError,
    RequestTimeout,
    let_go,
)
from proxy.exchange.answers import Answer, fallback_answer, fault_of, upstream_answer
from proxy.exchange.attempt import Attempt
from proxy.exchange.binding import Binding
from proxy.exchange.carrier import Carrier
from proxy.exchange.one_attempt import new_attempt, run_attempt
from proxy.exchange.request import Request
from proxy.http.grpc import outcome_of_code
from proxy.policies.fallback import FallbackConfig


def answers_failure(request: Request, fallback: FallbackConfig, error: ProxyError) -> bool:
    """Whether the fallback takes the place of the proxy's own answer."""
    return fallback.covers_reason(error.reason) and _possible(request, fallback)


def answers_outcome(request: Request, fallback: FallbackConfig, attempt: Attempt) -> bool:
    """Whether the fallback takes the place of the upstream's final answer."""
    record = attempt.record
    outcome = outcome_of_code(record.status, record.grpc)
    return fallback.covers(outcome) and _possible(request, fallback)


def _possible(request: Request, fallback: FallbackConfig) -> bool:
    """Not another upstream once part of the request's body is no longer here.

    Nor instead of a tunnel: its client would take any 2xx for one. A fallback with `outbox` is
    a promise's answer.
    """
    if request.head.method == "CONNECT" or fallback.outbox:
        return False
    return fallback.response is not None or request.body is None or request.body.whole


async def fall_back(
    carrier: Carrier,
    binding: Binding,
    fallback: FallbackConfig,
    error: ProxyError | None,
    received_status: int = 0,
) -> Answer:
    """The answer instead of `error`, or of the upstream's `received_status`.

    Raises the original failure where the other upstream fails too.
    """
    request = carrier.request
    status_field = _proxy_status(request, error, received_status)
    if fallback.response is not None:
        answer = fallback_answer(request, fallback.response, status_field)
    else:
        assert binding.fallback is not None
        attempt = new_attempt(carrier, binding.fallback)
        try:
            await run_attempt(carrier, attempt)
        except (
            ConnectError,
            ReceiveError,
            RequestTimeout,
            CircuitOpen,
            NoHealthyEndpoint,
        ) as failure:
            if error is None:
                raise
            let_go(failure)
            raise error from None
        answer = upstream_answer(request, attempt, status_field)
    record = request.record
    record.fallback = True
    if error is not None:
        record.failed(error)
        let_go(error)
    binding.stats.fallbacks += 1
    return answer


def _proxy_status(request: Request, error: ProxyError | None, received_status: int) -> bytes:
    """Proxy-Status of a fallback's answer: what it replaces, and the fault behind that."""
    value = request.terms.proxy_status.value(
        error=error, fallback=True, received_status=received_status or None
    )
    fault = fault_of(request.record, error)
    return value + b"; fault=%b" % fault.encode("ascii") if fault else value
