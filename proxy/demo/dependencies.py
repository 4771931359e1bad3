"""The three dependencies: small HTTP services that meet the trouble the scene has for them.

They are honest. Work is done once for each idempotency key, and a repeat gets the first answer
again, as any service must whose callers may repeat. The ledger keeps what really happened.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random

from aiohttp import web

from proxy.demo.ports import ReservedPort
from proxy.demo.scene import Dependency, Scene, Trouble

_USUAL_SECONDS = {  # shortest and longest when all is well
    Dependency.INVENTORY: (0.003, 0.010),
    Dependency.PAYMENT: (0.008, 0.025),
    Dependency.SHIPPING: (0.004, 0.015),
}


class Ledger:
    """What a dependency did, by idempotency key.

    `work` counts how often a key's work was done (a charge made), `repeats` the requests whose
    key was known already, `requests` all that arrived.
    """

    __slots__ = ("_answers", "repeats", "requests", "work")

    def __init__(self) -> None:
        self.work: Counter[str] = Counter()
        self.repeats = 0
        self.requests = 0
        self._answers: dict[str, dict[str, str]] = {}

    def record(self, key: str, do: Callable[[], dict[str, str]]) -> dict[str, str]:
        """The answer to this key, from doing the work or from having done it before."""
        known = self._answers.get(key)
        if known is not None:
            self.repeats += 1
            return known
        self.work[key] += 1
        answer = self._answers[key] = do()
        return answer


class DependencyServer:
    """One dependency on a loopback port of its own.

    `now` gives the seconds since the curtain rose. `open` and `close` are those of its listening
    socket; `close` also cuts the connections it has, like a process that dies.
    """

    __slots__ = ("_now", "_port", "_random", "_runner", "_scene", "dependency", "ledger")

    def __init__(self, dependency: Dependency, scene: Scene, now: Callable[[], float]) -> None:
        self.dependency = dependency
        self.ledger = Ledger()
        self._scene = scene
        self._now = now
        self._port = ReservedPort()
        self._random = Random(dependency.value)
        self._runner: web.ServerRunner | None = None

    @property
    def port(self) -> int:
        return self._port.number

    @property
    def listening(self) -> bool:
        return self._runner is not None

    async def open(self) -> None:
        if self._runner is not None:
            return
        runner = web.ServerRunner(
            web.Server(self._answer, access_log=None), shutdown_timeout=0.01, handle_signals=False
        )
        await runner.setup()
        await web.SockSite(runner, self._port.socket()).start()
        self._runner = runner

    async def close(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def follow_scene(self) -> None:
        """Open and close the listening socket as the scene has it; runs until cancelled."""
        while True:
            if self._scene.trouble(self.dependency, self._now()) is Trouble.DOWN:
                await self.close()
            else:
                await self.open()
            await asyncio.sleep(0.01)

    async def shut_down(self) -> None:
        await self.close()
        self._port.release()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.ledger.requests += 1
        trouble = self._scene.trouble(self.dependency, self._now())
        await request.read()
        if request.path != self.dependency.path:
            return web.json_response({"error": "no such path"}, status=404)
        if trouble is Trouble.UNAVAILABLE:
            return web.json_response({"error": "overloaded"}, status=503)
        slow = trouble is Trouble.SLOW
        usual = self._random.uniform(*_USUAL_SECONDS[self.dependency])
        await asyncio.sleep(self._scene.tempo.slowness if slow else usual)
        answer = self.ledger.record(request.headers.get("X-Idempotency-Key", ""), self._work)
        if trouble is Trouble.LOSES_ANSWERS and request.transport is not None:
            request.transport.abort()
        return web.json_response(answer)

    def _work(self) -> dict[str, str]:
        number = len(self.ledger.work)
        match self.dependency:
            case Dependency.INVENTORY:
                return {"status": "DEDUCTED", "reservation": f"R{number}"}
            case Dependency.PAYMENT:
                return {"status": "CHARGED", "charge": f"C{number}"}
            case Dependency.SHIPPING:
                return {"status": "CREATED", "trackingNumber": f"T{number}"}
