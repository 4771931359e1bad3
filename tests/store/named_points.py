"""Processes on one store that die at a named point, each going on where the one before ended.

    python named_points.py FOLDER POINT DEATHS

Their services are a log: a line for each effect, written before the answer. Prints a line for each
broken promise, and at the end what was done.
"""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from pathlib import Path

from dying import DIED, die_at

from proxy.store.operations import ClaimEntries, ClaimKey, FinishKey, Put, Settle
from proxy.store.records import EntryState, KeyState
from proxy.store.sqlite.connection import SqliteConfig
from proxy.store.sqlite.engine import SqliteStore

POINTS = {
    "claim committed and unsent": "committed ClaimKey",
    "sent and unrecorded": "begun FinishKey",
    "recorded and not committed": "executed FinishKey",
    "recorded and unanswered": "committed FinishKey",
    "accepted and not committed": "executed Put",
    "accepted and not acknowledged": "committed Put",
    "accepted and undelivered": "delivered Put",
    "delivered and unrecorded": "begun Settle",
    "delivered and uncommitted": "executed Settle",
    "delivered and committed": "committed Settle",
}
WORKERS = 3
LANES = 2
LIFE = 60.0
LAST_LIFE = 1800.0
"""Seconds at most. The last life delivers what a thousand others have left, an entry a commit."""


class Log:
    """Lines of a word and a name, in one file for all processes."""

    def __init__(self, file: Path) -> None:
        self._in = file.open("w+")
        self._out = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def add(self, word: str, name: str) -> None:
        os.write(self._out, f"{word} {name}\n".encode())

    def more(self) -> list[tuple[str, str]]:
        """The lines since the last call."""
        found = []
        for line in self._in:
            word, _, name = line.rstrip().partition(" ")
            found.append((word, name))
        return found


async def ask(store: SqliteStore, log: Log, key: str) -> None:
    """A request with a key; its answer is the key."""
    record = await store.do(ClaimKey("r", b"", key.encode(), b"f", 30.0, 1e6))
    if record.claimed:
        log.add("effect", key)
        await store.do(FinishKey(record.ref, 200, key.encode()))
        log.add("answered", key)
    elif record.state is KeyState.DONE and record.response == key.encode():
        log.add("answered", key)
    else:
        log.add(record.state.value, key)


async def use_keys(store: SqliteStore, log: Log, life: str) -> None:
    for number in range(1000):
        log.add("asked", f"{life}-{number}")
        await ask(store, log, f"{life}-{number}")


async def accept(store: SqliteStore, log: Log, life: str) -> None:
    for number in range(1000):
        name = f"{life}-{number}"
        await store.commit([Put(name, "q", b"", b"body", lane=str(number % LANES))])
        log.add("accepted", name)


async def deliver(store: SqliteStore, log: Log, *, to_end: bool = False) -> None:
    while True:
        claimed = (await store.do(ClaimEntries({"q": 2}, 30.0))).entries
        for entry in claimed:
            log.add("tried", entry.id)
        settles = [Settle(one.ref, EntryState.DELIVERED, 1, b"", keep=1e6) for one in claimed]
        for settle in settles:
            if await store.do(settle):
                log.add("delivered", settle.ref.id)
        if not claimed:
            if to_end:
                return
            await asyncio.sleep(0.001)


async def live(folder: Path, log: Log, point: str, life: int, open_keys: set[str]) -> None:
    """Repeat what lives before had asked; then, unless it is the last, work until the point."""
    store = SqliteStore(SqliteConfig(str(folder / "store.db")))
    await store.open(5.0)
    for key in sorted(open_keys):
        await ask(store, log, key)
    if not point:
        await deliver(store, log, to_end=True)
        await store.close()
        return
    die_at(POINTS[point], random.Random(life).randint(1, 6))
    works = [use_keys, accept]
    await asyncio.gather(
        deliver(store, log),
        *(work(store, log, f"{life}.{worker}") for work in works for worker in range(WORKERS)),
    )


def process(folder: Path, log: Log, point: str, life: int, open_keys: set[str]) -> int:
    """Its exit status."""
    child = os.fork()
    if child == 0:
        try:
            limit = LIFE if point else LAST_LIFE
            asyncio.run(asyncio.wait_for(live(folder, log, point, life, open_keys), limit))
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - the parent tells it
            log.add("error", repr(error))
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def broken(lines: list[tuple[str, str]]) -> list[str]:
    """The promises that were broken."""
    found = [f"{word} {name}" for word, name in lines if word in ("error", "in-flight")]
    effects = Counter(name for word, name in lines if word == "effect")
    told = {
        word: {name for this, name in lines if this == word}
        for word in ("asked", "answered", "unknown", "accepted", "tried", "delivered")
    }
    found += [f"{key}: {number} effects" for key, number in effects.items() if number > 1]
    found += [f"{key}: answered without an effect" for key in told["answered"] - effects.keys()]
    found += [f"{key}: an answer became unknown" for key in told["answered"] & told["unknown"]]
    found += [f"{key}: no answer" for key in told["asked"] - told["answered"] - told["unknown"]]
    found += [f"{entry}: lost" for entry in told["accepted"] - told["tried"]]
    deaths, first, last, ended = 0, {}, {}, set()
    tries: Counter[str] = Counter()
    for word, name in lines:
        if word == "died":
            deaths += 1
        elif word == "delivered":
            ended.add(name)
        elif word == "tried":
            if name in ended:
                found.append(f"{name}: tried after it was delivered")
            tries[name] += 1
            last[name] = deaths
            first.setdefault(name, deaths)
    found += [
        f"{name}: {number} tries with {last[name] - first[name]} deaths"
        for name, number in tries.items()
        if number > 1 + last[name] - first[name]
    ]
    return found


def main(folder: Path, point: str, deaths: int) -> None:
    log = Log(folder / "log")
    lines: list[tuple[str, str]] = []
    open_keys: set[str] = set()
    for life in range(deaths + 1):
        status = process(folder, log, point if life < deaths else "", life, open_keys)
        if status != (DIED if life < deaths else 0):
            print(f"life {life} ended with {status}")
        log.add("died", str(life))
        more = log.more()
        open_keys |= {name for word, name in more if word == "asked"}
        open_keys -= {name for word, name in more if word in ("answered", "unknown")}
        lines += more
    for what in broken(lines):
        print(what)
    words = Counter(word for word, _ in lines)
    again = words["tried"] - len({name for word, name in lines if word == "tried"})
    print(
        json.dumps(
            {
                "deaths": deaths,
                "answered": words["answered"],
                "unknown": words["unknown"],
                "accepted": words["accepted"],
                "tried again": again,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
