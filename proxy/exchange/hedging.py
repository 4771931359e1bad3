"""Several attempts at once: the first response that would not be retried wins.

    first attempt ── delay ──▶ hedge ── delay ──▶ … as `hedge.max` allows
        └────────────┴───────────┴─▶ done: wins, or fails while another is in flight

The others are cancelled when one wins, and their gates get IGNORED. A hedge is an attempt like any:
it counts in `retry.attempts`, is charged to the retry budget, and needs what a retry needs. If all
fail, the last failure decides whether another attempt follows.
"""

from time import monotonic

from proxy.errors import HedgeLost, ProxyError
from proxy.exchange.attempt import Attempt
from proxy.exchange.binding import Binding
from proxy.exchange.carrier import Carrier
from proxy.exchange.one_attempt import new_attempt
from proxy.exchange.record import AttemptRecord
from proxy.exchange.request import Request
from proxy.exchange.script import SUSPENDED
from proxy.http.grpc import outcome_of_code
from proxy.policies.gate import OBSERVE
from proxy.policies.hedge import Hedging
from proxy.wire.alarm import NEVER

_WON, _LOST, _FAILED, _NO_BUDGET = "won", "lost", "failed", "no-budget"


def hedging_of(request: Request, hedging: Hedging) -> Hedging | None:
    """`hedging`, None for a request that makes a tunnel or asks for one: it is never sent twice."""
    if request.head.method == "CONNECT" or request.head.upgrade is not None:
        return None
    return hedging


async def race(carrier: Carrier, hedging: Hedging, first: Attempt) -> Attempt:
    """The attempt that decides, which is done; `first` has begun.

    It is the last one in the request's record. Raises what ends the exchange.
    """
    request = carrier.request
    running = [first]
    made = 0
    left = hedging.config.max
    due = NEVER
    if first.record.number > 1:  # a retry: `max` is for the whole request
        left -= sum([attempt.hedge for attempt in request.record.attempts])
    if left > 0:
        due = first.record.started + hedging.delay(first.record.started)
    try:
        while True:
            decided = _decided(running)
            if decided is not None:
                if made or hedging.learns:
                    _end(request, hedging, running, decided, first, made)
                return decided
            carrier.expect(due)
            await SUSPENDED
            carrier.heard()
            if _any_over(running):
                continue
            now = monotonic()
            if now < due:
                continue
            more = _further_wait(request, hedging, first, made, now)
            if more:
                due = now + more
                continue
            hedge = _hedge(carrier, first)
            due = NEVER
            if hedge is not None:
                running.append(hedge)
                made += 1
                if made < left:
                    due = now + hedging.delay(now)
    except ProxyError as end:
        for attempt in running:
            attempt.cancel(end)
        raise


def _decided(running: list[Attempt]) -> Attempt | None:
    """The winner, or the last one that failed. Attempts that failed before it are dropped."""
    if len(running) == 1:  # nearly always
        return running.pop() if running[0].over else None
    for attempt in running[:]:
        if not attempt.over:
            continue
        running.remove(attempt)
        if not running or attempt.bug is not None or _wins(attempt):
            return attempt
        attempt.drop()
    return None


def _any_over(running: list[Attempt]) -> bool:
    if len(running) == 1:
        return running[0].over
    return any([attempt.over for attempt in running])


def _wins(attempt: Attempt) -> bool:
    """Whether it has a response that would not be retried."""
    if attempt.error is not None or attempt.head is None:
        return False
    outcome = outcome_of_code(attempt.record.status, attempt.record.grpc)
    return outcome not in attempt.binding.policies.retry.on


def _further_wait(
    request: Request, hedging: Hedging, first: Attempt, made: int, now: float
) -> float:
    """Seconds to wait further, because the client's body flowed in the meantime; else 0."""
    body = request.body
    if body is not None and not body.complete:
        return hedging.delay(now)
    if made:
        return 0.0
    return max(first.record.started + first.stood_still(now) + hedging.delay(now) - now, 0.0)


def _hedge(carrier: Carrier, first: Attempt) -> Attempt | None:
    """Begin another attempt, if it is allowed."""
    request, binding = carrier.request, first.binding
    now = monotonic()
    if not _allowed(request, binding, now):
        return None
    if not binding.retry.spend(now):
        binding.stats.count_hedge(_NO_BUDGET)
        return None
    number, repeat = len(request.record.attempts) + 1, first.record.repeat
    hedge = new_attempt(carrier, binding, number, 0.0, repeat)
    hedge.record.hedge = True
    hedge.begin()
    if hedge.refused:
        request.record.attempts.remove(hedge.record)  # nothing was attempted
        return None
    return hedge


def _allowed(request: Request, binding: Binding, now: float) -> bool:
    """Whether a retry would be possible now."""
    if binding.policies.retry.mode is OBSERVE or request.nested:
        return False
    if len(request.record.attempts) >= binding.policies.retry.attempts:
        return False
    if request.body is not None and not request.body.whole:
        return False
    if not binding.retry.repeatable(request.head.method, request.keyed):
        return False
    return request.timing.time_left > 0.0 and binding.allows_retry(now)


def _end(
    request: Request,
    hedging: Hedging,
    running: list[Attempt],
    decided: Attempt,
    first: Attempt,
    made: int,
) -> None:
    """Cancel the others, and count."""
    for attempt in running:
        attempt.cancel(HedgeLost())
    if made:
        _put_last(request.record.attempts, decided.record)
        result = _FAILED
        if _wins(decided):
            result = _WON if decided.record.hedge else _LOST
        decided.binding.stats.count_hedge(result)
    if first.record.number == 1 and (first.head is not None or _has_lost(first)):
        hedging.record(first.record.seconds, monotonic())


def _has_lost(attempt: Attempt) -> bool:
    return attempt.record.failure == HedgeLost.reason


def _put_last(attempts: list[AttemptRecord], decided: AttemptRecord) -> None:
    """Make it the last one: readers of the record take that for the one that decided."""
    if attempts[-1] is not decided:
        attempts.remove(decided)
        attempts.append(decided)
