"""Attempt after attempt: retry, within the gates that count whole requests."""

from collections.abc import Coroutine
from time import monotonic, time
from typing import Any, Final

from proxy.errors import AdmitError, ConnectError, ProxyError, ReceiveError, RequestTimeout, let_go
from proxy.exchange.attempt import Attempt
from proxy.exchange.binding import Binding
from proxy.exchange.carrier import Carrier
from proxy.exchange.hedging import hedging_of, race
from proxy.exchange.one_attempt import new_attempt, raise_failure
from proxy.exchange.queueing import wait_for_permit
from proxy.exchange.request import Request
from proxy.exchange.script import SUSPENDED
from proxy.grpc_status import FAILURES
from proxy.http.grpc import PUSHBACK_FIELD, outcome_of_code, parse_pushback, trailer_values
from proxy.http.problem import RETRIED_BELOW
from proxy.http.retry_after import parse_retry_after
from proxy.outcome import (
    IGNORED,
    UNPROCESSED,
    Condition,
    Outcome,
    Verdict,
)
from proxy.policies.gate import Permit, Tries, pass_gates, settle_gates
from proxy.policies.retry import Retry, Stop, StopReason
from proxy.wire.alarm import NEVER

_SAID_BY_RETRY_AFTER: Final = (429, 503)
_CONFLICT: Final = 409
_UNAVAILABLE: Final = 503
_IN_PROGRESS: Final = b'details="idempotency-in-progress"'


def make_attempts(carrier: Carrier, binding: Binding) -> Coroutine[None, Any, Attempt]:
    """The attempt whose response is to be committed. Raises the last failure."""
    if binding.outer_gates:
        return _within_gates(carrier, binding)
    return _retrying(carrier, binding)


async def _within_gates(carrier: Carrier, binding: Binding) -> Attempt:
    """Around all attempts, until the response's head: a breaker with `counts: requests`."""
    request = carrier.request
    gates = binding.outer_gates
    permits: list[Permit] = []
    request.outer_permits = permits
    verdict = IGNORED
    try:
        answer = pass_gates(gates, permits, monotonic(), request)
        while answer is not None:
            permits.append(await wait_for_permit(carrier, gates[len(permits)], answer))
            answer = pass_gates(gates, permits, monotonic(), request)
        attempt = await _retrying(carrier, binding)
        verdict = attempt.record.verdict
        attempt.keep(gates, permits)
    except ProxyError as error:
        verdict = _verdict_of_failure(request, binding, error)
        raise
    finally:
        now = monotonic()
        took = now - request.timing.started - request.timing.deadline.stood_still
        settle_gates(gates, permits, verdict, took, now)
    return attempt


def _verdict_of_failure(request: Request, binding: Binding, error: ProxyError) -> Verdict:
    """The last attempt's verdict, if its failure ended the request."""
    attempts = request.record.attempts
    if attempts and attempts[-1].failure == error.reason:
        return attempts[-1].verdict
    condition = request.condition_of(error)
    if condition is None:
        return IGNORED
    return binding.verdict_of(Outcome(condition=condition))


async def _retrying(carrier: Carrier, binding: Binding) -> Attempt:
    request = carrier.request
    number, wait, repeat = 1, 0.0, 0
    refused = False
    hedging = None if binding.hedging is None else hedging_of(request, binding.hedging)
    now = request.timing.started if request.timing.undelayed else monotonic()
    while True:
        attempt = new_attempt(carrier, binding, number, wait, repeat, now)
        error: ProxyError | None = None
        attempt.begin()
        try:
            if hedging is not None:
                attempt = await race(carrier, hedging, attempt)
            # As in `run_attempt`: a coroutine more would cost each request 250 instructions.
            while not attempt.over:
                carrier.expect(NEVER)
                await SUSPENDED
                carrier.heard()
            raise_failure(attempt)
            outcome = _retriable_response(attempt, binding)
            if outcome is None:
                binding.stats.count_result(False, number > 1)
                return attempt
        except ProxyError as failure:
            attempt.cancel(failure)  # if it goes on: something else has ended the exchange
            outcome = _retriable_failure(attempt, failure)
            if outcome is None:
                if isinstance(failure, AdmitError):
                    binding.stats.count_result(True, number > 1)
                if attempt.refused:
                    request.record.attempts.pop()  # nothing was attempted
                raise
            error = failure
        at_once = outcome.condition is Condition.REFUSED_STREAM and not refused
        retry = _next_retry(request, binding, attempt, outcome, at_once)
        if retry is None:
            binding.stats.count_result(True, number > 1)
            if error is not None:
                raise error
            return attempt
        if error is not None:
            let_go(error)
        attempt.drop()
        await carrier.pause(retry.delay)
        now = monotonic()
        made = len(request.record.attempts)
        if outcome.condition not in UNPROCESSED:
            repeat += made - number + 1
        number, wait, refused = made + 1, retry.delay, refused or at_once


