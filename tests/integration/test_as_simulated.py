"""Hedges and a learned limit over real sockets do what their simulations say."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from time import monotonic

import pytest
from integration.running_proxy import RunningProxy
from integration.settings import route

StartProxy = Callable[..., RunningProxy]

pytestmark = [pytest.mark.long, pytest.mark.alone]
SIMULATED = Path(__file__).parents[1] / "bench" / "results" / "simulated-endpoints.json"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Service:
    """It does `capacity` requests at once, each in `mean` seconds on average; others wait."""

    def __init__(self, mean: float, capacity: int, seed: int) -> None:
        self.mean, self.capacity = mean, capacity
        self.random = Random(seed)
        self.busy = self.load = 0
        self.line: deque[asyncio.Future[None]] = deque()

    async def start(self, stack: AsyncExitStack) -> str:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        await stack.enter_async_context(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await self.work()
                writer.write(ANSWER)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def work(self) -> None:
        self.load += 1
        if self.busy >= self.capacity:
            turn = asyncio.get_running_loop().create_future()
            self.line.append(turn)
            await turn
        self.busy += 1
        await asyncio.sleep(self.random.expovariate(1 / self.mean))
        self.busy -= 1
        while self.line and self.busy < self.capacity:
            turn = self.line.popleft()
            if not turn.done():
                turn.set_result(None)
                break


class Callers:
    """They send requests at random through the proxy. `seconds`: of each answer of status 200."""

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
        if head.startswith(b"HTTP/1.1 200 "):
            await reader.readexactly(2)
            self.seconds.append(monotonic() - begun)
            self._idle.append((reader, writer))
        else:
            self.refused += 1
            writer.close()
            await writer.wait_closed()

    async def finish(self) -> None:
        await asyncio.gather(*self._calls)
        for _, writer in self._idle:
            writer.close()
            await writer.wait_closed()

    def quantile(self, share: float) -> float:
        return sorted(self.seconds)[int(share * len(self.seconds))]


@pytest.fixture
def play(start_proxy: StartProxy) -> Callable[[Callable[[StartProxy], Awaitable[None]]], None]:
    """Run a coroutine that starts the proxy when its services listen."""
    return lambda run: asyncio.run(run(start_proxy))  # type: ignore[arg-type]  # a coroutine


def test_hedges(play: Callable[[Callable[[StartProxy], Awaitable[None]]], None]) -> None:
    simulated = {one["delay"]: one for one in json.loads(SIMULATED.read_text())["hedging"]}

    async def measure(start_proxy: StartProxy, delay: str) -> tuple[float, float]:
        """Milliseconds of the 99th percentile, and how much more load the services had."""
        services = [Service(0.2, 8, 1), *[Service(0.02, 8, seed) for seed in range(2, 6)]]
        async with AsyncExitStack() as stack:
            urls = [await service.start(stack) for service in services]
            policy = {"retry": {"attempts": 2}, "hedge": {"delay": delay or "0s"}}
            settings = {"upstreams": {"five": {"endpoints": urls}}}
            proxy = await asyncio.to_thread(
                start_proxy, {**settings, "routes": [route("five", "five", **policy)]}
            )
            callers = Callers(proxy.outbound, 7)
            await callers.run("/five", 100.0, 25.0)
            await callers.finish()
            load = sum(service.load for service in services) / len(callers.seconds) - 1
            assert not callers.refused
            return callers.quantile(0.99) * 1000, load

    async def compare(start_proxy: StartProxy) -> None:
        for delay in ("", "150ms"):
            p99, load = await measure(start_proxy, delay)
            print(f"hedges {delay or 'none'}: p99 {p99:.0f} ms, load {load:+.1%}; simulated",
                  simulated[delay])  # fmt: skip
            assert p99 == pytest.approx(simulated[delay]["p99_ms"], rel=0.4)
            assert load == pytest.approx(simulated[delay]["more_load"], abs=0.025)

    play(compare)


def test_a_learned_limit(play: Callable[[Callable[[StartProxy], Awaitable[None]]], None]) -> None:
    """As `unit/policies/test_gradient.py`: what the service can take, and half of it soon after
    the service does half. The simulation finds 46 to 49 after so long, then 18 to 24.
    """
    capacity, mean = 40, 0.2

    async def compare(start_proxy: StartProxy) -> None:
        service = Service(mean, capacity, 3)
        async with AsyncExitStack() as stack:
            url = await service.start(stack)
            gradient = {"limit": "gradient", "max_concurrent": 1000}
            one = {"upstreams": {"one": {"endpoints": [url]}}}
            proxy = await asyncio.to_thread(
                start_proxy, {**one, "routes": [route("one", "one", bulkhead=gradient)]}
            )
            callers = Callers(proxy.outbound, 7)
            load = asyncio.create_task(callers.run("/one", 1.5 * capacity / mean, 62.0))

            async def average(seconds: int) -> float:
                found = []
                for _ in range(seconds):
                    await asyncio.sleep(1)
                    found.append((await asyncio.to_thread(proxy.bulkhead, "one"))["learned"])
                return sum(found) / len(found)

            await asyncio.sleep(30)
            found = await average(10)
            service.capacity = capacity // 2
            await asyncio.sleep(3)
            soon = await average(1)
            await asyncio.sleep(6)
            halved = await average(10)
            print(f"learned {found:.1f} of {capacity}, 3 s after it halved {soon:.1f}, "
                  f"then {halved:.1f}")  # fmt: skip
            assert 0.7 * capacity <= found <= 1.35 * capacity
            assert soon <= 0.65 * found
            # Each wait for a busy machine looks like a wait for the service, and lowers it.
            assert 0.65 * capacity / 2 <= halved <= 1.35 * capacity / 2
            await load
            await callers.finish()

    play(compare)
