"""TLS handshakes of a listener's new connections, within bounds.

    accepted ──first byte──▶ handshake ──done──▶ the protocol's connection_made
        └────────────┴── too slow, displaced, gone ──▶ closed

A silent connection costs a transport, but no TLS object (50 KiB): that is created with the first
byte, and is the event loop's own layer, which takes over the transport. These bytes are there when
the layer begins, so that it does not first ask OpenSSL in vain. `loop.start_tls` and
`loop.connect_accepted_socket` do the same with a task and a future for each connection.
The whole handshake has `timeout` seconds from the accept.

Connections in a handshake count towards the listener's limit. At the limit a new one displaces the
oldest handshake: an ordinary client needs two round trips and succeeds beside any number of silent
ones. A few handshakes are always possible, so that a full listener can answer 503.
"""

import asyncio
import logging
import ssl
from asyncio import sslproto
from collections.abc import Callable
from typing import Any, Final, cast

import uvloop
from uvloop import loop as uvloop_loop

from proxy.wire.tls_object import TlsObject

_log = logging.getLogger("proxy.wire")

SPARE: Final = 8
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
        self._rings_at = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def begin(self) -> "_Handshake":
        """The protocol of an accepted connection, which begins its handshake."""
        while len(self._open) >= max(self._room(), SPARE):
            next(iter(self._open)).end()
        loop = asyncio.get_running_loop()
        one = _Handshake(self, loop.time() + self._timeout())
        self._open[one] = None
        # The timer stays when the handshake it was set for is over: the next one may use it.
        if self._timer is None or one.deadline < self._rings_at:
            self._set_timer(one.deadline)
        return one

    def close(self) -> None:
        """End all handshakes."""
        for one in tuple(self._open):
            one.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def layer(self, one: "_Handshake") -> Any:
        """TLS for a connection. To it `one` is the context, and the future that it tells when the
        handshake has ended.
        """
        loop = asyncio.get_running_loop()
        # The stubs of both leave it out; both have the same methods.
        kind: Any = uvloop_loop if isinstance(loop, uvloop.Loop) else sslproto
        return kind.SSLProtocol(
            loop,
            self._factory(),
            one,
            one,
            server_side=True,
            ssl_handshake_timeout=self._timeout(),
            ssl_shutdown_timeout=self._close_timeout,
        )

    def object_for(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> TlsObject:
        """OpenSSL's part of one connection, which reads from `incoming`."""
        return TlsObject(self._context.wrap_bio(incoming, outgoing, server_side=True), incoming)

    def over(self, one: "_Handshake") -> None:
        """Forget a handshake that has ended."""
        self._open.pop(one, None)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for one in tuple(self._open):
            if one.deadline > now:
                self._set_timer(one.deadline)
                break
            one.end()


_first_bytes: Final = memoryview(bytearray(16 * 1024))
"""What a read brought. One for all connections: it is handed on before the next read."""


class _Handshake:
    """One connection, from its accept to the end of its handshake.

    It reads into a buffer, as the layer does, so that reading goes on when that takes over. It is
    an asyncio protocol by its methods: a compiled class cannot have that base class.
    """

    __slots__ = ("_all", "_ended", "_first", "_transport", "deadline")

    def __init__(self, handshakes: Handshakes, deadline: float) -> None:
        self._all = handshakes
        self._transport: asyncio.Transport | None = None
        self._ended = False
        self._first: bytes | memoryview = b""
        self.deadline = deadline

    def end(self) -> None:
        """Close the connection, unless its handshake is over."""
        self._ended = True
        if self._transport is not None:
            self._transport.abort()
        self._over()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._ended:  # displaced since its accept
            self.end()

    def get_buffer(self, sizehint: int) -> memoryview:
        return _first_bytes

    def buffer_updated(self, nbytes: int) -> None:
        self._take_over(_first_bytes[:nbytes])

    def data_received(self, data: bytes) -> None:
        """As asyncio's own event loop has it, which uses buffers for its subclasses alone."""
        self._take_over(data)

    def _take_over(self, first: bytes | memoryview) -> None:
        """TLS takes the connection over, with the client's first bytes."""
        transport = self._transport
        if transport is None:
            return
        self._first = first
        layer = self._all.layer(self)
        transport.set_protocol(layer)
        layer.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._over()

    def eof_received(self) -> None:
        """The client left without a byte: the transport closes."""

    # --- the layer's context ------------------------------------------------------------------

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = True,
        server_hostname: str | None = None,
    ) -> TlsObject:
        """As `ssl.SSLContext.wrap_bio`, on the server's side; the first bytes are in `incoming`."""
        incoming.write(self._first)
        self._first = b""
        return self._all.object_for(incoming, outgoing)

    # --- the layer's future ---------------------------------------------------------------------

    def cancelled(self) -> bool:
        return False

    def set_result(self, result: None) -> None:
        self._over()

    def set_exception(self, error: Exception) -> None:
        _log.debug("TLS handshake failed: %s", error)
        self._over()

    def _over(self) -> None:
        self._transport = None
        self._all.over(self)
