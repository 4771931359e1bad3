"""Retry budget: a sliding window that never allows more than it should."""

import pytest

from proxy.policies.budget import BudgetConfig, BudgetSnapshot, RetryBudget


def spend(budget: RetryBudget, now: float, times: int = 1000) -> int:
    """How many of so many retries were allowed."""
    return sum(budget.try_spend(now) for _ in range(times))


def test_the_reserve_alone() -> None:
    budget = RetryBudget("b", BudgetConfig(ratio=0.2, min_per_second=3, window=10))
    assert spend(budget, 100.0) == 30
    assert spend(budget, 105.0) == 0


@pytest.mark.parametrize(
    ("requests", "ratio", "allowed"), [(100, 0.2, 20), (100, 0.29, 29), (4, 0.2, 0)]
)
def test_a_share_of_the_requests(requests: int, ratio: float, allowed: int) -> None:
    budget = RetryBudget("b", BudgetConfig(ratio=ratio, min_per_second=0, window=10))
    for _ in range(requests):
        budget.record_request(50.0)
    assert spend(budget, 50.0) == allowed


def test_requests_without_retries_leave_the_window_each_in_its_time() -> None:
    budget = RetryBudget("b", BudgetConfig(ratio=1, min_per_second=0, window=10))
    budget.record_request(9.0)
    budget.record_request(12.4)
    assert budget.snapshot(18.7).requests == 2
    assert budget.snapshot(18.8).requests == 1
    assert budget.snapshot(20.0).requests == 1
    assert budget.snapshot(22.0).requests == 0


def test_nothing_is_allowed_with_an_empty_budget() -> None:
    budget = RetryBudget("b", BudgetConfig(ratio=0, min_per_second=0, window=10))
    budget.record_request(1.0)
    assert spend(budget, 1.0) == 0


def test_a_retry_counts_until_the_window_has_passed_and_no_shorter() -> None:
    budget = RetryBudget("b", BudgetConfig(ratio=0, min_per_second=0.1, window=16))
    assert spend(budget, 100.9) == 1
    assert not budget.try_spend(116.89)
    assert budget.try_spend(118.0)


def test_a_request_counts_no_longer_than_the_window() -> None:
    budget = RetryBudget("b", BudgetConfig(ratio=1, min_per_second=0, window=16))
    budget.record_request(100.5)
    assert budget.snapshot(115.4).allowed == 1
    assert budget.snapshot(116.5).allowed == 0


def test_a_long_silence_empties_it() -> None:
    budget = RetryBudget("b", BudgetConfig(ratio=0.5, min_per_second=1, window=10))
    for second in range(20):
        budget.record_request(second)
        budget.try_spend(second)
    assert budget.snapshot(1e9) == BudgetSnapshot(
        "b", requests=0, retries=0, allowed=10, remaining=10
    )


def test_snapshot_counts() -> None:
    budget = RetryBudget("b", BudgetConfig(ratio=0.2, min_per_second=0, window=10))
    for _ in range(12):
        budget.record_request(3.0)
    assert budget.try_spend(3.0)
    assert budget.snapshot(3.0) == BudgetSnapshot(
        "b", requests=12, retries=1, allowed=2, remaining=1
    )
    # The requests leave the window first: what was spent is never more than nothing left.
    assert budget.snapshot(12.99).remaining == 0


def test_refused_retries_are_not_charged() -> None:
    budget = RetryBudget("b", BudgetConfig(ratio=0, min_per_second=0.1, window=10))
    assert spend(budget, 0.0) == 1
    assert budget.snapshot(0.0).retries == 1
