"""Clients that call a service through its endpoints, and fail over at connection errors alone.

Whatever else is no 200 is a failed request.
"""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

from podlife.http2_client import Http2Client
from podlife.http_client import Client, ConnectionLost

TIMEOUT = 10.0
_ATTEMPTS = 6


@dataclass(slots=True)
class Endpoints:
    """Ports of the pods that clients know of; `told`: when which one was told to end."""

    ports: list[int] = field(default_factory=list)
    told: dict[int, float] = field(default_factory=dict)

    def age(self, port: int) -> str:
        """In words, for failures."""
        told = self.told.get(port)
        return f"{time.monotonic() - told:.1f} s after the pod's end began" if told else "serving"


@dataclass(slots=True)
class Load:
    """`workers` clients, each with a request at a time and a short pause in between.

    Every other one keeps its connections; some requests are slow, so that there is always
    something under way.
    """

    endpoints: Endpoints
    workers: int = 8
    requests: int = 0
    failovers: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    _stopping: bool = False

    async def run(self) -> None:
        await asyncio.gather(*(self._worker(number) for number in range(self.workers)))

    def stop(self) -> None:
        self._stopping = True

    async def _worker(self, number: int) -> None:
        client = Client(keep=number % 2 == 0)
        turn = number
        try:
            while not self._stopping:
                turn += 1
                seconds = random.choice((0, 0, 0, 0.02, 0.2))
                await self._request(client, turn, f"/work?seconds={seconds}")
                await asyncio.sleep(0.03)
        finally:
            client.close()

    async def _request(self, client: Client | Http2Client, turn: int, target: str) -> None:
        self.requests += 1
        began = time.monotonic()
        why = "no endpoint took it"
        for attempt in range(_ATTEMPTS):
            ports = self.endpoints.ports
            port = ports[(turn + attempt) % len(ports)]
            try:
                async with asyncio.timeout(TIMEOUT):
                    status = await client.get(port, target)
            except ConnectionLost:
                self.failovers += 1
                continue
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                why = f"{error!r}, {self.endpoints.age(port)}"
                break
            self.longest = max(self.longest, time.monotonic() - began)
            if status == 200:
                return
            why = f"status {status}, {self.endpoints.age(port)}"
            break
        self.failed[why] += 1


@dataclass(slots=True)
class Http2Load(Load):
    """The same over HTTP/2, and beside it `streams` that are open for `open_for` seconds each.

    All share one connection to each pod, as the calls of one client process do.
    """

    streams: int = 100
    open_for: float = 2.0

    async def run(self) -> None:
        client = Http2Client()
        try:
            await asyncio.gather(
                *(self._asking(client, number) for number in range(self.workers)),
                *(self._waiting(client, number) for number in range(self.streams)),
            )
        finally:
            client.close()

    async def _asking(self, client: Http2Client, number: int) -> None:
        turn = number
        while not self._stopping:
            turn += 1
            seconds = random.choice((0, 0, 0, 0.02, 0.2))
            await self._request(client, turn, f"/work?seconds={seconds}")
            await asyncio.sleep(0.03)

    async def _waiting(self, client: Http2Client, number: int) -> None:
        turn = number
        while not self._stopping:
            turn += 1
            await self._request(client, turn, f"/work?seconds={self.open_for}")
