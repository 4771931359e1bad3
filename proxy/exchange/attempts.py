"""Attempt after attempt: retry, under the breaker where it counts whole requests."""

from collections.abc import Coroutine
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from proxy.errors import CircuitOpen, ConnectError, ProxyError, ReceiveError, RequestTimeout
from proxy.exchange.attempt import Attempt, circuit_open
from proxy.exchange.binding import Binding
from proxy.exchange.tunnel import ConnectAttempt
from proxy.http.retry_after import parse_retry_after
from proxy.outcome import (
    FAILURE,
    IGNORED,
    SUCCESS,
    Condition,
    Outcome,
    OutcomeSet,
    Verdict,
    of_status,
)
from proxy.policies.circuit_breaker import BreakerCounts, CircuitBreaker, CircuitRefusal
from proxy.policies.retry import Retry, Stop

if TYPE_CHECKING:
    from proxy.exchange.exchange import Exchange

# A global is read ten times as fast as a member through its enum (CPython 3.11).
_ATTEMPTS = BreakerCounts.ATTEMPTS

_KEY_FIELDS = (b"idempotency-key", b"x-idempotency-key")
_SAID_BY_RETRY_AFTER = (429, 503)


def make_attempts(exchange: "Exchange", binding: Binding) -> Coroutine[None, Any, Attempt]:
    """The attempt whose response is to be committed. Raises the last failure."""
    breaker = binding.breaker
    if breaker is None or binding.policies.circuit_breaker.counts is _ATTEMPTS:
        return _retrying(exchange, binding)
    return _under_one_permit(exchange, binding, breaker)


async def _under_one_permit(
    exchange: "Exchange", binding: Binding, breaker: CircuitBreaker
) -> Attempt:
    """With `counts: requests` the breaker stands outside retry."""
    config = binding.policies.circuit_breaker
    permit = breaker.admit(monotonic())
    if isinstance(permit, CircuitRefusal):
        raise circuit_open(permit, breaker)
    exchange.holds_breaker = True
    verdict = IGNORED
    try:
        attempt = await _retrying(exchange, binding)
        verdict = _verdict(config.failures, of_status(attempt.status))
    except ProxyError as error:
        condition = exchange.condition_of(error)
        if condition is not None:
            verdict = _verdict(config.failures, Outcome(condition=condition))
        raise
    finally:
        now = monotonic()
        took = now - exchange.started - exchange.deadline.stood_still
        breaker.settle(permit, verdict, took, now)
        exchange.holds_breaker = False
    return attempt


def _verdict(failures: OutcomeSet, outcome: Outcome) -> Verdict:
    return FAILURE if outcome in failures else SUCCESS


async def _retrying(exchange: "Exchange", binding: Binding) -> Attempt:
    number, wait = 1, 0.0
    kind = ConnectAttempt if exchange.head.method == "CONNECT" else Attempt
    on = binding.policies.retry.on
    while True:
        attempt = kind(exchange, binding, number, wait)
        exchange.attempts.append(attempt)
        error: ProxyError | None = None
        try:
            await attempt.run()
            if attempt.status < 500 and attempt.status not in on.statuses:
                return attempt
            outcome = of_status(attempt.status)
        except (ConnectError, ReceiveError, RequestTimeout) as failure:
            error = failure
            outcome = Outcome(condition=failure.condition or Condition.TIMEOUT)
        except CircuitOpen:
            exchange.attempts.pop()  # nothing was attempted
            raise
        attempt.decision = decision = _decide(exchange, binding, attempt, outcome)
        if isinstance(decision, Stop):
            exchange.retry_refused = decision.why.value
            binding.stats.count_refused(exchange.retry_refused)
            if error is not None:
                raise error
            return attempt
        binding.stats.count_retry(decision.condition)
        exchange.drop(attempt)
        await exchange.pause(decision.delay)
        number, wait = number + 1, decision.delay


def _decide(
    exchange: "Exchange", binding: Binding, attempt: Attempt, outcome: Outcome
) -> Retry | Stop:
    now = monotonic()
    retry_after = None
    if outcome.status in _SAID_BY_RETRY_AFTER and attempt.head is not None:
        values = attempt.head.values(b"retry-after")
        retry_after = parse_retry_after(values, time()) if values else None
    return binding.retry.decide(
        attempt=attempt.number,
        outcome=outcome,
        repeatable=binding.retry.repeatable(exchange.method, _has_key(exchange)),
        body_whole=exchange.body is None or exchange.body.whole,
        breaker_closed=exchange.holds_breaker or binding.allows_retry(now),
        time_left=min(exchange.deadline.remaining(now), exchange.cutoff - now),
        previous_delay=attempt.wait,
        retry_after=retry_after,
        budget=binding.budget,
        now=now,
    )


def _has_key(exchange: "Exchange") -> bool:
    return any(exchange.head.values(name) for name in _KEY_FIELDS)
