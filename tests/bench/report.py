"""A finished benchmark as Markdown to read and JSON to compute with."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from .generator import FIXED_RATE
from .measure import Durations
from .peers import REFERENCES
from .summary import Row, Run, summarise

BUSY_ENOUGH = 0.9
"""Share of its core below which a peer was not the limit of the rate that was reached."""

_RATIOS = tuple(f"× {reference.name}" for reference in REFERENCES)
_HEADINGS = (
    *("peer", "requests/s", _RATIOS[0], "CPU µs/request", *_RATIOS),
    *("p50 ms", "p99 ms", _RATIOS[0], "added p50 µs", "added p99 µs"),
    *("ready s", "MB idle", "MB loaded", "errors"),
)

_NOTES = f"""\
Medians over the runs; a × column is the median of the ratios within each run, of the figure left of
it. p50 and p99 are at saturation; *added* is at a fixed {FIXED_RATE:,} requests/s, less what the
direct call takes. `*`: the peer used less than {BUSY_ENOUGH:.0%} of its core, so load generator and
upstream were the limit of that rate, not the peer. *ready*: from the start of the process to its
first right answer. MB: resident memory, 10^6 bytes. A request of *new connections* and *handshakes*
has a connection of its own.
"""


@dataclass(frozen=True)
class Benchmark:
    """All of one benchmark. `left_out`: peer or measurement → why."""

    started: str
    machine: dict[str, str]
    versions: dict[str, str]
    durations: Durations
    runs: list[Run]
    left_out: dict[str, str]


def as_markdown(benchmark: Benchmark) -> str:
    parts = [f"# Benchmark of {benchmark.started}", _pairs(benchmark.machine)]
    parts.append(_pairs({name: version for name, version in benchmark.versions.items() if version}))
    rows = summarise(benchmark.runs)
    for (load, connections), group in groupby(rows, lambda row: (row.load, row.connections)):
        parts.append(f"## {load}, {connections} connections")
        parts.append(_table(group))
    parts.append(_NOTES + f"Runs: {len(benchmark.runs)}. Seconds: {asdict(benchmark.durations)}.")
    parts += [f"- left out: {what}: {why}" for what, why in benchmark.left_out.items()]
    return "\n\n".join(parts) + "\n"


def as_json(benchmark: Benchmark) -> str:
    summary = [asdict(row) for row in summarise(benchmark.runs)]
    return json.dumps({**asdict(benchmark), "summary": summary}, indent=1) + "\n"


def write(benchmark: Benchmark, directory: Path) -> tuple[Path, Path]:
    """Both forms, named after the start; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = benchmark.started.replace(":", "").replace(" ", "T")
    markdown, data = directory / f"{stem}.md", directory / f"{stem}.json"
    markdown.write_text(as_markdown(benchmark))
    data.write_text(as_json(benchmark))
    return markdown, data


def _pairs(values: dict[str, str]) -> str:
    return " · ".join(f"{name} {value}" for name, value in values.items())


def _table(rows: Iterable[Row]) -> str:
    lines = [_HEADINGS, ("---", *["---:"] * (len(_HEADINGS) - 1)), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    not_the_limit = row.busy is not None and row.busy < BUSY_ENOUGH
    return (
        row.peer,
        f"{row.rate:,.0f}" + ("*" if not_the_limit else ""),
        _number(row.rate_ratio[REFERENCES[0].name], 2),
        _number(row.cpu, 1),
        *(_number(row.cpu_ratio[reference.name], 2) for reference in REFERENCES),
        _number(row.p50 / 1000, 2),
        _number(row.p99 / 1000, 2),
        _number(row.p99_ratio[REFERENCES[0].name], 2),
        _number(row.added_p50, 0),
        _number(row.added_p99, 0),
        _number(row.ready, 2),
        _megabytes(row.idle_kib),
        _megabytes(row.loaded_kib),
        str(row.errors),
    )


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _megabytes(kib: float | None) -> str:
    return _number(None if kib is None else kib * 1024 / 1e6, 0)
