"""Gradient: a simulated service in virtual time; the bulkhead must find what it can take."""

import pytest
from simulation.limited import ASK, LimitedService, gradient

from proxy.errors import ConcurrencyLimited
from proxy.outcome import FAILURE, IGNORED, SUCCESS
from proxy.policies.bulkhead import (
    Bulkhead,
    BulkheadConfig,
    BulkheadLimit,
    BulkheadPermit,
    BulkheadRefusal,
)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("capacity", "mean"), [(50, 0.1), (100, 0.05), (40, 0.2)])
def test_it_finds_what_a_service_can_take(capacity: int, mean: float, seed: int) -> None:
    service = LimitedService(gradient(), capacity, mean, seed)
    service.run(60, 1.5 * service.most)
    assert 0.8 * capacity <= service.average(20, 1.5 * service.most) <= 1.2 * capacity


@pytest.mark.parametrize("seed", range(3))
def test_it_halves_within_three_seconds_when_the_service_does(seed: int) -> None:
    service = LimitedService(gradient(), 60, 0.1, seed)
    service.run(60, 900)
    found = service.guard.limit
    service.capacity = 30
    service.run(3, 900)
    assert service.guard.limit <= 0.6 * found
    service.run(10, 900)
    assert 0.8 * 30 <= service.average(20, 900) <= 1.2 * 30


@pytest.mark.parametrize("seed", range(3))
def test_it_rises_again_when_the_service_has_recovered(seed: int) -> None:
    service = LimitedService(gradient(), 60, 0.1, seed)
    service.run(40, 900)
    service.capacity = 15
    service.run(10, 900)
    assert service.average(20, 900) <= 1.5 * 15
    service.capacity = 60
    service.run(60, 900)
    assert 0.8 * 60 <= service.average(20, 900) <= 1.25 * 60


def close_to(capacity: int) -> object:
    return pytest.approx(capacity, abs=max(0.2 * capacity, 1.0))


SMALL = [2, 4, 5, 8, 10, 15]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("capacity", SMALL)
def test_a_small_service_that_is_overloaded_from_the_start(capacity: int, seed: int) -> None:
    """All that the proxy ever sees of it are requests that queued."""
    service = LimitedService(gradient(lowest=1), capacity, seed=seed)
    service.run(120, 1.5 * service.most)
    assert service.average(60, 1.5 * service.most) == close_to(capacity)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("capacity", SMALL)
def test_a_small_service_whose_load_rises(capacity: int, seed: int) -> None:
    service = LimitedService(gradient(lowest=1), capacity, seed=seed)
    for percent in range(20, 150, 2):
        service.run(2, percent / 100 * service.most)
    service.run(60, 1.5 * service.most)
    assert service.average(60, 1.5 * service.most) == close_to(capacity)


@pytest.mark.parametrize("capacity", SMALL)
def test_reloads_while_it_learns(capacity: int) -> None:
    service = LimitedService(gradient(lowest=1), capacity)
    for highest in range(500, 524):
        service.run(5, 1.5 * service.most)
        limit = service.guard.limit
        service.guard.adopt(BulkheadConfig(highest, limit=BulkheadLimit.GRADIENT, min=1))
        assert service.guard.limit == limit
    assert service.average(60, 1.5 * service.most) == close_to(capacity)


