"""Hedges and a learned limit over real sockets do what their simulations say."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import monotonic

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
    """Two services that are overloaded from the start, one of which takes fewer than the limit
    at which the proxy begins; the other then does half.

    Judged by what happens in the services: a slow machine adds time to all answers, and a limit
    that leaves them busy is then above what they do at once.
    """

    async def compare(start_proxy: StartProxy) -> None:
        forty, ten = Service(0.3, 40, 3), Service(0.2, 10, 4)
        async with AsyncExitStack() as stack:
            upstreams = {
                name: {"endpoints": [await service.start(stack)]}
                for name, service in (("forty", forty), ("ten", ten))
            }
            gradient = {"limit": "gradient", "max_concurrent": 1000}
            routes = [route(name, name, bulkhead=gradient) for name in upstreams]
            settings = {"upstreams": upstreams, "routes": routes}
            proxy = await asyncio.to_thread(start_proxy, settings)
            callers = Callers(proxy.outbound, 7)
            loads = [
                asyncio.create_task(callers.run(path, 1.5 * service.most, 80.0))
                for path, service in (("/forty", forty), ("/ten", ten))
            ]

            async def learned(name: str) -> int:
                for _ in range(3):
                    with suppress(TimeoutError):  # the machine is busy
                        return int((await asyncio.to_thread(proxy.bulkhead, name))["learned"])
                raise TimeoutError

            async def check(name: str, service: Service) -> None:
                """For 12 s."""
                service.measure()
                limits = []
                for _ in range(12):
                    await asyncio.sleep(1)
                    limits.append(await learned(name))
                worked, waited = service.worked, service.waited
                print(f"{name}, which does {service.capacity}: limits {limits}, "
                      f"worked {worked:.1f}, waited {waited:.1f}")  # fmt: skip
                assert worked >= 0.6 * service.capacity
                assert waited <= 0.5 * service.capacity

            await asyncio.sleep(40)
            await asyncio.gather(check("forty", forty), check("ten", ten))
            before = await learned("forty")
            forty.capacity //= 2
            begun = monotonic()
            while await learned("forty") > 0.7 * before:
                # Three seconds in virtual time; here the machine may stand still meanwhile.
                assert monotonic() - begun < 6.0
                await asyncio.sleep(0.1)
            print(f"forty, halved: limit {before}, then {await learned('forty')} "
                  f"after {monotonic() - begun:.1f} s")  # fmt: skip
            await asyncio.sleep(8)
            await check("forty", forty)
            for load in loads:
                load.cancel()
            await asyncio.gather(*loads, return_exceptions=True)
            await callers.finish()

    play(compare)
