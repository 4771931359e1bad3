"""Circuit breaker: orders by hand, modes, and what others hear of it."""

from dataclasses import replace

import pytest
from unit.policies.breakers import CONFIG, call, opened, permit

from proxy.outcome import Verdict
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_answers import BreakerState, CircuitRefusal
from proxy.policies.circuit_breaker_config import (
    BreakerMode,
)
from proxy.policies.gate import Ask


def test_forced_open_stays() -> None:
    breaker = CircuitBreaker("b", CONFIG)
    breaker.force_open(0)
    refusal = breaker.admit(1e6, Ask())
    assert isinstance(refusal, CircuitRefusal)
    assert refusal.error().retry_after is None
    assert "operator's order" in refusal.error().detail
    assert breaker.state(1e6) is BreakerState.FORCED_OPEN
    assert breaker.snapshot(1e6).next_probe_in_s is None
    assert not breaker.allows_retry(1e6)


def test_disabled_admits_all_and_records_nothing() -> None:
    breaker = opened()
    breaker.disable(1)
    for _ in range(5):
        call(breaker, Verdict.FAILURE, 1)
    snapshot = breaker.snapshot(1)
    assert (snapshot.state, snapshot.calls) == (BreakerState.DISABLED, 0)
    assert breaker.allows_retry(1)


def test_reset_closes_with_an_empty_window() -> None:
    breaker = opened()
    breaker.reset(1)
    snapshot = breaker.snapshot(1)
    assert (snapshot.state, snapshot.calls, snapshot.failure_rate) == (BreakerState.CLOSED, 0, -1.0)
    call(breaker, Verdict.SUCCESS, 1)
    breaker.reset(2)
    assert breaker.snapshot(2).calls == 0
    assert breaker.transitions[BreakerState.CLOSED] == 1


def test_transitions_are_told_and_counted() -> None:
    breaker = CircuitBreaker("b", CONFIG)
    heard: list[tuple[str, str, str, float]] = []
    breaker.on_transition = lambda b, left, to, at: heard.append((b.name, left.value, to.value, at))
    for _ in range(2):
        call(breaker, Verdict.FAILURE, 3)
    for _ in range(2):
        call(breaker, Verdict.SUCCESS, 13)
    assert heard == [
        ("b", "closed", "open", 3),
        ("b", "open", "half_open", 13),
        ("b", "half_open", "closed", 13),
    ]
    assert {state.value: count for state, count in breaker.transitions.items()} == {
        "closed": 1,
        "open": 1,
        "half_open": 1,
        "forced_open": 0,
        "disabled": 0,
    }


def test_retries_only_while_closed() -> None:
    breaker = CircuitBreaker("b", CONFIG)
    assert breaker.allows_retry(0)
    breaker.transition_to_open(0)
    assert not breaker.allows_retry(0)
    assert not breaker.allows_retry(100)
    permit(breaker, 100)
    assert not breaker.allows_retry(100)


def test_observe_reports_and_lets_everything_pass() -> None:
    breaker = CircuitBreaker("b", replace(CONFIG, mode=BreakerMode.OBSERVE))
    for _ in range(10):
        call(breaker, Verdict.FAILURE, 0)
    assert breaker.state(0) is BreakerState.CLOSED
    assert breaker.snapshot(0).failure_rate == 100.0
    assert breaker.allows_retry(0)
    for order in (breaker.transition_to_open, breaker.transition_to_half_open):
        with pytest.raises(ValueError, match="observe"):
            order(0)
    breaker.force_open(0)
    assert isinstance(breaker.admit(0, Ask()), CircuitRefusal)
    breaker.reset(0)
    assert breaker.state(0) is BreakerState.CLOSED


def test_off_is_disabled_from_the_start() -> None:
    breaker = CircuitBreaker("b", replace(CONFIG, mode=BreakerMode.OFF))
    for _ in range(10):
        call(breaker, Verdict.FAILURE, 0)
    assert breaker.state(0) is BreakerState.DISABLED
    assert breaker.snapshot(0).calls == 0
    breaker.force_open(0)
    breaker.reset(0)
    assert breaker.state(0) is BreakerState.DISABLED


def test_a_closed_breaker_does_not_probe() -> None:
    breaker = CircuitBreaker("b", CONFIG)
    with pytest.raises(ValueError, match="nothing to probe"):
        breaker.transition_to_half_open(0)


def test_an_order_for_the_present_state_is_silent() -> None:
    breaker = CircuitBreaker("b", CONFIG)
    stale = permit(breaker, 0)
    breaker.reset(0)
    assert breaker.transitions[BreakerState.CLOSED] == 0
    breaker.settle(stale, Verdict.FAILURE, 0.1, 0)
    assert breaker.snapshot(0).calls == 0
