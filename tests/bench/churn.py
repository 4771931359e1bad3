"""``python -m tests.bench.churn``: connections come and go by the hundred thousand; memory stays.

Each kind in a process of its own, in which the cyclic collector never runs: whatever a connection
leaves to it stays, and is seen. Exit status 1 where one grows by more than 10 MiB after its first
tenth.

    plain         a request, and the client closes
    tls           the same under TLS, each with a whole handshake
    upgrade       a WebSocket's upgrade, some bytes both ways, closed
    tunnel        CONNECT, some bytes both ways, closed
    upstream-tls  a kept client connection; the upstream speaks TLS and closes after each answer
"""

import argparse
import asyncio
import contextlib
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from .bed import PEER_CORE
from .certificates import Certificate, issue
from .process import Process, free_port

MIB = 1024 * 1024
MAY_GROW = 10 * MIB
_AT_ONCE = 16
_WARM_UP = 0.1

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_LAST_ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
_SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
_PING = b"ping"

_CONFIG = """\
listeners:
  outbound: {{address: "127.0.0.1:{port}"{tls}}}
  inbound: {{address: "127.0.0.1:{inbound}"}}
admin: {{address: "127.0.0.1:{admin}"}}
drain: {{delay: 0s, timeout: 1s}}
egress: {{connect_ports: [{upstream}]}}
upstreams:
  app: {{endpoints: ["http://127.0.0.1:{upstream}"]}}
  secret: {{endpoints: ["https://127.0.0.1:{secret}"], tls: {{ca: {ca}}}}}
routes:
  - {{name: secret, match: {{prefix: /secret}}, upstream: secret}}
  - {{name: app, upstream: app}}
"""

# Run instead of `-m proxy`: the collector is off before anything of the proxy can set it.
_COLLECTOR_OFF = """\
import gc, runpy, sys
gc.disable()
gc.enable = gc.set_threshold = lambda *_: None
runpy.run_module("proxy", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Site:
    """Where the proxy listens, and how a client of it speaks TLS."""

    process: Process
    port: int
    upstream: int
    client: ssl.SSLContext


class _Upstream(asyncio.Protocol):
    """Answers requests by their head; behind an upgrade or in a tunnel it echoes."""

    def __init__(self, answer: bytes, open_: set[asyncio.Transport]) -> None:
        self._answer = answer
        self._open = open_
        self._echoing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport
        self._open.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._echoing or data.startswith(_PING):
            self._transport.write(data)
        elif b"\r\nupgrade:" in data.lower():
            self._echoing = True
            self._transport.write(_SWITCHED)
        else:
            self._transport.write(self._answer)
            if self._answer is _LAST_ANSWER:
                self._transport.close()


@contextmanager
def _upstreams(certificate: Certificate) -> Iterator[tuple[int, int]]:
    """Ports of one in the clear and of one that speaks TLS and closes after each answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    plain, secret = free_port(), free_port()
    loop = uvloop.new_event_loop()

    servers: list[asyncio.AbstractServer] = []
    connections: set[asyncio.Transport] = set()

    async def listen() -> None:
        for port, answer, tls in ((plain, _ANSWER, None), (secret, _LAST_ANSWER, context)):
            make = partial(_Upstream, answer, connections)
            servers.append(await loop.create_server(make, "127.0.0.1", port, ssl=tls))

    async def close() -> None:
        for server in servers:
            server.close()
        for connection in tuple(connections):
            connection.abort()
        await asyncio.sleep(0.1)  # their ends are told

    loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield plain, secret
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


@contextmanager
def _site(*, tls: bool) -> Iterator[Site]:
    with TemporaryDirectory(prefix="proxy-churn-") as name, ExitStack() as running:
        directory = Path(name)
        certificate = issue(directory)
        plain, secret = running.enter_context(_upstreams(certificate))
        port = free_port()
        file = directory / "proxy.yaml"
        file.write_text(
            _CONFIG.format(
                port=port,
                tls=f", tls: {{cert: {certificate.cert}, key: {certificate.key}}}" if tls else "",
                inbound=free_port(),
                admin=free_port(),
                upstream=plain,
                secret=secret,
                ca=certificate.ca,
            )
        )
        argv = [sys.executable, "-P", "-c", _COLLECTOR_OFF, "run", "--config", str(file)]
        log = directory / "proxy.log"
        process = running.enter_context(Process("proxy", argv, core=PEER_CORE, log=log))
        client = ssl.create_default_context(cafile=certificate.ca)
        site = Site(process, port, plain, client)
        _wait_until_it_serves(site, tls=tls)
        yield site


