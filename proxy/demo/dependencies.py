"""The dependencies: small services that fail as the scene says.

Pricing is asked by gRPC, the others by HTTP. Those do their work once for each idempotency key, and
answer a repeat with the first answer, as every service must whose callers may retry. The ledger
records what really happened.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from socket import socket
from typing import Protocol, TypeAlias

from aiohttp import web

from proxy.demo.grpc_calls import GrpcError, GrpcServer, no_such_method
from proxy.demo.ports import ReservedPort
from proxy.demo.pricing import Quote, order_of, price_of
from proxy.demo.scene import REPLICAS, Dependency, Scene, Trouble
from proxy.grpc_status import UNAVAILABLE

_USUAL_SECONDS = {  # shortest and longest without trouble
    Dependency.PRICING: (0.002, 0.008),
    Dependency.INVENTORY: (0.003, 0.010),
    Dependency.PAYMENT: (0.008, 0.025),
    Dependency.SHIPPING: (0.004, 0.015),
}


_CUT_SECONDS = 1.0
_Answer: TypeAlias = "Callable[[web.BaseRequest, _HttpLife], Awaitable[web.StreamResponse]]"


class Ledger:
    """What a dependency did, by idempotency key.

    `work` counts how often a key's work was done (a charge made), `repeats` the requests with a
    known key, `requests` all requests that arrived.
    """

    __slots__ = ("_answers", "repeats", "requests", "work")

    def __init__(self) -> None:
        self.work: Counter[str] = Counter()
        self.repeats = 0
        self.requests = 0
        self._answers: dict[str, dict[str, str]] = {}

    def record(self, key: str, do: Callable[[], dict[str, str]]) -> dict[str, str]:
        """The answer for this key; does the work if it has not been done."""
        known = self._answers.get(key)
        if known is not None:
            self.repeats += 1
            return known
        self.work[key] += 1
        answer = self._answers[key] = do()
        return answer


def work(dependency: Dependency, number: int) -> dict[str, str]:
    """The dependency's answer after its `number`th piece of work."""
    match dependency:
        case Dependency.INVENTORY:
            return {"status": "DEDUCTED", "reservation": f"R{number}"}
        case Dependency.PAYMENT:
            return {"status": "CHARGED", "charge": f"C{number}"}
        case Dependency.SHIPPING:
            return {"status": "CREATED", "trackingNumber": f"T{number}"}
        case Dependency.PRICING:
            raise ValueError("pricing answers with messages")


class _Life(Protocol):
    """A dependency from the opening of its listening socket to its end.

    It ends like a killed process: the socket closes, every connection is cut, unfinished work is
    lost.
    """

    async def begin(self) -> None: ...

    async def end(self) -> None: ...


