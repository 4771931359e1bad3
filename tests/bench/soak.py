"""``python -m tests.bench.soak``: five minutes of mixed traffic, memory and files watched.

Exit status 1 where resident memory grew after the warm-up, or anything was left behind
(tests/load/soak.py has the rules).
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[1]))  # as tests/conftest.py does

from load.soak import MIB, Outcome, soak

from proxy.units import parse_duration

_LINES = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--duration", default="5m", help="as in a configuration; default: 5m")
    parser.add_argument("--seed", type=int, default=1, help="of the faults; default: 1")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="proxy-soak-") as directory:
        outcome = soak(Path(directory), parse_duration(options.duration), options.seed)
    _show(outcome)
    return 1 if outcome.complaints else 0


def _show(outcome: Outcome) -> None:
    print(f"{'seconds':>8} {'resident':>12} {'files':>6}")
    for sample in outcome.samples[:: max(1, len(outcome.samples) // _LINES)]:
        print(f"{sample.at:8.0f} {sample.memory / MIB:8.1f} MiB {sample.files:6}")
    print(f"{outcome.requests} requests; grew by {outcome.growth / MIB:.1f} MiB after the warm-up")
    for complaint in outcome.complaints:
        print(f"BROKEN  {complaint}")


if __name__ == "__main__":
    sys.exit(main())