def test_min_is_a_floor() -> None:
    service = LimitedService(gradient(lowest=7), 2)
    for _ in range(120):
        service.run(1, 30)
        assert service.guard.limit >= 7
    assert service.guard.limit < 12


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("capacity", [10, 16])
def test_half_of_a_small_service(capacity: int, seed: int) -> None:
    service = LimitedService(gradient(lowest=1), capacity, seed=seed)
    rate = 1.5 * service.most
    service.run(90, rate)
    service.capacity = capacity // 2
    service.run(3, rate)
    assert service.guard.limit <= 0.65 * capacity
    service.run(30, rate)
    assert service.average(60, rate) == close_to(capacity // 2)


def test_to_learn_costs_a_service_without_trouble_no_answers() -> None:
    """The learned limit answers as many as the right one."""
    learned = LimitedService(gradient(), 40)
    right = LimitedService(Bulkhead("b", BulkheadConfig(40)), 40)
    for service in (learned, right):
        service.run(30, 1.5 * service.most)
        service.served = 0
        service.run(120, 1.5 * service.most)
    assert learned.served >= 0.99 * right.served


def test_a_long_overload_does_not_become_the_norm() -> None:
    service = LimitedService(gradient(lowest=1), 5)
    service.run(1800, 1.5 * service.most)
    assert service.average(60, 1.5 * service.most) == close_to(5)


@pytest.mark.parametrize("seed", range(3))
def test_on_a_machine_that_pauses_it_finds_what_the_service_can_take(seed: int) -> None:
    """Each pause looks like a wait in the service, and a quarter of the time is pauses."""
    service = LimitedService(gradient(), 40, 0.2, seed)
    service.run(60, 1.5 * service.most)
    service.paused = 0.25
    service.run(30, 1.5 * service.most)
    assert 0.8 * 40 <= service.average(20, 300) <= 1.25 * 40
    service.capacity = 20
    service.run(20, 300)
    assert 0.8 * 20 <= service.average(20, 300) <= 1.35 * 20


@pytest.mark.parametrize("seed", range(3))
def test_a_limit_that_is_too_low_rises_although_all_answers_are_slower(seed: int) -> None:
    """What was usual on an idle machine is out of reach on a busy one."""
    service = LimitedService(gradient(), 15, 0.1, seed)
    service.run(90, 300)
    assert service.guard.limit <= 22
    service.capacity, service.mean = 40, 0.13
    service.run(60, 450)
    assert 0.8 * 40 <= service.average(20, 450) <= 1.25 * 40


def test_without_trouble_nothing_is_refused() -> None:
    """Never in order to measure, and never because times vary."""
    service = LimitedService(gradient(), 60)
    service.run(300, 80)  # eight at once on average
    assert service.refused == 0


def test_a_service_that_became_slower_for_good_is_the_new_norm() -> None:
    service = LimitedService(gradient(), 1000, 0.05)
    service.run(60, 400)  # twenty at once
    service.mean = 0.15
    service.run(120, 400)
    before = service.refused
    service.run(60, 400)
    assert service.refused - before < 0.02 * 60 * 400


def test_it_does_not_rise_unless_half_of_it_is_used() -> None:
    guard = gradient()
    for n in range(1000):
        held = permits(guard, 9, n / 10)
        for permit in held:
            guard.settle(permit, SUCCESS, 0.05, n / 10 + 0.05)
    assert guard.limit == 20


def permits(guard: Bulkhead, count: int, now: float) -> list[BulkheadPermit]:
    answers = [guard.admit(now, ASK) for _ in range(count)]
    assert all(isinstance(one, BulkheadPermit) for one in answers)
    return answers


def teach(guard: Bulkhead, took: float, now: float, verdict: object = SUCCESS) -> None:
    """A window: as many as fit at once, each of which takes so long."""
    for part in range(2):
        for permit in permits(guard, guard.limit, now + part):
            guard.settle(permit, verdict, took, now + part + took)


def test_what_is_ignored_teaches_nothing() -> None:
    guard = gradient()
    teach(guard, 0.1, 0.0)
    before = guard.limit
    for n in range(20):
        teach(guard, 30.0, 100.0 * n, IGNORED)
    assert guard.limit == before


def test_quick_failures_teach_nothing_slow_ones_do() -> None:
    guard = gradient()
    for n in range(10):
        teach(guard, 0.1, 10.0 * n)
    before = guard.limit
    for n in range(10, 40):
        teach(guard, 0.001, 10.0 * n, FAILURE)
    assert guard.limit == before
    teach(guard, 0.1, 500.0)
    assert guard.limit >= before, "what is usual is as it was"
    for n in range(60, 64):
        teach(guard, 5.0, 10.0 * n, FAILURE)
    assert guard.limit <= before / 4


def test_it_stays_between_min_and_max_concurrent() -> None:
    guard = gradient(highest=25, lowest=10)
    for n in range(50):
        teach(guard, 0.1, 10.0 * n)
    assert guard.limit == 25
    for n in range(1, 6):
        teach(guard, 4.0**n, 1e6 * n)
        assert guard.limit >= 10
    assert guard.limit == 10


def test_beyond_it_the_answer_says_so() -> None:
    guard = gradient(highest=30)
    permits(guard, guard.limit, 0.0)
    refusal = guard.admit(0.0, ASK)
    assert isinstance(refusal, BulkheadRefusal)
    error = refusal.error()
    assert isinstance(error, ConcurrencyLimited)
    assert (error.status, error.reason, error.retry_after) == (503, "concurrency-limited", 1)
    assert guard.snapshot(0.0).learned == guard.limit == 20


def test_a_reload_keeps_what_was_learned() -> None:
    guard = gradient()
    for n in range(10):
        teach(guard, 0.1, 10.0 * n)
    learned = guard.limit
    assert learned > 20
    config = BulkheadConfig(1000, limit=BulkheadLimit.GRADIENT, min=5, max_queue=7)
    assert guard.adopt(config)
    assert guard.limit == learned
    guard.adopt(BulkheadConfig(1000))  # the bypass
    assert guard.limit == 1000
    assert guard.snapshot(0.0).learned is None
    guard.adopt(config)
    assert guard.limit == learned
    guard.adopt(BulkheadConfig(15, limit=BulkheadLimit.GRADIENT))
    assert guard.limit == 15


def test_a_raised_limit_lets_the_queue_go_on() -> None:
    config = BulkheadConfig(100, 50, 9.0, limit=BulkheadLimit.GRADIENT)
    guard = Bulkhead("b", config)
    held = permits(guard, guard.limit, 0.0)
    waits = [guard.admit(0.0, ASK) for _ in range(5)]
    for now, permit in enumerate(held[:12]):
        guard.settle(permit, SUCCESS, 0.1, 1.0 + now / 10)
    assert all(wait.permit is not None for wait in waits)
    assert guard.in_use == 20 - 12 + 5
