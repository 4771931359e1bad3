"""Limits the admin server's connections, in number and in time.

Descriptors are reserved for the data plane. Beyond `limit` connections the next one displaces the
one that has been silent longest; those whose request is being answered are displaced last, and
among them those from this machine.

A request's head has `HEAD` seconds: the first from the accept, others from their first byte. The
rest of a body after its answer has the same. A client that reads no byte of its answer for
`STALLED` seconds is disconnected, and so is one that sends requests without end.
"""

import asyncio
import fcntl
import struct
import termios
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.admin.access import is_loopback
from proxy.admin.problems import Protocol

LIMIT = 64
HEAD = 5.0
STALLED = 10.0
IDLE = 75.0
"""Seconds between two requests of a connection."""
PIPELINED = 16
"""Requests that can wait behind the one being answered. Real clients do not send more, and parsing
them costs the loop's time."""
_PIECE = 4096
"""Maximum bytes that are parsed at once."""
_LOOK = 0.5
"""Seconds between two checks of all connections, while there are any."""


class Connections:
    """All connections of one server."""

    def __init__(self, *, limit: int = LIMIT, head: float = HEAD, stalled: float = STALLED) -> None:
        self._limit = limit
        self._head = head
        self._stalled = stalled
        self._open: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: "Connection") -> None:
        self._open.add(connection)
        if len(self._open) > self._limit:
            displaced = min(self._open - {connection}, key=Connection.importance)
            self._open.discard(displaced)  # it is notified a turn later
            displaced.end()
        if self._timer is None:
            self._set_timer()

    def discard(self, connection: "Connection") -> None:
        self._open.discard(connection)
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def _look(self) -> None:
        self._set_timer()
        now = asyncio.get_running_loop().time()
        for one in tuple(self._open):
            if one.head_began(now) >= self._head or one.untaken(now) >= self._stalled:
                one.end()


class Connection(Protocol):
    """One client. `answering`: the application is handling a request."""

    __slots__ = ("_connections", "_head_since", "_left", "_left_since", "_local", "answering",
                 "heard")  # fmt: skip

    def __init__(self, connections: Connections, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._connections = connections
        self._local = False
        self._left, self._left_since = 0, 0.0
        self._head_since: float | None = None
        self.answering = False
        self.heard = 0.0

    # --- events of the transport --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._local = is_loopback(peer[0] if peer else None)
        self.heard = self._head_since = asyncio.get_running_loop().time()
        self._connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.heard = asyncio.get_running_loop().time()
        if not self.answering and self._head_since is None:
            self._head_since = self.heard
        for start in range(0, len(data), _PIECE):
            super().data_received(data[start : start + _PIECE])
            if len(self._messages) > PIPELINED:
                self.end()
                return

    # --- for the application ------------------------------------------------------------------

    def request_began(self) -> None:
        self.answering = True
        self._head_since = None

    def request_ended(self) -> None:
        self.answering = False

    # --- for `Connections` ---------------------------------------------------------------------

    def importance(self) -> tuple[bool, bool, float]:
        """Sort key: the smallest is displaced first."""
        return self.answering, self.answering and self._local, self.heard

    def head_began(self, now: float) -> float:
        """Seconds since an incomplete head began; 0 without one."""
        return 0.0 if self._head_since is None else now - self._head_since

    def untaken(self, now: float) -> float:
        """Seconds since the client last read a byte of its answer."""
        left = self._untaken_bytes()
        if not left or left != self._left:
            self._left, self._left_since = left, now
        return now - self._left_since

    def end(self) -> None:
        """Close at once, and discard unsent bytes."""
        if self.transport is not None:
            self.transport.abort()

    def _untaken_bytes(self) -> int:
        """Bytes written and not acknowledged, in the transport and the kernel."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return 0
        queued = struct.pack("i", 0)
        try:
            descriptor = transport.get_extra_info("socket").fileno()
            queued = fcntl.ioctl(descriptor, termios.TIOCOUTQ, queued)  # SIOCOUTQ, see tcp(7)
        except (OSError, ValueError):  # it is being closed
            pass
        in_kernel: int = struct.unpack("i", queued)[0]
        return transport.get_write_buffer_size() + in_kernel


@web.middleware
async def answering(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell a connection about its request. Must be the outermost middleware."""
    connection = request.protocol
    if not isinstance(connection, Connection):
        return await handler(request)
    connection.request_began()
    try:
        return await handler(request)
    finally:
        connection.request_ended()
