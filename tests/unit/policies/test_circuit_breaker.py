"""Circuit breaker: the state machine, at explicit times.

`tests/oracle` holds it against Resilience4j's own numbers; here stands what is this project's.
Orders by hand and modes have a file of their own.
"""

from dataclasses import replace

import pytest
from unit.policies.breakers import CONFIG, call, opened, permit, refused

from proxy.outcome import Verdict
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_answers import BreakerState, CircuitRefusal
from proxy.policies.circuit_breaker_config import (
    HalfOpenConfig,
    OpenForConfig,
    WindowConfig,
    WindowType,
)
from proxy.policies.gate import Ask

RATED = replace(CONFIG, half_open=HalfOpenConfig(calls=4, max_wait=5.0, failure_rate=0.5))


# --- closed ---------------------------------------------------------------------------------


def test_below_the_minimum_the_rate_is_unknown() -> None:
    breaker = CircuitBreaker("b", CONFIG)
    call(breaker, Verdict.FAILURE, 0)
    snapshot = breaker.snapshot(0)
    assert (snapshot.state, snapshot.failure_rate) == (BreakerState.CLOSED, -1.0)
    assert (snapshot.calls, snapshot.failures) == (1, 1)


def test_a_success_can_open_it() -> None:
    breaker = CircuitBreaker("b", CONFIG)
    call(breaker, Verdict.FAILURE, 0)
    call(breaker, Verdict.SUCCESS, 0)
    assert breaker.state(0) is BreakerState.OPEN


def test_the_minimum_is_no_more_than_a_count_window_holds() -> None:
    breaker = CircuitBreaker("b", replace(CONFIG, minimum_calls=100))
    for _ in range(4):
        call(breaker, Verdict.FAILURE, 0)
    assert breaker.state(0) is BreakerState.OPEN


def test_the_minimum_of_a_time_window_holds_as_it_is() -> None:
    window = WindowConfig(WindowType.TIME, 4)
    breaker = CircuitBreaker("b", replace(CONFIG, minimum_calls=6, window=window))
    for _ in range(5):
        call(breaker, Verdict.FAILURE, 0)
    assert breaker.state(0) is BreakerState.CLOSED
    call(breaker, Verdict.FAILURE, 3.9)
    assert breaker.state(4) is BreakerState.OPEN


@pytest.mark.parametrize(("took", "state"), [(1.0, BreakerState.CLOSED), (1.1, BreakerState.OPEN)])
def test_slow_is_strictly_longer(took: float, state: BreakerState) -> None:
    breaker = CircuitBreaker("b", CONFIG)
    for _ in range(2):
        call(breaker, Verdict.SUCCESS, 0, took)
    assert breaker.state(0) is state


def test_calls_of_a_closed_breaker_share_a_permit() -> None:
    breaker = CircuitBreaker("b", CONFIG)
    assert permit(breaker, 0) is permit(breaker, 1)


# --- open -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("now", "seconds"), [(0.0, 10), (0.1, 10), (8.9, 2), (9.0, 1), (9.99, 1)])
def test_refusals_say_when_the_next_probe_is(now: float, seconds: int) -> None:
    breaker = opened()
    refusal = refused(breaker, now)
    assert (refusal.state, refusal.retry_after) == (BreakerState.OPEN, seconds)
    assert breaker.snapshot(now).next_probe_in_s == pytest.approx(10 - now)
    assert breaker.snapshot(now).not_permitted == 1


def test_the_deadline_is_inclusive_and_waits_for_a_request() -> None:
    breaker = opened()
    assert breaker.state(10.0) is BreakerState.OPEN
    assert breaker.snapshot(10.0).next_probe_in_s == 0
    permit(breaker, 10.0)
    assert breaker.state(10.0) is BreakerState.HALF_OPEN


def test_open_keeps_the_window_and_half_open_begins_with_none() -> None:
    breaker = opened()
    assert breaker.snapshot(5).failure_rate == 100.0
    permit(breaker, 10)
    assert breaker.snapshot(10).calls == 0
    assert breaker.snapshot(10).not_permitted == 0


def test_consecutive_openings_wait_longer_up_to_the_maximum() -> None:
    breaker = opened(replace(CONFIG, open_for=OpenForConfig(10.0, 2.0, 35.0)))
    now, waits = 0.0, []
    for _ in range(4):
        wait = breaker.snapshot(now).next_probe_in_s
        assert wait is not None
        waits.append(wait)
        now += wait
        call(breaker, Verdict.FAILURE, now)
    assert waits == [10, 20, 35, 35]
    now += 35
    for _ in range(2):
        call(breaker, Verdict.SUCCESS, now)
    assert breaker.state(now) is BreakerState.CLOSED
    for _ in range(2):
        call(breaker, Verdict.FAILURE, now)
    assert breaker.snapshot(now).next_probe_in_s == 10
    assert breaker.snapshot(now).transitions["open"] == 6


