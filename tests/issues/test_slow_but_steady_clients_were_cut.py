"""A download at 10 KB/s was cut after a minute: "The client read none of the response for 60 s".

It had read all the time. A transport tells that it can be written to again only when a third of
the kernel's buffer is free, which takes longer than `timeouts.idle` at such a pace.
"""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from integration.ports import free_port
from integration.raw_client import RawClient, request_bytes
from integration.running_proxy import RunningProxy
from integration.settings import Settings

IDLE = 1.0
RATE = 300_000
"""Bytes per second: a third of the kernel's buffer takes some seconds."""
SIZE = 20_000_000
SECONDS = 3.0
BUFFER = 128 * 1024


def read_slowly(source: socket.socket) -> float:
    """Read steadily for `SECONDS`, or until the end: for how long."""
    started = time.monotonic()
    while (passed := time.monotonic() - started) < SECONDS:
        try:
            data = source.recv(4096)
        except ConnectionError:
            break
        if not data:
            break
        time.sleep(len(data) / RATE)
    return passed


def pour(target: socket.socket) -> None:
    with suppress(OSError):  # it was cut, or the test is over
        target.sendall(bytes(SIZE))


class Server:
    """Pours into its peer, or reads slowly from one that uploads: `read_for`, for how long."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.read_for = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        with peer:
            asked = peer.recv(4096)
            if asked.startswith(b"POST"):
                self.read_for = read_slowly(peer)
            elif asked.startswith(b"GET"):
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
                pour(peer)
            else:
                pour(peer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def proxy(start_proxy: Callable[[Settings], RunningProxy], port: int) -> RunningProxy:
    timeouts = {"timeouts": {"idle": f"{IDLE * 1000:g}ms"}}
    return start_proxy(
        {
            "egress": {"connect_ports": [port]},
            "policies": {"default": timeouts, "inbound": timeouts},
            "upstreams": {"app": {"endpoints": [f"http://127.0.0.1:{port}"]}},
        }
    )


@pytest.mark.long
def test_they_go_on(proxy: RunningProxy, port: int) -> None:
    server = Server(port)

    def client(listener: str) -> RawClient:
        return proxy.client(listener, receive_buffer=BUFFER)

    def download() -> float:
        with client("inbound") as one:
            one.send(request_bytes("GET", "/"))
            return read_slowly(one._socket)

    def tunnel() -> float:
        with client("outbound") as one:
            one.send(request_bytes("CONNECT", f"127.0.0.1:{port}", host=f"127.0.0.1:{port}"))
            assert one.read_head().status == 200
            one.send(b"pour")
            return read_slowly(one._socket)

    def upload() -> float:
        with client("inbound") as one:
            one.send(request_bytes("POST", "/", {"Content-Length": str(SIZE)}))
            pour(one._socket)
            return server.read_for

    with ThreadPoolExecutor(3) as pool:
        ways = [pool.submit(way) for way in (download, tunnel, upload)]
        times = [way.result() for way in ways]
        assert min(times) >= SECONDS, (times, proxy.log_lines())
    server.close()
