"""Load on a proxy whose upstream is in trouble, and what must be true during it and after it.

During: no request that the policy allows to be saved is lost, none is sent twice that must not be,
no answer is mixed up or cut and passed off as whole. After: nothing is in flight, no permit is
held, no connection is open, and the process holds the files that it held before.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from integration.ports import free_port
from integration.running_proxy import RunningProxy
from integration.settings import Settings
from load.client import REPEATABLE, Client, Ending, Kind, Record
from load.faulty_upstream import FaultyUpstream

DOWN_FOR = 0.3
SETTLED_WITHIN = 10.0
POOL_IDLE_TIMEOUT = 0.5
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """How much load for how long. `pause`: seconds a client rests between two requests."""

    seconds: float
    connections: int = 64
    restarts: int = 2
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """`complaints` is empty where all promises were kept; the rest is to be read."""

    complaints: list[str]
    requests: int
    endings: Counter[tuple[Kind, Ending]]
    retries: int
    seconds_to_settle: float


def settings(upstream_port: int) -> Settings:
    """A policy under which every repeatable request can be saved.

    The backoff bridges a restart with attempts to spare, and nothing refuses by right: no breaker,
    room in budget and bulkhead.
    """
    return {
        "access_log": {"requests": "errors"},
        "upstreams": {
            "faulty": {
                "endpoints": [f"http://127.0.0.1:{upstream_port}"],
                "connections": {"idle_timeout": f"{POOL_IDLE_TIMEOUT}s"},
            }
        },
        "policies": {
            "default": {
                "retry": {
                    "attempts": 10,
                    "backoff": {"initial": "50ms", "max": "500ms", "jitter": "equal"},
                    "budget": {"ratio": "100%", "min_per_second": 10000},
                },
                "circuit_breaker": {"mode": "off"},
            }
        },
        "routes": [{"name": "faulty", "upstream": "faulty"}],
    }


def load_faults(directory: Path, plan: Plan) -> Outcome:
    """Starts proxy and upstream, drives the load, waits for quiet, ends both."""
    upstream = FaultyUpstream(free_port())
    proxy = RunningProxy(directory, settings(upstream.port))
    try:
        files_before = proxy.open_files
        records = asyncio.run(_drive(proxy.outbound, upstream, plan))
        started = time.monotonic()
        unsettled = _settle(proxy, files_before)
        settled_in = time.monotonic() - started
        retries = round(proxy.metric("proxy_retries_total"))
    finally:
        proxy.stop()
    return Outcome(
        complaints=[
            *_lost(records),
            *_twice(records, upstream),
            *unsettled,
            *_ended(proxy),
            *_idle_test(records, upstream, plan, retries),
        ],
        requests=len(records),
        endings=Counter((record.kind, record.ending) for record in records),
        retries=retries,
        seconds_to_settle=settled_in,
    )


async def _drive(port: int, upstream: FaultyUpstream, plan: Plan) -> list[Record]:
    await upstream.start()
    until = asyncio.get_running_loop().time() + plan.seconds
    clients = [Client(port, plan.pause) for _ in range(plan.connections)]
    async with asyncio.TaskGroup() as group:
        for number, client in enumerate(clients):
            group.create_task(client.run(until, number))
        for _ in range(plan.restarts):
            await asyncio.sleep(plan.seconds / (plan.restarts + 1) - DOWN_FOR)
            await upstream.restart(DOWN_FOR)
    # Upstream lives on: the proxy must let go of its idle connections by itself.
    await asyncio.sleep(2 * POOL_IDLE_TIMEOUT)
    await upstream.close()
    return [record for client in clients for record in client.records]


def _lost(records: Iterable[Record]) -> list[str]:
    """Requests whose end breaks a promise."""
    broken = [record for record in records if record.ending not in _allowed(record.kind)]
    counts = Counter((record.kind, record.ending) for record in broken)
    lines = [f"{count} × {kind.value}: {end.value}" for (kind, end), count in counts.items()]
    return lines + [f"{one.kind.value} {one.request_id}: {one.detail}" for one in broken[:SHOWN]]


def _allowed(kind: Kind) -> set[Ending]:
    if kind in REPEATABLE:
        return {Ending.GOOD}
    if kind is Kind.STREAM:
        # Repeatable as well, but once its head has gone a restart may cut it; and say so.
        return {Ending.GOOD, Ending.CUT}
    if kind is Kind.PLAIN_POST:
        return {Ending.GOOD, Ending.REFUSED}
    return {Ending.LEFT}


def _twice(records: Iterable[Record], upstream: FaultyUpstream) -> list[str]:
    """Requests that are not repeatable and reached upstream more than once."""
    plain = [record.request_id for record in records if record.kind is Kind.PLAIN_POST]
    again = [request_id for request_id in plain if upstream.received[request_id] > 1]
    return [f"{len(again)} × {Kind.PLAIN_POST.value} arrived twice: {again[:SHOWN]}"] * bool(again)


def _settle(proxy: RunningProxy, files_before: int) -> list[str]:
    """What is still held when the proxy should have come to rest."""
    end = time.monotonic() + SETTLED_WITHIN
    while (held := _held(proxy, files_before)) and time.monotonic() < end:
        time.sleep(0.05)
    return held


def _held(proxy: RunningProxy, files_before: int) -> list[str]:
    bulkheads = proxy.state("/bulkheads")["bulkheads"]
    counts = {
        "requests in flight": proxy.in_flight(),
        "permits": sum(bulkhead["in_use"] for bulkhead in bulkheads),
        "requests queued": sum(bulkhead["queued"] for bulkhead in bulkheads),
        "client connections": proxy.metric("proxy_connections"),
        "upstream connections": proxy.metric("proxy_upstream_connections"),
        "in flight by the metric": proxy.metric("proxy_in_flight"),
        "internal errors": proxy.metric("proxy_requests_total", reason="internal"),
        "open files more than before": max(0, proxy.open_files - files_before),
    }
    return [f"{what}: {count:g}" for what, count in counts.items() if count]


def _ended(proxy: RunningProxy) -> list[str]:
    """A drain with nothing to cut ends with 0; `RunningProxy.stop` looks for the rest."""
    status = proxy.process.returncode
    return [f"exit status {status}"] if status else []


def _idle_test(
    records: list[Record], upstream: FaultyUpstream, plan: Plan, retries: int
) -> list[str]:
    """A run in which the trouble did not happen proves nothing."""
    kinds = {record.kind for record in records}
    happened = {
        "every kind of request": kinds == set(Kind),
        "restarts": upstream.restarts == plan.restarts,
        "a tenth of 503s": 20 * upstream.troubled.total() > upstream.received.total(),
        "retries": retries >= upstream.troubled.total() // 2,
    }
    return [f"did not happen: {what}" for what, true in happened.items() if not true]
