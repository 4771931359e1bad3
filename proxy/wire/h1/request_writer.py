"""Writes requests to an upstream's HTTP/1 connection: heads, framing, tunnels.

    IDLE ──send_head──> HEAD ──final head──> BODY ──end──> IDLE (or CLOSED)
                 1xx ──> HEAD ──101──> TUNNEL <──begin_tunnel── IDLE

Under TLS a body is written in the loop's next turn, after what has arrived was read.
"""

import asyncio
from enum import Enum
from typing import Final, cast

from proxy.http.message import OwnFields, RequestHead
from proxy.wire.flow import Channel, discard, reset_on_close
from proxy.wire.h1.head_writer import (
    HEAD_ENDS,
    add_own,
    last_chunk,
    request_front,
    write_chunked,
)
from proxy.wire.streams import Trailers, UpstreamSession, UpstreamStream

LINGER_SECONDS: Final = 1.0
LAST_BYTES_SECONDS: Final = 60.0
"""Seconds for the upstream to take the last bytes of a tunnel."""
_LATER_BYTES: Final = 64 * 1024
"""Above this many bytes to be written later, no more is taken."""


class State(Enum):
    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    TUNNEL = "tunnel"
    CLOSED = "closed"


# Reading a global is ten times as fast as reading an enum member (CPython 3.11).
IDLE: Final = State.IDLE
HEAD: Final = State.HEAD
BODY: Final = State.BODY
TUNNEL: Final = State.TUNNEL
CLOSED: Final = State.CLOSED


class RequestWriter(UpstreamStream):
    """The writing half of a connection to an upstream, with its state.

    `_chunks`: the request's body is chunked. `_reusable`: another request may follow.
    """

    __slots__ = (
        "_channel",
        "_chunks",
        "_held_back",
        "_later",
        "_later_bytes",
        "_reusable",
        "_state",
    )

    _channel: Channel

    def __init__(self) -> None:
        super().__init__()
        self._state = IDLE
        self._chunks = False
        self._reusable = True
        self._later: list[bytes] | None = None  # under TLS: parts of a body to be written soon
        self._later_bytes = 0
        self._held_back = False  # no more is taken until they are written

    # --- for the pool -----------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether it is open, without an exchange, and has received nothing unexpected."""
        return self._state is IDLE and self._reusable and not self._channel.closing

    def close(self) -> None:
        self._reusable = False
        self._channel.transport.close()

    def abort(self) -> None:
        """Close at once, and discard unsent bytes."""
        self._reusable = False
        self.handler = None
        self._channel.transport.abort()

    # --- for the attempt --------------------------------------------------------------------------

    def _write_head(
        self, head: RequestHead, own: OwnFields, piece: bytes, ended: bool, trailers: Trailers
    ) -> None:
        if self._later:
            self._write_now()
        parts = [request_front(head)]
        add_own(parts, own)
        parts.append(HEAD_ENDS)
        if self._chunks:
            write_chunked(self._channel, parts, piece, ended, trailers)
        else:
            self._channel.write_parts(parts, piece)

    @property
    def unsent_bytes(self) -> int:
        return self._later_bytes + self._channel.unsent_bytes

    @property
    def half_closes(self) -> bool:
        return self._channel.half_closes

    @property
    def upgrades(self) -> bool:
        return True

    def write_body(self, piece: bytes) -> None:
        if self._later is not None:
            self._write_later(
                (b"%x\r\n" % len(piece), piece, b"\r\n") if self._chunks else (piece,)
            )
        elif self._chunks:
            self._channel.write_long(b"%x\r\n" % len(piece), piece, b"\r\n")
        else:
            self._channel.write(piece)

    def end(self, trailers: Trailers) -> None:
        if not self._chunks:
            return
        if self._later is not None:
            self._write_later((last_chunk(trailers),))
        else:
            self._channel.write(last_chunk(trailers))

    def _write_later(self, parts: tuple[bytes, ...]) -> None:
        """Write in the loop's next turn, after it has read what has arrived.

        A write that fails loses an early answer: under TLS nothing can be read after it.
        """
        later = cast(list[bytes], self._later)
        if not later:
            asyncio.get_running_loop().call_soon(self._write_now)
        later.extend(parts)
        for part in parts:
            self._later_bytes += len(part)
        if self._later_bytes > _LATER_BYTES and not self.write_paused:
            self._held_back = True
            self.pause_writing()

    def _write_now(self) -> None:
        later, self._later = self._later, []
        self._later_bytes = 0
        held_back, self._held_back = self._held_back, False
        if held_back:
            self.write_paused = False
        if later and not self._channel.closing:
            self._channel.transport.writelines(later)
        if held_back and not self.write_paused:
            self.resume_writing()

    def write_tunnel(self, data: bytes) -> None:
        self._channel.write(data)

    def await_last_bytes(self) -> None:
        if self.half_closes and not self._channel.closing:
            self._channel.transport.set_write_buffer_limits(0)

    def leave_tunnel(self, *, reset: bool) -> bool:
        """Close once the last bytes were sent; a peer that does not take them is reset."""
        transport = self._channel.transport
        if reset and not transport.is_closing():
            reset_on_close(transport)
            self._reusable = False
            transport.abort()
        else:
            self.close()
            self._close_later(LAST_BYTES_SECONDS)
        return False

    def _close_later(self, patience: float) -> None:
        """Look again after a while; `patience`: seconds for unsent bytes."""
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._end_leaving, patience)

    def _end_leaving(self, patience: float) -> None:
        transport = self._channel.transport
        patience -= LINGER_SECONDS
        if patience > 0.0 and transport.get_write_buffer_size():
            self._close_later(patience)
        else:
            discard(transport)

    def pause_reading(self) -> None:
        self._channel.pause_reading()

    def resume_reading(self) -> None:
        self._channel.resume_reading()

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.handler is not None:
            self.handler.on_upstream_writable(False)

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.handler is not None:
            self.handler.on_upstream_writable(True)


class Http1Session(UpstreamSession):
    """A connection as its pool keeps it: room for one exchange at a time.

    `connection` is None after it is lost, so that no reference cycle remains.
    """

    __slots__ = ("connection",)

    def __init__(self, connection: RequestWriter) -> None:
        super().__init__(1)
        self.connection: RequestWriter | None = connection

    @property
    def usable(self) -> bool:
        """Whether it is open, without an exchange, and has received nothing unexpected."""
        connection = self.connection
        return connection is not None and connection.usable

    def lend(self) -> UpstreamStream:
        return cast(RequestWriter, self.connection)

    def take_back(self, stream: UpstreamStream, reusable: bool) -> None:
        connection = self.connection
        if connection is not None and not (reusable and connection.usable):
            # Half a request may be in its buffer: do not wait for it to be sent.
            connection.abort()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
