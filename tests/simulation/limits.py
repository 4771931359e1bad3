"""What a learned limit finds: services that are overloaded from the first request on, then do half.

Each runs ten times, with other random times.
"""

from dataclasses import dataclass

from proxy.policies.bulkhead import Bulkhead, BulkheadConfig
from proxy.simulation.plots import Points

from .limited import LimitedService, gradient

CAPACITIES = (5, 10, 20, 40)
PLOTTED = (10, 20, 40)
SEEDS = range(10)
OVERLOAD = 1.5
LEARNS, SETTLES, MEASURED = 120, 60, 60
"""Seconds."""
LASTS = LEARNS + MEASURED + SETTLES + MEASURED


@dataclass(frozen=True)
class Run:
    """`found`: the average limit after `LEARNS`. `answered`: share of the answers of a limit that
    is right from the start, until then and meanwhile. `halves_after`: seconds from the halved
    capacity to two thirds of the limit. `halved`: the average limit after that.
    """

    found: float
    answered: float
    halves_after: float
    halved: float
    limits: Points


@dataclass(frozen=True)
class Learned:
    """The least and the greatest of the runs; `halves_after`: the median and the longest."""

    capacity: int
    found: tuple[float, float]
    answered: float
    halves_after: tuple[float, float]
    halved: tuple[float, float]


def run(capacity: int, seed: int) -> Run:
    service = LimitedService(gradient(lowest=1), capacity, seed=seed)
    right = LimitedService(Bulkhead("b", BulkheadConfig(capacity)), capacity, seed=seed)
    rate = OVERLOAD * service.most
    right.run(LEARNS + MEASURED, rate)
    limits: list[float] = []

    def go_on(seconds: int) -> float:
        for _ in range(seconds):
            service.run(1, rate)
            limits.append(float(service.guard.limit))
        return sum(limits[-seconds:]) / seconds

    go_on(LEARNS)
    found = go_on(MEASURED)
    answered = service.served / right.served
    before = max(service.guard.limit, capacity)
    service.capacity //= 2
    halved_at = service.now
    while service.guard.limit > before / 1.5:
        service.run(0.1, rate)
    halves_after = service.now - halved_at
    go_on(SETTLES)
    halved = go_on(MEASURED)
    points = [(float(at), limit) for at, limit in enumerate(limits)]
    return Run(found, answered, halves_after, halved, points)


def learning(capacity: int) -> tuple[Learned, Points]:
    """And the limit of each second in the first run."""
    runs = [run(capacity, seed) for seed in SEEDS]
    waits = sorted(one.halves_after for one in runs)
    learned = Learned(
        capacity,
        _ends([one.found for one in runs]),
        round(sum(one.answered for one in runs) / len(runs), 3),
        (round(waits[len(waits) // 2], 1), round(waits[-1], 1)),
        _ends([one.halved for one in runs]),
    )
    return learned, runs[0].limits


def _ends(values: list[float]) -> tuple[float, float]:
    return round(min(values), 1), round(max(values), 1)
