"""The result of a simulation as one HTML file: every route's numbers and plots."""

from collections.abc import Callable, Sequence
from html import escape

from proxy.simulation.plots import Points, plot
from proxy.simulation.report import Result, Row, ejections, notes, rows
from proxy.simulation.tally import RouteTally, Slice, Tally, quantile, routes_of

_STYLE = """
:root { color-scheme: light dark; --soft: light-dark(#d6d9de, #3a3f47);
  --quiet: light-dark(#5b616b, #a2a9b4); --line0: light-dark(#6b7280, #9aa3af);
  --line1: light-dark(#0b62c4, #6cb0ff); --line2: light-dark(#b3470b, #ff9b5e); }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem;
  padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .8rem .15rem 0; text-align: right; }
th:first-child, td:first-child { text-align: left; white-space: pre; }
tr { border-bottom: 1px solid var(--soft); }
svg { display: block; max-width: 640px; width: 100%; margin: .3rem 0 1rem; }
svg text { font-size: 11px; fill: var(--quiet); } svg .grid { stroke: var(--soft); }
polyline { fill: none; stroke-width: 1.6; }
.line0 { stroke: var(--line0); } .line1 { stroke: var(--line1); } .line2 { stroke: var(--line2); }
.key span { display: inline-block; margin-right: 1.2rem; } .key i { display: inline-block;
  width: 1.4rem; height: 0; border-top: 3px solid; vertical-align: middle; margin-right: .4rem; }
h3 { margin: .8rem 0 0; font-size: 1rem; } .notes { color: var(--quiet); }
"""


def as_html(result: Result) -> str:
    """A whole document."""
    names = list(routes_of(result.tallies))
    body = "".join(_route(result, name) for name in names)
    number, seconds = len(result.recording.requests), result.recording.seconds
    said = "".join(f"<li>{escape(line)}</li>" for line in notes(result))
    title = " and ".join(escape(one.name) for one in result.tallies[1:])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Simulation of {title}</title><style>{_STYLE}</style></head><body>"
        f"<h1>What {title} would have done</h1>"
        f"<p>{number:,} requests in {seconds:,.1f} s.</p>{_key(result.tallies)}{body}"
        f"{_ejections(result.tallies)}"
        f'<h2>How sure it is</h2><ul class="notes">{said}</ul></body></html>\n'
    )


def _key(tallies: Sequence[Tally]) -> str:
    entries = "".join(
        f'<span><i style="border-color: var(--line{number})"></i>{escape(one.name)}</span>'
        for number, one in enumerate(tallies)
    )
    return f'<p class="key">{entries}</p>'


def _route(result: Result, name: str) -> str:
    tallies = result.tallies
    routes = [one.routes.get(name, RouteTally()) for one in tallies]
    plots = "".join(
        f"<h3>{title}</h3>"
        + plot(
            [(one.name, _points(one, name, value)) for one in tallies],
            seconds=result.recording.seconds,
            unit=unit,
        )
        for title, unit, value in _PLOTS
    )
    label = f"Route {escape(name)}" if name else "No route"
    return f"<h2>{label}</h2>{_table(tallies, rows(routes))}{plots}"


def _ejections(tallies: Sequence[Tally]) -> str:
    ejected = ejections(tallies)
    return f"<h2>Ejections</h2>{_table(tallies, ejected)}" if ejected else ""


def _table(tallies: Sequence[Tally], cells_of: Sequence[Row]) -> str:
    heads = "".join(f"<th scope=col>{escape(one.name)}</th>" for one in tallies)
    lines = "".join(
        f"<tr><td>{escape(label[2:])}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for label, cells in cells_of
    )
    return f"<table><tr><th></th>{heads}</tr>{lines}</table>"


def _points(tally: Tally, name: str, value: Callable[[Slice, float], float]) -> Points:
    route = tally.routes.get(name)
    if route is None:
        return []
    return [
        ((slot + 0.5) * tally.slice_of, value(slice_, tally.slice_of))
        for slot, slice_ in sorted(route.series.items())
    ]


def _failed(slice_: Slice, _: float) -> float:
    return 100 * slice_.failed / slice_.requests


def _p99(slice_: Slice, _: float) -> float:
    return 1000 * quantile(slice_.durations, 0.99)


def _attempts(slice_: Slice, seconds: float) -> float:
    return slice_.attempts / seconds


_PLOTS: Sequence[tuple[str, str, Callable[[Slice, float], float]]] = (
    ("Failed requests", " %", _failed),
    ("99th percentile", " ms", _p99),
    ("Attempts per second", "", _attempts),
)
