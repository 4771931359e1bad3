"""``python -m tests.chaos``: random faults for as long as one likes (tests/chaos/random_faults.py).

Exit status 1 where a client saw a body that was not the right one, or the proxy had an accident;
what is wrong is printed with the seed that asks for it again.
"""

import argparse
import random
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[1]))  # as tests/conftest.py does

from chaos.random_faults import run_callers, settings
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy, eventually

_ROUND = 5.0
"""Seconds for one seed."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="default: 60")
    parser.add_argument("--seed", type=int, help="of the first round; default: by chance")
    parser.add_argument("--callers", type=int, default=8, help="default: 8")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1_000_000)
    wrong: list[str] = []
    seen: Counter[str] = Counter()
    upstream = ChaosUpstream().start()
    with TemporaryDirectory(prefix="proxy-chaos-") as directory:
        proxy = RunningProxy(Path(directory), settings(upstream.url))
        for number in range(max(1, round(options.seconds / _ROUND))):
            print(f"seed {seed + number}", flush=True)
            for caller in run_callers(proxy, seed + number, _ROUND, options.callers):
                seen += caller.seen
                wrong += caller.wrong
        eventually(lambda: proxy.in_flight() == 0)
        proxy.stop()
    upstream.stop()
    for line in wrong:
        print(f"WRONG  {line}")
    print(", ".join(f"{count} {what}" for what, count in sorted(seen.items())))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
