"""Runs sagas in processes that die at a chosen arrow, until each saga has ended.

    python saga_crashes.py FOLDER SEED DEATHS

A round is one saga: up to three processes die at an arrow (`os._exit`), and the next one goes on.
The services are files: an effect is a line that is written before the answer. Goes on until there
were so many deaths at each arrow. Prints one line for each broken promise, and at the end what it
did.
"""

import asyncio
import json
import os
import random
import shutil
import sys
from asyncio import Future
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from delivery import sagas
from delivery.sagas import INPUT, ORDERS, Bed, answer

from proxy.delivery.stored_request import StoredRequest, TryResult
from proxy.routing.route import Route
from proxy.store.operations import BeginSaga, ClaimSagas, ListSagas, UpdateSaga
from proxy.store.sqlite.connection import SqliteConfig
from proxy.store.sqlite.engine import SqliteStore

ATTEMPTS = 8
"""More than deaths: a try that a death interrupted counts."""
CHANGES = {
    "optional: true": "optional: false",
    "        result: {status: DEFERRED}\n": "",
    "attempts: 2\n": f"attempts: {ATTEMPTS}\n",
    "attempts: 1\n": f"attempts: {ATTEMPTS}\n",
    "undo: {attempts: 3,": f"undo: {{attempts: {ATTEMPTS},",
    '{id: "${steps.pay./tx/id}"}': '{id: "${steps.pay.key}"}',
}
ENDS = ("paid", "shipping fails", "payment is lost", "payment is refused")
DIED = 9


ARROWS = {
    "start asked": 1,
    "start committed": 1,
    "claim asked": 2,
    "claim committed": 2,
    "intent asked": 6,
    "intent committed": 6,
    "request arrives": 6,
    "effect made": 6,
    "end asked": 2,
    "end committed": 2,
}
"""And how often a process may pass each of them. An intent's commit has the outcome before it."""


class Arrows:
    """Counts one kind of arrow, and ends the process at the `number`-th; 0: at none."""

    def __init__(self, folder: Path, kind: str, number: int) -> None:
        self._folder = folder
        self._kind = kind
        self._left = number

    def passed(self, kind: str) -> None:
        if kind == self._kind:
            self._left -= 1
            if self._left == 0:
                add(self._folder / "deaths", kind.replace(" ", "_"))
                os._exit(DIED)


def named(operation: Any) -> str:
    """What an operation does for a saga, "" for nothing."""
    if isinstance(operation, UpdateSaga):
        return "end" if operation.release else "intent"
    return {BeginSaga: "start", ClaimSagas: "claim"}.get(type(operation), "")


class DyingStore(SqliteStore):
    """An arrow before each operation is asked for, and one after its commit."""

    arrows: Arrows

    def do(self, operation: Any) -> "Future[Any]":
        return self._passing([operation], super().do, operation)

    def commit(self, operations: Any) -> Any:
        return self._passing(operations, super().commit, operations)

    def _passing(self, operations: Any, ask: Callable[[Any], Any], asked: Any) -> Any:
        names = [name for one in operations if (name := named(one))]
        for name in names:
            self.arrows.passed(f"{name} asked")
        future = ask(asked)
        for name in names:
            future.add_done_callback(lambda _, name=name: self.arrows.passed(f"{name} committed"))
        return future


def serve(folder: Path, arrows: Arrows, end: str) -> Callable[..., None]:
    """The services: a line in `effects` for each key that is new, one in `requests` for each."""

    def send(
        route: Route, request: StoredRequest, keep: int, on_done: Callable[[TryResult], object]
    ) -> None:
        arrows.passed("request arrives")
        key = dict(request.fields)[b"Idempotency-Key"].decode()
        add(folder / "requests", key)
        told = respond(request.target, end)
        if (told.status == 200 or told.reason) and key not in lines(folder / "effects"):
            add(folder / "effects", key)
        arrows.passed("effect made")
        asyncio.get_running_loop().call_soon(on_done, told)

    return send


