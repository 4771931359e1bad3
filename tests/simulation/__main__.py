"""``python -m tests.simulation``: a million exchanges, each world with its own seed.

Exit status 1 where a promise was broken; what was wrong is printed with the seed that shows it
again: ``--seed N --worlds 1``.
"""

import argparse
import multiprocessing
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # as tests/conftest.py does

import proxy.exchange.exchange

from .world import Result, run

EACH = 500
"""Exchanges of one world."""


def _run(seed: int) -> Result:
    return run(seed, EACH)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--worlds", type=int, default=2_000, help=f"of {EACH} exchanges each")
    parser.add_argument("--seed", type=int, help="of the first world; default: by chance")
    parser.add_argument("--processes", type=int, default=2, help="default: 2")
    options = parser.parse_args()
    if not (proxy.exchange.exchange.__file__ or "").endswith(".py"):
        print("virtual time takes the interpreted modules; these are compiled", file=sys.stderr)
        return 2
    first = options.seed if options.seed is not None else random.randrange(1_000_000_000)
    print(f"seeds {first} to {first + options.worlds - 1}", flush=True)
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    started = time.monotonic()
    with multiprocessing.Pool(options.processes) as pool:
        seeds = range(first, first + options.worlds)
        for number, result in enumerate(pool.imap_unordered(_run, seeds), 1):
            seen += result.seen
            for line in result.wrong[:3]:
                print(f"WRONG  {line}", flush=True)
            wrong += result.wrong
            if number % 100 == 0:
                rate = number * EACH / (time.monotonic() - started)
                print(f"{number * EACH:,} exchanges, {rate:,.0f}/s", flush=True)
    print(", ".join(f"{count} {what}" for what, count in sorted(seen.items())))
    print(f"{len(wrong)} promises broken")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
