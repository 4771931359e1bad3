"""What a kubelet does to the containers of one pod, read from the pod's manifest.

    start       native sidecars in their order, each until its startup probe passes; then the
                containers in their order, each until its postStart hook has ended
    terminate   the preStop hooks of all at once; SIGTERM to each as its hook has ended, to a
                native sidecar not before the containers have; SIGKILL at the grace period

AT_ONCE is harder than any kubelet: a legacy sidecar whose hook is not waited for, so that it gets
SIGTERM together with the service. Ports of the manifest are mapped to free ones, for all pods share
one network here.
"""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from integration.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
_PORTS = (7070, 7071, 7072, 8080)


class Order(Enum):
    NATIVE = "native"
    LEGACY = "legacy"
    AT_ONCE = "at-once"


class Container:
    """A process, and the hooks and probes of its manifest."""

    def __init__(
        self,
        manifest: Mapping[str, Any],
        command: list[str],
        ports: Mapping[int, int],
        log: Path,
    ) -> None:
        self.manifest = manifest
        self.name: str = manifest["name"]
        self._command = command
        self._ports = ports
        self.log = log
        self.process: asyncio.subprocess.Process | None = None
        self.killed = False

    async def start(self) -> None:
        environment = {v["name"]: v["value"] for v in self.manifest.get("env", [])}
        if "HTTP_PROXY" in environment:
            environment["HTTP_PROXY"] = f"http://127.0.0.1:{self._ports[7070]}"
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *self._command, env=environment, stdout=output, stderr=output, cwd=ROOT
            )

    async def started(self) -> None:
        """Until the startup probe passes and the postStart hook has ended."""
        probe = self.manifest.get("startupProbe")
        if probe is not None:
            for _ in range(probe["failureThreshold"] * 10):
                assert self.process is not None
                assert self.process.returncode is None, self.log.read_text()
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    if await self._get(probe["httpGet"]) == 200:
                        break
                await asyncio.sleep(probe["periodSeconds"] / 10)
            else:
                raise AssertionError(f"{self.name} has not started: {self.log.read_text()}")
        hook = self.manifest.get("lifecycle", {}).get("postStart")
        if hook is not None:
            assert await self._exec(hook["exec"]["command"]) == 0

    async def pre_stop(self) -> None:
        hook = self.manifest.get("lifecycle", {}).get("preStop", {})
        if "exec" in hook:
            await self._exec(hook["exec"]["command"])
        elif "httpGet" in hook:
            # One that fails is an event of the pod, and no reason not to go on.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._get(hook["httpGet"])

    async def ready(self) -> bool:
        probe = self.manifest.get("readinessProbe")
        if probe is None:
            return True
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            return await self._get(probe["httpGet"]) == 200
        return False

    def signal(self, number: int) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def ended(self) -> int:
        assert self.process is not None
        return await self.process.wait()

    async def _get(self, action: Mapping[str, Any]) -> int:
        """The status of a GET, on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._ports[action["port"]])
        try:
            line = f"GET {action['path']} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            writer.write(line.encode())
            return int((await reader.readuntil(b"\r\n")).split()[1])
        finally:
            writer.close()

    async def _exec(self, command: list[str]) -> int:
        """A hook's command within the container; it knows the sidecar's ports as they are."""
        assert command[0] == "resilience-proxy"
        admin = f"http://127.0.0.1:{self._ports[7072]}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy", *command[1:], "--admin", admin),
            stdout=asyncio.subprocess.DEVNULL,
            cwd=ROOT,
        )
        return await process.wait()


class Pod:
    """A pod by its injected manifest: the sidecar, and one container that is the service."""

    def __init__(
        self, manifest: Mapping[str, Any], directory: Path, order: Order, dependency: str
    ) -> None:
        self.directory = directory
        self.order = order
        self._ports = {port: free_port() for port in _PORTS}
        self._report = directory / "report.json"
        spec = manifest["spec"]
        self._grace = spec.get("terminationGracePeriodSeconds", 30)
        sidecars = [*spec.get("initContainers", []), *spec["containers"]]
        (sidecar,) = [c for c in sidecars if c["name"] == "resilience-proxy"]
        (service,) = [c for c in spec["containers"] if c["name"] != "resilience-proxy"]
        self._native = sidecar in spec.get("initContainers", [])
        assert self._native is (order is Order.NATIVE)
        job = spec.get("restartPolicy", "Always") != "Always"
        first = "--job" if job else str(self._ports[8080])
        script = str(Path(__file__).with_name("service.py"))
        command = self._proxy_command(sidecar["args"])
        self.sidecar = Container(sidecar, command, self._ports, directory / "proxy.log")
        self.service = Container(
            service,
            [sys.executable, script, first, dependency, str(self._report)],
            self._ports,
            directory / "service.log",
        )

    def _proxy_command(self, args: list[str]) -> list[str]:
        """The image's command; the configuration of its ConfigMap is in the pod's directory."""
        command, option, file = args
        assert (command, option) == ("run", "--config")
        return [sys.executable, "-m", "proxy", "run", option, str(self.directory / Path(file).name)]

    @property
    def address(self) -> int:
        """The port that Services lead to."""
        return self._ports[7071]

    def configure(self, drain: str) -> None:
        """Its ConfigMap; what a pod has by itself (addresses) is given by ports here."""
        (self.directory / "proxy.yaml").write_text(
            f"listeners: {{outbound: {{address: 127.0.0.1:{self._ports[7070]}}}, "
            f"inbound: {{address: 127.0.0.1:{self._ports[7071]}}}}}\n"
            f"admin: {{address: 127.0.0.1:{self._ports[7072]}}}\n"
            f"upstreams: {{app: {{endpoints: ['http://127.0.0.1:{self._ports[8080]}']}}}}\n"
            f"drain: {drain}\n"
        )

    async def start(self) -> None:
        """Both containers, in their order (the sidecar is the first of each list)."""
        for container in (self.sidecar, self.service):
            await container.start()
            await container.started()

    async def serving(self) -> None:
        """Until the readiness probes pass; the service's own is that its port is open."""
        for _ in range(1500):
            if await self.sidecar.ready() and await _open(self._ports[8080]):
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the pod has not become ready")

    async def terminate(self) -> None:
        """End both containers; `killed` says which had to be."""
        told = asyncio.Event()
        both = asyncio.gather(self._end_service(told), self._end_sidecar(told))
        try:
            async with asyncio.timeout(self._grace):
                await asyncio.shield(both)
        except TimeoutError:
            for container in (self.service, self.sidecar):
                if container.process is not None and container.process.returncode is None:
                    container.killed = True
                    container.signal(signal.SIGKILL)
            await both

    async def _end_service(self, told: asyncio.Event) -> None:
        await self.service.pre_stop()
        self.service.signal(signal.SIGTERM)
        told.set()
        await self.service.ended()

    async def _end_sidecar(self, told: asyncio.Event) -> None:
        """`told`: the service has got its SIGTERM."""
        hook = asyncio.create_task(self.sidecar.pre_stop())
        if self.order is Order.AT_ONCE:
            await told.wait()
        else:
            await hook
        if self.order is Order.NATIVE:
            await self.service.ended()
        self.sidecar.signal(signal.SIGTERM)
        await self.sidecar.ended()
        await hook

    async def completed(self) -> int:
        """Of a Job: the service ends by itself, then the sidecar is ended; the service's status."""
        status = await self.service.ended()
        await self.sidecar.pre_stop()
        self.sidecar.signal(signal.SIGTERM)
        await self.sidecar.ended()
        return status

    def kill(self) -> None:
        """Whatever still runs, at the end of a run that went wrong."""
        for container in (self.service, self.sidecar):
            if container.process is not None and container.process.returncode is None:
                container.signal(signal.SIGKILL)

    def report(self) -> dict[str, Any]:
        """What the service says of its calls."""
        told: dict[str, Any] = json.loads(self._report.read_text())
        return told


async def _open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
