"""The demo's final report: the same orders with and without the proxy."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from proxy.demo.chaos import is_bare
from proxy.demo.observation import Observer, Transition
from proxy.demo.orders import Fate, Order, World
from proxy.demo.scene import Dependency
from proxy.demo.show import Show


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that at least `share` (0 to 1) of them do not exceed; None if empty."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Summary:
    """The results of one copy's orders, without those in progress.

    `stranded` orders were charged and failed afterwards: the money must be refunded.
    `charged_twice` counts orders with more than one charge. Percentiles are seconds, None
    without orders.
    """

    placed: int
    ok: int
    retried: int
    deferred: int
    failed: int
    stranded: int
    charged_twice: int
    p50: float | None
    p99: float | None

    @property
    def succeeded(self) -> int:
        return self.ok + self.retried + self.deferred

    @property
    def success_share(self) -> float:
        return self.succeeded / self.placed if self.placed else 0.0


def summarize(orders: Sequence[Order], charges: Mapping[str, int]) -> Summary:
    """`charges` counts payment's charges by idempotency key."""
    ended = [order for order in orders if order.fate is not Fate.UNDER_WAY]
    by_fate = {fate: [o for o in ended if o.fate is fate] for fate in Fate}
    seconds = [order.seconds for order in ended]
    return Summary(
        placed=len(ended),
        ok=len(by_fate[Fate.OK]),
        retried=len(by_fate[Fate.RETRIED]),
        deferred=len(by_fate[Fate.DEFERRED]),
        failed=len(by_fate[Fate.FAILED]),
        stranded=sum(charges.get(order.key, 0) > 0 for order in by_fate[Fate.FAILED]),
        charged_twice=sum(charges.get(order.key, 0) > 1 for order in ended),
        p50=percentile(seconds, 0.50),
        p99=percentile(seconds, 0.99),
    )


def print_report(console: Console, show: Show, timeouts: Mapping[Dependency, float]) -> None:
    """The table, what the proxy did, and the next step."""
    payment = show.servers[Dependency.PAYMENT].ledger
    sums = {world: summarize(show.orders[world], payment.work) for world in World}
    limits = ", ".join(f"{d.value} {_seconds(timeouts[d])}" for d in Dependency)
    console.print()
    labels = [show.label(world) for world in (World.WITH, World.WITHOUT)]
    table = comparison(sums[World.WITH], sums[World.WITHOUT], show.observer, labels)
    if show.scene.faults:
        add_faults(table, show.observer)
    add_quotes(table, show.quotes[World.WITH], show.quotes[World.WITHOUT])
    console.print(table)
    if show.scene.faults:
        told = (
            "Both called through the proxy, with the same orders and the same shares of faults. "
            "Without policies a call has one attempt and a deadline"
        )
    else:
        told = (
            "Both saw the same orders and the same trouble at the same moments. Without the proxy "
            "a call has a plain client timeout"
        )
    console.print(Text(f"{told} ({limits}: the proxy's own deadlines).", style="dim"))
    console.print()
    console.print(what_the_proxy_did(show.observer, payment.repeats))
    console.print()
    console.print("README.md shows how to put it in front of your own service. To start it:")
    console.print("  resilience-proxy run", style="bold", highlight=False)


def comparison(
    with_proxy: Summary, without: Summary, observer: Observer, labels: Sequence[str]
) -> Table:
    """The comparison; what only the proxy does has a dash on the other side."""
    table = Table(title="What the proxy saved", title_style="bold", title_justify="left")
    table.add_column("")
    table.add_column(labels[0], justify="right", style="bold")
    table.add_column(labels[1], justify="right")

    def row(name: str, field: str, style: str = "") -> None:
        cells = [str(getattr(side, field)) for side in (with_proxy, without)]
        table.add_row(name, *cells, style=style)

    row("orders placed", "placed")
    row("orders succeeded", "succeeded", "green")
    row("  of these after a retry", "retried")
    row("  of these with shipping deferred", "deferred")
    row("orders failed", "failed", "red")
    row("  of these charged anyway", "stranded")
    row("orders charged twice", "charged_twice")
    shares = [f"{side.success_share:.1%}" for side in (with_proxy, without)]
    table.add_row("success", *shares, style="green")
    table.add_row("latency, median", _seconds(with_proxy.p50), _seconds(without.p50))
    table.add_row("latency, 99th percentile", _seconds(with_proxy.p99), _seconds(without.p99))
    table.add_section()
    for name, count in (
        ("retries made", observer.retries.total()),
        ("fallbacks served", observer.fallbacks.total()),
        ("calls saved by open breakers", observer.refused.total()),
        ("breaker transitions", len(observer.transitions)),
    ):
        table.add_row(name, str(count), "-")
    return table


def add_faults(table: Table, observer: Observer) -> None:
    """What was injected into the calls of both, and what hedges and limits did about it."""
    table.add_section()
    for kind, name in (("delay", "delays"), ("abort", "aborts"), ("reset", "resets")):
        sides = {True: 0, False: 0}
        for (route, injected), count in observer.faults.items():
            if injected == kind:
                sides[is_bare(route)] += count
        table.add_row(f"injected {name}", str(sides[False]), str(sides[True]))
    won = sum(count for (_, result), count in observer.hedges.items() if result == "won")
    hedged = sum(observer.hedged(dependency.value) for dependency in Dependency)
    table.add_row("calls hedged", str(hedged), "-")
    table.add_row("  of these answered by the hedge", str(won), "-")
    table.add_row("calls beyond a rate limit", str(observer.limited.total()), "-")
    table.add_row("ejections of an endpoint", str(observer.ejections.total()), "-")


def add_quotes(table: Table, with_proxy: Mapping[str, int], without: Mapping[str, int]) -> None:
    """What the two callers of pricing got, by gRPC status."""
    table.add_section()
    for name in ("OK", *sorted({*with_proxy, *without} - {"OK"})):
        counts = (str(side.get(name, 0)) for side in (with_proxy, without))
        table.add_row(f"gRPC calls to pricing: {name}", *counts)


def what_the_proxy_did(observer: Observer, repeats: int) -> RenderableType:
    """Every transition of a breaker with its time, and the result of repeated payments.

    `repeats` is how many repeated payments were recognised by their idempotency key.
    """
    return Group(*_timelines(observer.transitions), Text(_repeats(repeats)))


def _repeats(repeats: int) -> str:
    if not repeats:
        return "No payment was requested again after it was made."
    return (
        f"Payment recognised {repeats} repeated request{'s' if repeats > 1 else ''} by the "
        "idempotency key and did not charge again."
    )


def _timelines(transitions: Sequence[Transition]) -> list[Text]:
    if not transitions:
        return [Text("No breaker changed its state.")]
    lines = [Text("Breakers (seconds into the run)")]
    for name in sorted({t.breaker for t in transitions}):
        steps = [
            f"{t.state.replace('_', '-')}_{t.at:.1f}" for t in transitions if t.breaker == name
        ]
        # Joined while wrapping, so that a state and its time stay on one line.
        wrapped = textwrap.wrap(
            f"{name}: " + ", ".join(steps),
            width=78,
            initial_indent="  ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
        lines += [Text(line.replace("_", " ")) for line in wrapped]
    return lines


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
