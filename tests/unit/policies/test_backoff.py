"""Backoff: capped first, jittered after."""

import pytest

from proxy.policies.backoff import Backoff, BackoffConfig, Jitter, JitterKind


def backoff(
    kind: JitterKind,
    draw: float = 0.5,
    ratio: float = 0.0,
    initial: float = 1.0,
    high: float = 10.0,
) -> Backoff:
    config = BackoffConfig(initial, 2.0, high, Jitter(kind, ratio))
    return Backoff(config, lambda: draw)


@pytest.mark.parametrize(
    ("kind", "ratio", "draw", "waits"),
    [
        (JitterKind.NONE, 0, 0.9, [1, 2, 4, 8, 10, 10]),
        (JitterKind.FULL, 0, 0.0, [0, 0, 0, 0, 0, 0]),
        (JitterKind.FULL, 0, 0.5, [0.5, 1, 2, 4, 5, 5]),
        (JitterKind.EQUAL, 0, 0.0, [0.5, 1, 2, 4, 5, 5]),
        (JitterKind.EQUAL, 0, 1.0, [1, 2, 4, 8, 10, 10]),
        (JitterKind.RATIO, 0.2, 0.0, [0.8, 1.6, 3.2, 6.4, 8, 8]),
        (JitterKind.RATIO, 0.2, 1.0, [1.2, 2.4, 4.8, 9.6, 12, 12]),
    ],
)
def test_waits(kind: JitterKind, ratio: float, draw: float, waits: list[float]) -> None:
    drawn = [backoff(kind, draw, ratio).delay(retry) for retry in range(1, 7)]
    assert drawn == pytest.approx(waits)


@pytest.mark.parametrize(
    ("draw", "previous", "wait"), [(0.0, 0, 1), (1.0, 0, 3), (1.0, 3, 9), (1.0, 9, 10), (0.5, 3, 5)]
)
def test_decorrelated_waits_follow_the_previous_one(
    draw: float, previous: float, wait: float
) -> None:
    assert backoff(JitterKind.DECORRELATED, draw).delay(2, previous) == pytest.approx(wait)


@pytest.mark.parametrize("kind", JitterKind)
def test_zero_stays_zero(kind: JitterKind) -> None:
    policy = backoff(kind, 0.9, 0.2, initial=0.0)
    assert [policy.delay(retry, 0.0) for retry in (1, 2, 5000)] == [0, 0, 0]


@pytest.mark.parametrize("multiplier", [1.0, 2.0, 1e300])
def test_a_huge_number_of_retries_stays_at_the_cap(multiplier: float) -> None:
    policy = Backoff(BackoffConfig(1.0, multiplier, 10.0, Jitter(JitterKind.NONE)), lambda: 0.0)
    assert policy.delay(10**6) == (1.0 if multiplier == 1 else 10.0)


def test_each_wait_draws_anew() -> None:
    draws = iter([0.25, 0.75])
    policy = Backoff(BackoffConfig(4.0, 2.0, 4.0), lambda: next(draws))
    assert [policy.delay(1), policy.delay(1)] == [1.0, 3.0]
