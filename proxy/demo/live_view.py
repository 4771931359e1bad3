"""The demo in a terminal, redrawn several times a second, for 80 columns and more."""

from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from proxy.demo.narration import narrate
from proxy.demo.observation import CLOSED, HALF_OPEN, OPEN, BreakerStatus
from proxy.demo.orders import Fate, World
from proxy.demo.scene import Dependency
from proxy.demo.show import Show

_STATE_STYLES = {CLOSED: "green", OPEN: "bold red", HALF_OPEN: "bold yellow"}
_FATE_STYLES = {
    Fate.UNDER_WAY: "dim",
    Fate.OK: "green",
    Fate.RETRIED: "bold cyan",
    Fate.DEFERRED: "yellow",
    Fate.FAILED: "bold red",
}
_TICKER_MARGIN = 18  # columns that the ticker leaves for its label
_EVENTS = 4


@dataclass(frozen=True, slots=True)
class Symbols:
    """The characters for terminals without and with Unicode."""

    fates: dict[Fate, str]
    state: str
    full: str
    empty: str


_UNICODE = Symbols(
    {
        Fate.UNDER_WAY: "·",
        Fate.OK: "•",
        Fate.RETRIED: "↻",
        Fate.DEFERRED: "◐",
        Fate.FAILED: "✗",
    },
    state="●",
    full="█",
    empty="░",
)
_ASCII = Symbols(
    {
        Fate.UNDER_WAY: ".",
        Fate.OK: "o",
        Fate.RETRIED: "r",
        Fate.DEFERRED: "d",
        Fate.FAILED: "X",
    },
    state="*",
    full="#",
    empty=".",
)


def symbols_for(console: Console) -> Symbols:
    return _UNICODE if console.encoding.lower().startswith("utf") else _ASCII


def picture(show: Show, width: int, symbols: Symbols) -> RenderableType:
    """The whole view for a terminal of `width` columns."""
    parts = [
        _progress(show, width, symbols),
        # Always two lines, so that the lines below do not move.
        Text(_two_lines(narrate(show), width - 2), style="italic"),
        Text(),
        (_faulted if show.scene.faults else _dependencies)(show, symbols),
        _quotes(show),
        Text(),
        *(_ticker(show, world, width, symbols) for world in World),
        _legend(symbols),
        Text(),
        *_events(show),
        Text(f"status page: {show.admin}/", style="dim"),
    ]
    return Padding(Group(*parts), (1, 1, 0, 1))


def _two_lines(sentence: str, width: int) -> str:
    return sentence if len(sentence) > width else sentence + "\n"


def _progress(show: Show, width: int, symbols: Symbols) -> Text:
    duration = show.scene.tempo.duration
    now = min(show.now(), duration)
    head = f"resilience-proxy demo  {now:4.1f} of {duration:g} s  "
    room = max(10, width - len(head) - 3)
    done = round(room * now / duration)
    return Text.assemble(
        (head, "bold"), ("━" * done if symbols is _UNICODE else "=" * done, "cyan")
    )


def _dependencies(show: Show, symbols: Symbols) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("dependency", min_width=10, no_wrap=True)
    table.add_column("trouble", min_width=13, no_wrap=True)
    table.add_column("breaker", min_width=12, no_wrap=True)
    table.add_column("failures", min_width=13, no_wrap=True)
    table.add_column("retries", justify="right")
    table.add_column("saved", justify="right")
    table.add_column("deferred", justify="right")
    observer = show.observer
    for dependency in Dependency:
        name = dependency.value
        trouble = show.trouble(dependency)
        status = show.breaker(dependency)
        table.add_row(
            Text(name, style="bold"),
            Text(trouble, style="green" if trouble == "well" else "bold red"),
            _state(status, symbols),
            _failure_rate(status, symbols),
            str(observer.retries[name]),
            str(observer.refused[name]),
            str(observer.fallbacks[name]),
        )
    return table


