"""Hedge: the learned delay, over the last ten seconds."""

from math import inf
from random import Random

import pytest

from proxy.policies.hedge import P95, HedgeConfig, Hedging


def learned() -> Hedging:
    return Hedging(HedgeConfig(P95))


def test_a_fixed_delay_is_always_known() -> None:
    assert Hedging(HedgeConfig(0.05)).delay(0.0) == 0.05


def test_too_few_times_say_nothing() -> None:
    hedging = learned()
    for n in range(20):
        assert hedging.delay(float(n) / 10) == inf
        hedging.record(0.1, float(n) / 10)
    assert hedging.delay(2.5) < 0.12


@pytest.mark.parametrize("start", [0.0, 999.5, 3e7])
@pytest.mark.parametrize("scale", [0.02, 0.1, 1.0, 8.0])
def test_a_twentieth_takes_longer(scale: float, start: float) -> None:
    hedging, random = learned(), Random(1)
    times = [random.expovariate(1 / scale) for _ in range(2000)]
    for n, seconds in enumerate(times):
        hedging.record(seconds, start + n / 250)
    delay = hedging.delay(start + 8.0)
    longer = sum(seconds > delay for seconds in times) / len(times)
    assert 0.03 <= longer <= 0.06


def test_nineteen_of_twenty_are_enough() -> None:
    hedging = learned()
    for seconds in [0.05] * 19 + [5.0]:
        hedging.record(seconds, 1.0)
    assert hedging.delay(1.5) < 0.06


def test_ten_seconds_are_remembered() -> None:
    hedging = learned()
    for n in range(100):
        hedging.record(1.0, 5.0 + n / 1000)
    assert hedging.delay(14.9) >= 1.0
    assert hedging.delay(15.3) == inf
    for n in range(100):
        hedging.record(0.1, 15.5 + n / 1000)
    assert hedging.delay(16.0) < 0.12


def test_it_is_never_below_ten_milliseconds() -> None:
    hedging = learned()
    for _ in range(100):
        hedging.record(0.0002, 1.0)
    assert hedging.delay(1.5) == 0.01


def test_very_long_times_count_as_long() -> None:
    hedging = learned()
    for _ in range(100):
        hedging.record(1e6, 1.0)
    assert 60 < hedging.delay(1.5) < 120


def test_a_long_pause_forgets_all_in_bounded_time() -> None:
    hedging = learned()
    for _ in range(100):
        hedging.record(0.1, 1.0)
    assert hedging.delay(1e9) == inf
    for _ in range(100):
        hedging.record(0.1, 1e9)
    assert hedging.delay(1e9 + 1) < 0.12
