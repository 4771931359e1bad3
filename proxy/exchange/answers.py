"""Answers that the proxy makes itself: the one place where a failure becomes bytes."""

from typing import TYPE_CHECKING, Any

from proxy.errors import BadRequest, Draining, ProxyError
from proxy.exchange.attempt import Attempt
from proxy.http.problem import PROBLEM_TYPE, answer_head, problem_body
from proxy.policies.fallback import FallbackResponse
from proxy.policies.retry import StopReason

if TYPE_CHECKING:
    from proxy.exchange.exchange import Exchange
    from proxy.exchange.gateway import ListenerGate


def error_answer(gate: "ListenerGate", exchange: "Exchange", error: ProxyError) -> bytes:
    """The problem document of an exchange that failed before its commit.

    Settles whether the client's connection is kept: not when the rest of the request's body
    would have to be read past first.
    """
    if exchange.downstream.receiving or isinstance(error, BadRequest | Draining):
        exchange.keep_alive = False
    gate.before_answer(exchange)
    body = problem_body(
        error=error,
        route=exchange.route or None,
        upstream=exchange.upstream or None,
        attempts=[describe_attempt(attempt) for attempt in exchange.attempts],
        retry_refused=exchange.retry_refused,
        request_id=exchange.request_id,
        trace_id=exchange.trace_id,
    )
    return _answer(exchange, error.status, _fields(gate, exchange.request_id, error), body)


def fallback_answer(
    gate: "ListenerGate", exchange: "Exchange", response: FallbackResponse, status_field: bytes
) -> bytes:
    """The fixed answer of a fallback."""
    if exchange.downstream.receiving:
        exchange.keep_alive = False
    gate.before_answer(exchange)
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    fields.append((b"Proxy-Status", status_field))
    fields.append((b"X-Request-Id", exchange.request_id.encode("latin-1")))
    return _answer(exchange, response.status, fields, response.body)


def refusal_answer(gate: "ListenerGate", error: ProxyError, request_id: str) -> bytes:
    """The answer to what never became a request; the connection ends with it."""
    body = problem_body(
        error=error, route=None, upstream=None, attempts=[], request_id=request_id, trace_id=""
    )
    fields = _fields(gate, request_id, error)
    return answer_head(error.status, fields, len(body), close=True, date=gate.date()) + body


def retried_status(exchange: "Exchange", attempt: Attempt) -> bytes:
    """Proxy-Status of an upstream's response that took several attempts, `attempt` the last.

    Where something but the number of attempts kept it from being tried once more, it says what.
    """
    status, made = exchange.gate.proxy_status, len(exchange.attempts)
    if exchange.retry_refused in _PLAIN_ENDS:
        return status.value(attempts=made)
    return status.refused(made, attempt.endpoint, exchange.retry_refused)


_PLAIN_ENDS = ("", StopReason.ATTEMPTS.value, StopReason.CONDITION.value)


def describe_attempt(attempt: Attempt) -> dict[str, Any]:
    """One attempt as JSON, with the members that the access log gives it too."""
    told: dict[str, Any] = {"endpoint": attempt.endpoint}
    if attempt.status:
        told["status"] = attempt.status
    if attempt.failure:
        told["failure"] = attempt.failure
    told["duration_ms"] = round(attempt.duration * 1000, 3)
    told["wait_ms"] = round(attempt.wait * 1000, 3)
    return told


def _fields(gate: "ListenerGate", request_id: str, error: ProxyError) -> list[tuple[bytes, bytes]]:
    fields = [
        (b"Content-Type", PROBLEM_TYPE),
        (b"Proxy-Status", gate.proxy_status.value(error=error)),
        (b"X-Request-Id", request_id.encode("latin-1")),
    ]
    if error.retry_after is not None:
        fields.append((b"Retry-After", b"%d" % error.retry_after))
    return fields


def _answer(
    exchange: "Exchange", status: int, fields: list[tuple[bytes, bytes]], body: bytes
) -> bytes:
    close = not exchange.keep_alive
    if exchange.head.minor == 0 and not close:
        fields.append((b"Connection", b"keep-alive"))
    head = answer_head(status, fields, len(body), close=close, date=exchange.gate.date())
    if exchange.method == "HEAD" or status in (204, 304):
        return head
    exchange.bytes_out = len(body)
    return head + body
