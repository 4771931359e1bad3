"""The real proxy as a child process: the command that users run, with a generated file."""

import asyncio
import os
import signal
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout

import proxy

_START_SECONDS = 15.0
_END_SECONDS = 1.5
_PROBE = ClientTimeout(total=1)


class ProxyDied(Exception):
    """The child ended or did not become ready; the text says why, with its output."""


class RunningProxy:
    """The child and the last lines of its stderr."""

    __slots__ = ("_child", "_lines", "_reader")

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self._lines: deque[str] = deque(maxlen=40)
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._child.stderr is not None
        while chunk := await self._child.stderr.read(65536):
            self._lines.extend(chunk.decode(errors="replace").splitlines())

    async def died(self) -> None:
        """Wait for the child's end. Raises ProxyDied then."""
        status = await self._child.wait()
        await asyncio.shield(self._reader)
        raise ProxyDied(self._told(f"the proxy ended with status {status}"))

    async def until_ready(self, admin_url: str, session: ClientSession) -> None:
        """Raises ProxyDied if it ends or takes too long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_SECONDS
        while not await _ready(admin_url, session):
            if self._child.returncode is not None:
                await self.died()
            if loop.time() >= deadline:
                raise ProxyDied(self._told(f"the proxy was not ready after {_START_SECONDS:g} s"))
            await asyncio.sleep(0.05)

    @property
    def ended(self) -> bool:
        return self._child.returncode is not None

    async def kill(self) -> None:
        """SIGKILL: nothing of it gets the chance to tidy up."""
        with suppress(ProcessLookupError):
            self._child.kill()
        await self._child.wait()
        await self._reader

    async def end(self) -> None:
        """SIGTERM, then SIGKILL if it does not end."""
        for ask in (signal.SIGTERM, signal.SIGKILL):
            if self._child.returncode is not None:
                break
            with suppress(ProcessLookupError):
                self._child.send_signal(ask)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._child.wait(), _END_SECONDS)
        await self._reader

    def _told(self, what: str) -> str:
        if not self._lines:
            return f"{what} and wrote nothing"
        return "\n".join([f"{what} and wrote:", *self._lines])


async def start_proxy(file: Path) -> RunningProxy:
    """A proxy with this file; it is not ready yet. Its files may be beside it."""
    return RunningProxy(await _spawn(file))


@asynccontextmanager
async def running_proxy(
    configuration: str, admin_url: str, session: ClientSession
) -> AsyncIterator[RunningProxy]:
    """Context of a running proxy that is ready. Raises ProxyDied if it does not start."""
    with tempfile.TemporaryDirectory(prefix="resilience-proxy-demo-") as directory:
        running = await start_proxy(_written(directory, configuration))
        try:
            await running.until_ready(admin_url, session)
            yield running
        finally:
            await running.end()


def _written(directory: str, configuration: str) -> Path:
    file = Path(directory, "proxy.yaml")
    file.write_text(configuration, encoding="utf-8")
    return file


async def _spawn(file: Path) -> asyncio.subprocess.Process:
    # The child runs in the file's directory, which contains no other package named proxy, and
    # PYTHONPATH names this one. The terminal's Ctrl-C is for the parent only: the child is in
    # its own process group.
    package = str(Path(proxy.__file__).parents[1])
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([package, inherited]) if inherited else package
    # The caller's addresses are another proxy's, and they would override the file.
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RESILIENCE_PROXY_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "proxy", "run", "--config", str(file)),
        cwd=file.parent,
        env={**kept, "PYTHONPATH": path},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        process_group=0,
    )


async def _ready(admin_url: str, session: ClientSession) -> bool:
    try:
        async with session.get(f"{admin_url}/health/ready", timeout=_PROBE) as response:
            return response.status == 200
    except (ClientError, TimeoutError):
        return False
