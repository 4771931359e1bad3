"""Services and callers at random, over real sockets, as the simulations have them."""

import asyncio
import re
from collections import deque
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from random import Random
from time import monotonic

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAILURE = b"HTTP/1.1 503 Out of order\r\nContent-Length: 0\r\n\r\n"
REQUEST_ID = re.compile(rb"(?i)x-request-id: (\S+)")


@dataclass
class Try:
    """A request at a service: `began` when it came, `seconds` for its wait there and its work.

    A busy machine delays the answer further, which says nothing about the proxy.
    """

    request: bytes
    began: float
    seconds: float = 0.0


class Service:
    """It does `capacity` requests at once, each in `mean` seconds on average; others wait.

    `failing`: it answers 503 at once instead. `tries`: all requests, in the order they came.
    `worked`, `waited`: how many it did at once, and how many waited, on average since `measure`.
    """

    def __init__(self, mean: float, capacity: int, seed: int) -> None:
        self.mean, self.capacity = mean, capacity
        self.random = Random(seed)
        self.busy = self.load = 0
        self.failing = False
        self.tries: list[Try] = []
        self.line: deque[asyncio.Future[None]] = deque()
        self.measure()

    @property
    def most(self) -> float:
        """Requests a second."""
        return self.capacity / self.mean

    def measure(self) -> None:
        self._since = self._changed = monotonic()
        self._work = self._wait = 0.0

    @property
    def worked(self) -> float:
        self._passed()
        return self._work / (self._changed - self._since)

    @property
    def waited(self) -> float:
        self._passed()
        return self._wait / (self._changed - self._since)

    def _passed(self) -> None:
        now = monotonic()
        self._work += self.busy * (now - self._changed)
        self._wait += len(self.line) * (now - self._changed)
        self._changed = now

    async def start(self, stack: AsyncExitStack) -> str:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        await stack.enter_async_context(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = REQUEST_ID.search(head)
                assert found
                one = Try(found[1], monotonic())
                self.tries.append(one)
                if self.failing:
                    writer.write(FAILURE)
                    continue
                one.seconds = await self.work()
                writer.write(ANSWER)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def work(self) -> float:
        """Wait and work. Returns the seconds of both, as an idle machine would have them."""
        self.load += 1
        self._passed()
        came = monotonic()
        if self.busy >= self.capacity:
            turn = asyncio.get_running_loop().create_future()
            self.line.append(turn)
            await turn
        else:
            self.busy += 1
        waited = monotonic() - came
        took = self.random.expovariate(1 / self.mean)
        await asyncio.sleep(took)
        self._passed()
        self.busy -= 1
        while self.line and self.busy < self.capacity:
            turn = self.line.popleft()
            if not turn.done():
                self.busy += 1
                turn.set_result(None)
        return waited + took


class Callers:
    """They send requests at random through the proxy.

    `seconds`: of each answer of status 200. `refused`: others.
    """

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.random = Random(seed)
        self.seconds: list[float] = []
        self.refused = 0
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._calls: set[asyncio.Task[None]] = set()

    async def run(self, path: str, rate: float, seconds: float) -> None:
        end = at = monotonic()
        end += seconds
        while (at := at + self.random.expovariate(rate)) < end:
            await asyncio.sleep(max(at - monotonic(), 0))
            call = asyncio.create_task(self._call(path))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _call(self, path: str) -> None:
        begun = monotonic()
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length
        await reader.readexactly(int(length[1]))
        if head.startswith(b"HTTP/1.1 200 "):
            self.seconds.append(monotonic() - begun)
        else:
            self.refused += 1
        self._idle.append((reader, writer))

    async def finish(self) -> None:
        await asyncio.gather(*self._calls)
        for _, writer in self._idle:
            writer.close()
            await writer.wait_closed()

    def quantile(self, share: float) -> float:
        return quantile(self.seconds, share)


def quantile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[int(share * len(ordered))]
