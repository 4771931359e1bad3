"""A learned limit falls within three seconds when the service does half, whatever the service."""

from collections.abc import Iterator

import pytest

from simulation.limit_matrix import Cell, Service, run

pytestmark = pytest.mark.interpreted


def steady() -> Iterator[Cell]:
    """Their times are the same for each request, so that chance has little to say."""
    for capacity, mean in ((5, 0.1), (10, 0.05), (20, 0.1), (50, 0.1)):
        yield Cell(capacity, mean, times="constant")
        yield Cell(capacity, mean, times="constant", offered=3.0)
        yield Cell(capacity, mean, times="constant", load="rising")
        yield Cell(capacity, mean, times="constant", model="grows")


def test_a_large_slow_service_does_half() -> None:
    """Its first slow window is half over when the answers become slow, or the limit just rises."""
    service = Service(Cell(200, 0.5, times="constant"), seed=100)
    service.run(120)
    service.capacity = 100
    service.run(3)
    assert service.guard.limit <= 120


@pytest.mark.long
@pytest.mark.parametrize("cell", list(steady()), ids=str)
def test_each_finds_the_limit_and_halves(cell: Cell) -> None:
    runs = [run(cell, seed) for seed in range(6)]
    assert max(one.halves_after for one in runs) <= 3.0
    found = [average for one in runs for average in one.found]
    assert sum(found) / len(found) == pytest.approx(cell.capacity, rel=0.2)


@pytest.mark.long
def test_random_times() -> None:
    runs = [run(Cell(20, 0.1), seed) for seed in range(20)]
    waits = sorted(one.halves_after for one in runs)
    assert waits[10] <= 2.5
    assert waits[17] <= 4.0
    halved = [average for one in runs for average in one.halved]
    assert sum(halved) / len(halved) == pytest.approx(10, rel=0.2)
