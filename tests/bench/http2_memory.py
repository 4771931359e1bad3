"""``python -m tests.bench.http2_memory``: resident memory of HTTP/2.

    idle          before HTTP/2, and after the first connection that speaks it
    connections   10,000 of clients, each of which has carried a request
    streams       100 on each of 50 connections, whose upstream is silent

Exit status 1 where HTTP/2 takes more than 2 MiB of an idle process. This process needs as many
descriptors as there are connections, and the proxy as many again.
"""

import argparse
import asyncio
import resource
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .bed import LOAD_CORE, PEER_CORE
from .http2 import wait_for
from .peers.base import Site
from .peers.resilience import http2_command
from .process import Process, free_port
from .upstream import start_nginx

KIB = 1024
MAY_TAKE = 2048
"""KiB of an idle process."""
_SPARE = 300
_BATCH = 100
_SETTLED = 0.7
"""Seconds in which the proxy does what it put off until its loop is idle."""

_frame_head = struct.Struct(">BHBBL")
_BLOCK = b"\x82\x86\x04\x03/1k\x01\x05bench\x00\x06x-kind\x06memory"


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return _frame_head.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0) + _frame(4, 1, 0)


def _requests(count: int) -> bytes:
    return b"".join(_frame(1, 5, 2 * at + 1, _BLOCK) for at in range(count))


class _Silent(asyncio.Protocol):
    """An HTTP/2 server that takes every request and answers none."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(_frame(4, 0, 0) + _frame(4, 1, 0) + _frame(8, 0, 0, b"\x3f\0\0\0"))


@contextmanager
def _silent_server() -> Iterator[int]:
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(_Silent, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@contextmanager
def _proxy(upstream_port: int, connections: int, *, http2: bool) -> Iterator[tuple[Process, int]]:
    with tempfile.TemporaryDirectory(prefix="proxy-memory-") as name:
        directory = Path(name)
        site = Site(directory, free_port(), upstream_port, connections=connections)
        argv = http2_command(site)
        if not http2:
            file = directory / "proxy.yaml"
            file.write_text(file.read_text().replace(", protocol: http2", ""))
        with Process("proxy", argv, core=PEER_CORE, log=directory / "log") as process:
            wait_for(site.port, process)
            time.sleep(_SETTLED)
            yield process, site.port


def _open(port: int, stack: ExitStack, count: int, data: bytes) -> list[socket.socket]:
    batch = [
        stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(count)
    ]
    for one in batch:
        one.sendall(_GREETING + data)
    return batch


def _read_answer(one: socket.socket) -> None:
    """Until the end of stream 1. Raises RuntimeError without one."""
    received = b""
    while True:
        data = one.recv(16 * 1024)
        if not data:
            raise RuntimeError(f"closed after {received[:100]!r}")
        received += data
        at = 0
        while len(received) - at >= 9:
            high, low, kind, flags, stream = _frame_head.unpack_from(received, at)
            at += 9 + (high << 16 | low)
            if stream == 1 and kind in (0, 1) and flags & 1 and at <= len(received):
                return


def idle(nginx_port: int) -> tuple[int, int]:
    """KiB of an idle process, and after the first connection that spoke HTTP/2 and has gone."""
    with _proxy(nginx_port, 100, http2=False) as (process, port), ExitStack() as stack:
        with socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(b"GET /1k HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            while one.recv(16 * 1024):
                pass
        before = process.resident_kib()
        (client,) = _open(port, stack, 1, _requests(1))
        _read_answer(client)
        client.close()
        time.sleep(_SETTLED)
        return before, process.resident_kib()


def connections(nginx_port: int, count: int) -> float:
    """KiB that each idle connection of a client takes."""
    with (
        _proxy(nginx_port, count + _SPARE, http2=False) as (process, port),
        ExitStack() as stack,
    ):
        for one in _open(port, stack, _BATCH, _requests(1)):
            _read_answer(one)
        before = process.resident_kib()
        opened = 0
        while opened < count:
            for one in _open(port, stack, min(_BATCH, count - opened), _requests(1)):
                _read_answer(one)
            opened += _BATCH
        time.sleep(_SETTLED)
        return (process.resident_kib() - before) / count


def streams(count: int, on_each: int) -> float:
    """KiB of each request whose upstream is silent: two streams and an exchange."""
    with (
        _silent_server() as upstream_port,
        _proxy(upstream_port, count * on_each + _SPARE, http2=True) as (process, port),
        ExitStack() as stack,
    ):
        _open(port, stack, 2, _requests(on_each))
        time.sleep(_SETTLED)
        before = process.resident_kib()
        _open(port, stack, count, _requests(on_each))
        time.sleep(3 * _SETTLED)
        return (process.resident_kib() - before) / (count * on_each)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.http2_memory", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--streams", type=int, default=100, help="on a connection; default: 100")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < options.connections + _SPARE:
        print(f"only {hard} files may be open (ulimit -Hn)", file=sys.stderr)
        return 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        upstream, nginx_port = start_nginx(Path(name), LOAD_CORE)
        with upstream:
            before, after = idle(nginx_port)
            print(f"idle: {before} KiB, with HTTP/2 {after - before} KiB more", flush=True)
            each = connections(nginx_port, options.connections)
            print(f"an idle connection of a client: {each:.2f} KiB", flush=True)
    each = streams(50, options.streams)
    print(f"a request in flight, HTTP/2 on both sides: {each:.2f} KiB")
    return 1 if after - before > MAY_TAKE else 0


if __name__ == "__main__":
    sys.exit(main())
