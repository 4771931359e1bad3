"""Writes responses to a client's HTTP/1 connection: heads, framing, tunnels.

The framing depends on the request (RFC 9112 section 6.3): its method and its version.
"""

from proxy.http.message import OwnFields, RequestHead, ResponseHead
from proxy.wire.flow import Channel
from proxy.wire.h1.head_writer import (
    CHUNKED,
    CLOSE,
    HEAD_ENDS,
    KEEP_ALIVE,
    add_own,
    last_chunk,
    response_front,
    write_chunked,
)
from proxy.wire.streams import ClientStream, Trailers


class ResponseWriter(ClientStream):
    """The writing half of a client's connection.

    `_asked` is the request that is answered. `_keep_alive`: another request may follow. `_chunks`:
    the response's body is chunked; `_ends_by_close`: only closing the connection ends it.
    """

    __slots__ = ("_asked", "_channel", "_chunks", "_ends_by_close", "_keep_alive")

    _channel: Channel
    _asked: RequestHead

    def __init__(self) -> None:
        super().__init__()
        self._keep_alive = False
        self._chunks = False
        self._ends_by_close = False

    @property
    def unsent_bytes(self) -> int:
        return self._channel.unsent_bytes

    @property
    def half_closes(self) -> bool:
        """Whether sending can end while receiving continues."""
        return self._channel.half_closes

    def write_informational(self, head: ResponseHead) -> None:
        if self._asked.version != 10:
            self._channel.write(response_front(head) + HEAD_ENDS)

    def write_head(
        self,
        head: ResponseHead,
        own: OwnFields,
        piece: bytes,
        ended: bool,
        trailers: Trailers,
        last: bool,
    ) -> None:
        """Send head and body in one write; a long piece is not copied.

        An early answer is the connection's last: the rest of the request is not read.
        """
        parts = [response_front(head)]
        if head.length is None and head.status != 204:
            self._frame(parts, head)
        add_own(parts, own)
        if last or (ended and self.receiving):
            self._keep_alive = False
        if not self._keep_alive:
            parts.append(CLOSE)
        elif self._asked.version == 10:
            parts.append(KEEP_ALIVE)
        parts.append(HEAD_ENDS)
        if self._chunks:
            write_chunked(self._channel, parts, piece, ended, trailers)
        else:
            self._channel.write_parts(parts, piece)

    def _frame(self, parts: list[bytes], head: ResponseHead) -> None:
        """Add the framing of a body of unknown length (RFC 9112 section 6.3)."""
        to_1_0 = self._asked.version == 10
        if not head.has_body(self._asked.method):
            if head.chunked and not to_1_0 and head.version != 20:
                parts.append(CHUNKED)
        elif to_1_0:
            self._ends_by_close = True
            self._keep_alive = False
        else:
            # If the upstream ends the body by closing, the client gets chunks too, so that it can
            # distinguish a complete body from a truncated one.
            self._chunks = True
            parts.append(CHUNKED)

    def write_body(self, piece: bytes) -> None:
        if self._chunks:
            self._channel.write_long(b"%x\r\n" % len(piece), piece, b"\r\n")
        else:
            self._channel.write(piece)

    def end(self, trailers: Trailers) -> None:
        if self._chunks:
            self._channel.write(last_chunk(trailers))

    def write_tunnel(self, data: bytes) -> None:
        self._channel.write(data)

    def end_tunnel(self) -> None:
        if self._channel.closing:
            return
        if self._channel.half_closes:
            self._channel.transport.write_eof()
        else:
            self._channel.transport.close()

    def pause_reading(self) -> None:
        self._channel.pause_reading()

    def resume_reading(self) -> None:
        self._channel.resume_reading()
