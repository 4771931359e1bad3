"""``python -m tests.bench.outbox``: what the outbox of the real command accepts and delivers.

Clients with a connection each POST 1 KiB as fast as they get 202; then what waits is delivered to
an upstream that answers at once. Prints accepts and deliveries a second, the times of the accepts,
and the process's memory. The upstream and the clients share the machine with the proxy, so they do
as little as they can: a callback for each answer, on uvloop. `--url`: of a PostgreSQL server,
instead of a file; its schema `bench` is dropped afterwards.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # as tests/conftest.py does

import uvloop
from integration.running_proxy import RunningProxy
from postgres import run_sql

from proxy.delivery.entries import StoredHead
from proxy.store.operations import Put
from proxy.store.sqlite.connection import SqliteConfig
from proxy.store.sqlite.engine import SqliteStore
from proxy.store.store import Store

_BODY = b"x" * 1024
_BATCH = 2000
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.outbox", description=__doc__)
    parser.add_argument("--clients", type=int, default=64, help="default: 64")
    parser.add_argument("--seconds", type=float, default=5.0, help="of accepting; default: 5")
    parser.add_argument("--entries", type=int, default=0, help="accept so many instead")
    parser.add_argument("--pending", type=int, default=0, help="in the store before; default: 0")
    parser.add_argument("--lanes", type=int, default=0, help="order by so many values; 0: none")
    parser.add_argument("--concurrency", type=int, default=64, help="default: 64")
    parser.add_argument("--url", default=None, help="of a PostgreSQL server, instead of a file")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="proxy-outbox-") as directory:
        try:
            uvloop.run(_measure(Path(directory), options))
        finally:
            if options.url is not None:
                run_sql(options.url, "DROP SCHEMA IF EXISTS bench CASCADE")
    return 0


async def _measure(directory: Path, options: argparse.Namespace) -> None:
    delivered = [0]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Upstream(delivered), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if options.pending:
        began = time.monotonic()
        await _fill(_store(directory, options), options.pending)
        print(f"filled     {options.pending / (time.monotonic() - began):8.0f}/s")
    proxy = await asyncio.to_thread(RunningProxy, directory, _settings(directory, port, options))
    try:
        before, cpu = proxy.memory, proxy.cpu_seconds
        times, seconds = await _accept(proxy.outbound, options, hold=True)
        accepted = len(times)
        times.sort()
        cpu = _show_cpu(proxy, cpu, accepted, "accepted")
        print(f"accepted   {accepted / seconds:8.0f}/s  {accepted} in {seconds:.1f} s")
        p50, p99 = times[accepted // 2] * 1e3, times[accepted * 99 // 100] * 1e3
        print(f"           p50 {p50:.2f} ms, p99 {p99:.2f} ms, longest {times[-1] * 1e3:.1f} ms")
        print(f"memory     {before / 2**20:8.1f} MiB at the start")
        print(f"memory     {(proxy.memory - before) / 2**20:8.1f} MiB more with {accepted} pending")
        delivered[0] = 0
        times, _ = await _accept(proxy.outbound, options, hold=False)
        total = len(times)
        began, at = time.monotonic(), delivered[0]
        while delivered[0] < total and time.monotonic() < began + 60:
            await asyncio.sleep(0.05)
        took = time.monotonic() - began
        if took > 0.1:
            print(f"delivered  {(delivered[0] - at) / took:8.0f}/s  after the last accept")
        print(f"           {delivered[0]} of {total}")
        _show_cpu(proxy, cpu, total, "accepted and delivered")
        print(f"memory     {(proxy.memory - before) / 2**20:8.1f} MiB more at the end")
    finally:
        server.close()
        await asyncio.to_thread(proxy.kill)


def _store(directory: Path, options: argparse.Namespace) -> Store:
    if options.url is None:
        return SqliteStore(SqliteConfig(str(directory / "s.db"), max_bytes=8 << 30))
    from proxy.store.postgres.connection import PostgresConfig
    from proxy.store.postgres.engine import PostgresStore

    return PostgresStore(PostgresConfig(options.url, "it", schema="bench", timeout=30.0))


async def _fill(store: Store, count: int) -> None:
    """Entries that are due in an hour."""
    await store.open(0)
    meta = StoredHead("POST", "/o", host="shop").pack()
    for first in range(0, count, _BATCH):
        puts = [
            Put(f"{first + each:032x}", "shop", meta, _BODY, due_in=3600, give_up_in=86400)
            for each in range(min(_BATCH, count - first))
        ]
        await asyncio.gather(*map(store.do, puts))
    await store.close()


def _show_cpu(proxy: RunningProxy, before: float, count: int, what: str) -> float:
    now = proxy.cpu_seconds
    print(f"cpu        {(now - before) / count * 1e6:8.0f} us for each one {what}")
    return now


def _settings(directory: Path, port: int, options: argparse.Namespace) -> dict[str, object]:
    order = "header:x-lane" if options.lanes else "none"
    store: dict[str, object] = {"url": options.url, "schema": "bench"}
    if options.url is None:
        file = directory / "s.db"
        store = {"url": f"sqlite:{file}", "persistent": True, "max_bytes": "8GiB"}
    return {
        "store": store,
        "access_log": {"requests": "none"},
        "upstreams": {"shop": {"endpoints": [f"http://127.0.0.1:{port}"]}},
        "routes": [
            {
                "name": "shop",
                "upstream": "shop",
                "outbox": {
                    "mode": "always",
                    "order_by": order,
                    "concurrency": options.concurrency,
                    "max_pending": 10_000_000,
                },
            }
        ],
    }


async def _accept(
    port: int, options: argparse.Namespace, *, hold: bool
) -> tuple[list[float], float]:
    """The times of the accepts. `hold`: nothing is due before an hour has passed."""
    times: list[float] = []
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    end = began + (1e9 if options.entries else options.seconds)
    clients = []
    for number in range(options.clients):
        lane = f"X-Lane: {number % options.lanes}\r\n" if options.lanes else ""
        later = "X-Not-Before: 3600\r\n" if hold else ""
        fields = f"Host: shop\r\n{lane}{later}Content-Length: {len(_BODY)}\r\n"
        request = f"POST /o HTTP/1.1\r\n{fields}\r\n".encode() + _BODY
        client = _Client(request, times, end, options.entries)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    return times, time.monotonic() - began


class _Client(asyncio.Protocol):
    """One request after the other, until `end` or so many answers of all clients."""

    def __init__(self, request: bytes, times: list[float], end: float, entries: int) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._request = request
        self._times = times
        self._end = end
        self._entries = entries
        self._received = b""
        self._at = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._at = time.monotonic()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return
        at = received.lower().find(b"content-length: ", 0, end)
        length = int(received[at + 16 : received.index(b"\r", at)])
        if len(received) < end + 4 + length:
            return
        if not received.startswith(b"HTTP/1.1 202"):
            self._finish(AssertionError(received[:200]))
            return
        self._received = b""
        now = time.monotonic()
        self._times.append(now - self._at)
        if now >= self._end or 0 < self._entries <= len(self._times):
            self._finish(None)
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._finish(error or ConnectionError("closed by the proxy"))

    def _finish(self, error: BaseException | None) -> None:
        if self.done.done():
            return
        if error is not None:
            self.done.set_exception(error)
        else:
            self.done.set_result(None)
        self._transport.close()


class _Upstream(asyncio.Protocol):
    """One connection: answers each request, and counts it."""

    def __init__(self, delivered: list[int]) -> None:
        self._delivered = delivered
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            whole = end + 4 + len(_BODY)
            if len(self._received) < whole:
                return
            self._received = self._received[whole:]
            self._delivered[0] += 1
            self._transport.write(_OK)


if __name__ == "__main__":
    sys.exit(main())
