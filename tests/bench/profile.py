"""``python -m tests.bench.profile``: where the proxy's CPU time goes under one of the loads.

Samples the running command with py-spy while wrk saturates it, and prints the functions by the time
spent in themselves and by the time spent in them and below. perf and flame graphs take it from
there: ``--keep FILE`` writes the collapsed stacks.
"""

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .bed import bed
from .loads import LOADS, Load
from .peers import PEERS, RESILIENCE_PROXY, Peer
from .programs import Program

PY_SPY = Program("py-spy", "--version")
SAMPLES_PER_SECOND = 400


@dataclass(frozen=True)
class Profile:
    """Samples by function: `own` with it on top of the stack, `total` with it anywhere."""

    samples: int
    own: Counter[str]
    total: Counter[str]


def record(peer: Peer, load: Load, *, connections: int, seconds: float, stacks: Path) -> Profile:
    """Samples `peer` for `seconds` under `load`; the collapsed stacks go to `stacks`."""
    with bed(peer, load) as ready:
        if ready.process is None:
            raise ValueError(f"{peer.name} has no process")
        ready.generator.saturate(connections, seconds=1)
        spy = _spy(ready.process.pid, seconds, stacks)
        ready.generator.saturate(connections, seconds + 1)
        _, complaint = spy.communicate(timeout=seconds + 30)
        if spy.returncode:
            raise RuntimeError(f"py-spy: {complaint.strip()}")
    return _collapse(stacks.read_text().splitlines())


def _spy(pid: int, seconds: float, stacks: Path) -> subprocess.Popen[str]:
    argv = PY_SPY.argv(
        *("record", "--native", "--format", "raw", "--pid", str(pid)),
        *("--rate", str(SAMPLES_PER_SECOND), "--duration", f"{seconds:.0f}"),
        *("--function", "--output", str(stacks)),
    )
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _collapse(stacks: Sequence[str]) -> Profile:
    """From lines of ``outer;inner;innermost count``."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    samples = 0
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        samples += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            total[frame] += int(count)
    return Profile(samples, own, total)


def _print(title: str, counts: Counter[str], samples: int, lines: int) -> None:
    print(f"\n{title}")
    for frame, count in counts.most_common(lines):
        print(f"{count / samples:7.1%}  {frame}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__)
    parser.add_argument("--load", default=LOADS[0].name, choices=[load.name for load in LOADS])
    parser.add_argument(
        "--peer", default=RESILIENCE_PROXY.name, choices=[peer.name for peer in PEERS[1:]]
    )
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--lines", type=int, default=40)
    parser.add_argument("--keep", type=Path, help="write the collapsed stacks there")
    options = parser.parse_args()
    (load,) = [load for load in LOADS if load.name == options.load]
    (peer,) = [peer for peer in PEERS if peer.name == options.peer]
    with TemporaryDirectory(prefix="proxy-bench-") as scratch:
        stacks = (options.keep or Path(scratch) / "stacks").absolute()
        profile = record(
            peer,
            load,
            connections=options.connections,
            seconds=options.seconds,
            stacks=stacks,
        )
    print(f"{profile.samples} samples of {peer.name}, {load.name}")
    _print("in the function itself", profile.own, profile.samples, options.lines)
    _print("in it and below", profile.total, profile.samples, options.lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