def test_thousands_of_openings_do_not_overflow() -> None:
    breaker = CircuitBreaker("b", replace(CONFIG, open_for=OpenForConfig(1.0, 10.0, 60.0)))
    for _ in range(2000):
        breaker.transition_to_open(0)
    assert breaker.snapshot(0).next_probe_in_s == 60.0


# --- half-open ------------------------------------------------------------------------------


def test_the_first_failed_probe_opens_again() -> None:
    breaker = opened()
    probes = [permit(breaker, 10), permit(breaker, 10)]
    breaker.settle(probes[0], Verdict.FAILURE, 0.1, 11)
    assert breaker.state(11) is BreakerState.OPEN
    assert breaker.snapshot(11).next_probe_in_s == 10


def test_as_many_successes_as_probes_close() -> None:
    breaker = opened()
    call(breaker, Verdict.SUCCESS, 10)
    assert breaker.state(10) is BreakerState.HALF_OPEN
    call(breaker, Verdict.SUCCESS, 10)
    assert breaker.state(10) is BreakerState.CLOSED
    assert breaker.snapshot(10).calls == 0


def test_no_more_than_so_many_probes_at_once() -> None:
    breaker = opened()
    first = permit(breaker, 10)
    permit(breaker, 10)
    refusal = refused(breaker, 10)
    assert (refusal.state, refusal.retry_after) == (BreakerState.HALF_OPEN, 1)
    assert breaker.snapshot(10).next_probe_in_s is None
    breaker.settle(first, Verdict.SUCCESS, 0.1, 10)
    # Two results are wanted, one is here and one on its way: a third probe decides nothing.
    assert isinstance(breaker.admit(10, Ask()), CircuitRefusal)
    assert breaker.snapshot(10).not_permitted == 2


@pytest.mark.parametrize(("failures", "state"), [(1, BreakerState.CLOSED), (2, BreakerState.OPEN)])
def test_with_a_rate_so_many_results_decide(failures: int, state: BreakerState) -> None:
    breaker = CircuitBreaker("b", replace(RATED, minimum_calls=4))
    breaker.transition_to_open(0)
    for index in range(4):
        assert breaker.state(10) is not BreakerState.CLOSED
        call(breaker, Verdict.FAILURE if index < failures else Verdict.SUCCESS, 10)
    assert breaker.state(10) is state


def test_slow_probes_alone_open_again() -> None:
    breaker = opened()
    for _ in range(2):
        call(breaker, Verdict.SUCCESS, 10, took=2.0)
    assert breaker.state(10) is BreakerState.OPEN


def test_one_slow_probe_of_two_does_not() -> None:
    breaker = opened()
    call(breaker, Verdict.SUCCESS, 10, took=2.0)
    call(breaker, Verdict.SUCCESS, 10)
    assert breaker.state(10) is BreakerState.CLOSED


# --- better (a): what comes from an earlier state is dropped --------------------------------


def test_a_failure_from_before_is_no_probe() -> None:
    breaker = CircuitBreaker("b", CONFIG)
    stale = permit(breaker, 0)
    for _ in range(2):
        call(breaker, Verdict.FAILURE, 0)
    breaker.settle(stale, Verdict.FAILURE, 0.1, 1)
    assert breaker.snapshot(1).calls == 2
    probe = permit(breaker, 10)
    breaker.settle(stale, Verdict.FAILURE, 0.1, 10)
    assert breaker.snapshot(10).calls == 0
    breaker.settle(probe, Verdict.SUCCESS, 0.1, 10)
    call(breaker, Verdict.SUCCESS, 10)
    breaker.settle(stale, Verdict.FAILURE, 0.1, 11)
    assert breaker.snapshot(11).calls == 0
    assert stale.generation < probe.generation < breaker.generation


def test_a_probe_of_an_earlier_half_open_is_dropped() -> None:
    breaker = opened()
    early = permit(breaker, 10)
    call(breaker, Verdict.FAILURE, 10)
    permit(breaker, 20)
    breaker.settle(early, Verdict.SUCCESS, 0.1, 20)
    assert breaker.snapshot(20).calls == 0


def test_a_probe_counts_once() -> None:
    breaker = opened()
    probe = permit(breaker, 10)
    for _ in range(3):
        breaker.settle(probe, Verdict.SUCCESS, 0.1, 10)
    assert breaker.state(10) is BreakerState.HALF_OPEN
    assert breaker.snapshot(10).calls == 1


# --- better (b): half-open never wedges ------------------------------------------------------


def test_a_lost_probe_is_given_up_and_counts_as_failed() -> None:
    breaker = opened()
    lost = permit(breaker, 10)
    assert breaker.state(14.9) is BreakerState.HALF_OPEN
    assert breaker.state(15.0) is BreakerState.OPEN
    breaker.settle(lost, Verdict.SUCCESS, 5.5, 15.5)
    assert breaker.state(15.5) is BreakerState.OPEN
    assert breaker.snapshot(15.5).next_probe_in_s == 9.5


