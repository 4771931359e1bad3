"""``python -m tests.simulation.endpoints``: what ejection, ewma, hedges, hashing and
learned limits buy.

It writes plots, docs/images/endpoints-*.svg and tests/bench/results/simulated-endpoints.json; what
docs/benchmarks.md and docs/hedging.md tell is held by test_endpoints.py and test_limits.py, which
play the same runs.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # as tests/conftest.py does

from proxy.simulation.plots import Points, plot

from .limits import CAPACITIES, PLOTTED, learning
from .limits import LASTS as LIMITS_LAST
from .services import Seen, Server, Services, quantile, serve

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
RESULTS = ROOT / "tests" / "bench" / "results" / "simulated-endpoints.json"

FAILS_AT, LASTS = 30.0, 160.0
"""Seconds of a run, and when one of its endpoints begins to answer 503."""
DETECTION = ", outlier_detection: {}"
SLOW_AT = 30.0
RATE = 100.0
"""Requests a second of each run but that of the ejections, which has 40 for each endpoint."""

HEDGES = ("", "160ms", "p95")
HEDGED_SEEDS = range(7, 13)
"""One run of two minutes is not enough: two of them differ by 0.4 % of the load."""

_STYLE = """<style>svg { background: #fff; font-family: system-ui, sans-serif }
text { font-size: 11px; fill: #5b616b } .grid { stroke: #d6d9de }
polyline { fill: none; stroke-width: 1.6 } .line0 { stroke: #6b7280 } .line1 { stroke: #0b62c4 }
.line2 { stroke: #b3470b }</style>"""


def usual(source) -> float:
    """20 ms on average."""
    return float(source.expovariate(50.0))


def slow(source) -> float:
    """Ten times as long."""
    return float(source.expovariate(5.0))


@dataclass(frozen=True)
class Ejected:
    """One failing endpoint of `endpoints`. `failed`: requests, without ejection and with it;
    `until_out`: seconds from its first failure to its ejection; `probes`: failures after that;
    `back_after`: seconds from its recovery to its return. The rest: its 99th percentile before,
    and while the other was out.
    """

    endpoints: int
    requests: int
    failed_without: int
    failed_with: int
    until_out: float
    probes: int
    back_after: float
    p99_before_ms: float
    p99_while_out_ms: float
    rest_failed: int


@dataclass(frozen=True)
class Trouble:
    """Seconds of a run: one endpoint answers 503 between the first two. `rate`: requests a second
    for each endpoint.
    """

    fails_at: float = FAILS_AT
    works_at: float = 100.0
    lasts: float = LASTS
    rate: float = 40.0
    detection: str = "{}"


SHORT = Trouble(4.0, 16.0, 26.0, 20.0, "{eject_for: {initial: 3s}}")
"""As long as a run over real sockets may take (integration/test_ejection_as_simulated.py)."""


def failing_run(endpoints: int, settings: str, trouble: Trouble) -> Services:
    """The first of so many endpoints fails for a while; each server is busy to a tenth."""
    servers = [Server(usual) for _ in range(endpoints)]
    servers[0].failing = lambda at: trouble.fails_at <= at < trouble.works_at
    rate = trouble.rate * endpoints
    return serve(servers, settings, rate=rate, seconds=trouble.lasts, seed=endpoints)


def ejection(endpoints: int, trouble: Trouble) -> tuple[Ejected, Services, Services]:
    without = failing_run(endpoints, "", trouble)
    detection = f", outlier_detection: {trouble.detection}"
    ejecting = failing_run(endpoints, detection, trouble)
    works_at, seen = trouble.works_at, ejecting.seen
    first = next(iter(ejecting.servers))
    bad = sorted(one.at for one in seen if one.status == 503)
    out = bad[4]
    back = min(one.at for one in seen if one.endpoint == first and one.at >= works_at)
    rest = [one for one in seen if one.endpoint != first]
    before = [one.seconds for one in rest if one.at < trouble.fails_at]
    during = [one.seconds for one in rest if out <= one.at < back]
    found = Ejected(
        endpoints=endpoints,
        requests=len(ejecting.seen),
        failed_without=sum(one.status == 503 for one in without.seen),
        failed_with=len(bad),
        until_out=round(out - bad[0], 3),
        probes=len(bad) - 5,
        back_after=round(back - works_at, 1),
        p99_before_ms=round(quantile(before, 0.99) * 1000, 1),
        p99_while_out_ms=round(quantile(during, 0.99) * 1000, 1),
        rest_failed=sum(one.status != 200 for one in rest),
    )
    return found, without, ejecting


@dataclass(frozen=True)
class Balanced:
    """One endpoint of five is ten times as slow as the others."""

    load_balancing: str
    p50_ms: float
    p99_ms: float
    slow_share: float


def slow_run(load_balancing: str, seconds: float) -> Services:
    servers = [Server(slow), *[Server(usual) for _ in range(4)]]
    return serve(servers, f", load_balancing: {load_balancing}", rate=RATE, seconds=seconds, seed=7)


def balancing(load_balancing: str, lasts: float = 120.0) -> tuple[Balanced, Services]:
    run = slow_run(load_balancing, lasts)
    seconds = [one.seconds for one in run.seen]
    share = next(iter(run.servers.values())).load / len(run.seen)
    found = Balanced(
        load_balancing,
        round(quantile(seconds, 0.5) * 1000, 1),
        round(quantile(seconds, 0.99) * 1000, 1),
        round(share, 4),
    )
    return found, run


@dataclass(frozen=True)
class Hedged:
    """One endpoint of five is ten times as slow as the others. `delay`: of the hedges, "" without;
    `more_load`: their share of the requests.
    """

    delay: str
    p50_ms: float
    p99_ms: float
    more_load: float


def hedging(
    delay: str,
    lasts: float = 120.0,
    rate: float = RATE,
    balancing: str = "least_request",
    seeds: Sequence[int] = (7,),
) -> tuple[Hedged, Services]:
    """The figures of all runs together, and the last run."""
    policy = f"retry: {{attempts: 2}}\n    hedge: {{delay: {delay or '0s'}}}"
    settings = f", load_balancing: {balancing}"
    seconds: list[float] = []
    load = 0
    for seed in seeds:
        servers = [Server(slow), *[Server(usual) for _ in range(4)]]
        run = serve(servers, settings, rate=rate, seconds=lasts, seed=seed, policy=policy)
        seconds += [one.seconds for one in run.seen]
        load += sum(one.load for one in servers)
    found = Hedged(
        delay,
        round(quantile(seconds, 0.5) * 1000, 1),
        round(quantile(seconds, 0.99) * 1000, 1),
        round(load / len(seconds) - 1, 4),
    )
    return found, run


@dataclass(frozen=True)
class Moved:
    """One endpoint of `endpoints` fails and is ejected. `moved`: share of the keys that went to
    another endpoint then; `others_moved`: keys of the other endpoints that did; `back`: share of
    the keys that went to their first endpoint again after its return.
    """

    endpoints: int
    moved: float
    others_moved: int
    back: float


def hashing(endpoints: int, rate: float = 200.0) -> Moved:
    servers = [Server(usual) for _ in range(endpoints)]
    servers[0].failing = lambda at: FAILS_AT <= at < FAILS_AT + 20.0
    settings = ", load_balancing: consistent_hash, hash: {header: user-id}" + DETECTION
    run = serve(servers, settings, rate=rate, seconds=LASTS, seed=5, keys=int(5 * rate))
    first = next(iter(run.servers))
    before = _owners(run.seen, 0.0, FAILS_AT)
    out = _owners(run.seen, FAILS_AT + 1.0, FAILS_AT + 20.0)
    after = _owners(run.seen, FAILS_AT + 70.0, LASTS)
    both = before.keys() & out.keys()
    moved = [key for key in both if before[key] != out[key]]
    again = before.keys() & after.keys()
    return Moved(
        endpoints,
        round(len(moved) / len(both), 3),
        sum(before[key] != first for key in moved),
        round(sum(before[key] == after[key] for key in again) / len(again), 3),
    )


def _owners(seen: Sequence[Seen], since: float, until: float) -> dict[int, str]:
    return {one.key: one.endpoint for one in seen if since <= one.at < until}


# --- plots ----------------------------------------------------------------------------------------


def per_second(seen: Sequence[Seen], value, step: float = 1.0) -> Points:
    slices: dict[int, list[Seen]] = {}
    for one in seen:
        slices.setdefault(int(one.at / step), []).append(one)
    return [(number * step, value(slices[number])) for number in sorted(slices)]


def failed_percent(seen: Sequence[Seen]) -> float:
    return 100 * sum(one.status != 200 for one in seen) / len(seen)


def p99_ms(seen: Sequence[Seen]) -> float:
    return 1000 * quantile([one.seconds for one in seen], 0.99)


def save(name: str, lines: Sequence[tuple[str, Points]], seconds: float, unit: str) -> None:
    drawn = plot(lines, seconds=seconds, unit=unit)
    drawn = drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    start = drawn.index(">") + 1
    (IMAGES / f"endpoints-{name}.svg").write_text(drawn[:start] + _STYLE + drawn[start:] + "\n")


def main() -> int:
    found: dict[str, list[dict[str, object]]] = {
        name: [] for name in ("ejection", "short_ejection", "balancing", "hedging", "hashing")
    }
    for endpoints in (2, 5):
        ejected, without, ejecting = ejection(endpoints, Trouble())
        found["ejection"].append(asdict(ejected))
        found["short_ejection"].append(asdict(ejection(endpoints, SHORT)[0]))
        lines = [
            ("without", per_second(without.seen, failed_percent)),
            ("outlier_detection", per_second(ejecting.seen, failed_percent)),
        ]
        save(f"ejection-{endpoints}", lines, LASTS, "%")
    lines = []
    for name in ("round_robin", "least_request", "ewma"):
        balanced, run = balancing(name)
        found["balancing"].append(asdict(balanced))
        lines.append((name, per_second(run.seen, p99_ms, 5.0)))
    save("slow", lines, 120.0, " ms")
    lines = []
    for delay in HEDGES:
        hedged, run = hedging(delay, seeds=HEDGED_SEEDS)
        found["hedging"].append(asdict(hedged))
        lines.append((delay or "none", per_second(run.seen, p99_ms, 5.0)))
    save("hedged", lines, 120.0, " ms")
    found["hashing"] = [asdict(hashing(endpoints)) for endpoints in (2, 3, 5)]
    found["limits"] = []
    lines = []
    for capacity in CAPACITIES:
        learned, limits = learning(capacity)
        found["limits"].append(asdict(learned))
        if capacity in PLOTTED:
            lines.append((str(capacity), limits))
    save("limits", lines, LIMITS_LAST, "")
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
