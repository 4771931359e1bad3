"""An admin server over a data plane that stands still, asked with exact bytes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from unit.telemetry.fakes import FakeGateway, FakeLifecycle

from proxy.admin.controls import Reload
from proxy.admin.documents import pieces
from proxy.admin.server import AdminServer
from proxy.config import Sources
from proxy.config.server_model import Address
from proxy.telemetry.flight_recorder import FlightRecorder
from proxy.telemetry.history import History
from proxy.telemetry.metrics import registry_of
from proxy.telemetry.records import Records
from proxy.telemetry.tap import Tap
from proxy.telemetry.tracing import Tracing
from proxy.telemetry.transitions import Transitions


@dataclass
class FakeControls(FakeLifecycle):
    draining: bool = False
    ready: bool = True
    started: float = field(default_factory=time.monotonic)
    config_file: str | None = "config/proxy.yaml"
    config_loaded_at: float = 1_700_000_000.25
    last_reload: dict[str, Any] | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    again: asyncio.Event = field(default_factory=asyncio.Event)
    end: asyncio.Event = field(default_factory=asyncio.Event)

    async def turn_bypass(self, on: bool) -> None:
        self.bypass_left = 600.0 if on else 0.0

    def begin_drain(self) -> None:
        (self.again if self.draining else self.begun).set()
        self.draining = True

    async def inbound_drained(self) -> bool:
        if self.draining:
            await self.end.wait()
        return self.draining

    async def drained(self) -> int:
        await self.end.wait()
        return self.drain_cut


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def whole(document: Any) -> Any:
    """A document as its reader gets it."""
    return json.loads("".join(pieces(document)))


class Admin:
    """The server, what it looks at, and a client."""

    def __init__(self) -> None:
        self.gateway = FakeGateway()
        self.controls = FakeControls()
        self.tap = Tap(self.gateway)
        tracing = Tracing(lambda line: None, Transitions())
        registry = registry_of(self.gateway, self.controls, [], tracing, self.tap)
        self.recorder = FlightRecorder(self.gateway.config)
        self.sources = Sources([None], {}, self.gateway.config)
        self.records = Records(self.recorder, History(self.gateway), Transitions(), self.tap)
        self.server = AdminServer(
            self.gateway, self.controls, registry, self.records, self._reload, lambda: self.sources
        )
        self.outcome = Reload((), None)
        self.reloads: list[str] = []
        self.port = 0

    async def _reload(self, trigger: str) -> Reload:
        self.reloads.append(trigger)
        return self.outcome

    async def ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None
    ) -> Answer:
        fields = {"Host": f"127.0.0.1:{self.port}"} | dict(headers or {})
        lines = [f"{method} {target} HTTP/1.1", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return await self.send("\r\n".join(lines) + "\r\n\r\n")

    async def post(self, target: str, body: str) -> Answer:
        lines = [f"POST {target} HTTP/1.1", "Connection: close", "Host: localhost"]
        lines += [f"Content-Length: {len(body.encode())}", "", body]
        return await self.send("\r\n".join(lines))

    async def send(self, request: str) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request.encode())
        data = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        head, _, body = data.partition("\r\n\r\n")
        line, *fields = head.split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        return Answer(int(line.split()[1]), headers, body)


@asynccontextmanager
async def serving() -> AsyncIterator[Admin]:
    admin = Admin()
    _, admin.port = await admin.server.start(Address("127.0.0.1", 0))
    try:
        yield admin
    finally:
        await admin.server.stop()
