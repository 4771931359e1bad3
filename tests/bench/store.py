"""How many promises the store takes, and how long one waits for its commit.

    python -m tests.bench.store [--clients 64] [--seconds 5] [--folder PATH | --url URL]

Each client asks for the next when it has its answer, on one loop, as exchanges do. The
figures hold for the disk that PATH is on: a commit cannot be faster than its flush, and a virtual
machine's disk may not flush at all. With the URL of a PostgreSQL server it measures that, in a
schema `bench`, which is dropped afterwards.
"""

import argparse
import asyncio
import itertools
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

import uvloop

from proxy.store.operations import ClaimEntries, ClaimKey, FinishKey, Put, Settle
from proxy.store.records import EntryState
from proxy.store.sqlite.connection import SqliteConfig
from proxy.store.sqlite.engine import SqliteStore
from proxy.store.store import Store

BODY = os.urandom(1024)
HEAD = os.urandom(300)

Work = Callable[[Store, int], Awaitable[None]]


async def accept(store: Store, number: int) -> None:
    await store.do(Put(f"{number:032x}", "orders", HEAD, BODY))


async def claim_and_finish(store: Store, number: int) -> None:
    key = number.to_bytes(32, "big")
    record = await store.do(ClaimKey("pay", b"", key, b"f" * 48, 30.0, 86400.0))
    await store.do(FinishKey(record.ref, 201, HEAD + BODY))


async def accept_and_deliver(store: Store, number: int) -> None:
    await accept(store, number)
    for entry in (await store.do(ClaimEntries({"orders": 1}, 30.0))).entries:
        await store.do(Settle(entry.ref, EntryState.DELIVERED, 1, b"", keep=0.0))


WORKS: dict[str, Work] = {
    "accepts": accept,
    "idempotent requests (2 commits)": claim_and_finish,
    "accepts with delivery (3 commits)": accept_and_deliver,
}


async def measure(
    work: Work, clients: int, seconds: float, store: Store
) -> tuple[float, list[float]]:
    """How many per second, and the sorted times of each."""
    await store.open(0.0)
    numbers, times = itertools.count(), []
    began = perf_counter()
    end = began + seconds

    async def client() -> None:
        while (start := perf_counter()) < end:
            await work(store, next(numbers))
            times.append(perf_counter() - start)

    await asyncio.gather(*(client() for _ in range(clients)))
    took = perf_counter() - began
    await store.close()
    return len(times) / took, sorted(times)


async def measure_postgres(
    work: Work, clients: int, seconds: float, url: str
) -> tuple[float, list[float]]:
    import asyncpg

    from proxy.store.postgres.connection import PostgresConfig
    from proxy.store.postgres.engine import PostgresStore

    store = PostgresStore(PostgresConfig(url, "it", schema="bench"))
    try:
        return await measure(work, clients, seconds, store)
    finally:
        connection = await asyncpg.connect(url)
        await connection.execute("DROP SCHEMA IF EXISTS bench CASCADE")
        await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--folder", type=Path, default=None, help="a folder on the disk to measure")
    parser.add_argument("--url", default=None, help="of a PostgreSQL server, instead of a file")
    options = parser.parse_args()
    for name, work in WORKS.items():
        if options.url is not None:
            measured = measure_postgres(work, options.clients, options.seconds, options.url)
            rate, times = uvloop.run(measured)
        else:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                store = SqliteStore(
                    SqliteConfig(str(Path(folder) / "store.db"), max_bytes=64 << 30)
                )
                rate, times = uvloop.run(measure(work, options.clients, options.seconds, store))
        middle, late = (1000 * times[int(len(times) * share)] for share in (0.5, 0.99))
        print(f"{rate:8,.0f}/s  p50 {middle:6.2f} ms  p99 {late:6.2f} ms  {name}", flush=True)


if __name__ == "__main__":
    main()
