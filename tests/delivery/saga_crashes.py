"""Runs sagas in processes that die at a chosen arrow, until each saga has ended.

    python saga_crashes.py FOLDER SEED ROUNDS

A round is one saga: up to three processes die at a random arrow (`os._exit`), and the next one goes
on. The services are files: an effect is a line that is written before the answer. Prints one line
for each broken promise, and at the end what it did.
"""

import asyncio
import json
import os
import random
import sys
from asyncio import Future
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from delivery.sagas import INPUT, ORDERS, Bed, answer

from proxy.delivery.stored_request import StoredRequest, TryResult
from proxy.routing.route import Route
from proxy.store.operations import ListSagas
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


class Arrows:
    """Counts arrows, and ends the process at one of them; 0: at none."""

    def __init__(self, die_at: int) -> None:
        self.left = die_at

    def passed(self) -> None:
        self.left -= 1
        if self.left == 0:
            os._exit(DIED)


class DyingStore(SqliteStore):
    """An arrow before each operation is asked for, and one after its commit."""

    arrows: Arrows

    def do(self, operation: Any) -> "Future[Any]":
        self.arrows.passed()
        future = super().do(operation)
        future.add_done_callback(lambda _: self.arrows.passed())
        return future

    def commit(self, operations: Any) -> Any:
        self.arrows.passed()
        future = super().commit(operations)
        future.add_done_callback(lambda _: self.arrows.passed())
        return future


def serve(folder: Path, arrows: Arrows, end: str) -> Callable[..., None]:
    """The services: a line in `effects` for each key that is new, one in `requests` for each."""

    def send(
        route: Route, request: StoredRequest, keep: int, on_done: Callable[[TryResult], object]
    ) -> None:
        arrows.passed()
        key = dict(request.fields)[b"Idempotency-Key"].decode()
        add(folder / "requests", key)
        told = respond(request.target, end)
        if (told.status == 200 or told.reason) and key not in lines(folder / "effects"):
            add(folder / "effects", key)
        arrows.passed()
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


def add(file: Path, line: str) -> None:
    with file.open("a") as out:
        out.write(line + "\n")


def lines(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


async def live(folder: Path, die_at: int, end: str) -> None:
    """One process: begin the saga unless it is there, and run it to its end."""
    store = DyingStore(SqliteConfig(str(folder / "store.db")))
    store.arrows = Arrows(0)
    await store.open(5.0)
    text = ORDERS
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    bed = Bed(store, text)
    store.arrows = arrows = Arrows(die_at)
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


def process(folder: Path, die_at: int, end: str) -> bool:
    """Whether it came to the end."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(asyncio.wait_for(live(folder, die_at, end), 20))
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


def main(above: Path, seed: int, rounds: int) -> None:
    chance = random.Random(seed)
    deaths = 0
    for number in range(rounds):
        folder = above / str(number)
        folder.mkdir()
        end = ENDS[number % len(ENDS)]
        died = 0
        while died < 3 and not process(folder, chance.randint(1, 40), end):
            died += 1
        if died == 3 and not process(folder, 0, end):
            print(f"round {number} ({end}): it does not end")
        deaths += died
        for what in broken(folder, end, died):
            print(f"round {number} ({end}): {what}")
    print(json.dumps({"rounds": rounds, "deaths": deaths}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
