"""Fallback: at the very end, what the client gets in the place of a failure.

The breaker has heard of the failure by then, and the log keeps its reason: a fallback covers up
nothing but the answer.
"""

from typing import TYPE_CHECKING

from proxy.errors import CircuitOpen, ConnectError, ProxyError, ReceiveError, RequestTimeout
from proxy.exchange.answers import fallback_answer
from proxy.exchange.attempt import Attempt
from proxy.exchange.binding import Binding
from proxy.policies.fallback import FallbackConfig

if TYPE_CHECKING:
    from proxy.exchange.exchange import Exchange


def answers_failure(exchange: "Exchange", fallback: FallbackConfig, error: ProxyError) -> bool:
    """Whether the fallback takes the place of the proxy's own answer."""
    return fallback.covers_reason(error.reason) and _possible(exchange, fallback)


def answers_status(exchange: "Exchange", fallback: FallbackConfig, status: int) -> bool:
    """Whether the fallback takes the place of the upstream's final answer."""
    return fallback.covers_status(status) and _possible(exchange, fallback)


def _possible(exchange: "Exchange", fallback: FallbackConfig) -> bool:
    """Not another upstream once part of the request's body is here no more.

    Nor instead of a tunnel: its client would take any 2xx for one.
    """
    if exchange.method == "CONNECT":
        return False
    return fallback.response is not None or exchange.body is None or exchange.body.whole


async def fall_back(
    exchange: "Exchange",
    binding: Binding,
    fallback: FallbackConfig,
    error: ProxyError | None,
    received_status: int = 0,
) -> Attempt | None:
    """Answer in the place of `error`, or of the upstream's `received_status`.

    The attempt whose response is to be committed; None: the answer is a fixed one, and is out.
    Raises the original failure where the other upstream fails too.
    """
    gate = exchange.gate
    status_field = gate.proxy_status.value(
        error=error, fallback=True, received_status=received_status or None
    )
    if fallback.response is None:
        assert binding.fallback is not None
        attempt = Attempt(exchange, binding.fallback, 1, 0.0)
        exchange.attempts.append(attempt)
        try:
            await attempt.run()
        except (ConnectError, ReceiveError, RequestTimeout, CircuitOpen) as failure:
            raise error or failure from None
        _count(exchange, binding, error)
        exchange.status_field = status_field
        return attempt
    _count(exchange, binding, error)
    exchange.committed = True
    exchange.status = fallback.response.status
    exchange.downstream.write(fallback_answer(gate, exchange, fallback.response, status_field))
    return None


def _count(exchange: "Exchange", binding: Binding, error: ProxyError | None) -> None:
    exchange.fallback = True
    if error is not None:
        exchange.reason = error.reason
        exchange.detail = error.detail
    binding.stats.fallbacks += 1