def _faulted(show: Show, symbols: Symbols) -> Table:
    """What the proxy injects into the calls of the routes with policies, and what these do."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("dependency", min_width=10, no_wrap=True)
    table.add_column("faults injected", min_width=21, no_wrap=True)
    table.add_column("breaker", min_width=12, no_wrap=True)
    for policy in ("retry", "hedge", "limit", "defer", "eject"):
        table.add_column(policy, justify="right", no_wrap=True)
    observer = show.observer
    for dependency in Dependency:
        name = dependency.value
        counts = {kind: observer.faults[name, kind] for kind in ("delay", "abort", "reset")}
        told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        table.add_row(
            Text(name, style="bold"),
            Text(told or "none yet", style="bold red" if told else "dim"),
            _state(show.breaker(dependency), symbols),
            str(observer.retries[name]),
            str(observer.hedged(name)),
            str(observer.limited[name]),
            str(observer.fallbacks[name]),
            Text(str(observer.ejections[name]), style="bold red" if observer.ejected[name] else ""),
        )
    return table


def _quotes(show: Show) -> Text:
    """What the two callers of pricing got, by gRPC status, OK first."""
    sides = [show.quotes[world] for world in (World.WITH, World.WITHOUT)]
    line = Text("gRPC, with/without: ", style="dim", no_wrap=True)
    names = sorted({"OK"}.union(*sides), key=lambda name: (name != "OK", name))
    for at, name in enumerate(names):
        counts = "/".join(str(side.get(name, 0)) for side in sides)
        line.append(f"{', ' if at else ''}{name} {counts}", style="red" if at else "green")
    return line


def _state(status: BreakerStatus, symbols: Symbols) -> Text:
    text = f"{symbols.state} {status.state.replace('_', '-')}"
    if status.state == OPEN and status.next_probe is not None:
        text += f" {status.next_probe:.1f}s"
    return Text(text, style=_STATE_STYLES.get(status.state, "magenta"))


def _failure_rate(status: BreakerStatus, symbols: Symbols) -> Text:
    if status.failure_rate < 0:
        return Text(symbols.empty * 8 + "    -", style="dim")
    full = min(8, round(status.failure_rate / 100 * 8))
    return Text.assemble(
        (symbols.full * full, "red"),
        (symbols.empty * (8 - full), "dim"),
        f" {status.failure_rate:3.0f}%",
    )


def _ticker(show: Show, world: World, width: int, symbols: Symbols) -> RenderableType:
    """The latest orders, the newest on the right, and below them the totals."""
    orders = show.orders[world]
    latest = orders[-max(10, width - _TICKER_MARGIN - 2) :]
    line = Text(f"{show.label(world):<{_TICKER_MARGIN - 2}}", style="bold", no_wrap=True)
    for order in latest:
        line.append(symbols.fates[order.fate], style=_FATE_STYLES[order.fate])
    counts = {fate: show.count(world, fate) for fate in Fate}
    good = sum(count for fate, count in counts.items() if fate.good)
    below = Text(" " * (_TICKER_MARGIN - 2), no_wrap=True)
    below.append(f"{good} ok", style="green")
    if world is World.WITH:
        below.append(f" ({counts[Fate.RETRIED]} by a retry", style="cyan")
        below.append(f", {counts[Fate.DEFERRED]} deferred)", style="yellow")
    below.append(f", {counts[Fate.FAILED]} failed", style="red")
    if world is World.WITH:
        below.append(f", {show.observer.in_flight} in flight", style="dim")
    return Group(line, below)


def _legend(symbols: Symbols) -> Text:
    legend = Text(style="dim")
    for fate in (Fate.OK, Fate.RETRIED, Fate.DEFERRED, Fate.FAILED, Fate.UNDER_WAY):
        legend.append(symbols.fates[fate], style=_FATE_STYLES[fate])
        legend.append(f" {fate.value}   ")
    return legend


def _events(show: Show) -> list[Text]:
    """The latest transitions; always the same number of lines, so that the height stays."""
    latest = show.observer.transitions[-_EVENTS:]
    lines = [
        Text.assemble(
            (f"{t.at:5.1f} s  ", "dim"),
            f"{t.breaker}'s breaker is ",
            (t.state.replace("_", "-"), _STATE_STYLES.get(t.state, "")),
        )
        for t in latest
    ]
    return lines + [Text()] * (_EVENTS - len(lines))
