"""Accepts the admin address's connections within a share of the event loop.

A connection costs the loop half a millisecond before its first request. Clients beyond the share
wait in the kernel's queue.
"""

import asyncio
import socket
from collections.abc import Callable

from proxy.admin.pace import Pace

BACKLOG = 128
_ACCEPT_COSTS = 0.0005
"""Seconds of the loop to open and close a connection."""
_WITHOUT_FILES = 0.1
"""Seconds until the next try if no descriptor was left."""


class Door:
    """One listening socket, from construction to `close`."""

    def __init__(
        self,
        listening: socket.socket,
        factory: Callable[[], asyncio.Protocol],
        pace: Pace,
    ) -> None:
        """Takes over `listening`, which listens and is non-blocking."""
        self._listening = listening
        self._factory = factory
        self._pace = pace
        self._timer: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[object]] = set()
        self._open()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listening.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Stop accepting; connections stay. A second call has no effect."""
        if self._listening.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self._listening)
        if self._timer is not None:
            self._timer.cancel()
        self._listening.close()

    def _open(self) -> None:
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        """Accept one connection at a time, so that the loop's other work runs in between."""
        wait = self._pace.wait_needed()
        if wait:
            self._pause(wait)
            return
        try:
            sock, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no descriptor is left
            self._pause(_WITHOUT_FILES)
            return
        sock.setblocking(False)
        self._pace.spent(_ACCEPT_COSTS)
        loop = asyncio.get_running_loop()
        task: asyncio.Task[object] = loop.create_task(
            loop.connect_accepted_socket(self._factory, sock)
        )
        self._opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[object]) -> None:
        self._opening.discard(task)
        if not task.cancelled():
            task.exception()  # the client has already left

    def _pause(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listening)
        self._timer = loop.call_later(seconds, self._open)
