"""``python -m tests.bench.load_faults``: half a minute of load on an upstream in trouble.

64 connections, a tenth of the answers 503, the upstream restarted twice: no request that the
policy allows to be saved may be lost, and nothing may be left behind (tests/load/faults.py has the
rules). Exit status 1 where a promise was broken.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[1]))  # as tests/conftest.py does

from load.faults import Outcome, Plan, load_faults


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load_faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="default: 30")
    parser.add_argument("--connections", type=int, default=64, help="default: 64")
    parser.add_argument("--restarts", type=int, default=2, help="default: 2")
    parser.add_argument("--pause", type=float, default=0.0, help="rest between requests, seconds")
    options = parser.parse_args()
    plan = Plan(options.seconds, options.connections, options.restarts, options.pause)
    with TemporaryDirectory(prefix="proxy-load-") as directory:
        outcome = load_faults(Path(directory), plan)
    _show(outcome, plan)
    return 1 if outcome.complaints else 0


def _show(outcome: Outcome, plan: Plan) -> None:
    print(f"{outcome.requests} requests in {plan.seconds:g} s, {outcome.retries} retries")
    for (kind, ending), count in sorted(outcome.endings.items(), key=str):
        print(f"{count:8} {kind.value}: {ending.value}")
    print(f"at rest {outcome.seconds_to_settle:.2f} s after the pool's idle timeout")
    for complaint in outcome.complaints:
        print(f"BROKEN  {complaint}")
    print("nothing lost, nothing left" if not outcome.complaints else "promises broken")


if __name__ == "__main__":
    sys.exit(main())