class DependencyServer:
    """One dependency, or a replica of it, on its own loopback port.

    `now` gives the seconds since the scene began. `open` and `close` its listening socket; `close`
    also cuts its connections, like a process that dies.
    """

    __slots__ = ("_life", "_now", "_port", "_random", "_replica", "_scene", "dependency", "ledger")

    def __init__(
        self,
        dependency: Dependency,
        scene: Scene,
        now: Callable[[], float],
        replica: int = 0,
        ledger: Ledger | None = None,
    ) -> None:
        self.dependency = dependency
        self.ledger = ledger or Ledger()
        self._replica = replica
        self._scene = scene
        self._now = now
        self._port = ReservedPort()
        self._random = Random(dependency.value)
        self._life: _Life | None = None

    @property
    def port(self) -> int:
        return self._port.number

    @property
    def listening(self) -> bool:
        return self._life is not None

    async def open(self) -> None:
        if self._life is None:
            self._life = self._new_life(self._port.socket())
            await self._life.begin()

    async def close(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            await life.end()

    async def follow_scene(self) -> None:
        """Open and close the listening socket as the scene says; runs until cancelled."""
        while True:
            if self._trouble() is Trouble.DOWN:
                await self.close()
            else:
                await self.open()
            await asyncio.sleep(0.01)

    async def shut_down(self) -> None:
        await self.close()
        self._port.release()

    def _new_life(self, listening: socket) -> _Life:
        raise NotImplementedError

    def _arrival(self) -> Trouble:
        """Count a request; returns its trouble."""
        self.ledger.requests += 1
        return self._trouble()

    def _trouble(self) -> Trouble:
        return self._scene.trouble(self.dependency, self._now(), self._replica)

    def _seconds(self, trouble: Trouble) -> float:
        """How long the answer takes."""
        usual = self._random.uniform(*_USUAL_SECONDS[self.dependency])
        return self._scene.tempo.slowness if trouble is Trouble.SLOW else usual


class HttpDependency(DependencyServer):
    """Inventory, payment or shipping."""

    __slots__ = ()

    def _new_life(self, listening: socket) -> _Life:
        return _HttpLife(listening, self._answer)

    async def _answer(self, request: web.BaseRequest, life: "_HttpLife") -> web.StreamResponse:
        trouble = self._arrival()
        await request.read()
        if request.path != self.dependency.path:
            return web.json_response({"error": "no such path"}, status=404)
        if trouble is Trouble.UNAVAILABLE:
            return web.json_response({"error": "overloaded"}, status=503)
        if await life.ends_within(self._seconds(trouble)):
            return web.Response(status=500)  # never sent: the connection is cut
        answer = self.ledger.record(request.headers.get("X-Idempotency-Key", ""), self._work)
        if trouble is Trouble.LOSES_ANSWERS and request.transport is not None:
            request.transport.abort()
        return web.json_response(answer)

    def _work(self) -> dict[str, str]:
        return work(self.dependency, len(self.ledger.work))


class PricingService(DependencyServer):
    """``shop.v1.Pricing``: the price of an order, always the same one. A quote changes nothing."""

    __slots__ = ()

    def _new_life(self, listening: socket) -> _Life:
        return GrpcServer(listening, self._quote)

    async def _quote(self, path: str, message: bytes) -> bytes:
        trouble = self._arrival()
        if path != self.dependency.path:
            raise no_such_method(path)
        if trouble is Trouble.UNAVAILABLE:
            raise GrpcError(UNAVAILABLE, "overloaded")
        order = order_of(message)
        await asyncio.sleep(self._seconds(trouble))
        self.ledger.work[order] += 1
        return Quote(price_of(order), "EUR").encoded()


def make_server(dependency: Dependency, scene: Scene, now: Callable[[], float]) -> DependencyServer:
    """A dependency that does not listen yet."""
    kind = PricingService if dependency.over_grpc else HttpDependency
    return kind(dependency, scene, now)


def make_replicas(
    of: DependencyServer, scene: Scene, now: Callable[[], float]
) -> list[DependencyServer]:
    """What a dependency has beside `of`: servers with the same ledger, as on one database."""
    many = REPLICAS if scene.faults and of.dependency is Dependency.INVENTORY else 1
    return [type(of)(of.dependency, scene, now, number, of.ledger) for number in range(1, many)]


class _HttpLife:
    """A `_Life` with aiohttp's server."""

    __slots__ = ("_dead", "_listening", "_runner", "_server", "_site")

    def __init__(self, listening: socket, answer: _Answer) -> None:
        self._dead = asyncio.Event()
        self._server = web.Server(lambda request: answer(request, self), access_log=None)
        self._runner = web.ServerRunner(self._server, handle_signals=False)
        self._site: web.SockSite | None = None
        self._listening = listening

    async def begin(self) -> None:
        await self._runner.setup()
        self._site = web.SockSite(self._runner, self._listening)
        await self._site.start()

    async def ends_within(self, seconds: float) -> bool:
        """Wait; returns whether the dependency ended meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                return await self._dead.wait()
        except TimeoutError:
            return False

    async def end(self) -> None:
        if self._site is not None:
            await self._site.stop()
        self._dead.set()
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await self._until_cut()
        await self._runner.cleanup()

    async def _until_cut(self) -> None:
        """Wait until the answers in progress have noticed the end.

        The runner's own shutdown may begin only then: it does not expect an answer to finish just
        after it has stopped waiting for it.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_CUT_SECONDS):
                while self._server.connections:  # noqa: ASYNC110 - the server has no event for it
                    await asyncio.sleep(0.001)
