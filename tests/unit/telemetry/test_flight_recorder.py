"""Which exchanges the flight recorder keeps, what it keeps of them, and what makes room."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from unit.telemetry.fakes import DEFAULT_CONFIG, FakeAttempt, FakeExchange

from proxy.config.model import Listener, PolicyConfig, RouteConfig
from proxy.errors import BadRequest
from proxy.exchange.record import refusal_record
from proxy.grpc_status import NAMES
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_config import CircuitBreakerConfig, SlowCallConfig
from proxy.policies.deadline import TimeoutsConfig
from proxy.policies.retry import Retry, Stop, StopReason
from proxy.telemetry.flight_recorder import (
    CAPACITY,
    MAX_ATTEMPTS,
    MAX_TEXT,
    FlightRecorder,
    snapshot,
)

WALL = 1_700_000_000.0


def recorder(*routes: RouteConfig) -> FlightRecorder:
    return FlightRecorder(replace(DEFAULT_CONFIG, routes=routes), lambda: WALL)


def bound(policies: PolicyConfig, breaker: CircuitBreaker | None = None) -> SimpleNamespace:
    return SimpleNamespace(policies=policies, breaker=breaker)


@pytest.mark.parametrize(
    "exchange",
    [
        FakeExchange(status=503),
        FakeExchange(status=200, reason="upstream-truncated"),
        FakeExchange(status=499, reason="client-gone", attempts=[]),
        FakeExchange(attempts=[FakeAttempt(status=503), FakeAttempt()]),
        FakeExchange(fallback=True),
        FakeExchange(observed=["timeouts.attempt"]),
    ],
)
def test_trouble_is_kept(exchange: FakeExchange) -> None:
    box = recorder()
    box.record(exchange)
    (kept,) = box.recent()
    assert (kept.status, kept.reason, kept.slow) == (exchange.status, exchange.reason, False)
    assert (box.held, box.seen) == (1, 1)


@pytest.mark.parametrize("exchange", [FakeExchange(), FakeExchange(status=404)])
def test_the_rest_is_not(exchange: FakeExchange) -> None:
    box = recorder()
    box.record(exchange)
    assert (box.recent(), box.held, box.seen) == ([], 0, 0)


def test_what_never_became_a_request_is_kept() -> None:
    box = recorder()
    box.record(
        refusal_record(Listener.INBOUND, "10.1.2.3:4", BadRequest("No colon."), b"r-9", 100.0)
    )
    (kept,) = box.recent()
    assert (kept.reason, kept.detail, kept.request_id) == ("bad-request", "No colon.", "r-9")
    assert (kept.began, kept.attempts, kept.breaker) == (WALL, (), None)


# --- slow -----------------------------------------------------------------------------------------


def slow_one(head_after: float, duration: float, policies: PolicyConfig) -> FakeExchange:
    attempt = FakeAttempt(started=100.0, duration=head_after)
    return FakeExchange(duration=duration, attempts=[attempt], binding=bound(policies))


def is_kept(exchange: FakeExchange, policies: PolicyConfig) -> bool:
    box = recorder(RouteConfig("stock", policies=policies))
    box.record(exchange)
    return bool(box.recent())


@pytest.mark.parametrize(
    ("policies", "limit"),
    [
        (PolicyConfig(), 2.5),
        (PolicyConfig(timeouts=TimeoutsConfig(attempt=0.5)), 0.25),
        (PolicyConfig(circuit_breaker=CircuitBreakerConfig(slow_call=SlowCallConfig(0.1))), 0.1),
    ],
)
def test_slow_is_half_way_to_the_attempt_s_end_or_a_slow_call(
    policies: PolicyConfig, limit: float
) -> None:
    above, below = limit + 0.01, limit - 0.01
    assert is_kept(slow_one(above, above, policies), policies)
    assert not is_kept(slow_one(below, below, policies), policies)


def test_a_long_body_is_not_slow() -> None:
    policies = PolicyConfig()
    assert not is_kept(slow_one(0.01, 600.0, policies), policies)
    upload = slow_one(300.0, 300.0, policies)
    upload.stood_still = 299.0
    assert not is_kept(upload, policies)


def test_another_route_s_limit_is_not_this_one_s() -> None:
    impatient = PolicyConfig(timeouts=TimeoutsConfig(attempt=0.1))
    patient = PolicyConfig(timeouts=TimeoutsConfig(attempt=10.0))
    assert not is_kept(slow_one(1.0, 1.0, patient), impatient)


def test_a_reload_changes_what_is_slow_and_forgets_nothing() -> None:
    box = recorder()
    box.record(FakeExchange(status=500))
    quick = PolicyConfig(timeouts=TimeoutsConfig(attempt=0.2))
    box.reconfigure(replace(DEFAULT_CONFIG, policies={"default": quick}))
    box.record(slow_one(0.15, 0.15, quick))
    assert [one.slow for one in box.recent()] == [True, False]


# --- what is kept ---------------------------------------------------------------------------------


def test_all_that_explains_it() -> None:
    breaker = CircuitBreaker("stock", CircuitBreakerConfig())
    attempts = [
        FakeAttempt(
            "10.0.0.1:80", 0, "attempt-timeout", 1.0, 0.0, "inventory", "Too long.",
            Retry(0.02, "timeout"), 100.25, breaker, fault="delay",
            left_out=(("10.0.0.3:80", "unhealthy"),),
        ),
        FakeAttempt(
            "10.0.0.2:80", 503, "", 0.5, 0.02, "inventory", "", Stop(StopReason.BUDGET), 101.27
        ),
    ]  # fmt: skip
    exchange = FakeExchange(status=503, duration=2.0, attempts=attempts)
    box = recorder()
    box.record(exchange)
    attempts.clear()  # as an exchange does once it has settled
    (kept,) = box.recent()
    assert kept.began == WALL - 2.0
    assert kept.breaker == ("stock", "closed")
    first, second = kept.attempts
    assert first == (
        "10.0.0.1:80", "inventory", 0, "", "attempt-timeout", "Too long.", 0.25, 1.0, 0.0,
        Retry(0.02, "timeout"), False, "delay", (("10.0.0.3:80", "unhealthy"),),
    )  # fmt: skip
    assert (second.status, second.decision) == (503, Stop(StopReason.BUDGET))
    assert second.offset == pytest.approx(1.27)


@pytest.mark.parametrize(("code", "kept"), [(14, True), (2, True), (5, False), (0, False)])
def test_a_failed_call_is_trouble_although_its_status_is_200(code: int, kept: bool) -> None:
    box = recorder()
    box.record(FakeExchange(grpc=code, attempts=[FakeAttempt(grpc=code)]))
    assert [one.grpc_status for one in box.recent()] == [NAMES[code]] * kept
    assert [one.attempts[0].grpc_status for one in box.recent()] == [NAMES[code]] * kept


def test_a_breaker_that_let_nothing_pass_is_named() -> None:
    breaker = CircuitBreaker("stock", CircuitBreakerConfig())
    breaker.force_open(99.0)
    box = recorder()
    box.record(
        FakeExchange(
            status=503, reason="circuit-open", attempts=[], binding=bound(PolicyConfig(), breaker)
        )
    )
    assert box.recent()[0].breaker == ("stock", "forced_open")


def test_under_way_ages_count_to_now() -> None:
    attempts = [FakeAttempt(status=0, duration=0.0, started=101.0)]
    exchange = FakeExchange(status=0, duration=0.0, attempts=attempts)
    seen = snapshot(exchange, 103.0, WALL)
    assert (seen.duration, seen.began, seen.attempts[0].duration) == (3.0, WALL - 3.0, 2.0)


def test_texts_and_attempts_have_bounds() -> None:
    long = "x" * 20_000
    attempts = [FakeAttempt(endpoint=f"e{n}", detail=long, failure="x") for n in range(100)]
    box = recorder()
    box.record(FakeExchange(path=long, host=long, method=long, attempts=attempts))
    (kept,) = box.recent()
    assert {len(kept.path), len(kept.host), len(kept.method)} == {MAX_TEXT}
    assert (len(kept.attempts), kept.attempts_made) == (MAX_ATTEMPTS, 100)
    assert kept.attempts[-1].endpoint == "e99"
    assert len(kept.attempts[0].detail) == MAX_TEXT


# --- room -----------------------------------------------------------------------------------------


def test_of_one_kind_the_last_are_kept_newest_first() -> None:
    box = recorder()
    for number in range(CAPACITY + 50):
        box.record(FakeExchange(status=503, request_id=f"r-{number}"))
    kept = [one.request_id for one in box.recent()]
    assert kept == [f"r-{number}" for number in range(CAPACITY + 49, 49, -1)]
    assert (box.held, box.seen) == (CAPACITY, CAPACITY + 50)


def test_a_flood_does_not_wash_away_its_cause() -> None:
    box = recorder()
    for number in range(20):
        box.record(FakeExchange(status=503, request_id=f"cause-{number}"))
    for number in range(10_000):
        box.record(FakeExchange(status=503, reason="circuit-open", request_id=f"f-{number}"))
    kept = [one.request_id for one in box.recent()]
    assert len(kept) == CAPACITY
    assert kept[0] == "f-9999"
    assert kept[-20:] == [f"cause-{number}" for number in range(19, -1, -1)]


def test_many_kinds_share_and_the_newest_is_always_there() -> None:
    box = recorder()
    for number in range(1000):
        box.record(FakeExchange(status=503, route=f"route-{number}", request_id=str(number)))
        assert box.recent()[0].request_id == str(number)
    assert box.held == len(box.recent()) == CAPACITY
