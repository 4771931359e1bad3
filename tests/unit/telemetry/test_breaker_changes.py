"""Which breaker was in which state when, worked out backwards."""

from proxy.policies.circuit_breaker import BreakerState, CircuitBreaker, CircuitBreakerConfig
from proxy.telemetry.breaker_changes import MAX_BREAKERS, MAX_CHANGES, BreakerChanges

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def a_breaker() -> CircuitBreaker:
    return CircuitBreaker("stock", CircuitBreakerConfig())


def test_the_state_at_a_moment() -> None:
    changes, breaker = BreakerChanges(), a_breaker()
    breaker.on_transition = changes.note
    breaker.transition_to_open(10.0)
    changes.note(a_breaker(), CLOSED, OPEN, 15.0)
    breaker.transition_to_half_open(20.0)
    states = [changes.state_at(breaker, at, 21.0) for at in (9.0, 10.0, 19.0, 20.0, 20.5)]
    assert states == [CLOSED, CLOSED, OPEN, HALF_OPEN, HALF_OPEN]


def test_the_changes_since_a_moment() -> None:
    changes, breaker = BreakerChanges(), a_breaker()
    changes.note(breaker, CLOSED, OPEN, 10.0)
    changes.note(breaker, OPEN, HALF_OPEN, 20.0)
    assert [change.at for change in changes.since(breaker, 10.0)] == [10.0, 20.0]
    assert [change.at for change in changes.since(breaker, 10.5)] == [20.0]
    assert changes.since(a_breaker(), 0.0) == []


def test_no_more_is_kept_than_is_of_use() -> None:
    changes = BreakerChanges()
    breakers = [a_breaker() for _ in range(MAX_BREAKERS + 1)]
    for at, breaker in enumerate(breakers):
        for _ in range(MAX_CHANGES + 5):
            changes.note(breaker, CLOSED, OPEN, float(at))
    assert changes.since(breakers[0], 0.0) == []
    assert len(changes.since(breakers[1], 0.0)) == MAX_CHANGES
