"""Retry: the questions, their order, and what is charged."""

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from proxy.outcome import Condition, Outcome, OutcomeSet
from proxy.policies.backoff import BackoffConfig, Jitter, JitterKind
from proxy.policies.budget import BudgetConfig, RetryBudget
from proxy.policies.gate import Mode, Tries
from proxy.policies.retry import (
    Retry,
    RetryConfig,
    RetryMethods,
    RetryPolicy,
    Stop,
    StopReason,
)

CONFIG = RetryConfig(
    attempts=3,
    on=OutcomeSet(["connect-failure", "reset", "timeout", "gateway-error", "429"]),
    backoff=BackoffConfig(1.0, 2.0, 10.0, Jitter(JitterKind.NONE)),
    retry_after=5.0,
)
NO_BUDGET = BudgetConfig(ratio=0, min_per_second=0)


def budget_of(config: BudgetConfig) -> RetryBudget:
    return RetryBudget("a-policy:inventory", config)


REFUSED_BY_ALL: dict[str, Any] = {
    "outcome": Outcome(404),
    "number": 3,
    "nested": True,
    "repeatable": False,
    "body_whole": False,
    "gates_open": False,
    "pushback": -1.0,
    "retry_after": 6.0,
    "time_left": 1.0,
    "budget": budget_of(NO_BUDGET),
}
GOOD: dict[str, Any] = {
    "outcome": Outcome(503),
    "number": 1,
    "nested": False,
    "repeatable": True,
    "body_whole": True,
    "gates_open": True,
    "pushback": None,
    "retry_after": None,
    "time_left": inf,
}


def decide(config: RetryConfig = CONFIG, **changes: Any) -> Retry | Stop:
    given = {**GOOD, "budget": budget_of(BudgetConfig()), "waited": 0.0, **changes}
    outcome, budget = given.pop("outcome"), given.pop("budget")
    answer = RetryPolicy(config, lambda: 0.5, budget).decide(Tries(**given), outcome, 0.0)
    assert isinstance(answer, Retry | Stop)
    return answer


def test_a_retry_says_how_long_and_why() -> None:
    assert decide() == Retry(1.0, "gateway-error")
    assert decide(number=2) == Retry(2.0, "gateway-error")
    assert decide(outcome=Outcome(condition=Condition.RESET)) == Retry(1.0, "reset")


def test_what_no_service_has_seen_is_repeated_for_a_repeat_too() -> None:
    unseen = Outcome(condition=Condition.CONNECT_FAILURE)
    assert isinstance(decide(nested=True, outcome=unseen), Retry)
    assert decide(nested=True) == Stop(StopReason.NESTED)


def test_the_questions_are_asked_in_order() -> None:
    given = dict(REFUSED_BY_ALL)
    order = []
    for name in REFUSED_BY_ALL:
        answer = decide(**given)
        assert isinstance(answer, Stop)
        order.append(answer.why.value)
        given[name] = GOOD.get(name, budget_of(BudgetConfig()))
    assert order == [
        "condition",
        "attempts",
        "nested",
        "not-repeatable",
        "body",
        "circuit-open",
        "pushback",
        "retry-after",
        "deadline",
        "budget",
    ]
    assert [*order, "observe"] == [why.value for why in StopReason]
    assert decide(**given) == Retry(1.0, "gateway-error")


def test_a_policy_that_only_observes_says_what_it_would_have_done() -> None:
    config = replace(CONFIG, mode=Mode.OBSERVE)
    assert decide(config) == Stop(StopReason.OBSERVE, "gateway-error")
    assert decide(config, body_whole=False) == Stop(StopReason.BODY)
    assert decide(config, budget=budget_of(NO_BUDGET)) == Stop(StopReason.BUDGET)


def test_nothing_was_sent_when_the_connection_failed() -> None:
    failed = Outcome(condition=Condition.CONNECT_FAILURE)
    assert decide(outcome=failed, repeatable=False) == Retry(1.0, "connect-failure")


@pytest.mark.parametrize(
    ("methods", "method", "keyed", "repeatable"),
    [
        (RetryMethods(), "GET", False, True),
        (RetryMethods(), "POST", False, False),
        (RetryMethods(), "POST", True, True),
        (RetryMethods(), "PATCH", False, False),
        (RetryMethods(), "get", False, False),
        (RetryMethods(any=True), "POST", False, True),
        (RetryMethods(frozenset({"POST"}), keyed=False), "POST", False, True),
        (RetryMethods(frozenset({"POST"}), keyed=False), "PATCH", True, False),
    ],
)
def test_repeatable(methods: RetryMethods, method: str, keyed: bool, repeatable: bool) -> None:
    policy = RetryPolicy(replace(CONFIG, methods=methods), lambda: 0.5, budget_of(NO_BUDGET))
    assert policy.repeatable(method, keyed) is repeatable


