"""Orders, and the order service that processes them: price, then reserve, pay and ship.

The service is simple: one call after another, the same idempotency key on each, and the first
failure fails the order. It runs twice; the two copies differ only in the address that they call:
the proxy's, or the dependencies' own.
"""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout

from proxy.demo.grpc_calls import GrpcChannel, GrpcError
from proxy.demo.pricing import Quote, request_for
from proxy.demo.scene import Dependency
from proxy.grpc_status import NAMES, OK


class World(Enum):
    """The two copies; the value is the prefix of their orders' idempotency keys."""

    WITH = "with"
    WITHOUT = "without"


class Fate(Enum):
    """The result of an order."""

    UNDER_WAY = "in progress"
    OK = "ok"
    RETRIED = "ok after a retry"
    DEFERRED = "shipping deferred"
    FAILED = "failed"

    @property
    def good(self) -> bool:
        return self in (Fate.OK, Fate.RETRIED, Fate.DEFERRED)


@dataclass(slots=True)
class Order:
    """`seconds` from placing to the result; `step` is the present or last call.

    `why` says what failed, `step_seconds` how long the last call took, `cents` the price.
    """

    world: World
    number: int
    fate: Fate = Fate.UNDER_WAY
    seconds: float = 0.0
    step: Dependency = Dependency.PRICING
    step_seconds: float = 0.0
    why: str = ""
    cents: int = 0

    @property
    def key(self) -> str:
        return order_key(self.world, self.number)


def order_key(world: World, number: int) -> str:
    """The idempotency key. The two copies have different orders."""
    return f"{world.value}-{number}"


class CallFailed(Exception):
    """A call without a 2xx status, or by gRPC without OK; the text says how it ended."""


class OrderService:
    """Processes orders with calls to `pricing` and `urls`, each with its timeout (seconds).

    Its HTTP calls carry `headers`, if any. `quotes` counts the gRPC statuses of the calls to
    pricing, by name.
    """

    __slots__ = ("_headers", "_pricing", "_session", "_timeouts", "_urls", "quotes")

    def __init__(
        self,
        session: ClientSession,
        urls: Mapping[Dependency, str],
        pricing: GrpcChannel,
        timeouts: Mapping[Dependency, float],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._session = session
        self._headers = dict(headers or {})
        self._urls = {d: url.rstrip("/") + d.path for d, url in urls.items()}
        self._pricing = pricing
        self._timeouts = dict(timeouts)
        self.quotes: Counter[str] = Counter()

    async def place(self, order: Order) -> None:
        """Raises only if cancelled: a failure is the order's result."""
        begun = time.monotonic()
        fate = Fate.OK
        try:
            for order.step in Dependency:
                called = time.monotonic()
                try:
                    outcome = await (
                        self._quote(order) if order.step.over_grpc else self._call(order)
                    )
                finally:
                    order.step_seconds = time.monotonic() - called
                if outcome is Fate.DEFERRED or fate is Fate.OK:
                    fate = outcome
            order.fate = fate
        except CallFailed as failure:
            order.fate, order.why = Fate.FAILED, str(failure)
        finally:
            order.seconds = time.monotonic() - begun

    async def _quote(self, order: Order) -> Fate:
        step = order.step
        try:
            reply = await self._pricing.unary(
                step.path, request_for(order.key), self._timeouts[step]
            )
            order.cents = Quote.decoded(reply.message).cents
        except GrpcError as error:
            self.quotes[error.name] += 1
            raise CallFailed(error.name) from error
        self.quotes[NAMES[OK]] += 1
        return _retried(reply.head.get(b"proxy-status", b"").decode("latin-1"))

    async def _call(self, order: Order) -> Fate:
        body = {"order": order.number, "step": order.step.value, "cents": order.cents}
        headers = {"X-Idempotency-Key": order.key, **self._headers}
        timeout = ClientTimeout(total=self._timeouts[order.step])
        try:
            async with self._session.post(
                self._urls[order.step], json=body, headers=headers, timeout=timeout
            ) as response:
                return _fate_of(response, await response.read())
        except TimeoutError as error:
            raise CallFailed("timeout") from error
        except ClientError as error:
            raise CallFailed("connection lost or refused") from error


def _fate_of(response: ClientResponse, body: bytes) -> Fate:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    fields = document if isinstance(document, dict) else {}
    if not response.ok:
        raise CallFailed(str(fields.get("reason") or response.status))
    if fields.get("status") == "DEFERRED":
        return Fate.DEFERRED
    return _retried(response.headers.get("Proxy-Status", ""))


def _retried(proxy_status: str) -> Fate:
    """What the proxy says of its attempts."""
    again = _ATTEMPTS.search(proxy_status)
    return Fate.RETRIED if again and int(again[1]) > 1 else Fate.OK


_ATTEMPTS = re.compile(r"\battempts=(\d+)")


class OrderStream:
    """The same orders for both copies at the same times: at `times`, in seconds."""

    __slots__ = ("_services", "_tasks", "_times", "orders")

    def __init__(self, services: Mapping[World, OrderService], times: Iterable[float]) -> None:
        self.orders: dict[World, list[Order]] = {world: [] for world in services}
        self._services = services
        self._times = times
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Place all orders; late ones are placed at once, so that none is missing."""
        begun = time.monotonic()
        for number, due in enumerate(self._times):
            await asyncio.sleep(begun + due - time.monotonic())
            for world, service in self._services.items():
                order = Order(world, number)
                self.orders[world].append(order)
                task = asyncio.create_task(service.place(order))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def settle(self, patience: float) -> None:
        """Wait `patience` seconds for the orders in progress, then cancel them.

        Those keep the result that they have.
        """
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