def _wait_until_it_serves(site: Site, *, tls: bool) -> None:
    end = time.monotonic() + 15
    while True:
        try:
            asyncio.run((_tls if tls else _plain)(site))
            return
        except OSError:
            if time.monotonic() > end or not site.process.running():
                raise RuntimeError(site.process.last_words()) from None
            time.sleep(0.05)


async def _connect(
    site: Site, *, tls: bool = False
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = {"ssl": site.client, "server_hostname": "127.0.0.1"} if tls else {}
    return await asyncio.open_connection("127.0.0.1", site.port, **name)


async def _ask(site: Site, *, tls: bool) -> None:
    reader, writer = await _connect(site, tls=tls)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await _expect(reader, b"HTTP/1.1 200 ", b"\r\n\r\nok")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _plain(site: Site) -> None:
    await _ask(site, tls=False)


async def _tls(site: Site) -> None:
    await _ask(site, tls=True)


async def _upgrade(site: Site) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    await _through(site, head, b"HTTP/1.1 101 ")


async def _tunnel(site: Site) -> None:
    authority = b"127.0.0.1:%d" % site.upstream
    head = b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (authority, authority)
    await _through(site, head, b"HTTP/1.1 200 ")


async def _through(site: Site, head: bytes, first: bytes) -> None:
    """Open a tunnel, send some bytes there and back, and leave."""
    reader, writer = await _connect(site)
    try:
        writer.write(head)
        await _expect(reader, first, b"\r\n\r\n")
        writer.write(_PING)
        if await reader.readexactly(len(_PING)) != _PING:
            raise RuntimeError("the tunnel gave other bytes back")
    finally:
        writer.close()


async def _upstream_tls(site: Site) -> None:
    """Twenty requests over one connection: each has an upstream connection of its own."""
    reader, writer = await _connect(site)
    try:
        for _ in range(20):
            writer.write(b"GET /secret HTTP/1.1\r\nHost: a\r\n\r\n")
            await _expect(reader, b"HTTP/1.1 200 ", b"\r\n\r\nok")
    finally:
        writer.close()


async def _expect(reader: asyncio.StreamReader, first: bytes, last: bytes) -> None:
    try:
        received = await reader.readuntil(last)
    except asyncio.IncompleteReadError as error:
        raise ConnectionError(f"ended after {error.partial[:300]!r}") from None
    if not received.startswith(first):
        raise RuntimeError(f"{received[:300]!r}")


@dataclass(frozen=True)
class Kind:
    """`go`: `each` connections that come and go, through the listener as `tls` says."""

    name: str
    go: Callable[[Site], Awaitable[None]]
    each: int = 1
    tls: bool = False


KINDS = (
    Kind("plain", _plain),
    Kind("tls", _tls, tls=True),
    Kind("upgrade", _upgrade),
    Kind("tunnel", _tunnel),
    Kind("upstream-tls", _upstream_tls, each=20),
)


async def _drive(kind: Kind, site: Site, connections: int) -> None:
    """So many connections, some at once. TimeoutError where one hangs for 30 s."""
    left = iter(range(connections // kind.each))

    async def go() -> None:
        for _ in left:
            async with asyncio.timeout(30):
                await kind.go(site)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(go())


@dataclass(frozen=True)
class Churned:
    """Resident bytes after the warm-up, and at the end."""

    before: int
    after: int
    seconds: float

    @property
    def grown(self) -> int:
        return self.after - self.before


def churn(kind: Kind, connections: int, warm_up: float = _WARM_UP) -> Churned:
    """`warm_up`: the share of as many connections that come and go before memory is judged."""
    with _site(tls=kind.tls) as site:
        started = time.monotonic()
        uvloop.run(_drive(kind, site, max(kind.each * _AT_ONCE, round(connections * warm_up))))
        time.sleep(1.0)  # what closes late has closed
        before = site.process.resident_kib() * 1024
        uvloop.run(_drive(kind, site, connections))
        time.sleep(1.0)
        after = site.process.resident_kib() * 1024
        return Churned(before, after, time.monotonic() - started)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.churn", description=__doc__)
    parser.add_argument("--connections", type=int, default=100_000, help="default: 100000")
    parser.add_argument("--kinds", nargs="+", choices=[kind.name for kind in KINDS])
    options = parser.parse_args(arguments)
    too_much = []
    for kind in KINDS:
        if options.kinds and kind.name not in options.kinds:
            continue
        found = churn(kind, options.connections)
        print(
            f"{kind.name:<13} {options.connections:8} connections in {found.seconds:5.0f} s:"
            f" {found.before / MIB:6.1f} MiB, then {found.after / MIB:6.1f} MiB",
            flush=True,
        )
        if found.grown > MAY_GROW:
            too_much.append(f"{kind.name} grew by {found.grown / MIB:.1f} MiB")
    for complaint in too_much:
        print(f"BROKEN  {complaint}")
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main())
