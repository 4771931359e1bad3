"""Hedges and a learned limit over real sockets do what their simulations say."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from integration.as_simulated import Callers, Service
from integration.running_proxy import RunningProxy
from integration.settings import route

StartProxy = Callable[..., RunningProxy]

pytestmark = [pytest.mark.long, pytest.mark.alone]
SIMULATED = Path(__file__).parents[1] / "bench" / "results" / "simulated-endpoints.json"


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
