"""What ejection, ewma and hashing buy: promises of each run, and the figures in the docs."""

import json
import re

import pytest

from proxy.policies.ejection_config import EjectForConfig
from simulation.endpoints import (
    RESULTS,
    ROOT,
    SHORT,
    Ejected,
    Trouble,
    balancing,
    ejection,
    hashing,
    hedging,
)

pytestmark = pytest.mark.interpreted
FIGURES = json.loads(RESULTS.read_text(encoding="utf-8"))


def assert_no_brown_out(found: Ejected) -> None:
    """Five failures and the probes are all that clients see; the rest does as before."""
    assert found.failed_with <= 5 + found.probes
    assert found.probes <= 5
    assert found.failed_with < found.failed_without / 20
    assert found.rest_failed == 0
    assert found.back_after <= 2 * 1.1 * EjectForConfig().initial
    assert found.p99_while_out_ms < 1.5 * found.p99_before_ms


@pytest.mark.parametrize("endpoints", [2, 5])
def test_one_failing_endpoint_is_ejected_and_the_rest_does_as_before(endpoints: int) -> None:
    found, _, _ = ejection(endpoints, Trouble(rate=4.0))
    assert_no_brown_out(found)
    assert found.until_out < 5.0


def test_ewma_leaves_a_slow_endpoint() -> None:
    turns, ewma = (balancing(name, 15.0)[0] for name in ("round_robin", "ewma"))
    assert turns.slow_share == pytest.approx(0.2, abs=0.01)
    assert ewma.slow_share < 0.03
    assert ewma.p99_ms < turns.p99_ms / 2


def test_hedges_halve_the_99th_percentile_for_a_twentieth_more_load() -> None:
    without, hedged = (hedging(delay, 30.0)[0] for delay in ("", "160ms"))
    assert without.more_load == 0.0
    assert hedged.p99_ms < 0.6 * without.p99_ms
    assert hedged.more_load < 0.06


def test_only_the_keys_of_the_ejected_endpoint_move() -> None:
    moved = hashing(3, rate=10.0)
    assert moved.moved == pytest.approx(1 / 3, abs=0.15)
    assert moved.others_moved == 0
    assert moved.back == 1.0


# --- the figures that are told --------------------------------------------------------------------


def test_the_figures_in_the_repository_keep_the_promises() -> None:
    for one in FIGURES["ejection"]:
        assert_no_brown_out(Ejected(**one))
        assert one["until_out"] < 1.0
    turns, least, ewma = FIGURES["balancing"]
    assert ewma["p99_ms"] < least["p99_ms"] < turns["p99_ms"]
    none, fixed, _ = FIGURES["hedging"]
    assert fixed["p99_ms"] < none["p99_ms"] / 2
    assert fixed["more_load"] <= 0.05
    for one in FIGURES["hashing"]:
        assert one["moved"] == pytest.approx(1 / one["endpoints"], abs=0.03)
        assert (one["others_moved"], one["back"]) == (0, 1.0)


def test_the_page_about_hedges_tells_these_figures() -> None:
    page = (ROOT / "docs" / "hedging.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in page.splitlines()]
    for one in FIGURES["hedging"]:
        told = [
            f"`{one['delay']}`" if one["delay"] else "none", f"{one['p50_ms']:.0f} ms",
            f"{one['p99_ms']:.0f} ms", f"{one['more_load']:.1%}",
        ]  # fmt: skip
        assert told in rows
    assert (ROOT / "docs" / "images" / "endpoints-hedged.svg").is_file()


def test_the_page_tells_these_figures() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    text = page.partition("## Endpoints in virtual time")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines()]
    for one in FIGURES["ejection"]:
        told = [
            f"one of {one['endpoints']}", f"{one['failed_without']:,} of {one['requests']:,}",
            f"{one['failed_with']}", f"{one['until_out'] * 1000:.0f} ms",
            f"{one['p99_before_ms']:.0f} ms", f"{one['p99_while_out_ms']:.0f} ms",
        ]  # fmt: skip
        assert told in rows
    for one in FIGURES["balancing"]:
        told = [
            f"`{one['load_balancing']}`", f"{one['p50_ms']:.0f} ms", f"{one['p99_ms']:.0f} ms",
            f"{one['slow_share']:.1%}",
        ]  # fmt: skip
        assert told in rows
    for one in FIGURES["hashing"]:
        assert [f"one of {one['endpoints']}", f"{one['moved']:.1%}", "0"] in rows
    for image in re.findall(r"\(images/([\w-]+\.svg)\)", text):
        assert (ROOT / "docs" / "images" / image).is_file()


@pytest.mark.long
def test_the_figures_come_again() -> None:
    """The longest of the runs once more, to the last digit."""
    found, _, _ = ejection(2, Trouble())
    assert found.__dict__ == FIGURES["ejection"][0]
    assert ejection(5, SHORT)[0].__dict__ == FIGURES["short_ejection"][1]
    assert balancing("ewma")[0].__dict__ == FIGURES["balancing"][2]
    assert hashing(3).__dict__ == FIGURES["hashing"][1]
