"""Windows of outcomes: what is in them, and what has left."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policies.window import CountWindow, TimeWindow, Window


def contents(window: Window) -> tuple[int, int, int, int]:
    return window.calls, window.failures, window.slow_calls, window.slow_failures


def test_a_count_window_evicts_the_oldest() -> None:
    window = CountWindow(3)
    window.record(True, True, 5.0, 0.0)
    window.record(False, True, 4.0, 0.0)
    window.record(True, False, 1.0, 0.0)
    assert contents(window) == (3, 2, 2, 1)
    assert window.total_duration() == 10.0
    window.record(False, False, 1.0, 0.0)
    assert contents(window) == (3, 1, 1, 0)
    assert window.total_duration() == 6.0


def test_time_takes_nothing_out_of_a_count_window() -> None:
    window = CountWindow(3)
    window.record(True, False, 1.0, 0.0)
    window.expire(1e9)
    assert contents(window) == (1, 1, 0, 0)


def test_a_time_window_counts_whole_seconds() -> None:
    window = TimeWindow(2)
    window.record(True, True, 3.0, 10.9)
    window.record(False, False, 1.0, 11.0)
    window.expire(11.999)
    assert contents(window) == (2, 1, 1, 1)
    assert window.total_duration() == 4.0
    window.expire(12.0)
    assert contents(window) == (1, 0, 0, 0)
    assert window.total_duration() == 1.0
    window.expire(13.0)
    assert contents(window) == (0, 0, 0, 0)


@pytest.mark.parametrize("jump", [2.0, 1e9])
def test_a_time_window_is_empty_after_a_jump(jump: float) -> None:
    window = TimeWindow(2)
    window.record(True, True, 3.0, 10.0)
    window.record(True, True, 3.0, 11.0)
    window.expire(11.0 + jump)
    assert contents(window) == (0, 0, 0, 0)
    window.record(False, False, 1.0, 11.0 + jump)
    assert contents(window) == (1, 0, 0, 0)


OUTCOMES = st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 3)), max_size=60)


def sums(kept: list[tuple[bool, bool]]) -> tuple[int, int, int, int]:
    return (
        len(kept),
        sum(failure for failure, _ in kept),
        sum(slow for _, slow in kept),
        sum(failure and slow for failure, slow in kept),
    )


@given(OUTCOMES, st.integers(1, 7))
def test_running_sums_of_a_count_window(
    outcomes: list[tuple[bool, bool, float]], size: int
) -> None:
    window, kept = CountWindow(size), deque[tuple[bool, bool]](maxlen=size)
    for failure, slow, _ in outcomes:
        window.record(failure, slow, 1.0, 0.0)
        kept.append((failure, slow))
        assert contents(window) == sums(list(kept))
        assert window.total_duration() == len(kept)


@given(OUTCOMES, st.integers(1, 4))
def test_running_sums_of_a_time_window(outcomes: list[tuple[bool, bool, float]], size: int) -> None:
    window, all_of_them, now = TimeWindow(size), [], 100.0
    for failure, slow, later in outcomes:
        now += later
        window.record(failure, slow, 1.0, now)
        all_of_them.append((now, failure, slow))
        kept = [(f, s) for at, f, s in all_of_them if int(at) > int(now) - size]
        assert contents(window) == sums(kept)
        assert window.total_duration() == len(kept)
