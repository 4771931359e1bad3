"""An HTTP/2 connection, either side: its reads in portions, its deadlines, its end.

    bytes ──frame by frame──▶ streams' `section`, `pieces` … ──after the whole read──▶ `deliver`
                  └──▶ settings, windows, pings, resets: at once

A stream is delivered after all frames of a read were parsed: a request that is cancelled in the
same read costs nothing but its decoding, and a small message arrives whole. Work is bounded: after
`_PORTION` frames, or `_BEGINNINGS` new messages, the rest waits in the loop's queue
(`wire/turns.py`), and nothing is read.

A connection that fails says so: GOAWAY, a moment to read it, close.
"""

import asyncio
from time import monotonic
from typing import Final, cast

from proxy.http.h2.fields import FieldStore
from proxy.http.h2.frames import (
    DEFAULT_WINDOW,
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    HEAD_BYTES,
    MAX_FRAME,
    MAX_STREAM_ID,
    SETTINGS_TIMEOUT,
    FrameError,
    check_size,
    goaway,
    settings_frame,
    window_update,
)
from proxy.wire.alarm import NEVER, Alarm
from proxy.wire.flow import Channel
from proxy.wire.h2.buckets import bucket_of_idle_frames, bucket_of_resets
from proxy.wire.h2.receiving import CONNECTION_WINDOW, Receiver
from proxy.wire.h2.sending import reads
from proxy.wire.h2.streams import Stream
from proxy.wire.turns import do_later

SETTINGS_SECONDS: Final = 10.0
"""Seconds for the peer to acknowledge the settings."""
LINGER_SECONDS: Final = 1.0
"""Seconds for the peer to read a GOAWAY, in which what it sends is dropped."""
LOST: Final = -1
"""Instead of an error code: the connection was lost."""
_PORTION: Final = 128
"""Frames that are processed in one go."""
RECORDED: Final = 12
"""A stream that ends before its time is as much work as so many frames: its record is logged."""
_BEGINNINGS: Final = 32
"""New messages that begin in one go."""


