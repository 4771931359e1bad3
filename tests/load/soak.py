"""Mixed traffic on the real command for minutes: does it go on taking the memory that it took?

Requests of every kind and an upstream that restarts (`load.client`, `load.faulty_upstream`), and
beside them faults at random (`chaos.random_faults`), all at once. What the process holds is
looked at once a second. Kept promises are the other tests' business; this one watches resident
memory and open files.
"""

import asyncio
import contextlib
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from chaos.random_faults import Caller
from chaos.random_faults import settings as chaos_settings
from chaos.upstream import ChaosUpstream
from integration.ports import free_port
from integration.running_proxy import RunningProxy, eventually
from integration.settings import merged
from load.client import Client
from load.faults import settings as load_settings
from load.faulty_upstream import FaultyUpstream

MIB = 1024 * 1024
WARM_UP = 0.2
"""Share of the time in which pools fill and caches come about; what it took is not judged."""
MAY_GROW = 4 * MIB
"""Between the first third after the warm-up and the last one, by their medians."""
RESTART_EVERY = 20.0
_DOWN_FOR = 0.3
_CALLERS = 4
_CLIENTS = 16


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds since the start, resident bytes, open files."""

    at: float
    memory: int
    files: int


@dataclass(slots=True)
class Outcome:
    """`complaints` is empty where nothing grew and nobody saw a wrong body."""

    samples: list[Sample] = field(default_factory=list)
    requests: int = 0
    growth: float = 0.0
    complaints: list[str] = field(default_factory=list)


def soak(directory: Path, seconds: float, seed: int = 1) -> Outcome:
    """Starts proxy and upstreams, drives the load for so long, and judges."""
    chaos = ChaosUpstream(free_port()).start()
    faulty = FaultyUpstream(free_port())
    troubled = load_settings(faulty.port)
    # The last route takes what the ones before it do not.
    over = chaos_settings(chaos.url)
    both = merged(troubled, over) | {"routes": over["routes"] + troubled["routes"]}
    proxy = RunningProxy(directory, both)
    outcome = Outcome()
    try:
        before = proxy.open_files
        _drive(proxy, faulty, seconds, seed, outcome)
        outcome.complaints += _left_behind(proxy, before)
    finally:
        proxy.stop()
        chaos.stop()
    _judge(outcome, seconds)
    return outcome


def _drive(
    proxy: RunningProxy, faulty: FaultyUpstream, seconds: float, seed: int, outcome: Outcome
) -> None:
    started = time.monotonic()
    until = started + seconds
    ways = (("/chaos", "outbound"), ("/crowded", "outbound"), ("/x", "inbound"))
    callers = [Caller(proxy, seed * 1000 + n, until, *ways[n % len(ways)]) for n in range(_CALLERS)]
    watching = threading.Thread(target=_watch, args=(proxy, until, outcome.samples))
    for thread in (*callers, watching):
        thread.start()
    records = asyncio.run(_mixed(proxy.outbound, faulty, seconds))
    for thread in (*callers, watching):
        thread.join(30)
    outcome.requests = records + sum(sum(caller.seen.values()) for caller in callers)
    outcome.complaints += [wrong for caller in callers for wrong in caller.wrong]


def _watch(proxy: RunningProxy, until: float, samples: list[Sample]) -> None:
    started = time.monotonic()
    while (now := time.monotonic()) < until:
        samples.append(Sample(now - started, proxy.memory, proxy.open_files))
        time.sleep(1.0)


async def _mixed(port: int, faulty: FaultyUpstream, seconds: float) -> int:
    await faulty.start()
    until = asyncio.get_running_loop().time() + seconds
    clients = [Client(port, pause=0.02) for _ in range(_CLIENTS)]
    async with asyncio.TaskGroup() as group:
        for number, client in enumerate(clients):
            group.create_task(_run(client, until, number))
        while (left := until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(RESTART_EVERY, left))
            if left > RESTART_EVERY:
                await faulty.restart(_DOWN_FOR)
    await faulty.close()
    return sum(len(client.records) for client in clients)


async def _run(client: Client, until: float, first: int) -> None:
    # A record of every request would be this process's leak, not the proxy's; so by the minute.
    clock = asyncio.get_running_loop().time
    while clock() < until:
        await client.run(min(until, clock() + 60), first)


def _left_behind(proxy: RunningProxy, before: int) -> list[str]:
    with contextlib.suppress(AssertionError):
        eventually(lambda: proxy.in_flight() == 0 and proxy.open_files <= before, timeout=15)
    counts = Counter(
        {
            "requests in flight": proxy.in_flight(),
            "open files more than before": max(0, proxy.open_files - before),
        }
    )
    return [f"{count} {what}" for what, count in counts.items() if count]


def _judge(outcome: Outcome, seconds: float) -> None:
    judged = [one for one in outcome.samples if one.at >= WARM_UP * seconds]
    third = len(judged) // 3
    if third < 3:
        outcome.complaints.append(f"{len(judged)} samples after the warm-up say nothing")
        return
    first = statistics.median(one.memory for one in judged[:third])
    last = statistics.median(one.memory for one in judged[-third:])
    outcome.growth = last - first
    if outcome.growth > MAY_GROW:
        outcome.complaints.append(f"resident memory grew by {outcome.growth / MIB:.1f} MiB")
