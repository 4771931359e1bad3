"""The tables of the view: the columns of each, and which rows the overview shows.

Colour is never the only sign: everything red or green also has a word.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from rich.text import Text

from proxy.grpc_status import FAILURES, name_of
from proxy.top import words
from proxy.top.looks import USABLE, Breaker, Endpoint, Look, Queue, Troubled
from proxy.top.rates import Order, RouteRates, Window, ordered

NAME = 24
"""Maximum columns of a name."""

_STATES = {
    "closed": "green",
    "open": "bold red",
    "half_open": "bold yellow",
    "forced_open": "bold red",
    "disabled": "magenta",
}


class Name(Enum):
    """The sections, in their order; a digit shows one of them alone."""

    ROUTES = "routes"
    BREAKERS = "circuit breakers"
    BULKHEADS = "bulkheads"
    BUDGETS = "retry budgets"
    ENDPOINTS = "endpoints"
    RECENT = "recent trouble"
    GATES = "other gates"
    OUTBOX = "outbox"
    SAGAS = "sagas"


@dataclass(frozen=True, slots=True)
class Column:
    """`flexible`: takes the remaining width; its text may be cut."""

    title: str
    right: bool = False
    flexible: bool = False


@dataclass(slots=True)
class Section:
    """One table; `empty` is its text without rows."""

    name: Name
    columns: Sequence[Column]
    rows: list[list[Text]] = field(default_factory=list)
    empty: str = ""


def sections(window: Window, look: Look, order: Order, *, alone: Name | None) -> list[Section]:
    """All sections with a row; or `alone` one of them with all rows."""
    if alone is not None:
        return [_MAKERS[alone](window, look, order, True)]
    made = [make(window, look, order, False) for make in _MAKERS.values()]
    return [one for one in made if one.rows]


# --- routes ---------------------------------------------------------------------------------


def _routes(window: Window, look: Look, order: Order, everything: bool) -> Section:
    columns = [
        Column("route"),
        Column("side"),
        Column("req/s", right=True),
        Column("5xx", right=True),
        Column("retry/s", right=True),
        Column("p50", right=True),
        Column("p99", right=True),
        Column("now", right=True),
        Column("total", right=True),
    ]
    longest = max((one.bounds[-1] for one in look.routes if one.bounds), default=None)
    section = Section(Name.ROUTES, columns)
    for one in ordered(window.routes(), order):
        section.rows.append(_route(one, longest))
    return section


def _route(one: RouteRates, longest: float | None) -> list[Text]:
    errors = None if one.errors is None else 100 * one.errors
    return [
        Text(words.shortened(one.name, NAME), style="bold"),
        Text("in" if one.listener == "inbound" else "out"),
        Text(words.rate(one.requests)),
        Text(words.percent(errors), style="bold red" if errors else ""),
        Text(words.rate(one.retries), style="yellow" if one.retries else ""),
        Text(words.milliseconds(one.p50, longest)),
        Text(words.milliseconds(one.p99, longest)),
        Text(str(one.flying)),
        Text(str(one.total), style="dim"),
    ]


# --- policies -------------------------------------------------------------------------------


def _breakers(window: Window, look: Look, order: Order, everything: bool) -> Section:
    """Breakers that refuse first, then by failures."""
    columns = [
        Column("circuit breaker"),
        Column("state"),
        Column("failures", right=True),
        Column("slow", right=True),
        Column("calls", right=True),
        Column("refused", right=True),
        Column("next probe", right=True),
    ]
    section = Section(Name.BREAKERS, columns, empty="no circuit breaker has been used yet")
    for one in sorted(look.breakers, key=lambda one: (one.state == "closed", -one.failure_rate)):
        section.rows.append(_breaker(one))
    return section


def _breaker(one: Breaker) -> list[Text]:
    state = one.state.replace("_", "-") + (" (observed)" if one.mode == "observe" else "")
    probe = "-" if one.next_probe is None else f"{one.next_probe:.1f}s"
    return [
        Text(words.shortened(one.name, NAME), style="bold"),
        Text(state, style=_STATES.get(one.state, "")),
        Text(words.percent(one.failure_rate)),
        Text(words.percent(one.slow_rate)),
        Text(str(one.calls)),
        Text(str(one.refused), style="red" if one.refused else ""),
        Text(probe),
    ]


def _bulkheads(window: Window, look: Look, order: Order, everything: bool) -> Section:
    """Fullest first; the overview has only those that are half full or have a queue."""
    columns = [
        Column("bulkhead"),
        Column("in use", right=True),
        Column("limit", right=True),
        Column("full", right=True),
        Column("queued", right=True),
        Column("queue", right=True),
    ]
    section = Section(Name.BULKHEADS, columns, empty="no bulkhead has been used yet")
    for one in sorted(look.bulkheads, key=lambda one: -one.in_use / max(one.limit, 1)):
        if not (everything or 2 * one.in_use >= one.limit or one.queued):
            continue
        full = one.in_use >= one.limit and not one.observed
        share = "observed" if one.observed else f"{100 * one.in_use // max(one.limit, 1)}%"
        section.rows.append(
            [
                Text(words.shortened(one.name, NAME), style="bold"),
                Text(str(one.in_use)),
                Text(str(one.limit)),
                Text("FULL" if full else share, style="bold red" if full else ""),
                Text(str(one.queued), style="yellow" if one.queued else ""),
                Text(str(one.max_queue), style="dim"),
            ]
        )  # fmt: skip
    return section


def _budgets(window: Window, look: Look, order: Order, everything: bool) -> Section:
    """The overview has only those with a quarter or less left."""
    columns = [
        Column("retry budget"),
        Column("left", right=True),
        Column("allowed", right=True),
        Column("retries", right=True),
        Column("requests", right=True),
    ]
    section = Section(Name.BUDGETS, columns, empty="no retry budget has been used yet")
    for one in sorted(look.budgets, key=lambda one: one.remaining / max(one.allowed, 1)):
        if not (everything or 4 * one.remaining <= one.allowed):
            continue
        left = "used up" if one.remaining <= 0 else str(one.remaining)
        section.rows.append(
            [
                Text(words.shortened(one.name, NAME), style="bold"),
                Text(left, style="bold red" if one.remaining <= 0 else ""),
                Text(str(one.allowed)),
                Text(str(one.retries)),
                Text(str(one.requests)),
            ]
        )
    return section


def _others(window: Window, look: Look, order: Order, everything: bool) -> Section:
    """What has no table of its own."""
    columns = [Column("gate"), Column("kind"), Column("says", flexible=True)]
    section = Section(Name.GATES, columns, empty="there is no other gate")
    for one in look.others:
        name = Text(words.shortened(one.name, NAME), style="bold")
        section.rows.append([name, Text(one.kind), Text(one.says)])
    return section


# --- promises -------------------------------------------------------------------------------


def _outbox(window: Window, look: Look, order: Order, everything: bool) -> Section:
    """Queues with dead or parked entries first, then the oldest."""
    columns = [
        Column("outbox"),
        Column("pending", right=True),
        Column("tried now", right=True),
        Column("oldest", right=True),
        Column("blocked", right=True),
        Column("parked", right=True),
        Column("dead", right=True),
    ]
    broken = any(one.broken for one in look.outbox)
    if broken:
        columns.append(Column("no row is delivered", flexible=True))
    section = Section(Name.OUTBOX, columns, empty="nothing was accepted yet")
    for one in sorted(look.outbox, key=_urgency):
        section.rows.append(
            [
                Text(words.shortened(one.route, NAME), style="bold"),
                Text(str(one.pending)),
                Text(str(one.delivering)),
                Text(words.age(one.oldest) if one.oldest else "-", style=_old(one.oldest)),
                Text(str(one.blocked), style="yellow" if one.blocked else ""),
                Text(str(one.parked), style="bold red" if one.parked else ""),
                Text(str(one.dead), style="bold red" if one.dead else ""),
                *([Text(one.broken, style="bold red")] if broken else ()),
            ]
        )
    return section


def _urgency(one: Queue) -> tuple[bool, float]:
    return not (one.dead or one.parked or one.broken), -one.oldest


_OLD = 600.0
"""Seconds; the alert of the chart has the same limit."""


def _old(seconds: float) -> str:
    return "bold red" if seconds >= _OLD else ""


def _sagas(window: Window, look: Look, order: Order, everything: bool) -> Section:
    """Stuck ones first, then the oldest. Sagas that have ended are not shown."""
    columns = [
        Column("unfinished saga"),
        Column("running", right=True),
        Column("compensating", right=True),
        Column("stuck", right=True),
        Column("oldest", right=True),
    ]
    section = Section(Name.SAGAS, columns, empty="no saga is unfinished")
    for one in sorted(look.sagas, key=lambda one: (-one.stuck, -one.oldest)):
        section.rows.append(
            [
                Text(words.shortened(one.saga, NAME), style="bold"),
                Text(str(one.running)),
                Text(str(one.undoing), style="yellow" if one.undoing else ""),
                Text(str(one.stuck), style="bold red" if one.stuck else ""),
                Text(words.age(one.oldest)),
            ]
        )
    return section


# --- upstreams ------------------------------------------------------------------------------


def _endpoints(window: Window, look: Look, order: Order, everything: bool) -> Section:
    """Endpoints that get no requests first, then the busiest."""
    columns = [
        Column("endpoint"),
        Column("upstream"),
        Column("is"),
        Column("active", right=True),
        Column("open", right=True),
        Column("idle", right=True),
        Column("waiting", right=True),
    ]
    section = Section(Name.ENDPOINTS, columns, empty="no endpoint is known yet")
    for one in sorted(look.endpoints, key=lambda one: (one.state == USABLE, -one.active)):
        section.rows.append(_endpoint(one))
    return section


def _endpoint(one: Endpoint) -> list[Text]:
    return [
        Text(words.shortened(one.address, NAME), style="bold"),
        Text(words.shortened(one.upstream, NAME)),
        Text(one.state, style="green" if one.state == USABLE else "bold red"),
        Text(str(one.active)),
        Text(str(one.open)),
        Text(str(one.idle)),
        Text(str(one.waiting), style="yellow" if one.waiting else ""),
    ]


# --- recent trouble -------------------------------------------------------------------------


def _recent(window: Window, look: Look, order: Order, everything: bool) -> Section:
    """The overview has the latest request of each kind: a flood has equal rows."""
    columns = [
        Column("time"),
        Column("recent trouble", flexible=True),
        Column("route"),
        Column("sent", right=True),
        Column("why"),
        Column("tries", right=True),
        Column("took", right=True),
    ]
    if look.recent is None:
        return Section(Name.RECENT, columns, empty="this proxy records no requests with trouble")
    empty = "no request had trouble yet"
    if everything:
        return Section(Name.RECENT, columns, [_troubled(one) for one in look.recent], empty)
    kinds: dict[tuple[str, str, str], list[Troubled]] = {}
    for one in look.recent:
        kinds.setdefault((one.route, _sent(one), _why(one)), []).append(one)
    columns.insert(1, Column("times", right=True))
    rows = []
    for alike in kinds.values():
        rows.append(_troubled(alike[0]))
        rows[-1].insert(1, Text(f"{len(alike)}x"))
    return Section(Name.RECENT, columns, rows, empty)


def _troubled(one: Troubled) -> list[Text]:
    return [
        Text(one.time[11:19]),
        Text(f"{one.method} {one.path}".strip() or "-", style="bold"),
        Text(words.shortened(one.route, NAME)),
        Text(_sent(one), style="bold red" if _failed(one) else ""),
        Text(_why(one)),
        Text(str(one.attempts)),
        Text(words.milliseconds(one.duration_ms)),
    ]


def _sent(one: Troubled) -> str:
    return one.grpc_status or str(one.status or "-")


def _failed(one: Troubled) -> bool:
    return one.status >= 500 or one.grpc_status in _FAILURES


_FAILURES = frozenset(map(name_of, FAILURES))


def _why(one: Troubled) -> str:
    if one.fallback:
        return f"fallback: {one.reason}" if one.reason else "fallback"
    if one.reason:
        return one.reason
    return f"no retry: {one.refused}" if one.refused else one.trouble


# In the order of the overview.
_Maker = Callable[[Window, Look, Order, bool], Section]
_MAKERS: dict[Name, _Maker] = {
    Name.ROUTES: _routes,
    Name.BREAKERS: _breakers,
    Name.BULKHEADS: _bulkheads,
    Name.BUDGETS: _budgets,
    Name.OUTBOX: _outbox,
    Name.SAGAS: _sagas,
    Name.ENDPOINTS: _endpoints,
    Name.RECENT: _recent,
    Name.GATES: _others,
}
