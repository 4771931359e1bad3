"""What the saga of the demo calls: inventory, payment, shipping, and the order service itself.

Each does a piece of work once for an idempotency key, and answers a repeat with the first answer,
as every service must whose callers may repeat. `Service.effects` records what really happened.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from aiohttp import web

from proxy.demo.ports import ReservedPort
from proxy.demo.saga_configuration import PAY, REFUND, RELEASE, RESERVE, RESULTS, SHIP
from proxy.demo.scene import Tempo

LIMIT = 1000.0
"""Payment declines a larger amount."""

_Work: TypeAlias = "Callable[[dict[str, object]], tuple[int, dict[str, object]]]"


class Service:
    """One service on its own port of loopback. `paths`: what it does, by path.

    `effects` counts pieces of work by path and order, `repeats` the requests with a known key.
    """

    __slots__ = ("_answers", "_paths", "_port", "_runner", "_seconds", "effects", "repeats")

    def __init__(self, paths: dict[str, _Work], seconds: float = 0.0) -> None:
        """`seconds`: how long a piece of work takes."""
        self._paths = paths
        self._seconds = seconds
        self._port = ReservedPort()
        self._runner: web.AppRunner | None = None
        self._answers: dict[str, tuple[int, dict[str, object]]] = {}
        self.effects: Counter[tuple[str, str]] = Counter()
        self.repeats = 0

    @property
    def port(self) -> int:
        return self._port.number

    async def open(self) -> None:
        """Listen."""
        app = web.Application()
        for path in self._paths:
            app.router.add_post(path, self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.SockSite(self._runner, self._port.socket()).start()

    async def close(self) -> None:
        """Refuse connections until `open`."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def shut_down(self) -> None:
        await self.close()
        self._port.release()

    def orders(self, path: str) -> dict[str, int]:
        """How often the work of a path was done, by order."""
        return {order: times for (at, order), times in self.effects.items() if at == path}

    async def _answer(self, request: web.Request) -> web.Response:
        document = json.loads(await request.read())
        key = request.headers["Idempotency-Key"]
        if key in self._answers:
            self.repeats += 1
        else:
            status, answer = self._answers[key] = self._paths[request.path](document)
            if status < 400:
                self.effects[request.path, _order_of(document, key)] += 1
            await asyncio.sleep(self._seconds)
        status, answer = self._answers[key]
        return web.json_response(answer, status=status)


def _order_of(document: dict[str, object], key: str) -> str:
    """The order of a step's key (``o-1/pay/do``), or of a result, whose key is the saga's token."""
    return str(document.get("id") or key.partition("/")[0])


def make_services(tempo: Tempo) -> dict[str, Service]:
    """By the names of their upstreams; they do not listen yet."""
    inventory = {RESERVE: _done("RESERVED"), RELEASE: _done("RELEASED")}
    return {
        "inventory": Service(inventory, 0.2 * tempo.waits),
        "payment": Service({PAY: _pay, REFUND: _done("REFUNDED")}, 0.6 * tempo.waits),
        "shipping": Service({SHIP: _done("CREATED")}, 0.3 * tempo.waits),
        "app": Service({RESULTS: _done("HEARD")}),
    }


def _done(status: str) -> _Work:
    return lambda document: (200, {"status": status})


def _pay(document: dict[str, object]) -> tuple[int, dict[str, object]]:
    amount = document.get("amount")
    if not isinstance(amount, int | float) or amount > LIMIT:
        return 402, {"status": "DECLINED"}
    return 200, {"status": "CHARGED"}
