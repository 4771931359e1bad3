"""Hedges and a learned limit over real sockets do what their simulations say."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import monotonic

import pytest
from integration.as_simulated import Callers, Service, Try, quantile
from integration.running_proxy import RunningProxy
from integration.settings import route

StartProxy = Callable[..., RunningProxy]

pytestmark = [pytest.mark.long, pytest.mark.alone]
SIMULATED = Path(__file__).parents[1] / "bench" / "results" / "simulated-endpoints.json"


@pytest.fixture
def play(start_proxy: StartProxy) -> Callable[[Callable[[StartProxy], Awaitable[None]]], None]:
    """Run a coroutine that starts the proxy when its services listen."""
    return lambda run: asyncio.run(run(start_proxy))  # type: ignore[arg-type]  # a coroutine


DELAY = 0.16
HEDGED = f"{1000 * DELAY:.0f}ms"


class Hedged:
    """One slow endpoint of five, with hedges or without, and what was asked of them."""

    def __init__(self, name: str, delay: str) -> None:
        self.name, self.delay = name, delay
        self.services = [Service(0.2, 8, 1), *[Service(0.02, 8, seed) for seed in range(2, 6)]]

    async def play(self, port: int) -> None:
        self.callers = Callers(port, 7)
        await self.callers.run(f"/{self.name}", 100.0, 25.0)
        await self.callers.finish()
        assert not self.callers.refused

    @property
    def attempts(self) -> list[list[Try]]:
        """Of each request, the first one first."""
        found: dict[bytes, list[Try]] = {}
        for service in self.services:
            for one in service.tries:
                found.setdefault(one.request, []).append(one)
        return [sorted(tries, key=lambda one: one.began) for tries in found.values()]

    @property
    def p99(self) -> float:
        """Milliseconds, by what the services did; the machine's own delays are left out."""
        seconds = []
        for first, *hedges in self.attempts:
            seconds.append(min([first.seconds, *[DELAY + one.seconds for one in hedges]]))
        return 1000 * quantile(seconds, 0.99)


def test_hedges(play: Callable[[Callable[[StartProxy], Awaitable[None]]], None]) -> None:
    """With hedges and without, at the same time: a busy machine delays the answers of both."""
    simulated = {one["delay"]: one for one in json.loads(SIMULATED.read_text())["hedging"]}
    plain, hedged = Hedged("plain", ""), Hedged("hedged", HEDGED)

    async def compare(start_proxy: StartProxy) -> None:
        async with AsyncExitStack() as stack:
            upstreams, routes = {}, []
            for one in (plain, hedged):
                urls = [await service.start(stack) for service in one.services]
                upstreams[one.name] = {"endpoints": urls}
                policy = {"retry": {"attempts": 2}, "hedge": {"delay": one.delay or "0s"}}
                routes.append(route(one.name, one.name, **policy))
            settings = {"upstreams": upstreams, "routes": routes}
            proxy = await asyncio.to_thread(start_proxy, settings)
            await asyncio.gather(plain.play(proxy.outbound), hedged.play(proxy.outbound))

    play(compare)
    attempts = hedged.attempts
    slow = [tries for tries in attempts if tries[0].seconds > DELAY]
    load = len(slow) / len(attempts)
    for one in (plain, hedged):
        waited = 1000 * one.callers.quantile(0.99)
        print(f"hedges {one.delay or 'none'}: p99 {one.p99:.0f} ms in the services, "
              f"{waited:.0f} ms for callers; simulated", simulated[one.delay])  # fmt: skip
    print(f"{len(slow)} of {len(attempts)} took longer than {DELAY} s, "
          f"{sum(len(tries) > 1 for tries in attempts)} were hedged")  # fmt: skip
    assert {len(tries) for tries in plain.attempts} == {1}
    for one in (plain, hedged):
        assert one.p99 == pytest.approx(simulated[one.delay]["p99_ms"], rel=0.4)
    assert load == pytest.approx(simulated[HEDGED]["more_load"], abs=0.025)
    assert sum(len(tries) == 2 for tries in slow) >= 0.95 * len(slow)
    assert hedged.callers.quantile(0.99) < 0.95 * plain.callers.quantile(0.99)


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
                asyncio.create_task(callers.run(path, 1.5 * service.most, 120.0))
                for path, service in (("/forty", forty), ("/ten", ten))
            ]

            async def learned(name: str) -> int:
                for _ in range(3):
                    with suppress(TimeoutError):  # the machine is busy
                        return int((await asyncio.to_thread(proxy.bulkhead, name))["learned"])
                raise TimeoutError

            async def check(name: str, service: Service) -> None:
                """For 12 s; a second time if the machine stood still, which lowers a limit."""
                if not await holds(name, service):
                    assert await holds(name, service)

            async def holds(name: str, service: Service) -> bool:
                service.measure()
                limits = []
                for _ in range(12):
                    await asyncio.sleep(1)
                    limits.append(await learned(name))
                worked, waited = service.worked, service.waited
                print(f"{name}, which does {service.capacity}: limits {limits}, "
                      f"worked {worked:.1f}, waited {waited:.1f}")  # fmt: skip
                return worked >= 0.6 * service.capacity and waited <= 0.5 * service.capacity

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
