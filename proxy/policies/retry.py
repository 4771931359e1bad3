"""Retry: decides whether and when to make another attempt.

The checks run in this order, and the first one that fails is the reason that is counted:

    condition in `on` → attempts left → not nested → repeatable → body still whole → breaker closed
        → no pushback against it → Retry-After or pushback short enough → deadline → budget

The budget is last because the check charges it: only a retry that really happens is charged. In
mode observe the retry that would have happened is charged, so that the budget's limit is visible.
"""

from dataclasses import dataclass
from enum import Enum

from proxy.clock import Random
from proxy.outcome import UNPROCESSED, Outcome, OutcomeSet
from proxy.policies.backoff import Backoff, BackoffConfig
from proxy.policies.budget import BudgetConfig, RetryBudget
from proxy.policies.gate import OBSERVE, Decider, Decision, Mode, Tries

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class RetryMethods:
    """Which requests are safe to repeat after something of them was sent.

    `any` covers all; else `names`, and with `keyed` every request with an idempotency key.
    """

    names: frozenset[str] = IDEMPOTENT_METHODS
    keyed: bool = True
    any: bool = False


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """`attempts` includes the first one. `retry_after` seconds, `body_limit` bytes."""

    attempts: int = 3
    on: OutcomeSet = OutcomeSet(
        ("connect-failure", "refused-stream", "reset", "timeout", "gateway-error")
    )
    methods: RetryMethods = RetryMethods()
    backoff: BackoffConfig = BackoffConfig()
    retry_after: float = 5.0
    budget: BudgetConfig = BudgetConfig()
    body_limit: int = 64 * 1024
    mode: Mode = Mode.ENFORCE


class StopReason(Enum):
    """Why there is no other attempt; the values are label values of a metric.

    CONDITION is the ordinary end, including success; every other reason is a refused retry.
    """

    CONDITION = "condition"
    ATTEMPTS = "attempts"
    NESTED = "nested"
    NOT_REPEATABLE = "not-repeatable"
    BODY = "body"
    CIRCUIT_OPEN = "circuit-open"
    PUSHBACK = "pushback"
    RETRY_AFTER = "retry-after"
    DEADLINE = "deadline"
    BUDGET = "budget"
    OBSERVE = "observe"  # every check passed, but the mode only observes


@dataclass(frozen=True, slots=True)
class Retry(Decision):
    """Wait `delay` seconds, then make another attempt; `condition` is the term that matched."""

    delay: float
    condition: str


@dataclass(frozen=True, slots=True)
class Stop(Decision):
    """The result of this attempt is final.

    `condition`: the term that matched, if the mode only observes; else "".
    """

    why: StopReason
    condition: str = ""


_STOPS = {why: Stop(why) for why in StopReason}
_STOP_CONDITION = _STOPS[StopReason.CONDITION]
_RETRY_AFTER_STATUSES = (429, 503)


class RetryPolicy(Decider):
    """Decides for one configuration and charges one budget; it keeps no state."""

    __slots__ = (
        "_any",
        "_attempts",
        "_backoff",
        "_budget",
        "_keyed",
        "_names",
        "_observes",
        "_on",
        "_retry_after",
    )

    def __init__(self, config: RetryConfig, random: Random, budget: RetryBudget) -> None:
        self._budget = budget
        self._attempts = config.attempts
        self._on = config.on
        self._observes = config.mode is OBSERVE
        self._any = config.methods.any
        self._names = config.methods.names
        self._keyed = config.methods.keyed
        self._retry_after = config.retry_after
        self._backoff = Backoff(config.backoff, random)

    def repeatable(self, method: str, keyed: bool) -> bool:
        """Whether a retry is safe after something of the request was sent.

        `keyed`: it carries an Idempotency-Key or X-Idempotency-Key.
        """
        return self._any or method in self._names or (keyed and self._keyed)

    def spend(self, now: float) -> bool:
        """Charge a hedge to the budget; False if none is left."""
        return self._budget.try_spend(now)

    def decide(self, tries: Tries, outcome: Outcome, now: float) -> Decision:
        """A Retry or a Stop. A Retry has been charged to the budget."""
        condition = self._on.label(outcome)
        if condition is None:
            return _STOP_CONDITION
        if tries.number >= self._attempts:
            return _STOPS[StopReason.ATTEMPTS]
        processed = outcome.condition not in UNPROCESSED
        if tries.nested and processed:
            return _STOPS[StopReason.NESTED]
        if not tries.repeatable and processed:
            return _STOPS[StopReason.NOT_REPEATABLE]
        if not tries.body_whole:
            return _STOPS[StopReason.BODY]
        if not tries.gates_open:
            return _STOPS[StopReason.CIRCUIT_OPEN]
        pushback = tries.pushback
        if pushback is not None and pushback < 0:
            return _STOPS[StopReason.PUSHBACK]
        asked = self._asked_wait(outcome, tries.retry_after) if pushback is None else pushback
        if asked > self._retry_after:
            return _STOPS[StopReason.RETRY_AFTER]
        delay = 0.0 if pushback is None else pushback
        if pushback is None and not tries.at_once:
            delay = max(self._backoff.delay(tries.number, tries.waited), asked)
        if delay >= tries.time_left:
            return _STOPS[StopReason.DEADLINE]
        if not self._budget.try_spend(now):
            return _STOPS[StopReason.BUDGET]
        if self._observes:
            return Stop(StopReason.OBSERVE, condition)
        return Retry(delay, condition)

    def _asked_wait(self, outcome: Outcome, retry_after: float | None) -> float:
        """The upstream's Retry-After in seconds, 0 if there is none or it is ignored."""
        if retry_after is None or not self._retry_after:
            return 0.0
        return retry_after if outcome.status in _RETRY_AFTER_STATUSES else 0.0
