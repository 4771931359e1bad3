"""``python -m tests.bench``: measures the proxy and its peers in turn and writes a report."""

import argparse
import datetime
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .check import WrongAnswer
from .generator import LoadFailed
from .loads import LOADS, QUICK_LOADS, Load
from .machine import machine, versions
from .measure import Durations, Sample, measure
from .peers import PEERS, Peer
from .programs import NEEDED
from .report import Benchmark, as_markdown, write

RESULTS = Path(__file__).with_name("results")
FULL = Durations(warm_up=2, saturation=5, fixed_rate=5)
QUICK = Durations(warm_up=1, saturation=2, fixed_rate=2)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if lacking := [program.name for program in NEEDED if program.path() is None]:
        print(f"needed and not installed: {', '.join(lacking)}", file=sys.stderr)
        return 2
    if (os.cpu_count() or 1) < 2:
        print("two cores are needed: one for the peer, one for load and upstream", file=sys.stderr)
        return 2
    chosen = [peer for peer in PEERS if not options.peers or peer.name in options.peers]
    left_out = {peer.name: why for peer in chosen if (why := peer.missing())}
    peers = [peer for peer in chosen if peer.name not in left_out]
    benchmark = Benchmark(
        started=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S"),
        machine=machine(),
        versions=versions(peers),
        durations=_durations(options),
        runs=[],
        left_out=left_out,
    )
    _run(benchmark, peers, _loads(options), options)
    print(as_markdown(benchmark))
    for path in write(benchmark, options.output):
        print(path)
    return 0


def _run(
    benchmark: Benchmark, peers: list[Peer], loads: Sequence[Load], options: argparse.Namespace
) -> None:
    """Every run measures each peer once, under each load next to the others."""
    for number in range(options.runs):
        samples: list[Sample] = []
        benchmark.runs.append(samples)
        for load in loads:
            for connections in _connections(load, options):
                for peer in peers:
                    if load.tls and not peer.tls:
                        continue
                    where = f"{load.name}, {connections} connections, {peer.name}"
                    print(f"run {number + 1}: {where}", end=" ", file=sys.stderr, flush=True)
                    try:
                        sample = measure(peer, load, connections, benchmark.durations)
                    except (WrongAnswer, LoadFailed) as problem:
                        benchmark.left_out[where] = str(problem)
                        print(f"left out: {problem}", file=sys.stderr)
                        continue
                    samples.append(sample)
                    print(_brief(sample), file=sys.stderr)


def _brief(sample: Sample) -> str:
    cpu = "" if sample.cpu is None else f", {sample.cpu:.1f} µs CPU"
    return f"{sample.rate:,.0f}/s{cpu}, p99 {sample.p99 / 1000:.2f} ms, {sample.errors} errors"


def _durations(options: argparse.Namespace) -> Durations:
    made = QUICK if options.quick else FULL
    if options.seconds is None:
        return made
    return Durations(min(made.warm_up, options.seconds), options.seconds, options.seconds)


def _connections(load: Load, options: argparse.Namespace) -> Sequence[int]:
    if options.connections:
        return list(options.connections)
    return [32, 512] if load.many and not options.quick else [32]


def _loads(options: argparse.Namespace) -> Sequence[Load]:
    if options.loads:
        return [load for load in LOADS if load.name in options.loads]
    return QUICK_LOADS if options.quick else LOADS


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measures the proxy beside its peers, each alone on one core, in the same run. "
        "Run it from the top of the repository; docs/benchmarks.md explains the figures.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="only the loads of 1 KiB in the clear, briefly"
    )
    parser.add_argument(
        "--seconds", type=float, help="of each measurement; default: 5, with --quick 2"
    )
    parser.add_argument("--runs", type=int, default=3, help="default: 3")
    parser.add_argument(
        "--peers", nargs="+", metavar="PEER", choices=[peer.name for peer in PEERS],
        help="only these: " + ", ".join(repr(peer.name) for peer in PEERS).replace("%", "%%"),
    )  # fmt: skip
    parser.add_argument(
        "--loads", nargs="+", metavar="LOAD", choices=[load.name for load in LOADS],
        help="only these: " + ", ".join(repr(load.name) for load in LOADS),
    )  # fmt: skip
    parser.add_argument(
        "--connections", nargs="+", type=int, help="default: 32; without --quick, 512 too for some"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"default: {RESULTS}")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
