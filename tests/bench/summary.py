"""Many samples become one row per peer: medians over the runs, ratios taken within each run.

A ratio within a run compares figures that were measured under the same noise; the median of the
ratios is therefore steadier than the ratio of the medians.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from .measure import Sample
from .peers import DIRECT, REFERENCES

Run = list[Sample]
Figure = Callable[[Sample], float | None]


@dataclass(frozen=True)
class Row:
    """Medians; microseconds, KiB, `ready` in seconds. `*_ratio`: by the name of the reference.

    `added_*` is the fixed rate's latency less the direct call's.
    """

    peer: str
    load: str
    connections: int
    runs: int
    rate: float
    rate_ratio: dict[str, float | None]
    cpu: float | None
    cpu_ratio: dict[str, float | None]
    p99_ratio: dict[str, float | None]
    busy: float | None
    ready: float | None
    p50: float
    p99: float
    added_p50: float | None
    added_p99: float | None
    idle_kib: float | None
    loaded_kib: float | None
    errors: int


def summarise(runs: list[Run]) -> list[Row]:
    """A row for every peer, load and number of connections, in the order measured first."""
    keys = dict.fromkeys(
        (sample.load, sample.connections, sample.peer) for run in runs for sample in run
    )
    return [_row(runs, *key) for key in keys]


def _row(runs: list[Run], load: str, connections: int, peer: str) -> Row:
    def of(name: str) -> list[Sample | None]:
        return [_find(run, load, connections, name) for run in runs]

    mine, direct = of(peer), of(DIRECT.name)
    references = {reference.name: of(reference.name) for reference in REFERENCES}
    present = [sample for sample in mine if sample is not None]

    def middle(figure: Figure) -> float | None:
        return _median(figure(sample) for sample in present)

    def ratio(figure: Figure) -> dict[str, float | None]:
        return {
            name: _median(_paired(mine, theirs, figure, lambda a, b: a / b))
            for name, theirs in references.items()
        }

    def added(figure: Figure) -> float | None:
        return None if peer == DIRECT.name else _median(_paired(mine, direct, figure, _minus))

    return Row(
        peer=peer,
        load=load,
        connections=connections,
        runs=len(present),
        rate=median(sample.rate for sample in present),
        rate_ratio=ratio(lambda sample: sample.rate),
        cpu=middle(lambda sample: sample.cpu),
        cpu_ratio=ratio(lambda sample: sample.cpu),
        p99_ratio=ratio(lambda sample: sample.p99),
        busy=middle(lambda sample: sample.busy),
        ready=middle(lambda sample: sample.ready),
        p50=median(sample.p50 for sample in present),
        p99=median(sample.p99 for sample in present),
        added_p50=added(lambda sample: sample.fixed_p50),
        added_p99=added(lambda sample: sample.fixed_p99),
        idle_kib=middle(lambda sample: sample.idle_kib),
        loaded_kib=middle(lambda sample: sample.loaded_kib),
        errors=sum(sample.errors for sample in present),
    )


def _find(run: Run, load: str, connections: int, peer: str) -> Sample | None:
    for sample in run:
        if (sample.load, sample.connections, sample.peer) == (load, connections, peer):
            return sample
    return None


def _paired(
    mine: list[Sample | None],
    theirs: list[Sample | None],
    figure: Figure,
    combine: Callable[[float, float], float],
) -> Iterable[float]:
    """`combine` of the figures of each run that has both."""
    for a, b in zip(mine, theirs, strict=True):
        if a is None or b is None:
            continue
        first, second = figure(a), figure(b)
        if first is not None and second:
            yield combine(first, second)


def _minus(a: float, b: float) -> float:
    return a - b


def _median(figures: Iterable[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return median(known) if known else None
