"""Draws the whole view for a terminal of a given size."""

from dataclasses import dataclass
from textwrap import wrap

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from proxy.top import words
from proxy.top.looks import Look
from proxy.top.rates import Order, Window
from proxy.top.sections import Name, Section, sections


@dataclass(slots=True)
class View:
    """The state of the view. `failed_at`: monotonic seconds of the first failed sample.

    `selected`: a row of the recent trouble; `story` its story line by line, while it is shown.
    """

    url: str
    window: Window
    order: Order = Order.CONFIGURED
    alone: Name | None = None
    paused: bool = False
    failure: str = ""
    failed_at: float = 0.0
    selected: int = 0
    story: tuple[str, ...] = ()
    scrolled: int = 0


_KEYS = "q quit  s sort  space pause  1-9 one table  0 all"
_RECENT_KEYS = "q quit  up/down select  enter its story  0 all"
_STORY_KEYS = "q quit  up/down scroll  0 back"


def picture(view: View, now: float, width: int, height: int | None) -> RenderableType:
    """`height` None: as many lines as needed, and no key hints; for plain output."""
    look = view.window.latest
    lines: list[RenderableType] = [*_head(view, look, now, width)]
    foot = None if height is None else Text(_keys(view)[:width], style="dim")
    room = None if height is None else height - len(lines) - 1
    if view.story:
        lines += _story(view, width, room)
    elif look is not None:
        lines += _tables(view, look, width, room)
    if foot is not None:
        lines.append(foot)
    return Group(*lines)


def _keys(view: View) -> str:
    if view.story:
        return _STORY_KEYS
    return _RECENT_KEYS if view.alone is Name.RECENT else _KEYS


# --- the head -------------------------------------------------------------------------------


def _head(view: View, look: Look | None, now: float, width: int) -> list[Text]:
    """The proxy and its state, notes about the numbers, and the store if there is one."""
    if look is None:
        first = Text(f"resilience-proxy top  {view.url}", style="bold")
    else:
        state, style = _state(look)
        first = Text.assemble(
            (words.shortened(look.service, 24), "bold"),
            f"  {look.version}  up {words.age(look.uptime)}  ",
            (state, style),
            f"  in flight {look.inbound} in, {look.outbound} out",
        )
        if look.tries:
            first.append(f", {look.tries} of deliveries")
        if look.bypass:
            first.append(f"  BYPASS for {words.age(look.bypass)}", style="bold yellow")
        if look.oldest >= 1:
            first.append(f", oldest {words.age(look.oldest)}")
    lines = [first, _second(view, look, now), *_store(view, look)]
    for line in lines:
        line.truncate(width)
        line.no_wrap = True
    return lines


def _state(look: Look) -> tuple[str, str]:
    if look.draining:
        return "DRAINING", "bold yellow"
    return ("ready", "green") if look.ready else ("NOT READY", "bold red")


def _second(view: View, look: Look | None, now: float) -> Text:
    if view.failure:
        seconds = words.age(now - view.failed_at)
        return Text(f"NO ANSWER for {seconds}, trying again: {view.failure}", style="bold red")
    if look is None:
        return Text("asking ...", style="dim")
    if look.reload is not None and look.reload.result == "rejected":
        more = f" and {look.reload.problems - 1} more" if look.reload.problems > 1 else ""
        return Text(f"RELOAD REJECTED{more}: {look.reload.first}", style="bold red")
    words_ = [f"rates of the last {view.window.span:.0f} s" if view.window.span else "no rates yet"]
    if view.order is not Order.CONFIGURED:
        words_.append(f"routes {view.order.value}")
    if view.paused:
        words_.append("PAUSED")
    return Text(", ".join(words_), style="dim")


def _store(view: View, look: Look | None) -> list[Text]:
    """Whether promises can be given now."""
    if look is None or look.store is None:
        return []
    store, rates = look.store, view.window.store()
    line = Text(f"store {store.engine} ")
    if store.failure:
        return [line.append(f"FAILED: {store.failure}", style="bold red")]
    line.append("FULL" if store.full else store.state, style="bold red" if store.full else "")
    line.append(f", {words.size(store.bytes)}")
    if store.max_bytes:
        line.append(f" of {words.size(store.max_bytes)}")
    if rates is not None:
        p99 = words.milliseconds(rates.p99, store.bounds[-1] if store.bounds else None)
        line.append(f", {words.rate(rates.commits)} commits/s, p99 {p99}")
    if store.refused:
        line.append(f", {store.refused} refused", style="yellow")
    return [line]


