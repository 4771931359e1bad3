"""The callers of the asynchronous order service: each posts its order until it is accepted.

A caller repeats with the same key, whatever happened to the first try: that is what the key is for.
Every fifth caller posts once more although it has its answer, as an impatient one does.
"""

import asyncio
import time
from dataclasses import dataclass

from aiohttp import ClientError, ClientSession, ClientTimeout

from proxy.demo.saga_configuration import ORDERS

_AGAIN = 0.1
_TIMEOUT = ClientTimeout(total=2)
_IMPATIENT = 5


@dataclass(slots=True)
class PlacedOrder:
    """One order and its answer. `posts` counts its requests; `location` "": it has no answer yet.

    `same`: the answer to its repeat named the same place; None: it was not repeated.
    """

    number: int
    total: float
    location: str = ""
    posts: int = 0
    seconds: float = 0.0
    same: bool | None = None

    @property
    def id(self) -> str:
        return f"order-{self.number}"

    @property
    def accepted(self) -> bool:
        return bool(self.location)


class Callers:
    """Places orders at the proxy's inbound listener. `orders`: all of them."""

    __slots__ = ("_session", "_tasks", "_url", "orders")

    def __init__(self, session: ClientSession, url: str) -> None:
        self._session = session
        self._url = url + ORDERS
        self._tasks: set[asyncio.Task[None]] = set()
        self.orders: list[PlacedOrder] = []

    def place(self, total: float) -> None:
        """Begin with the next order."""
        order = PlacedOrder(len(self.orders) + 1, total)
        self.orders.append(order)
        task = asyncio.create_task(self._insist(order))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self, seconds: float) -> None:
        """Wait for the answers that are missing, `seconds` at most; then give up."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _insist(self, order: PlacedOrder) -> None:
        began = time.monotonic()
        order.location = await self._until_accepted(order)
        order.seconds = time.monotonic() - began
        if order.number % _IMPATIENT == 0:
            order.same = await self._until_accepted(order) == order.location

    async def _until_accepted(self, order: PlacedOrder) -> str:
        while True:
            order.posts += 1
            location = await self._post(order)
            if location:
                return location
            await asyncio.sleep(_AGAIN)

    async def _post(self, order: PlacedOrder) -> str:
        """The order's place; "" if it was not accepted."""
        body = {"orderId": order.id, "sku": "SKU001", "quantity": 2, "total": order.total}
        headers = {"X-Idempotency-Key": order.id}
        try:
            async with self._session.post(
                self._url, json=body, headers=headers, timeout=_TIMEOUT
            ) as response:
                return response.headers.get("Location", "") if response.status == 202 else ""
        except (ClientError, TimeoutError):
            return ""
