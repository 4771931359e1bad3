"""Accepts connections, and pauses while file descriptors are short.

Clients then wait in the kernel's queue. Without a pause the event loop would accept and close them
at once, and open connections could get no upstream connection.
"""

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Callable
from time import monotonic
from typing import Any, cast

from proxy.wire.handshakes import Handshakes

LOOK_AGAIN = 0.1
"""Seconds between two checks whether file descriptors are available again."""
LIMIT_EVERY = 8
"""Connections after which the limit of open files is read again: an operator can lower it."""
_MOST_KEPT_FREE = 1024
_SECONDS_BETWEEN_WARNINGS = 60.0

_log = logging.getLogger("proxy.wire")


def files_kept_free() -> int:
    """Descriptors that are reserved for upstream connections, probes and files."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST_KEPT_FREE if limit == resource.RLIM_INFINITY else min(limit // 8, _MOST_KEPT_FREE)


def files_short(descriptor: int) -> bool:
    """Whether the reserve has been touched; `descriptor` is any open one."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    used = open_files()
    if used is None or limit == resource.RLIM_INFINITY:
        return not files_can_be_opened(descriptor)
    return limit - used < files_kept_free()


def open_files() -> int | None:
    """Open descriptors of this process; None if the system does not say (Linux before 6.2)."""
    try:
        return os.stat("/proc/self/fd").st_size or None
    except OSError:
        return None


def files_can_be_opened(descriptor: int) -> bool:
    """Whether all of the reserve is free, by trying, which takes up to a millisecond."""
    held: list[int] = []
    try:
        for _ in range(files_kept_free()):
            held.append(os.dup(descriptor))
    except OSError:
        return False
    finally:
        for one in held:
            os.close(one)
    return True


class Acceptor:
    """Accepts for one listener, from `open` to `close`.

    `name` is for the log. To pause, it closes a duplicate of the listening socket; the socket
    itself and its queue of waiting clients stay.
    """

    def __init__(
        self,
        name: str,
        factory: Callable[[], object],
        *,
        kept_free: Callable[[], int] = files_kept_free,
        short: Callable[[int], bool] = files_short,
        look_again: float = LOOK_AGAIN,
        handshakes: Handshakes | None = None,
        **options: Any,
    ) -> None:
        """`options` are those of `loop.create_server`. `handshakes` make it a TLS listener: they
        create the connections' protocols, and `factory` is not called.
        """
        self._name = name
        self._factory = factory if handshakes is None else handshakes.begin
        self._kept_free = kept_free
        self._short = short
        self._look_again = look_again
        self._options = options
        self._handshakes = handshakes
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._pause: asyncio.Task[None] | None = None
        self._unseen = 0
        self._look_at = min(LIMIT_EVERY, kept_free() // 4 + 1)
        self._warned_at = float("-inf")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of its first socket."""
        host, port = self._sockets[0].getsockname()[:2]
        return host, port

    @property
    def accepting(self) -> bool:
        return bool(self._servers)

    @property
    def handshakes(self) -> int:
        """Connections in their TLS handshake."""
        return 0 if self._handshakes is None else len(self._handshakes)

    def end_handshakes(self) -> None:
        """Close the connections in their TLS handshake."""
        if self._handshakes is not None:
            self._handshakes.close()

    async def open(self, host: str, port: int) -> tuple[str, int]:
        """Listen and accept at one more address; returns the bound address.

        ``::`` is every address of both families, with a socket for each, so that IPv4 clients
        keep their usual addresses. Raises OSError if the address cannot be bound.
        """
        bound = await self._open(host, port)
        if host == "::":
            await self._open("0.0.0.0", bound[1])
        return bound

    async def _open(self, host: str, port: int) -> tuple[str, int]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._accepted, host, port, **self._options)
        self._servers.append(server)
        opened = [socket.socket(fileno=os.dup(one.fileno())) for one in server.sockets]
        self._sockets += opened
        bound_host, bound_port = opened[0].getsockname()[:2]
        return bound_host, bound_port

    def close(self) -> None:
        """Stop listening; connections stay."""
        if self._pause is not None:
            self._pause.cancel()
        self._close_servers()
        for one in self._sockets:
            one.close()
        self._sockets.clear()

    def _close_servers(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    def _accepted(self) -> asyncio.Protocol:
        """Called by the event loop for the protocol of an accepted connection."""
        self._unseen += 1
        if self._unseen >= self._look_at:
            self._look_at_files()
        return cast(asyncio.Protocol, self._factory())  # it is a protocol by its methods

    def _look_at_files(self) -> None:
        """Pause if descriptors are short."""
        # Each accepted connection takes a descriptor, so the reserve lasts until the next check.
        most_unseen = self._kept_free() // 4
        if self._unseen > most_unseen:
            self._unseen = 0
            if self._pause is None and self._sockets and self._short(self._sockets[0].fileno()):
                # Later: the event loop is in the middle of accepting.
                self._pause = asyncio.get_running_loop().create_task(self._until_files())
        self._look_at = min(self._unseen + LIMIT_EVERY, most_unseen + 1)

    async def _until_files(self) -> None:
        """Stop accepting until descriptors are available again."""
        self._close_servers()
        self._warn()
        while True:
            await asyncio.sleep(self._look_again)
            if not self._short(self._sockets[0].fileno()) and await self._resume():
                break
        self._pause = None

    def _warn(self) -> None:
        now = monotonic()
        if now - self._warned_at > _SECONDS_BETWEEN_WARNINGS:
            self._warned_at = now
            _log.warning(
                "%s: file descriptors are short (ulimit -n): accepting pauses until "
                "connections end",
                self._name,
            )

    async def _resume(self) -> bool:
        """False: descriptors are short again."""
        loop = asyncio.get_running_loop()
        try:
            for one in self._sockets:
                self._servers.append(
                    await loop.create_server(self._accepted, sock=one.dup(), **self._options)
                )
        except OSError:
            self._close_servers()
        return self.accepting