# --- the tables -----------------------------------------------------------------------------


def _tables(view: View, look: Look, width: int, room: int | None) -> list[RenderableType]:
    found = sections(view.window, look, view.order, alone=view.alone)
    allotted = allot([max(len(one.rows), 1) for one in found], room)
    shown = [(section, rows) for section, rows in zip(found, allotted, strict=True) if rows > 0]
    used = sum(allotted) + len(shown)
    gaps = len(shown) if room is None else min(room - used, len(shown))
    drawn: list[RenderableType] = []
    for number, (section, rows) in enumerate(shown):
        if number < gaps:
            drawn.append(Text())
        drawn.append(_table(section, rows, width, view))
    if room is not None:
        drawn += [Text()] * (room - used - gaps)  # keeps the key hints on the last line
    return drawn


def allot(wanted: list[int], room: int | None) -> list[int]:
    """How many rows of `room` lines each table gets; each takes one more for its titles.

    First all get two rows, in order, then one more each in turn, until no room or row is left.
    """
    if room is None:
        return wanted
    given = [0] * len(wanted)
    left = room
    for number, rows in enumerate(wanted):
        share = min(rows, 2, left - 1)
        if share > 0:
            given[number] = share
            left -= share + 1
    while left > 0:
        hungry = [n for n, rows in enumerate(wanted) if 0 < given[n] < rows]
        if not hungry:
            break
        for number in hungry[:left]:
            given[number] += 1
            left -= 1
    return given


def _table(section: Section, rows: int, width: int, view: View) -> RenderableType:
    """`rows` lines below the titles; if there are more, the last line says how many."""
    flexible = any(column.flexible for column in section.columns)
    table = Table(
        box=None,
        padding=(0, 1, 0, 0),
        header_style="bold underline",
        width=width if flexible else None,
        pad_edge=False,
    )
    for column in section.columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if column.flexible else None,
        )
    if not section.rows:
        table.add_row(Text(section.empty, style="dim"))
        return table
    first = _first_shown(section, rows, view)
    whole = len(section.rows) <= rows
    shown = section.rows[first : first + (rows if whole else max(rows - 1, 1))]
    chosen = view.selected if view.alone is Name.RECENT else None
    for number, row in enumerate(shown, first):
        table.add_row(*row, style="reverse" if number == chosen else None)
    if not whole and rows > 1:
        digit = list(Name).index(section.name) + 1
        hint = "" if view.alone is not None else f" (key {digit})"
        more = Text(f".. {len(section.rows) - len(shown)} more{hint}", style="dim")
        return Group(table, more)
    return table


def _first_shown(section: Section, rows: int, view: View) -> int:
    """Only a table with a selected row is scrolled."""
    if view.alone is not Name.RECENT or len(section.rows) <= rows:
        return 0
    last = len(section.rows) - max(rows - 1, 1)
    return max(0, min(last, view.selected - max(rows - 1, 1) + 1))


def _story(view: View, width: int, room: int | None) -> list[RenderableType]:
    lines: list[RenderableType] = [Text(line, no_wrap=True) for line in _wrapped(view.story, width)]
    if room is None:
        return lines
    first = min(view.scrolled, max(0, len(lines) - room))
    shown = lines[first : first + room]
    return shown + [Text()] * (room - len(shown))


def _wrapped(lines: tuple[str, ...], width: int) -> list[str]:
    """Continuation lines are indented a little more."""
    found: list[str] = []
    for line in lines:
        text = line.lstrip()
        indent = " " * min(len(line) - len(text), width // 2)
        broken = wrap(
            text,
            max(width, 4),
            initial_indent=indent,
            subsequent_indent=indent + "  ",
            break_on_hyphens=False,
        )
        found += broken or [""]
    return found
