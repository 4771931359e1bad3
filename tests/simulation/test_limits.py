"""The figures of learned limits in the repository keep the promises, and the docs tell them."""

import json

import pytest

from simulation.endpoints import RESULTS, ROOT
from simulation.limited import LimitedService, gradient
from simulation.limits import CAPACITIES, OVERLOAD, learning, run

pytestmark = pytest.mark.interpreted
FIGURES = json.loads(RESULTS.read_text(encoding="utf-8"))["limits"]


def close_to(capacity: int, permits: float = 1.0) -> object:
    return pytest.approx(capacity, abs=max(0.2 * capacity, permits))


def test_they_keep_the_promises() -> None:
    assert [one["capacity"] for one in FIGURES] == list(CAPACITIES)
    for one in FIGURES:
        assert one["found"] == [close_to(one["capacity"])] * 2
        assert one["halved"] == [close_to(one["capacity"] // 2, 1.25)] * 2
        assert one["halves_after"][1] <= 3.0
        assert one["answered"] >= 0.95


def test_the_page_tells_them() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in page.splitlines()]
    for one in FIGURES:
        found, halved = ("{:.1f} to {:.1f}".format(*one[key]) for key in ("found", "halved"))
        waits = "{:.1f} s, {:.1f} s".format(*one["halves_after"])
        assert [f"{one['capacity']}", found, f"{one['answered']:.1%}", waits, halved] in rows
    assert (ROOT / "docs" / "images" / "endpoints-limits.svg").is_file()


@pytest.mark.long
def test_they_come_again() -> None:
    learned, _ = learning(5)
    assert json.loads(json.dumps(learned.__dict__)) == FIGURES[0]


@pytest.mark.long
@pytest.mark.parametrize("capacity", [5, 10])
def test_small_services_with_other_random_times(capacity: int) -> None:
    """Half of a service of five is two; a few of its answers tell little."""
    waits = sorted(run(capacity, seed).halves_after for seed in range(40))
    assert waits[20] <= 1.5
    assert waits[-2] <= 3.0


@pytest.mark.long
def test_chance_seldom_lowers_the_limit_of_a_small_service() -> None:
    """Ten times five minutes."""
    below = 0
    for seed in range(10):
        service = LimitedService(gradient(lowest=1), 10, seed=seed)
        service.run(120, OVERLOAD * service.most)
        for _ in range(300):
            service.run(1, OVERLOAD * service.most)
            below += service.guard.limit < 8
    assert below <= 0.01 * 10 * 300
