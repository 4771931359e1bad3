"""What the tests of faults share: proxies with the built-in policies, upstreams of exact bytes."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

from integration.ports import free_port
from integration.running_proxy import RunningProxy
from integration.settings import Settings

MIB = 1024 * 1024

Serve = Callable[[socket.socket], None]
"""What an upstream does with one connection, in a thread of its own; then it is closed."""


class PlainProxy(RunningProxy):
    """A proxy with nothing configured but addresses, a short drain and a full access log."""

    def _base(self) -> Settings:
        return {key: value for key, value in super()._base().items() if key != "policies"}


class RawUpstream:
    """An upstream whose every byte, and every silence, is the test's.

    A connection is served by `serve`, which may block; an end of the connection ends it quietly.
    """

    def __init__(self, serve: Serve) -> None:
        self.port = free_port()
        self.connections = 0
        self._serve = serve
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """End the listener and every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, EOFError):
            self._serve(connection)
        self._open.discard(connection)


def read_head(connection: socket.socket) -> bytes:
    """A message's head; what follows it stays in the socket. EOFError at an end."""
    while seen := connection.recv(128 * 1024, socket.MSG_PEEK):
        end = seen.find(b"\r\n\r\n")
        if end >= 0:
            return connection.recv(end + 4)
        time.sleep(0.001)  # the rest of the head is on its way
    raise EOFError


def answer_each(response: bytes) -> Serve:
    """Serve requests without a body, each with these bytes."""

    def serve(connection: socket.socket) -> None:
        while True:
            read_head(connection)
            connection.sendall(response)

    return serve


def wait_for_end(connection: socket.socket) -> None:
    """Read and forget until the other side closes."""
    while connection.recv(64 * 1024):
        pass


@contextlib.contextmanager
def standing_still(proxy: RunningProxy) -> Iterator[None]:
    """The process is stopped while the block runs, as a throttled container is."""
    proxy.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        proxy.signal(signal.SIGCONT)
