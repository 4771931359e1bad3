"""A whole gateway with an outbox over a real store, a client, and an upstream that is told what
to answer."""

import asyncio
from collections import deque

from proxy.config.loading import load_text
from proxy.config.model import Listener
from proxy.delivery.outbox import Outbox
from proxy.delivery.well_known import WellKnown
from proxy.exchange.bindings import Bindings
from proxy.exchange.gateway import Gateway
from proxy.exchange.held_key import Keys
from proxy.exchange.idempotency import Idempotency
from proxy.routing.own_addresses import OwnAddresses
from proxy.routing.table import RouteTable
from proxy.store.sqlite.connection import MEMORY, SqliteConfig
from proxy.store.sqlite.engine import SqliteStore
from proxy.upstream.registry import Upstreams
from proxy.wire.acceptor import Acceptor
from proxy.wire.h1.downstream import Downstream
from proxy.wire.h1.upstream import UpstreamConnection


class Message:
    """A request as the upstream got it, or a response as the client got it."""

    def __init__(self, head, body):
        self.line, *lines = head.decode("latin-1").split("\r\n")
        self.fields = [tuple(line.split(": ", 1)) for line in lines if line]
        self.body = body

    def get(self, name):
        values = [value for given, value in self.fields if given.lower() == name.lower()]
        return values[0] if values else None

    @property
    def status(self):
        return int(self.line.split(" ")[1])


async def read_message(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    message = Message(head[:-4], b"")
    length = int(message.get("content-length") or 0)
    message.body = await reader.readexactly(length)
    return message


class Upstream:
    """Answers with what `answers` holds, then with 200; keeps the requests and, by the loop's
    clock, their `times`.

    An answer is a status, a (status, fields) pair, or None: it closes without one. `hold`: an
    Event that every answer waits for.
    """

    def __init__(self):
        self.requests = []
        self.times = []
        self.answers = deque()
        self.hold = None
        self.came = asyncio.Event()
        self.at_once = self.most_at_once = 0

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        try:
            while True:
                self.requests.append(await read_message(reader))
                self.times.append(asyncio.get_running_loop().time())
                self.came.set()
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                if self.hold is not None:
                    await self.hold.wait()
                self.at_once -= 1
                answer = self.answers.popleft() if self.answers else 200
                if answer is None:
                    break
                status, fields = answer if isinstance(answer, tuple) else (answer, ())
                lines = "".join(f"{field}\r\n" for field in fields)
                writer.write(f"HTTP/1.1 {status} X\r\n{lines}Content-Length: 0\r\n\r\n".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def close(self):
        self._server.close()


class Bed:
    def __init__(self, text, store=None):
        self.text = text
        self.store = store
        self.records = []

    async def __aenter__(self):
        self.upstream = Upstream()
        await self.upstream.start()
        self.config = config = load_text(
            self.text.replace("UPSTREAM", f"http://127.0.0.1:{self.upstream.port}"), "f.yaml", {}
        ).config
        if self.store is None:
            self.store = SqliteStore(SqliteConfig(MEMORY), dies_with_pod=True)
            await self.store.open(1)
        loop = asyncio.get_running_loop()
        self.upstreams = Upstreams(config.upstreams, UpstreamConnection, loop=loop)
        self.outbox = None
        self.keys = Keys(self.store)
        self.gateway = Gateway(
            config,
            table=RouteTable(config),
            upstreams=self.upstreams,
            bindings=self._bindings(config),
            own_addresses=OwnAddresses(lambda address: False),
            random=lambda: 0.5,
            observers=[self.records.append],
        )
        self.outbox = Outbox(self.store, self.gateway, record_bytes=64 * 1024)
        places = WellKnown()
        places.add("outbox/", self.outbox.places.answer)
        self.ports = {}
        self.acceptors = []
        for listener, gate in self.gateway.gates.items():
            gate.places = places
            acceptor = Acceptor(
                listener.value, lambda gate=gate: Downstream(gate), handshakes=None, backlog=100
            )
            _, self.ports[listener] = await acceptor.open("127.0.0.1", 0)
            self.acceptors.append(acceptor)
        await self.outbox.start()
        return self

    def _bindings(self, config):
        return Bindings(
            config,
            self.upstreams,
            lambda: 0.5,
            promises=self._promises,
        )

    def _promises(self, route):
        later = [one for one in [self.outbox.promise(route)] if one]
        if route.config.policies.idempotency.on:
            return [Idempotency(self.keys, route.config, later), *later]
        return later

    async def __aexit__(self, *_):
        await self.outbox.stop()
        for acceptor in self.acceptors:
            acceptor.close()
        for gate in self.gateway.gates.values():
            for connection in tuple(gate.connections):
                connection.cut()
        self.upstream.close()
        self.upstreams.close()
        await self.upstreams.wait_closed()
        if self.store.state.value == "open":
            await self.store.close()

    async def ask(self, method="POST", path="/o", body=b"{}", *fields, listener=Listener.OUTBOUND):
        """The response to a request on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[listener])
        lines = "".join(f"{field}\r\n" for field in ("Host: shop", *fields))
        head = f"{method} {path} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        try:
            return await read_message(reader)
        finally:
            writer.close()

    async def until(self, condition, seconds=5.0):
        """Wait until `condition()` holds; it may be a coroutine function."""
        async with asyncio.timeout(seconds):
            while True:
                found = condition()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.005)

    async def state(self, place, **more):
        """The document at a Location."""
        import json

        return json.loads((await self.ask("GET", place, b"", **more)).body)

    async def until_state(self, place, state):
        async def found():
            document = await self.state(place)
            return document if document["state"] == state else None

        return await self.until(found)
