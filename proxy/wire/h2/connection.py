"""An HTTP/2 connection, either side: frames in, and what RFC 9113 sections 4 to 7 say about them.

    bytes ──frame by frame──▶ streams' `section`, `pieces` … ──after the whole read──▶ `deliver`
                  └──▶ settings, windows, pings, resets: at once

A stream is delivered after all frames of a read were parsed: a request that is cancelled in the
same read costs nothing but its decoding, and a small message arrives whole. Work is bounded: after
`_PORTION` frames, or `_BEGINNINGS` new messages, the rest waits in the loop's queue
(`wire/turns.py`), and nothing is read.

A peer that breaks a rule loses its stream or, where the state of the connection is in doubt, the
connection: GOAWAY, a moment to read it, close.
"""

import asyncio
from time import monotonic
from typing import Final, cast

from proxy.http.h2.decoder import Decoder, FieldSection
from proxy.http.h2.errors import HpackError
from proxy.http.h2.fields import FieldStore
from proxy.http.h2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HEAD_BYTES,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME,
    MAX_STREAM_ID,
    MAX_WINDOW,
    PADDED,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    SETTINGS_TIMEOUT,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    FrameError,
    depends_on,
    goaway,
    number_at,
    ping,
    read_increment,
    read_settings,
    settings_frame,
    window_update,
    without_padding,
)
from proxy.http.h2.frames import COMPRESSION_ERROR as _COMPRESSION_ERROR
from proxy.wire.alarm import NEVER, Alarm
from proxy.wire.flow import Channel
from proxy.wire.h2.buckets import PROGRESS, Bucket, bucket_of_idle_frames, bucket_of_resets
from proxy.wire.h2.sending import Sender
from proxy.wire.h2.streams import Stream
from proxy.wire.turns import do_later

STREAM_WINDOW: Final = 256 * 1024
"""Bytes that a peer may send on a stream before they have left towards the other side."""
CONNECTION_WINDOW: Final = 1024 * 1024
"""The same of the connection; its credit is returned at receipt."""
_STREAM_STEP: Final = STREAM_WINDOW // 4
_CONNECTION_STEP: Final = CONNECTION_WINDOW // 4
"""Credit is returned in portions of at least so many bytes."""
SETTINGS_SECONDS: Final = 10.0
"""Seconds for the peer to acknowledge the settings."""
LINGER_SECONDS: Final = 1.0
"""Seconds for the peer to read a GOAWAY, in which what it sends is dropped."""
MAX_CONTINUATIONS: Final = 8
_PORTION: Final = 128
"""Frames that are processed in one go."""
_BEGINNINGS: Final = 32
"""New messages that begin in one go."""
_MAX_RESET: Final = 256
"""So many streams that were reset here are remembered, because their peer may still send."""
_MAX_SKIPPED: Final = 16

LOST: Final = -1
"""Instead of an error code: the connection was lost."""
_NO_BLOCK: Final[list[bytes]] = []