def _retriable_response(attempt: Attempt, binding: Binding) -> Outcome | None:
    """The outcome of a response that the retry policy is asked about; None: it is final."""
    on = binding.policies.retry.on
    status, code = attempt.record.status, attempt.record.grpc
    if code <= 0:
        final = status < 500 and status not in on.statuses
    else:
        final = code not in FAILURES and outcome_of_code(status, code) not in on
    if final and status == _CONFLICT and _in_progress(attempt):
        final, status = False, _UNAVAILABLE
    return None if final else outcome_of_code(status, code)


def _retriable_failure(attempt: Attempt, error: ProxyError) -> Outcome | None:
    """The outcome of a failure that the retry policy is asked about; None: no retry may follow."""
    if isinstance(error, ConnectError) and error.condition is None:
        return None  # a shortage of the proxy itself: another attempt would fail in the same way
    if isinstance(error, (ConnectError, ReceiveError, RequestTimeout)):
        return Outcome(0, error.condition or Condition.TIMEOUT, attempt.record.grpc)
    return None


def _in_progress(attempt: Attempt) -> bool:
    """Whether another such proxy says that the first request with this idempotency key has not
    been answered: its 409 with Retry-After is retried like a 503.
    """
    head = attempt.head
    if head is None or not head.values(b"retry-after"):
        return False
    return any([_IN_PROGRESS in value for value in head.values(b"proxy-status")])


def _next_retry(
    request: Request, binding: Binding, attempt: Attempt, outcome: Outcome, at_once: bool
) -> Retry | None:
    """The retry that follows a failed attempt, None: it was the last one. Counted.

    `at_once`: it is the first stream of this request that an upstream refused.
    """
    decision = _decide(request, binding, attempt, outcome, at_once)
    attempt.record.decision = decision
    if isinstance(decision, Retry):
        binding.stats.count_retry(decision.condition)
        return decision
    request.record.retry_refused = why = decision.why.value
    if not request.inbound and request.terms.lineage is not None:
        _tell_parents(request, binding, decision.why)
    if decision.condition:
        request.record.observe(f"retry.{decision.condition}")
    binding.stats.count_refused(why)
    return None


def _tell_parents(request: Request, binding: Binding, why: StopReason) -> None:
    """The inbound request that this call was made for shall not be retried by its caller either."""
    lineage = request.terms.lineage
    if lineage is None or not lineage.occupied or not binding.policies.timeouts.inherit.retries:
        return
    spent = why is StopReason.BUDGET or (why is StopReason.NESTED and not request.nested)
    if spent or (why is StopReason.ATTEMPTS and len(request.record.attempts) > 1):
        lineage.retries_spent(request.kinship)


def _retried_below(request: Request, binding: Binding, attempt: Attempt) -> bool:
    """Whether the service's own proxy says that it has retried what failed."""
    head = attempt.head
    if head is None or request.inbound or not binding.policies.timeouts.inherit.retries:
        return False
    return any([RETRIED_BELOW in value for value in head.values(b"proxy-status")])


def _decide(
    request: Request, binding: Binding, attempt: Attempt, outcome: Outcome, at_once: bool
) -> Retry | Stop:
    now = monotonic()
    retry_after, pushback = None, None
    if request.grpc and attempt.head is not None:
        asked = attempt.head.values(PUSHBACK_FIELD)
        pushback = parse_pushback(asked or trailer_values(attempt.trailers, PUSHBACK_FIELD))
    if outcome.status in _SAID_BY_RETRY_AFTER and attempt.head is not None:
        values = attempt.head.values(b"retry-after")
        retry_after = parse_retry_after(values, time()) if values else None
    tries = Tries(
        number=len(request.record.attempts),
        repeatable=binding.retry.repeatable(request.head.method, request.keyed),
        body_whole=request.body is None or request.body.whole,
        gates_open=binding.allows_retry(now),
        time_left=request.timing.time_left,
        waited=attempt.record.wait,
        retry_after=retry_after,
        pushback=pushback,
        at_once=at_once,
        nested=len(request.nested) > 0 or _retried_below(request, binding, attempt),
    )
    decision = binding.retry.decide(tries, outcome, now)
    assert isinstance(decision, Retry | Stop)
    return decision
