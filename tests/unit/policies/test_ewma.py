import pytest

from proxy.policies.ewma import DECAY, PeakEwma


def test_a_peak_counts_at_once_and_fades_with_time():
    latency = PeakEwma()
    assert (latency.known, latency.estimate(0.0)) == (False, 0.0)
    latency.note(0.010, 100.0)
    latency.note(0.500, 100.1)
    assert latency.estimate(100.1) == 0.5
    latency.note(0.010, 100.1 + DECAY)
    assert latency.estimate(100.1 + DECAY) == pytest.approx(0.010 + 0.490 / 2.71828, rel=1e-3)
    for step in range(1000):
        latency.note(0.010, 111.0 + step / 10)
    assert latency.estimate(211.0) == pytest.approx(0.010, rel=0.01)


def test_many_fast_answers_in_no_time_do_not_hide_a_peak():
    latency = PeakEwma()
    latency.note(1.0, 100.0)
    for _ in range(1000):
        latency.note(0.001, 100.0)
    assert latency.estimate(100.0) == 1.0


def test_without_samples_a_slow_one_is_tried_again_some_time():
    latency = PeakEwma()
    latency.note(0.100, 0.0)
    assert latency.estimate(23.0) == pytest.approx(0.010, rel=0.01)


def test_a_cancelled_attempt_counts_only_as_a_peak():
    latency = PeakEwma()
    latency.note(0.050, 10.0)
    latency.at_least(0.020, 10.0)
    assert latency.estimate(10.0) == 0.05
    latency.at_least(0.200, 10.0)
    assert latency.estimate(10.0) == 0.2


def test_time_that_stands_still_or_goes_back_changes_nothing():
    latency = PeakEwma()
    latency.note(0.050, 10.0)
    latency.note(0.010, 9.0)
    assert latency.estimate(8.0) == 0.05
