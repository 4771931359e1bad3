"""Flow control, the same on both sides: who may read, who may write.

asyncio calls `pause_writing` when a transport's buffer is above its high-water mark. The
connection tells the exchange, which stops reading on the other side until the buffer is empty
enough again: so memory stays bounded however slow one side is.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

JOINED_BYTES = 16 * 1024
"""A piece up to this long is copied behind its head, which costs less than to send two."""


_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def reset_on_close(transport: asyncio.Transport) -> None:
    """Have closing reset the connection: so it is no end of what was sent (SO_LINGER, zero)."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


class FlowControlled:
    """A connection that can be read from or not, and knows whether it can be written to.

    An asyncio protocol by its methods and not by its base class, which a compiled class cannot
    have. Reading can be paused and resumed any number of times; the transport hears of changes
    alone. `write` is the transport's own: a call less for every head and every piece of a body.
    """

    __slots__ = ("_reading", "_transport", "write", "write_paused")

    write: Callable[[bytes], None]

    def __init__(self) -> None:
        self._reading = True
        self.write_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.write = self._transport.write

    def write_both(self, head: bytes, piece: bytes) -> None:
        """A head and the first piece of its body: one call of the system, no long copy."""
        if not piece:
            self.write(head)
        elif len(piece) <= JOINED_BYTES:
            self.write(head + piece)
        else:
            self._transport.writelines((head, piece))

    @property
    def half_closes(self) -> bool:
        """Whether sending can end while receiving goes on. Not under TLS: Python's ends both."""
        return self._transport.can_write_eof()

    def pause_reading(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self.write_paused = True
        self.on_writable(False)

    def resume_writing(self) -> None:
        self.write_paused = False
        self.on_writable(True)

    def on_writable(self, writable: bool) -> None:
        """The other side must be read from, or not: tell the exchange."""
        raise NotImplementedError
