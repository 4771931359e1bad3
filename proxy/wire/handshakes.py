"""TLS handshakes of a listener's new connections, within bounds.

    accepted ──first byte──▶ handshake ──done──▶ the protocol's connection_made
        └────────────┴── too slow, displaced, gone ──▶ closed

A silent connection costs a socket, but no TLS object (50 KiB): that is created with the first byte.
The whole handshake has `timeout` seconds from the accept.

Connections in a handshake count towards the listener's limit. At the limit a new one displaces the
oldest handshake: an ordinary client needs two round trips and succeeds beside any number of silent
ones. A few handshakes are always possible, so that a full listener can answer 503.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import cast

_log = logging.getLogger("proxy.wire")

SPARE = 8
"""Handshakes that are possible when the listener has reached its limit."""


class Handshakes:
    """The handshakes of one listener; `len` is their number."""

    def __init__(
        self,
        factory: Callable[[], object],
        context: ssl.SSLContext,
        *,
        room: Callable[[], int],
        timeout: Callable[[], float],
        close_timeout: float,
    ) -> None:
        """`room`: connections that the listener can still accept. `close_timeout`: seconds for a
        client to close TLS in order.
        """
        self._factory = factory
        self._context = context
        self._room = room
        self._timeout = timeout
        self._close_timeout = close_timeout
        self._open: dict[_Handshake, None] = {}  # in order of accept
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, sock: socket.socket) -> None:
        """Begin the handshake of an accepted connection."""
        while len(self._open) >= max(self._room(), SPARE):
            next(iter(self._open)).end()
        loop = asyncio.get_running_loop()
        one = _Handshake(self, sock, loop.time() + self._timeout())
        self._open[one] = None
        if self._timer is None:
            self._timer = loop.call_at(one.deadline, self._on_time)
        one.begin()

    def close(self) -> None:
        """End all handshakes."""
        for one in tuple(self._open):
            one.end()

    async def shake(self, sock: socket.socket) -> None:
        """Run one handshake; at its end the connection has its protocol. Raises OSError."""
        await asyncio.get_running_loop().connect_accepted_socket(
            self._protocol,
            sock,
            ssl=self._context,
            ssl_handshake_timeout=self._timeout(),
            ssl_shutdown_timeout=self._close_timeout,
        )

    def over(self, one: "_Handshake") -> None:
        """Forget a handshake that has ended."""
        self._open.pop(one, None)
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _protocol(self) -> asyncio.Protocol:
        return cast(asyncio.Protocol, self._factory())  # it is a protocol by its methods

    def _on_time(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for one in tuple(self._open):
            if one.deadline > now:
                self._timer = loop.call_at(one.deadline, self._on_time)
                break
            one.end()


class _Handshake:
    """One connection, from its accept to the end of its handshake."""

    __slots__ = ("_all", "_sock", "_task", "deadline")

    def __init__(self, handshakes: Handshakes, sock: socket.socket, deadline: float) -> None:
        self._all = handshakes
        self._sock = sock
        self._task: asyncio.Task[None] | None = None
        self.deadline = deadline

    def begin(self) -> None:
        """Start at once if the first byte is already there, as it usually is."""
        if not self._first_byte():
            asyncio.get_running_loop().add_reader(self._sock, self._readable)

    def end(self) -> None:
        """Close the connection, unless its handshake is over."""
        if self._task is not None:
            self._task.cancel()
        else:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
        self._all.over(self)

    def _readable(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock)
        if not self._first_byte():  # never taken over: this does not happen
            self.end()

    def _first_byte(self) -> bool:
        """Continue if the client has sent a byte or left; False: neither yet."""
        try:
            gone = not self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            gone = True
        if gone:
            self.end()
        else:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return True

    async def _run(self) -> None:
        try:
            await self._all.shake(self._sock)
        except OSError as error:
            _log.debug("TLS handshake failed: %s", error)
            self._sock.close()
        finally:
            self._all.over(self)
            self._task = None


class TlsServer:
    """Accepts on one listening socket, which stays open when this is closed."""

    ACCEPTS = 32
    """Maximum connections accepted in one turn of the loop."""
    _PAUSE = 0.1

    def __init__(
        self, listening: socket.socket, handshakes: Handshakes, accepted: Callable[[], bool]
    ) -> None:
        """`accepted` is called for each new connection; False: stop for now, this is about to be
        closed.
        """
        self._listening = listening
        self._handshakes = handshakes
        self._accepted = accepted
        self._retry: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        """Stop accepting."""
        asyncio.get_running_loop().remove_reader(self._listening)
        if self._retry is not None:
            self._retry.cancel()

    def _listen(self) -> None:
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(self.ACCEPTS):
            try:
                sock, _ = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is left
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._listening)
                self._retry = loop.call_later(self._PAUSE, self._listen)
                return
            sock.setblocking(False)
            self._handshakes.begin(sock)
            if not self._accepted():
                return
