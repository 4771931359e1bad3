"""A process that works on a store and dies at a point: what it says it was told, was promised.

    python crash_child.py FILE POINT NUMBER

It dies (`os._exit`) at the NUMBER-th commit's POINT. Every line of its output is a result that the
store delivered.
"""

import asyncio
import os
import sys

from proxy.store.operations import (
    BeginSaga,
    ClaimEntries,
    ClaimKey,
    ClaimSagas,
    FinishKey,
    Put,
    Settle,
    UpdateSaga,
)
from proxy.store.records import EntryState
from proxy.store.sqlite.committer import Committer, Point
from proxy.store.sqlite.connection import SqliteConfig
from proxy.store.sqlite.engine import SqliteStore

LANES = 3
WORKERS = 4


def tell(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def keys(store: SqliteStore, run: int, worker: int) -> None:
    number = 0
    while True:
        key = f"{run}-{worker}-{number}".encode()
        claim = await store.do(ClaimKey("r", b"", key, b"f", 30.0, 3600.0))
        tell("claimed", key.decode())
        await store.do(FinishKey(claim.ref, 200, b"answer " + key))
        tell("answered", key.decode())
        number += 1


async def entries(store: SqliteStore, run: int, worker: int) -> None:
    number = 0
    while True:
        identity = f"{run}-{worker}-{number}"
        await store.do(Put(identity, "q", b"", b"body", lane=str(number % LANES)))
        tell("accepted", identity)
        claimed = (await store.do(ClaimEntries({"q": 1}, 30.0))).entries
        for entry in claimed:
            tell("tried", entry.id)
            if await store.do(Settle(entry.ref, EntryState.DELIVERED, 1, b"", keep=3600.0)):
                tell("delivered", entry.id)
        number += 1


async def sagas(store: SqliteStore, run: int, worker: int) -> None:
    number = 0
    while True:
        token = f"{run}-{worker}-{number}"
        await store.do(BeginSaga(token, "s", token, "running", b"", b"", b"0"))
        tell("begun", token)
        for saga in (await store.do(ClaimSagas(["s"], 1, 30.0))).sagas:
            step = int(saga.journal)
            for state in ("running", "running", "done"):
                step += 1
                keep = 3600.0 if state == "done" else None
                update = UpdateSaga(saga.ref, state, str(step).encode(), keep=keep)
                if await store.do(update):
                    tell("step", saga.token, step)
        number += 1


async def main(file: str, point: str, number: int, run: int) -> None:
    left = number

    def at(self: Committer, here: Point) -> None:
        nonlocal left
        if here.value == point:
            left -= 1
            if left == 0:
                os._exit(9)

    Committer.at = at
    store = SqliteStore(SqliteConfig(file))
    await store.open(5.0)
    works = (keys, entries, sagas)
    await asyncio.gather(*(work(store, run, worker) for work in works for worker in range(WORKERS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
