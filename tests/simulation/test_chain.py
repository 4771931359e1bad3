"""What inheritance buys in a chain of four services: the promises, and the figures in the docs."""

import json

import pytest

from simulation.chain import RESULTS, ROOT, outage

pytestmark = pytest.mark.interpreted
FIGURES = json.loads(RESULTS.read_text(encoding="utf-8"))


def figure(kind: str, policy: str, inherits: bool) -> dict[str, object]:
    wanted = {"kind": kind, "policy": policy, "inherits": inherits}
    (found,) = [one for one in FIGURES if wanted.items() <= one.items()]
    return found


@pytest.mark.parametrize("kind", ["503", "hang"])
def test_an_outage_does_not_multiply_the_load(kind: str) -> None:
    found, _ = outage(kind, "default", inherits=True, rate=5.0)
    assert found.load <= 1.4


def test_only_the_layer_next_to_the_outage_retries() -> None:
    """3 attempts in each of 3 layers: 27 calls, or 3."""
    with_it, _ = outage("503", "nor retry budgets", inherits=True, rate=2.0)
    without, _ = outage("503", "nor retry budgets", inherits=False, rate=2.0)
    assert with_it.load == pytest.approx(3.0, abs=0.1)
    assert without.load > 20


def test_retries_at_each_layer_multiply_the_load_by_no_more_than_one_budget() -> None:
    """Without circuit breakers: 3 a second and 20 % of the requests."""
    with_it, _ = outage("503", "without circuit breakers", inherits=True)
    without, _ = outage("503", "without circuit breakers", inherits=False)
    assert with_it.load <= 1.4
    assert without.load > 2.0


def test_no_work_is_begun_for_callers_that_have_left() -> None:
    found, _ = outage("hang", "nor retry budgets", inherits=True, rate=5.0)
    assert (found.late, found.load) == (0.0, 1.0)
    without, _ = outage("hang", "nor retry budgets", inherits=False, rate=5.0)
    assert without.late > 0.5


@pytest.mark.long
@pytest.mark.parametrize("one", FIGURES, ids=lambda one: f"{one['kind']} {one['policy']}")
def test_the_figures_are_those_of_the_runs(one) -> None:
    found, _ = outage(one["kind"], one["policy"], inherits=one["inherits"])
    assert (found.load, found.late) == (one["load"], one["late"])


def test_the_docs_have_the_figures() -> None:
    page = (ROOT / "docs" / "inheritance.md").read_text(encoding="utf-8")
    for kind, policy in {(one["kind"], one["policy"]) for one in FIGURES}:
        cells = [figure(kind, policy, inherits) for inherits in (False, True)]
        row = " | ".join(f"{cell['load']:.2f}" for cell in cells)
        if kind == "hang":
            row += " | " + " | ".join(f"{100 * cell['late']:.0f} %" for cell in cells)
        assert f"| {row} |" in page, (kind, policy)
