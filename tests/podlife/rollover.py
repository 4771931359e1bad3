"""A Deployment of two pods under steady load, replaced pod by pod; and a Job that ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from podlife.kubelet import Order, Pod
from podlife.load import Endpoints, Http2Load, Load
from proxy.kubernetes.pod import inject
from proxy.kubernetes.settings import Settings

_POD: dict[str, Any] = {
    "metadata": {"labels": {"app": "orders"}},
    "spec": {
        "containers": [
            {
                "name": "service",
                "image": "orders:1",
                "ports": [{"name": "http", "containerPort": 8080}],
            }
        ]
    },
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `late`: how long clients still know a pod that has been told to end."""

    late: float = 3.0
    delay: float = 3.5
    timeout: float = 20.0


@dataclass(slots=True)
class Report:
    """What became of all requests and calls, and of the processes."""

    order: Order
    rollovers: int
    requests: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    failovers: int = 0
    longest: float = 0.0
    calls: int = 0
    failed_calls: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    slowest_end: float = 0.0
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        return not (self.failed or self.failed_calls or self.killed or any(self.statuses))

    def __str__(self) -> str:
        return (
            f"{self.order.value}: {self.rollovers} rollovers in {self.seconds:.0f} s; inbound "
            f"{self.requests} requests, {sum(self.failed.values())} failed, {self.failovers} "
            f"connection errors failed over, longest {self.longest:.2f} s; outbound {self.calls} "
            f"calls, {len(self.failed_calls)} failed; {len(self.killed)} containers killed, "
            f"exit statuses {sorted(set(self.statuses))}, longest termination "
            f"{self.slowest_end:.1f} s"
            + "".join(f"\n  failed: {why} ({count})" for why, count in self.failed.items())
            + "".join(f"\n  failed call: {why}" for why in self.failed_calls)
        )


@asynccontextmanager
async def _dependency() -> AsyncIterator[str]:
    """What the service calls; its URL."""

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.01)
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


class Deployment:
    """Two pods, made of one injected manifest, and the endpoints that clients see."""

    def __init__(
        self,
        directory: Path,
        order: Order,
        timing: Timing,
        dependency: str,
        *,
        pre_stop: bool = True,
    ) -> None:
        self._pre_stop = pre_stop
        self._directory = directory
        self._order = order
        self._timing = timing
        self._dependency = dependency
        self._made = 0
        self._pods: list[Pod] = []
        self._all: list[Pod] = []
        self._ending: set[asyncio.Task[None]] = set()
        self.endpoints = Endpoints()
        self.slowest_end = 0.0

    def make(self, **spec: Any) -> Pod:
        manifest = deepcopy(_POD)
        manifest["spec"] |= spec
        settings = Settings(
            legacy=self._order is not Order.NATIVE,
            config_map="policies",
            app_port="http",
            drain_timeout=self._timing.timeout,
            pre_stop=self._pre_stop,
        )
        assert inject(manifest, settings).skipped is None
        self._made += 1
        directory = self._directory / f"{self._order.value}-{self._made}"
        directory.mkdir()
        pod = Pod(manifest, directory, self._order, self._dependency)
        pod.configure(f"{{delay: {self._timing.delay}s, timeout: {self._timing.timeout}s}}")
        self._all.append(pod)
        return pod

    async def add(self) -> None:
        pod = self.make()
        await pod.start()
        await pod.serving()
        self._pods.append(pod)
        self.endpoints.ports = [*self.endpoints.ports, pod.address]

    async def roll_over(self) -> None:
        """Replace both: a new one first, then an old one away (maxSurge 1, maxUnavailable 0)."""
        for _ in range(len(self._pods)):
            await self.add()
            old = self._pods.pop(0)
            task = asyncio.create_task(self._remove(old))
            self._ending.add(task)
        await asyncio.gather(*self._ending)
        self._ending.clear()

    async def _remove(self, pod: Pod) -> None:
        asyncio.get_running_loop().call_later(self._timing.late, self._forget, pod)
        began = self.endpoints.told[pod.address] = time.monotonic()
        await pod.terminate()
        self.slowest_end = max(self.slowest_end, time.monotonic() - began)

    def _forget(self, pod: Pod) -> None:
        self.endpoints.ports = [port for port in self.endpoints.ports if port != pod.address]

    async def remove_all(self) -> None:
        await asyncio.gather(*(pod.terminate() for pod in self._pods))
        self._pods.clear()

    def kill(self) -> None:
        for pod in self._all:
            pod.kill()

    def collect(self, report: Report) -> None:
        for pod in self._all:
            told = pod.report()
            report.calls += told["calls"]
            report.failed_calls += told["failed"]
            for container in (pod.sidecar, pod.service):
                assert container.process is not None
                report.statuses.append(container.process.returncode or 0)
                if container.killed:
                    report.killed.append(f"{pod.directory.name}/{container.name}")
        report.slowest_end = self.slowest_end


async def roll_over(
    directory: Path,
    order: Order,
    rollovers: int,
    timing: Timing,
    *,
    workers: int = 8,
    streams: int = 0,
    pre_stop: bool = True,
) -> Report:
    """So many rollovers of two pods under load. `pre_stop`: the service has the injected hook.

    `streams`: over HTTP/2, with so many streams open besides.
    """
    report = Report(order, rollovers)
    began = time.monotonic()
    async with _dependency() as dependency:
        deployment = Deployment(directory, order, timing, dependency, pre_stop=pre_stop)
        try:
            await asyncio.gather(deployment.add(), deployment.add())
            load = Load(deployment.endpoints, workers)
            if streams:
                load = Http2Load(deployment.endpoints, workers, streams=streams)
            loading = asyncio.create_task(load.run())
            for _ in range(rollovers):
                await deployment.roll_over()
            load.stop()
            await loading
            await deployment.remove_all()
        finally:
            deployment.kill()
    deployment.collect(report)
    report.requests, report.failovers, report.longest = load.requests, load.failovers, load.longest
    report.failed = dict(load.failed)
    report.seconds = time.monotonic() - began
    return report


async def run_job(directory: Path, timing: Timing) -> Report:
    """A Job's pod with a native sidecar: it ends by itself, the sidecar with it."""
    report = Report(Order.NATIVE, 0)
    began = time.monotonic()
    async with _dependency() as dependency:
        deployment = Deployment(directory, Order.NATIVE, timing, dependency)
        pod = deployment.make(restartPolicy="Never")
        try:
            await pod.start()
            async with asyncio.timeout(timing.timeout + 10):
                await pod.completed()
        finally:
            pod.kill()
    deployment.collect(report)
    report.seconds = time.monotonic() - began
    return report
