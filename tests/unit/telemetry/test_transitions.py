"""When breakers changed: in order, with what the window said, and never without a bound."""

from proxy.outcome import Verdict
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_answers import BreakerState, CircuitPermit
from proxy.policies.circuit_breaker_config import CircuitBreakerConfig
from proxy.policies.gate import Ask
from proxy.telemetry.transitions import MAX_BREAKERS, MAX_TRANSITIONS, Transitions

NOW = 500.0
WALL = 1e9


def made(name: str, history: Transitions) -> CircuitBreaker:
    breaker = CircuitBreaker(name, CircuitBreakerConfig(minimum_calls=4))
    breaker.on_transition = history.record
    return breaker


def history_at(now: float = NOW) -> Transitions:
    return Transitions(lambda: now, lambda: WALL)


def test_an_opening_tells_what_the_window_said() -> None:
    history = history_at()
    breaker = made("stock", history)
    for _ in range(4):
        permit = breaker.admit(NOW, Ask())
        assert isinstance(permit, CircuitPermit)
        breaker.settle(permit, Verdict.FAILURE, 0.1, NOW)
    (change,) = history.changes()["stock"].last
    assert (change.left, change.entered) == (BreakerState.CLOSED, BreakerState.OPEN)
    assert (change.at, change.failure_rate, change.calls) == (WALL, 100.0, 4)


def test_a_change_that_is_noticed_late_has_its_own_time() -> None:
    history = history_at(NOW)
    made("stock", history).force_open(NOW - 7)
    assert history.changes()["stock"].last[0].at == WALL - 7


def test_the_last_ones_are_kept_in_order() -> None:
    history = history_at()
    breaker = made("stock", history)
    for _ in range(MAX_TRANSITIONS):
        breaker.force_open(NOW)
        breaker.reset(NOW)
    kept = history.changes()["stock"].last
    assert len(kept) == MAX_TRANSITIONS
    assert [one.number for one in kept] == list(range(MAX_TRANSITIONS + 1, 2 * MAX_TRANSITIONS + 1))
    assert history.seen == history.changes()["stock"].count == 2 * MAX_TRANSITIONS


def test_of_too_many_breakers_the_one_that_changed_longest_ago_goes() -> None:
    history = history_at()
    breakers = [made(f"b{number}", history) for number in range(MAX_BREAKERS)]
    for breaker in breakers:
        breaker.force_open(NOW)
    breakers[0].reset(NOW)
    made("new", history).force_open(NOW)
    assert len(history.changes()) == MAX_BREAKERS
    assert {"b0", "new"} <= set(history.changes())
    assert "b1" not in history.changes()


# --- what spans ask ---------------------------------------------------------------------------

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def a_breaker() -> CircuitBreaker:
    return CircuitBreaker("stock", CircuitBreakerConfig())


def test_the_state_at_a_moment() -> None:
    changes, breaker = Transitions(lambda: 0.0, lambda: 0.0), a_breaker()
    breaker.on_transition = changes.record
    breaker.transition_to_open(10.0)
    changes.record(a_breaker(), CLOSED, OPEN, 15.0)
    breaker.transition_to_half_open(20.0)
    states = [changes.state_at(breaker, at, 21.0) for at in (9.0, 10.0, 19.0, 20.0, 20.5)]
    assert states == [CLOSED, CLOSED, OPEN, HALF_OPEN, HALF_OPEN]


def test_the_changes_since_a_moment() -> None:
    changes, breaker = Transitions(lambda: 0.0, lambda: 0.0), a_breaker()
    changes.record(breaker, CLOSED, OPEN, 10.0)
    changes.record(breaker, OPEN, HALF_OPEN, 20.0)
    assert [change.moment for change in changes.since(breaker, 10.0)] == [10.0, 20.0]
    assert [change.moment for change in changes.since(breaker, 10.5)] == [20.0]
    assert changes.since(a_breaker(), 0.0) == []