def respond(target: str, end: str) -> TryResult:
    if target == "/ship" and end == "shipping fails":
        return answer(422)
    if target == "/pay" and end == "payment is refused":
        return answer(402)
    if target == "/pay" and end == "payment is lost":
        return TryResult(504, "attempt-timeout", sent=True)
    return answer(200, {"tx": {"id": 7}})


def definition() -> str:
    text = ORDERS
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    return text


def add(file: Path, line: str) -> None:
    with file.open("a") as out:
        out.write(line + "\n")


def lines(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


async def live(folder: Path, arrow: str, number: int, end: str) -> None:
    """One process: begin the saga unless it is there, and run it to its end."""
    store = DyingStore(SqliteConfig(str(folder / "store.db")))
    store.arrows = Arrows(folder, "", 0)
    await store.open(5.0)
    bed = Bed(store, definition())
    store.arrows = arrows = Arrows(folder, arrow, number)
    bed.services.send = serve(folder, arrows, end)
    if not await store.do(ListSagas()):
        await bed.begin(given=INPUT)
    add(folder / "acknowledged", "o-1")
    bed.runner.start()
    while True:
        (record,) = await SqliteStore.do(store, ListSagas())
        if record.state in ("done", "undone", "stuck") and not record.owned:
            break
        await asyncio.sleep(0.001)
    add(folder / "state", record.state)
    await bed.runner.stop()
    await store.close()


def process(folder: Path, arrow: str, number: int, end: str) -> bool:
    """Whether it came to the end."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(asyncio.wait_for(live(folder, arrow, number, end), 20))
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - told by the parent
            add(folder / "errors", repr(error).replace(" ", "_"))
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def broken(folder: Path, end: str, deaths: int) -> list[str]:
    """The promises that this saga broke."""
    effects, requests = Counter(lines(folder / "effects")), Counter(lines(folder / "requests"))
    state = lines(folder / "state")[-1:] or ["lost"]
    found = [f"error {one}" for one in lines(folder / "errors")]
    wanted = "done" if end == "paid" else "undone"
    if state != [wanted]:
        found.append(f"it is {state[0]}, not {wanted}")
    found += [f"{key}: {count} effects" for key, count in effects.items() if count != 1]
    for key, count in requests.items():
        usual = ATTEMPTS if end == "payment is lost" and key == "o-1/pay/do" else 1
        if count > usual + deaths:
            found.append(f"{key}: {count} requests with {deaths} deaths")
    if wanted == "undone":
        for key in list(effects):
            step = key.removesuffix("/do")
            if key.endswith("/do") and f"{step}/undo" not in effects:
                found.append(f"{key} is not undone")
    elif any(key.endswith("/undo") for key in requests):
        found.append("something is undone")
    return found


def choose(chance: random.Random, deaths: Counter[str], *, first: bool) -> tuple[str, int]:
    """An arrow with the fewest deaths; the start has its own only in a saga's first process."""
    possible = [one for one in ARROWS if first or not one.startswith("start")]
    arrow = min(possible, key=lambda one: (deaths[one], chance.random()))
    return arrow, chance.randint(1, ARROWS[arrow])


def main(above: Path, seed: int, wanted: int) -> None:
    chance = random.Random(seed)
    deaths = Counter[str]()
    rounds = 0
    loaded = sagas.load_text(definition(), "orders.yaml", {})
    sagas.load_text = lambda *_: loaded  # read once for all processes
    while min(deaths[one] for one in ARROWS) < wanted and rounds < 20 * wanted:
        folder = above / str(rounds)
        folder.mkdir()
        end = ENDS[rounds % len(ENDS)]
        died = 0
        while died < 3 and not process(folder, *choose(chance, deaths, first=died == 0), end):
            died += 1
        if died == 3 and not process(folder, "", 0, end):
            print(f"round {rounds} ({end}): it does not end")
        deaths.update(one.replace("_", " ") for one in lines(folder / "deaths"))
        for what in broken(folder, end, died):
            print(f"round {rounds} ({end}): {what}")
        shutil.rmtree(folder)
        rounds += 1
    print(json.dumps({"rounds": rounds, "deaths": {one: deaths[one] for one in ARROWS}}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