def test_it_opened_when_the_probe_was_due_not_when_somebody_looked() -> None:
    breaker = opened()
    times: list[tuple[BreakerState, float]] = []
    breaker.on_transition = lambda _, left, entered, at: times.append((entered, at))
    permit(breaker, 10)
    # Due at 15, open until 25: this request comes after both and is the next probe.
    permit(breaker, 25)
    assert times == [
        (BreakerState.HALF_OPEN, 10),
        (BreakerState.OPEN, 15),
        (BreakerState.HALF_OPEN, 25),
    ]


def test_lost_probes_are_results_where_a_rate_decides() -> None:
    breaker = CircuitBreaker("b", replace(RATED, minimum_calls=4))
    breaker.transition_to_open(0)
    permit(breaker, 10)
    for _ in range(2):
        call(breaker, Verdict.SUCCESS, 11)
    assert breaker.snapshot(15).failures == 1
    assert breaker.state(15) is BreakerState.HALF_OPEN
    call(breaker, Verdict.SUCCESS, 15)
    assert breaker.state(15) is BreakerState.CLOSED


def test_the_request_that_finds_it_closed_by_a_lost_probe_is_admitted() -> None:
    breaker = CircuitBreaker("b", replace(RATED, minimum_calls=4))
    breaker.transition_to_open(0)
    for _ in range(3):
        call(breaker, Verdict.SUCCESS, 10)
    permit(breaker, 10)
    permit(breaker, 15)
    assert breaker.state(15) is BreakerState.CLOSED


# --- better (c): what says nothing is ignored -----------------------------------------------


def test_an_ignored_outcome_leaves_no_trace() -> None:
    breaker = CircuitBreaker("b", CONFIG)
    for _ in range(5):
        call(breaker, Verdict.IGNORED, 0)
    assert breaker.snapshot(0).calls == 0


def test_an_ignored_probe_gives_its_place_back_and_decides_nothing() -> None:
    breaker = opened()
    for _ in range(5):
        call(breaker, Verdict.IGNORED, 10)
    assert breaker.state(10) is BreakerState.HALF_OPEN
    assert breaker.snapshot(10).calls == 0
    assert breaker.snapshot(10).next_probe_in_s == 0


# --- a probe whose body still flows -----------------------------------------------------------


def test_the_time_of_a_probe_stands_still_while_the_clients_body_flows() -> None:
    breaker = opened()
    probe = permit(breaker, 10)
    breaker.pause(probe, 11)
    assert breaker.state(500) is BreakerState.HALF_OPEN
    breaker.resume(probe, 500)
    assert breaker.state(503.9) is BreakerState.HALF_OPEN
    breaker.settle(probe, Verdict.SUCCESS, 4.9, 503.9)
    assert breaker.snapshot(503.9).calls == 1


def test_the_time_of_a_probe_goes_on_after_its_body() -> None:
    breaker = opened()
    paused, other = permit(breaker, 10), permit(breaker, 10)
    breaker.pause(paused, 11)
    breaker.pause(paused, 12)  # a second pause changes nothing
    breaker.settle(other, Verdict.SUCCESS, 0.1, 12)
    breaker.resume(paused, 20)
    breaker.resume(paused, 25)
    assert breaker.state(23.9) is BreakerState.HALF_OPEN
    assert breaker.state(24) is BreakerState.OPEN, "1 s before the body, 4 s after it"


def test_a_pause_of_a_call_that_is_no_probe_changes_nothing() -> None:
    breaker = CircuitBreaker("b", CONFIG)
    stale = permit(breaker, 0)
    breaker.pause(stale, 0)
    breaker.resume(stale, 1)
    assert permit(breaker, 2) is stale


# --- counted for as long as the breaker lives -----------------------------------------------


def test_results_are_counted_over_all_states() -> None:
    breaker = CircuitBreaker("b", CONFIG)
    call(breaker, Verdict.SUCCESS, 0)
    call(breaker, Verdict.SUCCESS, 0)
    call(breaker, Verdict.IGNORED, 0)
    call(breaker, Verdict.FAILURE, 0)
    call(breaker, Verdict.FAILURE, 0)
    assert breaker.snapshot(0).results == {"successful": 2, "failed": 2}
    refused(breaker, 1)
    call(breaker, Verdict.SUCCESS, 10)
    call(breaker, Verdict.SUCCESS, 10)
    assert breaker.state(10) is BreakerState.CLOSED
    assert breaker.snapshot(10).results == {"successful": 4, "failed": 2}
    breaker.disable(10)
    call(breaker, Verdict.FAILURE, 10)
    assert breaker.snapshot(10).results == {"successful": 4, "failed": 2}
    after = CircuitBreaker("b", RATED)
    after.succeed(breaker)
    assert after.snapshot(10).results == {"successful": 4, "failed": 2}
