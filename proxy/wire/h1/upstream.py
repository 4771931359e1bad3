"""An HTTP/1 connection to an endpoint: sends one request at a time, and finds its response.

It is the `UpstreamStream` of each of its attempts. `request_writer` has its states, and how it
writes; `response_reader` finds its responses.
"""

import asyncio
from typing import cast

from proxy.http.message import OwnFields, RequestHead
from proxy.wire.flow import Channel
from proxy.wire.h1.request_writer import HEAD, TUNNEL, Http1Session
from proxy.wire.h1.response_reader import ResponseReader
from proxy.wire.streams import NO_TRAILERS, StreamHandler, Trailers


class UpstreamConnection(ResponseReader):
    """One connection.

    It is an asyncio protocol by its methods: a compiled class cannot have that base class.
    """

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._channel = Channel(cast(asyncio.Transport, transport))
        # Not before: each refers to the other until it is lost, and a failed connect is never lost.
        self.session = Http1Session(self)
        if not self._channel.half_closes:
            self._later = []

    # --- for the attempt --------------------------------------------------------------------------

    def send_head(
        self,
        handler: StreamHandler,
        head: RequestHead,
        own: OwnFields,
        piece: bytes,
        ended: bool,
        trailers: Trailers,
    ) -> None:
        """Send everything in one write; a long piece is not copied."""
        self.handler = handler
        self._method = head.method
        self._chunks = head.chunked
        self._asked = head
        self._state = HEAD
        self._decoder = None
        self._whole_bytes = 0
        self.exchanges += 1
        if self._buffer:
            # Not within this call: the attempt is only beginning.
            asyncio.get_running_loop().call_soon(self._fail_stray)
            return
        self._write_head(head, own, piece, ended, trailers)

    def begin_tunnel(self, handler: StreamHandler) -> None:
        self.handler = handler
        self._state = TUNNEL
        self._reusable = False
        early, self._buffer = self._buffer, b""
        if early:
            self.resume_reading()
            handler.on_piece(early)  # it may pause reading again

    def end_tunnel(self) -> None:
        if self._channel.closing:
            return
        if self._channel.half_closes:
            self._channel.transport.write_eof()
            return
        handler, self.handler = self.handler, None
        self.close()
        if handler is not None:
            handler.on_end(NO_TRAILERS)

    def detach(self) -> None:
        self.handler = None
        self._asked = None
        if not self._channel.reading:
            self.resume_reading()
