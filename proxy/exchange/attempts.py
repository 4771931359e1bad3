"""Attempt after attempt: retry, within the gates that count whole requests."""

from collections.abc import Coroutine
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from proxy.errors import AdmitError, ConnectError, ProxyError, ReceiveError, RequestTimeout
from proxy.exchange.admission import wait_for_permit
from proxy.exchange.attempt import Attempt
from proxy.exchange.binding import Binding
from proxy.exchange.tunnel import ConnectAttempt
from proxy.http.retry_after import parse_retry_after
from proxy.outcome import (
    FAILURE,
    IGNORED,
    SUCCESS,
    UNPROCESSED,
    Condition,
    Outcome,
    OutcomeSet,
    Verdict,
    of_status,
)
from proxy.policies.gate import Permit, Tries, pass_gates, settle_gates
from proxy.policies.retry import Retry, Stop

if TYPE_CHECKING:
    from proxy.exchange.exchange import Exchange

_KEY_FIELDS = (b"idempotency-key", b"x-idempotency-key")
_SAID_BY_RETRY_AFTER = (429, 503)


def make_attempts(exchange: "Exchange", binding: Binding) -> Coroutine[None, Any, Attempt]:
    """The attempt whose response is to be committed. Raises the last failure."""
    if binding.outer_gates:
        return _within_gates(exchange, binding)
    return _retrying(exchange, binding)


async def _within_gates(exchange: "Exchange", binding: Binding) -> Attempt:
    """Around all attempts, until the response's head: a breaker with `counts: requests`."""
    gates = binding.outer_gates
    permits: list[Permit] = []
    exchange.outer_permits = permits
    verdict = IGNORED
    try:
        answer = pass_gates(gates, permits, monotonic(), exchange)
        while answer is not None:
            permits.append(await wait_for_permit(exchange, gates[len(permits)], answer))
            answer = pass_gates(gates, permits, monotonic(), exchange)
        attempt = await _retrying(exchange, binding)
        verdict = _verdict(binding.failures, of_status(attempt.status))
    except ProxyError as error:
        condition = exchange.condition_of(error)
        if condition is not None:
            verdict = _verdict(binding.failures, Outcome(condition=condition))
        raise
    finally:
        now = monotonic()
        took = now - exchange.started - exchange.deadline.stood_still
        settle_gates(gates, permits, verdict, took, now)
    return attempt


def _verdict(failures: OutcomeSet, outcome: Outcome) -> Verdict:
    return FAILURE if outcome in failures else SUCCESS


async def _retrying(exchange: "Exchange", binding: Binding) -> Attempt:
    number, wait, repeat = 1, 0.0, 0
    kind = ConnectAttempt if exchange.head.method == "CONNECT" else Attempt
    on = binding.policies.retry.on
    while True:
        attempt = kind(exchange, binding, number, wait)
        attempt.repeat = repeat
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
        except AdmitError:
            if attempt.refused:
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
        if outcome.condition not in UNPROCESSED:
            repeat += 1


def _decide(
    exchange: "Exchange", binding: Binding, attempt: Attempt, outcome: Outcome
) -> Retry | Stop:
    now = monotonic()
    retry_after = None
    if outcome.status in _SAID_BY_RETRY_AFTER and attempt.head is not None:
        values = attempt.head.values(b"retry-after")
        retry_after = parse_retry_after(values, time()) if values else None
    tries = Tries(
        number=attempt.number,
        repeatable=binding.retry.repeatable(exchange.method, _has_key(exchange)),
        body_whole=exchange.body is None or exchange.body.whole,
        gates_open=binding.allows_retry(now),
        time_left=min(exchange.deadline.remaining(now), exchange.cutoff - now),
        waited=attempt.wait,
        retry_after=retry_after,
    )
    decision = binding.retry.decide(tries, outcome, now)
    assert isinstance(decision, Retry | Stop)
    return decision


def _has_key(exchange: "Exchange") -> bool:
    return any(exchange.head.values(name) for name in _KEY_FIELDS)