class Connection(Sender):
    """One connection. Subclasses are its two sides; they are asyncio protocols by their methods.

    `max_bytes` and `max_fields` limit a field section, its compressed form too. `peer_streams`,
    `peer_connects`: what the peer's settings say of concurrent streams and extended CONNECT.
    `greeted`: its first SETTINGS have come. `last_id` is the highest stream that the peer opened.
    `failed`: a GOAWAY for an error was sent, and the rest is not read.
    """

    __slots__ = (
        "_block",
        "_block_bytes",
        "_block_due",
        "_block_flags",
        "_block_stream",
        "_buffer",
        "_decoder",
        "_linger_due",
        "_linger_until",
        "_queued",
        "_reset_here",
        "_resets",
        "_settings_due",
        "_skipped",
        "_touched",
        "_unreturned",
        "alarm",
        "failed",
        "greeted",
        "last_id",
        "max_bytes",
        "max_fields",
        "peer_connects",
        "peer_streams",
        "settings_seconds",
    )

    alarm: Alarm
    _resets: Bucket

    def __init__(self, store: FieldStore, *, max_bytes: int, max_fields: int) -> None:
        super().__init__()
        self._decoder = Decoder(store)
        self.max_bytes = max_bytes
        self.max_fields = max_fields
        self.peer_streams = MAX_STREAM_ID
        self.peer_connects = False
        self.greeted = False
        self.failed = False
        self.last_id = 0
        self._buffer = b""
        self._queued = False
        self._touched: list[Stream] = []
        self._unreturned = 0
        self._block_stream = 0
        self._block_flags = 0
        self._block = _NO_BLOCK
        self._block_bytes = 0
        self._block_due = NEVER
        self._settings_due = NEVER
        self._linger_due = NEVER
        self._linger_until = 0.0
        self._reset_here: dict[int, None] = {}
        self._skipped: list[tuple[int, int]] = []

    # --- what each side decides ------------------------------------------------------------------

    def on_section(self, number: int, section: FieldSection, ended: bool) -> None:
        """A field section has arrived. Raises FrameError for a connection error."""
        raise NotImplementedError

    def deliver(self, stream: Stream) -> bool:
        """Pass on what a read brought for a stream; returns whether that began a message."""
        raise NotImplementedError

    def may_begin(self, stream: Stream) -> bool:
        """Whether it may be delivered now; False: after the transport has room again."""
        return True

    def on_lost_stream(self, stream: Stream, code: int, text: str) -> None:
        """A stream has ended before its time; it is closed.

        `text`: what its peer did wrong; "": the peer reset it with `code`, or the connection was
        lost (LOST).
        """
        raise NotImplementedError

    def on_failed(self, code: int, text: str) -> None:
        """The connection fails because of its peer; afterwards every stream is lost."""

    def on_settings(self) -> None:
        """The peer's settings have come."""

    def on_goaway(self, last: int, code: int, text: bytes) -> None:
        """The peer takes no streams above `last`."""

    def on_pong(self, data: bytes) -> None:
        """A PING came back."""

    def on_time(self, now: float) -> None:
        """The alarm has rung: check the own deadlines."""

    def next_due(self) -> float:
        """The earliest of the own deadlines."""
        return NEVER

    # --- for the sides and the owners of streams --------------------------------------------------

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

    def by(self, due: float) -> None:
        """Let the alarm ring at `due` or earlier."""
        if due < self.alarm.due:
            self.alarm.set(due)

    def touch(self, stream: Stream) -> None:
        """Deliver the stream after this read."""
        if not stream.touched:
            stream.touched = True
            self._touched.append(stream)

    def forget(self, stream: Stream) -> bool:
        """The owner is done with a stream: it no longer counts. False: that was known."""
        number = stream.id
        if self.streams.get(number) is not stream:
            return False
        del self.streams[number]
        stream.closed = True
        stream.drop()
        return True

    def reset(self, stream: Stream, code: int) -> None:
        if not stream.closed:
            self._note_reset(stream.id)
        super().reset(stream, code)

    def refuse(self, number: int, frame: bytes) -> None:
        """Reset a stream that has no object."""
        self._note_reset(number)
        self.control(frame)

    def _note_reset(self, number: int) -> None:
        if len(self._reset_here) >= _MAX_RESET:
            del self._reset_here[next(iter(self._reset_here))]
        self._reset_here[number] = None

    def break_stream(self, stream: Stream, code: int, text: str) -> None:
        """The peer broke a rule of a stream: reset it, and cancel what it caused."""
        if stream.closed:
            return
        self.reset(stream, code)
        self.on_lost_stream(stream, code, text)
        self.count_reset()

    def count_reset(self) -> None:
        """Count a stream that its peer made useless. Raises FrameError when there are too many."""
        if not self._resets.take(monotonic()):
            raise FrameError(ENHANCE_YOUR_CALM, "too many streams were reset")

    def progress(self) -> None:
        """Something was done for the peer: control frames may have been needed."""
        self.calm.give(PROGRESS)

    def hold(self, stream: Stream) -> None:
        """Return no credit: what was received has not left yet."""
        stream.holding = True

    def release(self, stream: Stream) -> None:
        """Return credit again."""
        stream.holding = False
        self.return_credit(stream)

    def return_credit(self, stream: Stream) -> None:
        """Return what has left, in large portions."""
        count = stream.unreturned
        if (
            count >= _STREAM_STEP
            and not stream.holding
            and not stream.remote_ended
            and not stream.closed
        ):
            stream.unreturned = 0
            self.control(window_update(stream.id, count))

    def fail(self, code: int, text: str) -> None:
        """End the connection because of an error of the peer."""
        if self.failed or self.lost:
            return
        self.failed = True
        self.on_failed(code, text)
        self.control(goaway(self.last_id, code, text))
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
                if not transport.get_write_buffer_size() or now >= self._linger_until:
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
        try:
            more = self._parse()
            if not more and self._touched and not self.failed:
                more = self._deliver_all()
        except FrameError as error:
            self.fail(error.code, str(error))
            return
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
        frames = 0
        while size - at >= HEAD_BYTES:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if length > MAX_FRAME:
                raise FrameError(FRAME_SIZE_ERROR, f"a frame has more than {MAX_FRAME} bytes")
            end = at + HEAD_BYTES + length
            if end > size:
                break
            if frames == _PORTION:
                self._buffer = data[at:]
                return True
            frames += 1
            number = (
                data[at + 5] << 24 | data[at + 6] << 16 | data[at + 7] << 8 | data[at + 8]
            ) & (MAX_STREAM_ID)
            self._frame_received(data[at + 3], data[at + 4], number, data[at + HEAD_BYTES : end])
            if self.failed or self.lost:
                return False
            at = end
        self._buffer = data[at:] if at else data
        return False

    def _frame_received(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block_stream and (kind != CONTINUATION or number != self._block_stream):
            raise FrameError(PROTOCOL_ERROR, "a field block is not complete")
        if kind == DATA:
            self._on_data(flags, number, payload)
        elif kind == HEADERS:
            self._on_headers(flags, number, payload)
        elif not self.greeted and kind != SETTINGS:
            raise FrameError(PROTOCOL_ERROR, "the first frame is not SETTINGS")
        elif kind == WINDOW_UPDATE:
            self._on_window_update(number, payload)
        elif kind == RST_STREAM:
            self._on_rst_stream(number, payload)
        elif kind == CONTINUATION:
            self._on_continuation(flags, number, payload)
        else:
            if not self.calm.take(monotonic()):
                raise FrameError(ENHANCE_YOUR_CALM, "too many control frames")
            self._on_control(kind, flags, number, payload)

    def _on_control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == PRIORITY:
            self._on_priority(number, payload)
            return
        if kind > CONTINUATION:
            return  # unknown ones are ignored (section 5.5)
        if kind == PUSH_PROMISE:
            raise FrameError(PROTOCOL_ERROR, "PUSH_PROMISE is not allowed here")
        if number:
            raise FrameError(PROTOCOL_ERROR, "a frame of the connection has a stream")
        if kind == SETTINGS:
            self._on_settings(flags, payload)
        elif kind == PING:
            if len(payload) != 8:
                raise FrameError(FRAME_SIZE_ERROR, "PING does not have 8 bytes")
            if flags & ACK:
                self.on_pong(payload)
            else:
                self.control(ping(payload, ack=True))
        elif len(payload) < 8:
            raise FrameError(FRAME_SIZE_ERROR, "GOAWAY is too short")
        else:
            last = number_at(payload, 0) & MAX_STREAM_ID
            self.on_goaway(last, number_at(payload, 4), payload[8:])

    # --- bodies -----------------------------------------------------------------------------------

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self._unreturned += size
        if self._unreturned >= _CONNECTION_STEP:
            self.control(window_update(0, self._unreturned))
            self._unreturned = 0
        stream = self.streams.get(number)
        if stream is None or stream.closed:
            self._on_stray_data(number)
            return
        if stream.remote_ended:
            self.break_stream(stream, STREAM_CLOSED, "DATA came after the end of its stream")
            return
        ended = flags & END_STREAM != 0
        if flags & PADDED:
            payload = without_padding(payload, flags, DATA)
        if payload:
            stream.empty = False
            stream.pieces.append(payload)
            stream.body_bytes += len(payload)
            self.calm.give(PROGRESS)
        elif not ended:
            if stream.empty:
                raise FrameError(ENHANCE_YOUR_CALM, "several empty DATA frames in succession")
            stream.empty = True
        stream.unreturned += size
        if stream.unreturned > STREAM_WINDOW:
            self.break_stream(stream, FLOW_CONTROL_ERROR, "more DATA came than its window allows")
            return
        if ended:
            stream.remote_ended = stream.arrived_end = True
        self.touch(stream)

    def _on_stray_data(self, number: int) -> None:
        """DATA of a stream that is not open (section 5.1)."""
        if number in self._reset_here:
            return  # the peer may not know yet
        if self.is_idle(number):
            raise FrameError(PROTOCOL_ERROR, "DATA came on an idle stream")
        if number in self.streams:
            return  # closed by its peer or here, and not settled yet
        raise FrameError(STREAM_CLOSED, "DATA came on a closed stream")

    def is_idle(self, number: int) -> bool:
        """Whether a stream was never opened."""
        raise NotImplementedError

    def skip_to(self, number: int) -> None:
        """The peer opens a stream: lower ones that were not used are closed (section 5.1.1)."""
        if number > self.last_id + 2:
            if len(self._skipped) >= _MAX_SKIPPED:
                del self._skipped[0]
            self._skipped.append((self.last_id + 1, number - 1))
        self.last_id = number

    def was_skipped(self, number: int) -> bool:
        """Whether a lower stream than the last one was never used."""
        return any([first <= number <= last for first, last in self._skipped])  # noqa: C419

    # --- field blocks -----------------------------------------------------------------------------

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if not self.greeted:
            raise FrameError(PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if not number:
            raise FrameError(PROTOCOL_ERROR, "HEADERS has no stream")
        selfish = False
        if flags & (PADDED | WITH_PRIORITY):
            content = without_padding(payload, flags, HEADERS)
            selfish = flags & WITH_PRIORITY != 0 and depends_on(payload, flags) == number
            payload = content
        if flags & END_HEADERS:
            self._on_block(number, payload, flags & END_STREAM != 0)
            stream = self.streams.get(number)
            if selfish and stream is not None:
                self.break_stream(stream, PROTOCOL_ERROR, "a stream depends on itself")
            return
        self._block_stream = number
        self._block_flags = flags
        self._block = []
        self._block_bytes = 0
        self._block_due = monotonic() + self.block_seconds()
        self.by(self._block_due)
        self._keep_fragment(payload)

    def block_seconds(self) -> float:
        """How long a field block may take."""
        return SETTINGS_SECONDS

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if not self._block_stream:
            raise FrameError(PROTOCOL_ERROR, "CONTINUATION comes without HEADERS")
        self._keep_fragment(payload)
        if not flags & END_HEADERS:
            return
        block = b"".join(self._block)
        ended = self._block_flags & END_STREAM != 0
        self._block = _NO_BLOCK
        self._block_stream = 0
        self._block_due = NEVER
        self._on_block(number, block, ended)

    def _keep_fragment(self, payload: bytes) -> None:
        self._block.append(payload)
        self._block_bytes += len(payload)
        if len(self._block) > MAX_CONTINUATIONS + 1 or self._block_bytes > self.max_bytes:
            raise FrameError(ENHANCE_YOUR_CALM, "a field block is too long")

    def _on_block(self, number: int, block: bytes, ended: bool) -> None:
        try:
            section = self._decoder.decode(block, self.max_bytes, self.max_fields)
        except HpackError as error:
            raise FrameError(_COMPRESSION_ERROR, str(error)) from None
        self.on_section(number, section, ended)

    # --- control frames ---------------------------------------------------------------------------

    def _on_settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            if payload:
                raise FrameError(FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS is not empty")
            if not self.greeted:
                raise FrameError(PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._settings_due = NEVER
            return
        size = self.initial_window
        for name, value in read_settings(payload):
            if name == INITIAL_WINDOW_SIZE:
                size = value
            else:
                self._set(name, value)
        if size != self.initial_window:
            self._resize_windows(size)
        self.greeted = True
        self.control(SETTINGS_ACK)
        self.on_settings()

    def _resize_windows(self, size: int) -> None:
        """Another SETTINGS_INITIAL_WINDOW_SIZE changes all open streams (section 6.9.2)."""
        change = size - self.initial_window
        self.initial_window = size
        for stream in tuple(self.streams.values()):
            if stream.window + change > MAX_WINDOW:
                raise FrameError(FLOW_CONTROL_ERROR, "a window is above 2^31-1")
            self.add_window(stream, change)

    def _set(self, name: int, value: int) -> None:
        if name == HEADER_TABLE_SIZE:
            self.encoder.resize(value)
        elif name == MAX_CONCURRENT_STREAMS:
            self.peer_streams = value
        elif name == ENABLE_CONNECT_PROTOCOL:
            if self.peer_connects and not value:
                raise FrameError(PROTOCOL_ERROR, "ENABLE_CONNECT_PROTOCOL went back to 0")
            self.peer_connects = value == 1
        elif name == ENABLE_PUSH:
            self.check_push(value)

    def check_push(self, value: int) -> None:
        """Check the peer's SETTINGS_ENABLE_PUSH."""

    def _on_window_update(self, number: int, payload: bytes) -> None:
        increment = read_increment(payload)
        if not self.calm.take(monotonic()):
            raise FrameError(ENHANCE_YOUR_CALM, "too many control frames")
        if number == 0:
            self.window += increment
            if not increment:
                raise FrameError(PROTOCOL_ERROR, "the increment of WINDOW_UPDATE is 0")
            if self.window > MAX_WINDOW:
                raise FrameError(FLOW_CONTROL_ERROR, "the connection's window is above 2^31-1")
            self.go_on()
            return
        stream = self.streams.get(number)
        if stream is None or stream.closed:
            if self.is_idle(number):
                raise FrameError(PROTOCOL_ERROR, "WINDOW_UPDATE came on an idle stream")
            return
        if not increment:
            self.break_stream(stream, PROTOCOL_ERROR, "the increment of WINDOW_UPDATE is 0")
        elif stream.window + increment > MAX_WINDOW:
            self.break_stream(stream, FLOW_CONTROL_ERROR, "a stream's window is above 2^31-1")
        else:
            self.add_window(stream, increment)

    def _on_rst_stream(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise FrameError(FRAME_SIZE_ERROR, "RST_STREAM does not have 4 bytes")
        if self.is_idle(number):
            raise FrameError(PROTOCOL_ERROR, "RST_STREAM came on an idle stream")
        if not self.calm.take(monotonic()):
            raise FrameError(ENHANCE_YOUR_CALM, "too many control frames")
        stream = self.streams.get(number)
        if stream is None or stream.closed:
            return
        stream.closed = True
        stream.drop()
        self.on_lost_stream(stream, number_at(payload, 0), "")

    def _on_priority(self, number: int, payload: bytes) -> None:
        """Priorities are checked, as far as RFC 9113 section 6.3 goes, and ignored."""
        if not number:
            raise FrameError(PROTOCOL_ERROR, "PRIORITY has no stream")
        stream = self.streams.get(number)
        if len(payload) != 5:
            code, text = FRAME_SIZE_ERROR, "PRIORITY does not have 5 bytes"
        elif number_at(payload, 0) & MAX_STREAM_ID == number:
            code, text = PROTOCOL_ERROR, "a stream depends on itself"
        else:
            return
        if stream is None:
            raise FrameError(code, text)
        self.break_stream(stream, code, text)