@pytest.mark.parametrize(
    ("status", "asked", "limit", "answer"),
    [
        (503, 3.0, 5.0, Retry(3.0, "gateway-error")),
        (503, 0.5, 5.0, Retry(1.0, "gateway-error")),
        (503, 5.0, 5.0, Retry(5.0, "gateway-error")),
        (503, 5.1, 5.0, Stop(StopReason.RETRY_AFTER)),
        (503, inf, 5.0, Stop(StopReason.RETRY_AFTER)),
        (429, 3.0, 5.0, Retry(3.0, "429")),
        (502, 99.0, 5.0, Retry(1.0, "gateway-error")),
        (503, 99.0, 0.0, Retry(1.0, "gateway-error")),
        (503, 0.0, 5.0, Retry(1.0, "gateway-error")),
    ],
)
def test_retry_after(status: int, asked: float, limit: float, answer: Retry | Stop) -> None:
    config = replace(CONFIG, retry_after=limit)
    assert decide(config, outcome=Outcome(status), retry_after=asked) == answer


@pytest.mark.parametrize(("left", "why"), [(1.0, StopReason.DEADLINE), (0.2, StopReason.DEADLINE)])
def test_no_wait_that_cannot_end_in_time(left: float, why: StopReason) -> None:
    assert decide(time_left=left) == Stop(why)
    assert decide(time_left=1.01) == Retry(1.0, "gateway-error")


def test_no_attempt_without_time_even_without_a_wait() -> None:
    config = replace(CONFIG, backoff=BackoffConfig(initial=0.0))
    assert decide(config, time_left=0.0) == Stop(StopReason.DEADLINE)


@pytest.mark.parametrize("name", [name for name in REFUSED_BY_ALL if name != "budget"])
def test_only_a_retry_that_happens_is_charged(name: str) -> None:
    budget = budget_of(BudgetConfig())
    assert isinstance(decide(budget=budget, **{name: REFUSED_BY_ALL[name]}), Stop)
    assert budget.snapshot(0).retries == 0
    assert isinstance(decide(budget=budget), Retry)
    assert budget.snapshot(0).retries == 1


def test_the_previous_wait_feeds_decorrelated_jitter() -> None:
    backoff = BackoffConfig(1.0, 2.0, 100.0, Jitter(JitterKind.DECORRELATED))
    config = replace(CONFIG, backoff=backoff)
    assert decide(config, number=2, waited=9.0) == Retry(14.0, "gateway-error")


def test_one_attempt_is_no_retry() -> None:
    assert decide(replace(CONFIG, attempts=1)) == Stop(StopReason.ATTEMPTS)


def test_what_may_follow_at_once_needs_no_backoff_but_all_else() -> None:
    assert decide(at_once=True) == Retry(0.0, "gateway-error")
    assert decide(at_once=True, number=3) == Stop(StopReason.ATTEMPTS)
    assert decide(at_once=True, budget=budget_of(NO_BUDGET)) == Stop(StopReason.BUDGET)
    assert decide(at_once=True, time_left=0.0) == Stop(StopReason.DEADLINE)


@pytest.mark.parametrize(
    ("pushback", "limit", "answer"),
    [
        (0.0, 5.0, Retry(0.0, "grpc-unavailable")),
        (0.25, 5.0, Retry(0.25, "grpc-unavailable")),
        (5.0, 5.0, Retry(5.0, "grpc-unavailable")),
        (5.1, 5.0, Stop(StopReason.RETRY_AFTER)),
        (-1.0, 5.0, Stop(StopReason.PUSHBACK)),
        (-1.0, 0.0, Stop(StopReason.PUSHBACK)),
        (0.1, 0.0, Stop(StopReason.RETRY_AFTER)),
        (None, 5.0, Retry(1.0, "grpc-unavailable")),
    ],
)
def test_a_service_that_pushes_back(
    pushback: float | None, limit: float, answer: Retry | Stop
) -> None:
    """Its wait replaces the backoff, longer or shorter."""
    config = replace(CONFIG, retry_after=limit, on=OutcomeSet(["grpc-unavailable"]))
    assert decide(config, outcome=Outcome(200, None, 14), pushback=pushback) == answer
