"""Flow control of a transport: pausing and resuming reads.

asyncio calls `pause_writing` on a protocol when its transport's buffer is above the high-water
mark. The connection tells the exchange, which stops reading on the other side until the buffer has
drained, so memory stays bounded however slow one side is.
"""

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Final

JOINED_BYTES: Final = 16 * 1024
"""A piece up to this size is copied behind its head, which is cheaper than two writes."""


UNREAD_BYTES: Final = 256 * 1024
"""Maximum bytes read from a broken connection; a longer response would be incomplete anyway."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def reset_on_close(transport: asyncio.Transport) -> None:
    """Make closing reset the connection, so that it does not look like the end (SO_LINGER 0)."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def discard(transport: asyncio.Transport) -> None:
    """Close at once. Bytes that are still unsent make it a reset: an end would hide their loss."""
    if transport.get_write_buffer_size() and transport.get_extra_info("socket") is not None:
        reset_on_close(transport)
    transport.abort()


def unread(transport: asyncio.Transport) -> bytes:
    """Bytes that arrived on a broken connection and were not read, up to `UNREAD_BYTES`.

    For `connection_lost`: the event loop has stopped reading then, but the socket is still open.
    """
    pieces: list[bytes] = []
    size = 0
    with suppress(OSError):
        descriptor: int = transport.get_extra_info("socket").fileno()
        while size < UNREAD_BYTES:
            piece = os.read(descriptor, UNREAD_BYTES - size)
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
    return b"".join(pieces)


def peek(transport: asyncio.Transport, count: int) -> bytes:
    """The first bytes that have arrived and were not read, which stay unread."""
    with suppress(OSError, AttributeError):  # it has no socket, or no byte
        descriptor: int = transport.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            return copy.recv(count, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    return b""


class Channel:
    """The transport of one connection.

    Reading can be paused and resumed any number of times; only changes reach the transport.
    Independently it can be held, while received bytes wait to be processed. `write` is the
    transport's own, which saves a call for every head and every piece of a body.
    """

    __slots__ = ("_held", "_reading", "_wanted", "transport", "write")

    write: Callable[[bytes], None]

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.write = transport.write
        self._reading = True
        self._wanted = True
        self._held = False

    @property
    def closing(self) -> bool:
        return self.transport.is_closing()

    @property
    def unsent_bytes(self) -> int:
        """Bytes written that the other side has not acknowledged.

        The kernel's part matters: it reports room again only when a third of its buffer is free,
        which can be a megabyte.
        """
        unsent = self.transport.get_write_buffer_size()
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            with suppress(OSError, ValueError):  # it is closed
                queued: bytes = ioctl(sock.fileno(), TIOCOUTQ, b"\0" * 4)
                unsent += int.from_bytes(queued, sys.byteorder)
        return unsent

    @property
    def would_lose(self) -> bool:
        """Whether aborting it would discard bytes.

        TLS does not show what it has encrypted and could not write. While it closes, bytes in the
        kernel's buffer say that there may be some.
        """
        if self.transport.get_write_buffer_size():
            return True
        return not self.half_closes and self.closing and self.unsent_bytes > 0

    @property
    def half_closes(self) -> bool:
        """Whether sending can end while receiving goes on. Not under TLS: Python's ends both."""
        return self.transport.can_write_eof()

    @property
    def reading(self) -> bool:
        """Whether reading is not paused; it may be held."""
        return self._wanted

    def write_parts(self, parts: list[bytes], piece: bytes) -> None:
        """Short parts and a piece of a body: one system call, no long copy."""
        if len(piece) <= JOINED_BYTES:
            if piece:
                parts.append(piece)
            self.write(b"".join(parts))
        else:
            self.transport.writelines((b"".join(parts), piece))

    def write_long(self, before: bytes, piece: bytes, behind: bytes) -> None:
        """A piece between two short parts."""
        if len(piece) <= JOINED_BYTES:
            self.write(b"".join((before, piece, behind)))
        else:
            self.transport.writelines((before, piece, behind))

    def pause_reading(self) -> None:
        self._wanted = False
        if self._reading:
            self._set(False)

    def resume_reading(self) -> None:
        self._wanted = True
        if not self._reading and not self._held:
            self._set(True)

    def hold(self) -> None:
        """Stop reading until `release`, whether paused or not."""
        self._held = True
        if self._reading:
            self._set(False)

    def release(self) -> None:
        self._held = False
        if self._wanted and not self._reading:
            self._set(True)

    def _set(self, reading: bool) -> None:
        if self.transport.is_closing():
            return
        self._reading = reading
        if reading:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()
