"""What the last table counts, and how it reads."""

import io

import pytest
from rich.console import Console

from proxy.demo.observation import Observer, Transition
from proxy.demo.orders import Fate, Order, World
from proxy.demo.report import (
    add_faults,
    add_quotes,
    comparison,
    percentile,
    summarize,
    what_the_proxy_did,
)

LABELS = ("with the proxy", "without")


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.99, None),
        ([3.0], 0.5, 3.0),
        ([3.0], 0.99, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 0.51, 3.0),
        (range(1, 101), 0.99, 99),
        (range(1, 102), 0.99, 100),
        (range(1, 101), 1.0, 100),
        (range(1, 101), 0.0, 1),
    ],
)
def test_percentile(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


def _orders(*fates: Fate) -> list[Order]:
    return [
        Order(World.WITH, number, fate, seconds=0.01 * (number + 1))
        for number, fate in enumerate(fates)
    ]


def test_a_summary_counts_fates_and_what_was_charged() -> None:
    orders = _orders(
        Fate.OK, Fate.OK, Fate.RETRIED, Fate.DEFERRED, Fate.FAILED, Fate.FAILED, Fate.UNDER_WAY
    )
    charges = {order.key: 1 for order in orders[:5]}
    charges[orders[2].key] = 2
    summary = summarize(orders, charges)
    assert (summary.placed, summary.succeeded, summary.failed) == (6, 4, 2)
    assert (summary.ok, summary.retried, summary.deferred) == (2, 1, 1)
    assert summary.stranded == 1, "one of the failed orders had been charged"
    assert summary.charged_twice == 1
    assert summary.success_share == pytest.approx(4 / 6)
    assert summary.p50 == pytest.approx(0.03)
    assert summary.p99 == pytest.approx(0.06), "the order under way does not count"


def test_without_orders_there_is_nothing_to_divide() -> None:
    summary = summarize([], {})
    assert (summary.placed, summary.success_share, summary.p99) == (0, 0.0, None)


def _read(*renderables: object) -> str:
    out = io.StringIO()
    console = Console(file=out, width=80, no_color=True)
    for renderable in renderables:
        console.print(renderable)
    return out.getvalue()


@pytest.fixture
def observer() -> Observer:
    observer = Observer(None, "", lambda: 0.0)
    observer.retries.update({"inventory": 3, "payment": 4})
    observer.refused.update({"payment": 21})
    observer.fallbacks.update({"shipping": 5})
    observer.transitions += [
        Transition(12.04, "payment", "open"),
        Transition(15.1, "payment", "half_open"),
        Transition(15.4, "payment", "closed"),
        Transition(19.0, "shipping", "open"),
    ]
    return observer


def _cells(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if f" {name} " in line]
    return [cell.strip() for cell in line.strip("│").split("│")][1:]


def test_the_table_fits_80_columns_and_says_who_saved_what(observer: Observer) -> None:
    better = summarize(_orders(Fate.OK, Fate.RETRIED, Fate.DEFERRED, Fate.FAILED), {})
    worse = summarize(_orders(Fate.OK, Fate.FAILED, Fate.FAILED, Fate.FAILED), {})
    text = _read(comparison(better, worse, observer, LABELS))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert _cells(text, "orders succeeded") == ["3", "1"]
    assert _cells(text, "of these with shipping deferred") == ["1", "0"]
    assert _cells(text, "success") == ["75.0%", "25.0%"]
    assert _cells(text, "latency, 99th percentile") == ["40 ms", "40 ms"]
    assert _cells(text, "retries made") == ["7", "-"]
    assert _cells(text, "calls saved by open breakers") == ["21", "-"]
    assert _cells(text, "breaker transitions") == ["4", "-"]


def test_the_table_has_a_row_for_each_grpc_status_that_anyone_got(observer: Observer) -> None:
    table = comparison(summarize([], {}), summarize([], {}), observer, LABELS)
    add_quotes(table, {"OK": 12, "UNAVAILABLE": 1}, {"OK": 9, "DEADLINE_EXCEEDED": 4})
    text = _read(table)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert _cells(text, "gRPC calls to pricing: OK") == ["12", "9"]
    assert _cells(text, "gRPC calls to pricing: UNAVAILABLE") == ["1", "0"]
    assert _cells(text, "gRPC calls to pricing: DEADLINE_EXCEEDED") == ["0", "4"]


def test_with_faults_the_table_says_who_met_how_many(observer: Observer) -> None:
    observer.faults.update(
        {("pricing", "delay"): 4, ("pricing-bare", "delay"): 3, ("payment", "reset"): 2}
    )
    observer.hedges.update(
        {("pricing", "won"): 3, ("pricing", "lost"): 1, ("pricing", "no-budget"): 5}
    )
    observer.limited.update({"shipping": 8})
    observer.ejections.update({"inventory": 2})
    table = comparison(summarize([], {}), summarize([], {}), observer, LABELS)
    add_faults(table, observer)
    text = _read(table)
    assert _cells(text, "injected delays") == ["4", "3"]
    assert _cells(text, "injected aborts") == ["0", "0"]
    assert _cells(text, "injected resets") == ["2", "0"]
    assert _cells(text, "calls hedged") == ["4", "-"]
    assert _cells(text, "of these answered by the hedge") == ["3", "-"]
    assert _cells(text, "calls beyond a rate limit") == ["8", "-"]
    assert _cells(text, "ejections of an endpoint") == ["2", "-"]


def test_every_transition_has_its_time(observer: Observer) -> None:
    text = _read(what_the_proxy_did(observer, repeats=2))
    assert "payment: open 12.0, half-open 15.1, closed 15.4" in text
    assert "shipping: open 19.0" in text
    assert "2 repeated requests" in text


def test_a_long_timeline_is_wrapped_between_its_steps(observer: Observer) -> None:
    observer.transitions += [Transition(20.0 + n, "payment", "half_open") for n in range(9)]
    lines = _read(what_the_proxy_did(observer, repeats=0)).splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("  payment: "))
    assert max(len(line) for line in lines) <= 80
    assert lines[first].endswith(",")
    assert lines[first + 1].startswith("    half-open 2")


def test_a_run_without_transitions_says_so() -> None:
    quiet = Observer(None, "", lambda: 0.0)
    assert "No breaker changed its state" in _read(what_the_proxy_did(quiet, repeats=0))
