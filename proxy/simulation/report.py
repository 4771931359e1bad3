"""The result of a simulation as a table, or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxy.config.model import Config
from proxy.simulation.recording import Recording
from proxy.simulation.tally import RouteTally, Tally, routes_of
from proxy.simulation.world import World

Row = tuple[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Result:
    """The log's tally first, then one for each played file."""

    recording: Recording
    tallies: Sequence[Tally]
    worlds: Sequence[World]
    configs: Sequence[Config]
    seed: int


def as_text(result: Result) -> str:
    """A table for each route, then what the simulation cannot know."""
    tallies = result.tallies
    parts = [_span(result)]
    for name in routes_of(tallies):
        present = [one.routes.get(name, RouteTally()) for one in tallies]
        heads = [one.name for one in tallies]
        parts.append("\n".join(_table(f"route {name}" if name else "no route", heads, present)))
    if ejected := ejections(tallies):
        parts.append("\n".join(_lines("ejections", [one.name for one in tallies], ejected)))
    parts.append("\n".join(notes(result)))
    return "\n\n".join(parts)


def _span(result: Result) -> str:
    recording = result.recording
    number = len(recording.requests)
    return f"{number:,} requests in {recording.seconds:,.1f} s"


def _table(title: str, heads: Sequence[str], routes: Sequence[RouteTally]) -> list[str]:
    return _lines(title, heads, rows(routes))


def _lines(title: str, heads: Sequence[str], cells_of: Sequence[Row]) -> list[str]:
    lines = [(title, list(heads)), *cells_of]
    width = max(len(label) for label, _ in lines) + 2
    widths = [max(len(cells[at]) for _, cells in lines) for at in range(len(heads))]
    return [
        label.ljust(width)
        + "  ".join(cell.rjust(wide) for cell, wide in zip(cells, widths, strict=True))
        for label, cells in lines
    ]


def rows(routes: Sequence[RouteTally]) -> list[Row]:
    """The rows of one route's table: a label, and a cell for each tally."""
    made: list[Row] = [
        ("  requests", [f"{one.requests:,}" for one in routes]),
        ("  answered", [f"{one.answered:,}" for one in routes]),
        ("  failed", [f"{one.failed:,}" for one in routes]),
    ]
    for reason in sorted({reason for one in routes for reason in one.reasons}):
        made.append((f"    {reason}", [f"{one.reasons[reason]:,}" for one in routes]))
    made += [
        ("  limited", [f"{one.limited:,}" for one in routes]),
        ("  retries", [f"{one.retries:,}" for one in routes]),
        ("  hedges", [f"{one.hedges:,}" for one in routes]),
        ("  p50", [_ms(one.quantile(0.5)) for one in routes]),
        ("  p99", [_ms(one.quantile(0.99)) for one in routes]),
        ("  attempts", [f"{one.attempts:,}" for one in routes]),
    ]
    for endpoint in sorted({endpoint for one in routes for endpoint in one.load}):
        made.append((f"    {endpoint}", [f"{one.load[endpoint]:,}" for one in routes]))
    return made


def ejections(tallies: Sequence[Tally]) -> list[Row]:
    """The rows of the upstreams' table: a log does not tell of ejections."""
    names = sorted({name for one in tallies for name in one.ejections or ()})
    return [
        (
            f"  {name}",
            ["-" if one.ejections is None else f"{one.ejections[name]:,}" for one in tallies],
        )
        for name in names
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"


def notes(result: Result) -> list[str]:
    """How much of it is known, and what a log cannot tell."""
    said = []
    for tally, world in zip(result.tallies[1:], result.worlds, strict=True):
        known, drawn = world.drawing.known, world.drawing.drawn
        share = drawn / (known + drawn) if known + drawn else 0.0
        said.append(
            f"{tally.name}: {known:,} attempts had the outcome that the log has for them; "
            f"{drawn:,} ({share:.0%}) one that their endpoint had around that moment "
            f"(seed {result.seed})."
        )
        said += [
            f"{tally.name}: left out: {n:,} {why}." for why, n in sorted(world.skipped.items())
        ]
    recording = result.recording
    if recording.unreadable:
        said.append(
            f"lines that could not be read: {recording.unreadable:,}, the first is line "
            f"{recording.first_unreadable:,}."
        )
    if recording.only_trouble:
        said.append(
            "Each request of the log had trouble: it seems to be the log of a proxy without "
            "access_log: {requests: all}, and the others are missing."
        )
    if recording.unroutable:
        said.append(f"{recording.unroutable:,} lines were input that is not a request.")
    for tally, config, world in zip(result.tallies[1:], result.configs, result.worlds, strict=True):
        said += [f"{tally.name}: {line}" for line in _unknowable(config, world)]
    said.append(
        "Not in a log: header fields and queries, Retry-After, the pace of bodies, the time that "
        "an upstream would take under another load."
    )
    return said


def _unknowable(config: Config, world: World) -> list[str]:
    said = []
    blind = [route.name for route in config.routes if route.match.headers or route.match.query]
    if blind:
        names = ", ".join(blind)
        said.append(f"no request goes to {names}: the log has no headers and no query to match.")
    limits = sorted(frozenset().union(*world.playable.left_out.values()))
    if limits:
        said.append(
            f"rate limits that count by a header ({', '.join(limits)}) refuse what they refused in "
            "the log, and nothing else."
        )
    for route, method in sorted(world.keys.assumed):
        said.append(
            f"{method} requests of {route} are taken to have an idempotency key, because the log "
            "has retries of such requests."
        )
    if world.as_logged:
        said.append(
            f"{world.as_logged:,} requests that an idempotency key, the outbox or a saga answered, "
            "or that failed for a reason that no policy decides, are counted as the log has them."
        )
    if any(route.mirror is not None for route in config.routes):
        said.append("mirrors get no copies.")
    if any(upstream.health_check is not None for upstream in config.upstreams.values()):
        said.append("health checks are off: the log has traffic only.")
    return said


def as_json(result: Result) -> str:
    """Everything that the table has, for programs."""
    return json.dumps(
        {
            "requests": len(result.recording.requests),
            "seconds": round(result.recording.seconds, 3),
            "seed": result.seed,
            "results": [
                {
                    "name": one.name,
                    "routes": [_route(name, one.routes[name]) for name in one.routes],
                    "ejections": one.ejections if one.ejections is None else dict(one.ejections),
                }
                for one in result.tallies
            ],
            "notes": notes(result),
        },
        indent=2,
    )


def _route(name: str, route: RouteTally) -> dict[str, Any]:
    return {
        "route": name,
        "requests": route.requests,
        "answered": route.answered,
        "failed": route.failed,
        "reasons": dict(sorted(route.reasons.items())),
        "limited": route.limited,
        "retries": route.retries,
        "hedges": route.hedges,
        "p50_ms": round(route.quantile(0.5) * 1000, 3),
        "p99_ms": round(route.quantile(0.99) * 1000, 3),
        "attempts": dict(sorted(route.load.items())),
    }
