"""A process that accepts and delivers entries and ends itself, without a warning, at a point.

    python -m delivery.crashes FILE PORT POINT COUNT

Points: ``accepted`` (an accept was committed, and nothing was tried), ``delivered`` (a receiver has
answered, and nothing of it is committed). What was acknowledged is written to stdout before.
"""

import asyncio
import os
import sys

from delivery.bed import Bed

from proxy.delivery.worker import Worker
from proxy.store.sqlite.connection import SqliteConfig
from proxy.store.sqlite.engine import SqliteStore

CONFIG = """
service: bed
store: {url: "memory:"}
upstreams: {shop: {endpoints: ["http://127.0.0.1:PORT"]}}
policies:
  default:
    retry: {attempts: 1}
    outbox: {mode: always, concurrency: 2, backoff: {initial: 5ms, jitter: none}}
routes:
  - {name: shop, upstream: shop}
"""


async def main(file: str, port: str, point: str, count: int) -> None:
    store = SqliteStore(SqliteConfig(file), dies_with_pod=False)
    await store.open(5)
    if point == "accepted":
        Worker._begin = lambda self, entry: None
    elif point == "delivered":
        tried = Worker._tried
        left = [count]

        def die(self, queue, entry, result):
            left[0] -= 1
            if left[0] <= 0:
                os._exit(9)
            tried(self, queue, entry, result)

        Worker._tried = die
    async with Bed(CONFIG.replace("PORT", port), store=store) as bed:
        if point == "none":
            await bed.until(lambda: settled(bed), 20)
            return
        for number in range(count):
            answer = await bed.ask("POST", "/o", b"{}", f"Idempotency-Key: {os.getpid()}-{number}")
            assert answer.status == 202
            print(f"{os.getpid()}-{number}", flush=True)
        if point == "accepted":
            os._exit(9)
        await asyncio.sleep(20)


async def settled(bed) -> bool:
    counts = await bed.outbox.refresh()
    return not any(one.of(*OPEN) for one in counts.values())


if __name__ == "__main__":
    from proxy.store.records import EntryState

    OPEN = (EntryState.PENDING, EntryState.DELIVERING)
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
