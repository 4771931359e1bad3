"""The figures of learned limits in the repository keep the promises, and the docs tell them."""

import json

import pytest

from simulation.endpoints import RESULTS, ROOT
from simulation.limits import CAPACITIES, learning

pytestmark = pytest.mark.interpreted
FIGURES = json.loads(RESULTS.read_text(encoding="utf-8"))["limits"]


def close_to(capacity: int, permits: float = 1.0) -> object:
    return pytest.approx(capacity, abs=max(0.2 * capacity, permits))


def test_they_keep_the_promises() -> None:
    assert [one["capacity"] for one in FIGURES] == list(CAPACITIES)
    for one in FIGURES:
        assert one["found"] == [close_to(one["capacity"])] * 2
        assert one["halved"] == [close_to(one["capacity"] // 2, 1.25)] * 2
        assert one["halves_after"][0] <= 3.0
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
