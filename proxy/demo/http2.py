"""HTTP/2 for small messages: what a gRPC client and server of the demo need, on frames alone.

Heads and messages of a few hundred bytes, many streams at once. It keeps the peer's windows, but
does not wait for them: a message that does not fit at once fails its stream. There is no TLS, no
push and no priority.
"""

import asyncio
from typing import Final, TypeAlias

from proxy.http.h2.blocks import trailers_block
from proxy.http.h2.decoder import Decoder
from proxy.http.h2.encoder import Encoder
from proxy.http.h2.errors import HpackError
from proxy.http.h2.fields import FieldStore
from proxy.http.h2.frames import (
    ACK,
    CANCEL,
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEAD_BYTES,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME,
    MAX_STREAM_ID,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    WINDOW_UPDATE,
    FrameError,
    code_name,
    goaway,
    number_at,
    pack_head,
    ping,
    read_increment,
    read_settings,
    rst_stream,
    settings_frame,
    window_update,
    without_padding,
)

Fields: TypeAlias = list[tuple[bytes, bytes]]
_MAX_HEAD: Final = 16384
_MAX_FIELDS: Final = 64
_CREDIT: Final = DEFAULT_WINDOW // 2
"""Received bytes after which the peer gets its window back."""


class Http2Link(asyncio.Protocol):
    """One connection. Subclasses handle `on_fields`, `on_data`, `on_reset` and `on_closed`.

    A client sends the preface as soon as it is connected, and numbers its streams itself.
    """

    def __init__(self, *, client: bool) -> None:
        self.going = False
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._encoder = Encoder()
        self._decoder = Decoder(FieldStore())
        self._buffer = b""
        self._block = b""
        self._block_stream = self._block_flags = 0
        self._awaited = b"" if client else PREFACE
        self._room = self._stream_room = DEFAULT_WINDOW
        self._uncredited = 0
        self._why = "the connection was lost"

    # --- for subclasses -----------------------------------------------------------------------

    def on_fields(self, stream: int, fields: dict[bytes, bytes], ended: bool) -> None:
        """A head, or trailers: names in lower case, the last of several equal names."""
        raise NotImplementedError

    def on_data(self, stream: int, data: bytes, ended: bool) -> None:
        raise NotImplementedError

    def on_reset(self, stream: int, why: str) -> None:
        """The peer reset the stream, or will not process it."""
        raise NotImplementedError

    def on_closed(self, why: str) -> None:
        raise NotImplementedError

    # --- sending ------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send_fields(self, stream: int, fields: Fields, *, ended: bool) -> None:
        block = b"".join(trailers_block(self._encoder, fields))
        flags = END_HEADERS | END_STREAM if ended else END_HEADERS
        self._frame(HEADERS, flags, stream, block)

    def send_data(self, stream: int, data: bytes, *, ended: bool) -> bool:
        """Send a whole message; False if the peer's windows have no room for it now."""
        if len(data) > min(self._room, self._stream_room, MAX_FRAME):
            return False
        self._room -= len(data)
        self._frame(DATA, END_STREAM if ended else 0, stream, data)
        return True

    def send_reset(self, stream: int) -> None:
        self._write(rst_stream(stream, CANCEL))

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        size = len(payload)
        self._write(pack_head(size >> 16, size & 0xFFFF, kind, flags, stream) + payload)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # --- receiving ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._client:
            self._write(PREFACE)
        self._write(settings_frame([]))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            if self._awaited:
                self._read_preface()
            while not self._awaited and self._read_frame():
                pass
        except (FrameError, HpackError) as error:
            self._why = str(error)
            self._write(goaway(0, getattr(error, "code", PROTOCOL_ERROR), self._why))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.on_closed(self._why)

    def _read_preface(self) -> None:
        if not PREFACE.startswith(self._buffer[: len(PREFACE)]):
            raise FrameError(PROTOCOL_ERROR, "the connection does not begin with HTTP/2's preface")
        if len(self._buffer) >= len(PREFACE):
            self._buffer = self._buffer[len(PREFACE) :]
            self._awaited = b""

    def _read_frame(self) -> bool:
        buffer = self._buffer
        if len(buffer) < HEAD_BYTES:
            return False
        end = HEAD_BYTES + (number_at(buffer, 0) >> 8)
        if end > HEAD_BYTES + MAX_FRAME:
            raise FrameError(PROTOCOL_ERROR, "a frame is too large")
        if len(buffer) < end:
            return False
        self._buffer = buffer[end:]
        stream = number_at(buffer, 5) & MAX_STREAM_ID
        self._take(buffer[3], buffer[4], stream, buffer[HEAD_BYTES:end])
        return True

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == HEADERS:
            self._block_stream, self._block_flags = stream, flags
            self._block = b""
            self._take_block(flags, without_padding(payload, flags, HEADERS))
        elif kind == CONTINUATION:
            self._take_block(flags, payload)
        elif kind == DATA:
            self._give_credit(len(payload))
            self.on_data(stream, without_padding(payload, flags, DATA), bool(flags & END_STREAM))
        elif kind == RST_STREAM and len(payload) == 4:
            self.on_reset(stream, code_name(number_at(payload, 0)))
        elif kind in (SETTINGS, PING) and flags & ACK:
            pass
        elif kind == SETTINGS:
            self._take_settings(dict(read_settings(payload)))
        elif kind == PING:
            self._write(ping(payload, ack=True))
        elif kind == WINDOW_UPDATE and not stream:
            self._room += read_increment(payload)
        elif kind == GOAWAY and len(payload) >= 8:
            self.going = True
            self.on_goaway(number_at(payload, 0) & MAX_STREAM_ID)

    def on_goaway(self, last: int) -> None:
        """The peer processes no stream above `last`."""

    def _take_block(self, flags: int, piece: bytes) -> None:
        self._block += piece
        if len(self._block) > _MAX_HEAD:
            raise FrameError(PROTOCOL_ERROR, "a head is too large")
        if flags & END_HEADERS:
            section = self._decoder.decode(self._block, _MAX_HEAD, _MAX_FIELDS)
            fields = {field.name.lower: field.value for field in section.fields}
            self.on_fields(self._block_stream, fields, bool(self._block_flags & END_STREAM))

    def _take_settings(self, given: dict[int, int]) -> None:
        if INITIAL_WINDOW_SIZE in given:
            self._stream_room = given[INITIAL_WINDOW_SIZE]
        if HEADER_TABLE_SIZE in given:
            self._encoder.resize(given[HEADER_TABLE_SIZE])
        self._write(SETTINGS_ACK)

    def _give_credit(self, size: int) -> None:
        self._uncredited += size
        if self._uncredited >= _CREDIT:
            self._write(window_update(0, self._uncredited))
            self._uncredited = 0
