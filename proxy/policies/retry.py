"""Retry: whether another attempt may be made, and when."""

from dataclasses import dataclass

from proxy.outcome import OutcomeSet
from proxy.policies.backoff import BackoffConfig
from proxy.policies.budget import BudgetConfig

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class RetryMethods:
    """Which requests may be repeated once something of them was sent.

    `any` covers all; else `names`, and with `keyed` every request that has an idempotency key.
    """

    names: frozenset[str] = IDEMPOTENT_METHODS
    keyed: bool = True
    any: bool = False


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """`attempts` counts the first one too. `retry_after` seconds, `body_limit` bytes."""

    attempts: int = 3
    on: OutcomeSet = OutcomeSet(("connect-failure", "reset", "timeout", "gateway-error"))
    methods: RetryMethods = RetryMethods()
    backoff: BackoffConfig = BackoffConfig()
    retry_after: float = 5.0
    budget: BudgetConfig = BudgetConfig()
    body_limit: int = 64 * 1024
