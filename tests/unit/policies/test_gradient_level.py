"""What a learned limit adds up: halves of windows that are slow together, though none is alone."""

from random import Random

import pytest

from proxy.policies.gradient import Gradient
from proxy.policies.gradient_level import SlowRun

LIMIT = 20  # the most, so that it is not raised
IN_USE = 18


def answers(gradient: Gradient, now: float, rate: int, took: float, seconds: float) -> float | None:
    """Equal answers, `rate` a second. Returns after how many seconds the limit fell."""
    for number in range(int(seconds * rate)):
        at = now + number / rate
        if gradient.learn(took, IN_USE, False, at) and gradient.limit < LIMIT:
            return at - now
    return None


def learned(rate: int) -> Gradient:
    gradient = Gradient(1, LIMIT)
    assert answers(gradient, 0.0, rate, 0.1, 12.0) is None
    return gradient


@pytest.mark.parametrize("rate", [30, 50, 80])
def test_few_answers_that_are_almost_tolerated_make_it_fall_within_three_seconds(rate: int) -> None:
    gradient = learned(rate)
    after = answers(gradient, 12.0, rate, 0.147, 6.0)
    assert after is not None
    assert 1.0 <= after <= 3.0
    assert gradient.limit == pytest.approx(IN_USE / 1.5, rel=0.05), "as if it took 1.5 times"


def test_windows_with_many_answers_are_judged_alone() -> None:
    gradient = learned(200)
    assert answers(gradient, 12.0, 200, 0.147, 20.0) is None
    assert answers(gradient, 32.0, 200, 0.2, 3.0) is not None


@pytest.mark.parametrize("rate", [12, 30, 80])
def test_a_quarter_slower_is_tolerated_for_ever(rate: int) -> None:
    gradient = learned(rate)
    assert answers(gradient, 12.0, rate, 0.125, 300.0) is None


@pytest.mark.parametrize("rate", [30, 50, 80])
def test_half_a_second_is_not_enough(rate: int) -> None:
    """However slow it was: a window is at least a second."""
    gradient = learned(rate)
    count = rate // 2 + 1
    assert answers(gradient, 12.0, rate, 0.175, count / rate) is None
    assert answers(gradient, 12.0 + count / rate, rate, 0.1, 20.0) is None


def test_a_limit_that_is_hardly_used_does_not_fall() -> None:
    gradient = learned(50)
    for number in range(500):
        assert not gradient.learn(0.147, 4, False, 12.0 + number / 50)
    assert answers(gradient, 22.0, 50, 0.1, 20.0) is None, "nor for that when it is used again"


def test_a_run_ends_when_answers_are_as_usual() -> None:
    run = SlowRun()
    assert not run.add(25, 5.0, 0.15, 0.1)
    assert run.in_use == 5.0
    assert run.time == 0.15
    assert not run.add(25, 9.0, 0.1, 0.1)
    assert run.in_use == run.time == 0.0
    assert not run.add(25, 5.0, 0.18, 0.1), "one half is not enough, however slow it is"
    assert run.add(25, 5.0, 0.18, 0.1)


def test_a_run_has_as_many_answers_as_a_window() -> None:
    run = SlowRun()
    assert not any(run.add(2, 5.0, 0.4, 0.1) for _ in range(4))
    assert run.add(2, 5.0, 0.4, 0.1)


def test_chance_alone_seldom_makes_a_run() -> None:
    """Page: on average more than e^5 = 148 windows pass until random times that are usual do."""
    random = Random(1)
    found = 0
    for _ in range(20_000):
        run = SlowRun()
        for _ in range(2):
            times = [random.expovariate(10.0) for _ in range(20)]
            found += run.add(20, 5.0, sum(times) / 20, 0.1)
    assert found <= 20