class Connection(Receiver):
    """One connection. Subclasses are its two sides; they are asyncio protocols by their methods.

    `failed`: a GOAWAY for an error was sent, and the rest is not read. `spent`: the work of this
    portion, in frames.
    """

    __slots__ = ("_buffer", "_linger_due", "_linger_until", "_now", "_queued", "failed", "spent")

    def __init__(self, store: FieldStore, *, max_bytes: int, max_fields: int) -> None:
        super().__init__(store, max_bytes=max_bytes, max_fields=max_fields)
        self.failed = False
        self._buffer = b""
        self._queued = False
        self.spent = 0
        self._linger_due = NEVER
        self._linger_until = 0.0
        self._now = 0.0  # when this read came; 0.0 until that is asked

    # --- what each side decides -------------------------------------------------------------------

    def deliver(self, stream: Stream) -> bool:
        """Pass on what a read brought for a stream; returns whether that began a message."""
        raise NotImplementedError

    def may_begin(self, stream: Stream) -> bool:
        """Whether it may be delivered now; False: after the transport has room again."""
        return True

    def on_failed(self, code: int, text: str) -> None:
        """The connection fails because of its peer; afterwards every stream is lost."""

    def on_time(self, now: float) -> None:
        """The alarm has rung: check the own deadlines."""

    def next_due(self) -> float:
        """The earliest of the own deadlines."""
        return NEVER

    # --- its beginning and its end ----------------------------------------------------------------

    def open(
        self, transport: asyncio.BaseTransport, first: bytes, settings: list[tuple[int, int]]
    ) -> None:
        """Begin: send `first`, the settings, and the connection's window."""
        self._loop = asyncio.get_running_loop()
        self.channel = Channel(cast(asyncio.Transport, transport))
        self.alarm = Alarm(self._loop, self._on_alarm)
        now = monotonic()
        self.calm = bucket_of_idle_frames(now)
        self._resets = bucket_of_resets(now)
        self._settings_due = now + SETTINGS_SECONDS
        if first:
            self.control(first)
        self.control(settings_frame(settings))
        self.control(window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW))
        self.by(self._settings_due)

    def fail(self, code: int, text: str) -> None:
        """End the connection because of an error of the peer."""
        if self.failed or self.lost:
            return
        self.failed = True
        self.on_failed(code, text)
        self.control(goaway(self.taken_id, code, text))
        self._lose_all()
        self.flush()
        self.linger(0.0)

    def linger(self, patience: float) -> None:
        """Close after the peer had a moment to read: unread bytes would reset the connection.

        `patience`: seconds for it to read what was sent before.
        """
        self.failed = True
        self._buffer = b""
        self._touched.clear()
        transport = self.channel.transport
        if transport.is_closing():
            return
        self.channel.release()
        self.channel.resume_reading()
        if self.channel.half_closes:
            transport.write_eof()
        now = monotonic()
        self._linger_until = now + patience
        self._linger_due = now + LINGER_SECONDS
        self.alarm.set(self._linger_due)

    def _lose_all(self) -> None:
        for stream in tuple(self.streams.values()):
            if not stream.closed:
                stream.closed = True
                stream.drop()
                self.on_lost_stream(stream, LOST, "")

    # --- events of the transport ------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.failed:
            return
        self._buffer = self._buffer + data if self._buffer else data
        if not self._queued:
            self._advance()

    def eof_received(self) -> bool:
        """The peer has ended its side, which ends all streams."""
        if not self.failed:
            self.channel.transport.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._buffer = b""
        self._touched.clear()
        self._lose_all()
        self.drop_unsent()
        self.alarm.close()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._touched and not self._queued and not self.failed:
            self._advance()

    def _on_alarm(self) -> None:
        now = monotonic()
        if self.failed:
            if now >= self._linger_due:
                transport = self.channel.transport
                if now >= self._linger_until or not self.channel.would_lose:
                    if self.channel.half_closes or transport.is_closing():
                        transport.abort()
                        return
                    transport.close()  # under TLS the end is not sent yet
                self._linger_due = now + LINGER_SECONDS
        elif now >= self._settings_due:
            self.fail(SETTINGS_TIMEOUT, "the settings were not acknowledged in time")
        elif now >= self._block_due:
            self.fail(ENHANCE_YOUR_CALM, "a field block was not complete in time")
        else:
            self.on_time(now)
        if not self.lost:
            self.alarm.set(self._earliest())

    def _earliest(self) -> float:
        if self.failed:
            return self._linger_due
        return min(self._settings_due, self._block_due, self.next_due())

    # --- portions of work -------------------------------------------------------------------------

    def _advance(self) -> None:
        """Parse what has come, then deliver it; the rest of a long read comes later."""
        reads.open = True
        self._now = 0.0
        try:
            more = self._parse()
            if not more and self._touched and not self.failed:
                more = self._deliver_all()
        except FrameError as error:
            self.fail(error.code, str(error))
            return
        finally:
            reads.end()
        if more and not self._queued:
            self._queued = True
            self.channel.hold()
            do_later(self._go_on)

    def _go_on(self) -> None:
        self._queued = False
        if self.failed or self.lost:
            return
        self._advance()
        if not self._queued:
            self.channel.release()

    def _deliver_all(self) -> bool:
        """Deliver the streams of this read; True: some are left for later."""
        touched, self._touched = self._touched, []
        begun = 0
        at = 0
        for stream in touched:
            at += 1
            stream.touched = False
            if stream.closed:
                continue
            if not stream.begun and not self.may_begin(stream):
                self.touch(stream)
            elif self.deliver(stream):
                begun += 1
                if begun >= _BEGINNINGS and at < len(touched):
                    self._touched.extend(touched[at:])
                    return True
            if self.failed:
                return False
        return False

    def _parse(self) -> bool:
        """Process the frames in the buffer; True: some are left for later."""
        data = self._buffer
        size = len(data)
        at = 0
        self.spent = 0
        while size - at >= HEAD_BYTES:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if length > MAX_FRAME:
                raise FrameError(FRAME_SIZE_ERROR, f"a frame has more than {MAX_FRAME} bytes")
            end = at + HEAD_BYTES + length
            if end > size:
                check_size(data[at + 3], length)  # do not wait for the rest of a wrong one
                break
            if self.spent >= _PORTION:
                self._buffer = data[at:]
                return True
            self.spent += 1
            number = (
                data[at + 5] << 24 | data[at + 6] << 16 | data[at + 7] << 8 | data[at + 8]
            ) & (MAX_STREAM_ID)
            self._frame_received(data[at + 3], data[at + 4], number, data[at + HEAD_BYTES : end])
            if self.failed or self.lost:
                return False
            at = end
        self._buffer = data[at:] if at else data
        return False
