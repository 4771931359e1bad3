"""Control frames of an HTTP/2 connection: settings, windows, resets, pings (RFC 9113 section 6).

They act at once. What a peer makes useless is counted: streams that are reset, by the peer or
because it broke a rule, and control frames that move nothing on. FrameError ends the connection.
"""

from time import monotonic
from typing import Final

from proxy.http.h2.frames import (
    ACK,
    CONTINUATION,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_STREAM_ID,
    MAX_WINDOW,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    SETTINGS,
    SETTINGS_ACK,
    FrameError,
    number_at,
    ping,
    read_increment,
    read_settings,
)
from proxy.wire.alarm import NEVER
from proxy.wire.h2.buckets import PROGRESS, Bucket
from proxy.wire.h2.sending import Sender
from proxy.wire.h2.streams import Stream

_STRAYS: Final = 4
"""Frames without a body that a peer may send on a stream before it knows of the reset."""
_MAX_RESET: Final = 256
"""So many streams that were reset here are remembered, because their peer may still send. Of
older ones only the highest is: what comes on a lower stream is forgiven too."""


class Controls(Sender):
    """`peer_streams`, `peer_connects`: what the peer's settings say of concurrent streams and
    extended CONNECT. `greeted`: its first SETTINGS have come.
    """

    __slots__ = (
        "_reset_before",
        "_reset_here",
        "_resets",
        "_settings_due",
        "_strays",
        "greeted",
        "peer_connects",
        "peer_streams",
    )

    _resets: Bucket

    def __init__(self) -> None:
        super().__init__()
        self.peer_streams = MAX_STREAM_ID
        self.peer_connects = False
        self.greeted = False
        self._settings_due = NEVER
        self._reset_here: dict[int, None] = {}
        self._reset_before = 0
        self._strays = 0

    # --- what each side decides -------------------------------------------------------------------

    def on_lost_stream(self, stream: Stream, code: int, text: str) -> None:
        """A stream has ended before its time; it is closed.

        `text`: what its peer did wrong; "": the peer reset it with `code`, or the connection was
        lost (LOST).
        """
        raise NotImplementedError

    def on_rest(self, stream: Stream) -> None:
        """The peer resets a stream, of which this read brought `pieces` before."""

    def is_idle(self, number: int) -> bool:
        """Whether a stream was never opened."""
        raise NotImplementedError

    def on_settings(self) -> None:
        """The peer's settings have come."""

    def on_goaway(self, last: int, code: int, text: bytes) -> None:
        """The peer takes no streams above `last`."""

    def on_pong(self, data: bytes) -> None:
        """A PING came back."""

    def check_push(self, value: int) -> None:
        """Check the peer's SETTINGS_ENABLE_PUSH."""

    # --- streams that end before their time -------------------------------------------------------

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
            oldest = next(iter(self._reset_here))
            del self._reset_here[oldest]
            self._reset_before = max(self._reset_before, oldest)
        self._reset_here[number] = None
        self._strays += _STRAYS

    def was_reset_here(self, number: int) -> bool:
        """Whether a stream that was open may have been reset here: its peer may not know yet."""
        return number <= self._reset_before or number in self._reset_here

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

    def spend(self) -> None:
        """Count a frame that moves nothing on. Raises FrameError when there are too many."""
        if not self.calm.take(monotonic()):
            raise FrameError(ENHANCE_YOUR_CALM, "too many control frames")

    def stray(self) -> None:
        """Count a frame on a stream that was reset here. Raises FrameError as `spend`.

        The frames that were in transit are no flood, however many streams were reset at once.
        """
        if self._strays:
            self._strays -= 1
        else:
            self.spend()

    def progress(self) -> None:
        """Something was done for the peer: control frames may have been needed."""
        self.calm.give(PROGRESS)

    # --- frames -----------------------------------------------------------------------------------

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

    def _on_window_update(self, number: int, payload: bytes) -> None:
        increment = read_increment(payload)
        self.spend()
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
        self.spend()
        stream = self.streams.get(number)
        if stream is None or stream.closed:
            return
        if stream.pieces:
            self.on_rest(stream)
            if stream.closed:
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
