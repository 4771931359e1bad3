"""Ejection over real sockets does what its simulation says, with two endpoints and with five."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

import pytest
from integration.as_simulated import Callers, Service, quantile
from integration.running_proxy import RunningProxy
from integration.settings import ONCE, route

pytestmark = [pytest.mark.long, pytest.mark.alone]
SIMULATED = Path(__file__).parents[1] / "bench" / "results" / "simulated-endpoints.json"
FAILS_AT, WORKS_AT, LASTS, RATE = 4.0, 16.0, 26.0, 20.0
"""As `SHORT` in simulation/endpoints.py, and its `outlier_detection`."""
DETECTION = {"eject_for": {"initial": "3s"}}


class Run:
    """One upstream, whose first endpoint fails for a while. Moments are seconds of its start."""

    def __init__(self, endpoints: int) -> None:
        self.endpoints = endpoints
        self.services = [Service(0.02, 8, seed) for seed in range(endpoints)]
        self.start = 0.0

    @property
    def name(self) -> str:
        return f"of-{self.endpoints}"

    async def play(self, port: int) -> None:
        self.callers = Callers(port, self.endpoints)
        bad, loop = self.services[0], asyncio.get_running_loop()
        self.start = monotonic()
        loop.call_later(FAILS_AT, setattr, bad, "failing", True)
        loop.call_later(WORKS_AT, setattr, bad, "failing", False)
        await self.callers.run(f"/{self.name}", RATE * self.endpoints, LASTS)
        await self.callers.finish()

    def check(self) -> None:
        found = json.loads(SIMULATED.read_text())["short_ejection"]
        (simulated,) = [one for one in found if one["endpoints"] == self.endpoints]
        arrived = [one.began - self.start for one in self.services[0].tries]
        failed = [at for at in arrived if FAILS_AT <= at < WORKS_AT]
        out = failed[4]
        probes = [at for at in failed if at > out + 1]
        back = min(at for at in arrived if at >= WORKS_AT) - WORKS_AT
        rest = [one for service in self.services[1:] for one in service.tries]
        p99 = 1000 * quantile(
            [one.seconds for one in rest if out <= one.began - self.start < WORKS_AT], 0.99
        )
        print(f"{self.name}: failed {self.callers.refused}, out after {out - failed[0]:.3f} s, "
              f"probes {len(probes)}, back after {back:.1f} s, p99 {p99:.0f} ms; simulated",
              simulated)  # fmt: skip
        # Each request that failed was at this endpoint, and the rest answered all of theirs.
        assert self.callers.refused == pytest.approx(len(failed), abs=2)
        assert len(failed) == pytest.approx(simulated["failed_with"], abs=2)
        assert len(probes) == simulated["probes"]
        assert out - failed[0] == pytest.approx(simulated["until_out"], abs=0.5)
        assert back == pytest.approx(simulated["back_after"], abs=2.5)
        assert p99 == pytest.approx(simulated["p99_while_out_ms"], rel=0.6)
        assert len(self.callers.seconds) == pytest.approx(simulated["requests"], rel=0.15)


def test_one_failing_endpoint_of_two_and_of_five(start_proxy: Callable[..., RunningProxy]) -> None:
    runs = [Run(2), Run(5)]

    async def play() -> None:
        async with AsyncExitStack() as stack:
            upstreams = {}
            for run in runs:
                urls = [await service.start(stack) for service in run.services]
                upstreams[run.name] = {"endpoints": urls, "outlier_detection": DETECTION}
            routes = [route(run.name, run.name, retry=ONCE) for run in runs]
            settings = {"upstreams": upstreams, "routes": routes}
            proxy = await asyncio.to_thread(start_proxy, settings)
            await asyncio.gather(*(run.play(proxy.outbound) for run in runs))

    asyncio.run(play())
    for run in runs:
        run.check()
