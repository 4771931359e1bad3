"""``python -m tests.chaos``: random faults for as long as one likes (tests/chaos/random_faults.py),
and beside them clients that misbehave (tests/chaos/bad_clients.py).

Exit status 1 where a client saw a body that was not the right one, the proxy had an accident, a
client's doing was held against the upstream, or resident memory grew once it was warm; what is
wrong is printed with the seed that asks for it again.
"""

import argparse
import random
import statistics
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[1]))  # as tests/conftest.py does

from chaos.bad_clients import bad_clients, held_against_the_upstream, with_calm_route
from chaos.random_faults import run_callers, settings
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy, eventually

from proxy.units import parse_duration

MIB = 1024 * 1024
MAY_GROW = 8 * MIB
_ROUND = 5.0
"""Seconds for one seed."""
_WARM_UP = 6
"""Rounds in which pools fill and caches come about; fewer than twice as many judge no memory.

A long run warms up for a quarter of its rounds: the allocator's heap levels off within an hour, and
what leaks goes on to the end.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--duration", default="1m", help="as in a configuration; default: 1m")
    parser.add_argument("--seed", type=int, help="of the first round; default: by chance")
    parser.add_argument("--callers", type=int, default=8, help="default: 8")
    parser.add_argument("--bad-clients", type=int, default=6, help="default: 6")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1_000_000)
    rounds = max(1, round(parse_duration(options.duration) / _ROUND))
    wrong: list[str] = []
    seen: Counter[str] = Counter()
    memory: list[int] = []
    upstream = ChaosUpstream().start()
    with TemporaryDirectory(prefix="proxy-chaos-") as directory:
        made = with_calm_route(settings(upstream.url), upstream.url)
        made["access_log"] = {"requests": "none"}
        proxy = RunningProxy(Path(directory), made)
        for number in range(rounds):
            resident = f", {memory[-1] / MIB:.1f} MiB" if memory else ""
            print(f"seed {seed + number}{resident}", flush=True)
            bad = bad_clients(proxy, seed + number, _ROUND, options.bad_clients)
            for caller in run_callers(proxy, seed + number, _ROUND, options.callers):
                seen += caller.seen
                wrong += caller.wrong
            for client in bad:
                client.join(30)
                seen += client.seen
                wrong += client.wrong
            held = held_against_the_upstream(proxy)
            wrong += [f"seed {seed + number}: {what}" for what in held]
            memory.append(proxy.memory)
            upstream.forget()
            if held:
                break
        eventually(lambda: proxy.in_flight() == 0)
        wrong += _growth(memory)
        proxy.stop()
    upstream.stop()
    for line in wrong:
        print(f"WRONG  {line}")
    print(", ".join(f"{count} {what}" for what, count in sorted(seen.items())))
    return 1 if wrong else 0


def _growth(memory: list[int]) -> list[str]:
    """By the medians of the first and the last rounds after the warm-up."""
    if len(memory) < 2 * _WARM_UP:
        return []
    warm = max(_WARM_UP, len(memory) // 4)
    first = statistics.median(memory[warm : warm + 3])
    last = statistics.median(memory[-3:])
    print(f"resident: {first / MIB:.1f} MiB once warm, {last / MIB:.1f} MiB at the end")
    grown = last - first
    return [f"resident memory grew by {grown / MIB:.1f} MiB"] if grown > MAY_GROW else []


if __name__ == "__main__":
    sys.exit(main())
