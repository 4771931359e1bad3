"""Gradient: a simulated service in virtual time; the bulkhead must find what it can take."""

import heapq
from collections import deque
from collections.abc import Callable
from random import Random

import pytest

from proxy.errors import ConcurrencyLimited
from proxy.outcome import FAILURE, IGNORED, SUCCESS
from proxy.policies.bulkhead import (
    Bulkhead,
    BulkheadConfig,
    BulkheadLimit,
    BulkheadPermit,
    BulkheadRefusal,
)
from proxy.policies.gate import Ask

ASK = Ask()


def gradient(highest: int = 1000, lowest: int = 4) -> Bulkhead:
    return Bulkhead("b", BulkheadConfig(highest, limit=BulkheadLimit.GRADIENT, min=lowest))


class Service:
    """`capacity` requests at once, each takes `mean` seconds; others wait in its own line."""

    def __init__(self, guard: Bulkhead, capacity: int, mean: float = 0.1, seed: int = 1) -> None:
        self.guard, self.capacity, self.mean = guard, capacity, mean
        self.random = Random(seed)
        self.now = 100.0
        self.busy = 0
        self.line: deque[tuple[float, BulkheadPermit]] = deque()
        self.ends: list[tuple[float, int, float, BulkheadPermit]] = []
        self.number = self.refused = self.served = 0

    def run(self, seconds: float, rate: float | Callable[[float], float]) -> None:
        """Requests arrive at random, `rate` a second on average."""
        until = self.now + seconds
        arrival = self.now
        while True:
            per_second = rate(self.now) if callable(rate) else rate
            arrival += self.random.expovariate(per_second)
            while self.ends and self.ends[0][0] <= min(arrival, until):
                self.end()
            if arrival > until:
                self.now = until
                return
            self.now = arrival
            self.arrive()

    def arrive(self) -> None:
        answer = self.guard.admit(self.now, ASK)
        if isinstance(answer, BulkheadPermit):
            self.line.append((self.now, answer))
            self.serve()
        else:
            self.refused += 1

    def serve(self) -> None:
        while self.line and self.busy < self.capacity:
            self.busy += 1
            self.number += 1
            took = self.random.expovariate(1 / self.mean)
            heapq.heappush(self.ends, (self.now + took, self.number, *self.line.popleft()))

    def end(self) -> None:
        self.now, _, begun, permit = heapq.heappop(self.ends)
        self.busy -= 1
        self.served += 1
        self.guard.settle(permit, SUCCESS, self.now - begun, self.now)
        self.serve()


def average(service: Service, rate: float) -> float:
    """The limit over twenty seconds."""
    limits = []
    for _ in range(20):
        service.run(1, rate)
        limits.append(service.guard.limit)
    return sum(limits) / len(limits)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("capacity", "mean"), [(50, 0.1), (100, 0.05), (40, 0.2)])
def test_it_finds_what_a_service_can_take(capacity: int, mean: float, seed: int) -> None:
    service = Service(gradient(), capacity, mean, seed)
    service.run(60, 1.5 * capacity / mean)
    assert 0.8 * capacity <= average(service, 1.5 * capacity / mean) <= 1.2 * capacity


@pytest.mark.parametrize("seed", range(3))
def test_it_halves_within_three_seconds_when_the_service_does(seed: int) -> None:
    service = Service(gradient(), 60, 0.1, seed)
    service.run(60, 900)
    found = service.guard.limit
    service.capacity = 30
    service.run(3, 900)
    assert service.guard.limit <= 0.6 * found
    service.run(10, 900)
    assert 0.8 * 30 <= average(service, 900) <= 1.2 * 30


@pytest.mark.parametrize("seed", range(3))
def test_it_rises_again_when_the_service_has_recovered(seed: int) -> None:
    service = Service(gradient(), 60, 0.1, seed)
    service.run(40, 900)
    service.capacity = 15
    service.run(10, 900)
    assert average(service, 900) <= 1.5 * 15
    service.capacity = 60
    service.run(60, 900)
    assert 0.8 * 60 <= average(service, 900) <= 1.25 * 60


def test_without_trouble_nothing_is_refused() -> None:
    """Never in order to measure, and never because times vary."""
    service = Service(gradient(), 60)
    service.run(300, 80)  # eight at once on average
    assert service.refused == 0


def test_a_service_that_became_slower_for_good_is_the_new_norm() -> None:
    service = Service(gradient(), 1000, 0.05)
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
