"""Circuit breakers at explicit times: calls, permits and refusals of one."""

from proxy.outcome import Verdict
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_answers import BreakerState, CircuitPermit, CircuitRefusal
from proxy.policies.circuit_breaker_config import (
    CircuitBreakerConfig,
    HalfOpenConfig,
    OpenForConfig,
    SlowCallConfig,
    WindowConfig,
    WindowType,
)
from proxy.policies.gate import Ask

CONFIG = CircuitBreakerConfig(
    window=WindowConfig(WindowType.COUNT, 4),
    minimum_calls=2,
    slow_call=SlowCallConfig(duration=1.0, rate=1.0),
    open_for=OpenForConfig(initial=10.0),
    half_open=HalfOpenConfig(calls=2, max_wait=5.0),
)


def refused(breaker: CircuitBreaker, now: float) -> CircuitRefusal:
    answer = breaker.admit(now, Ask())
    assert isinstance(answer, CircuitRefusal)
    return answer


def permit(breaker: CircuitBreaker, now: float) -> CircuitPermit:
    answer = breaker.admit(now, Ask())
    assert isinstance(answer, CircuitPermit)
    return answer


def call(breaker: CircuitBreaker, verdict: Verdict, now: float, took: float = 0.1) -> None:
    breaker.settle(permit(breaker, now), verdict, took, now)


def opened(config: CircuitBreakerConfig = CONFIG, at: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker("b", config)
    for _ in range(2):
        call(breaker, Verdict.FAILURE, at)
    assert breaker.state(at) is BreakerState.OPEN
    return breaker
