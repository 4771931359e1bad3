"""Messages that an HTTP/2 connection receives: DATA and field blocks (RFC 9113 sections 4 to 6).

A frame changes its stream, which is delivered later. A peer that breaks a rule loses its stream
(`break_stream`) or, where the state of the connection is in doubt, the connection: FrameError.
"""

from time import monotonic
from typing import Final

from proxy.http.h2.decoder import Decoder, FieldSection
from proxy.http.h2.errors import HpackError
from proxy.http.h2.fields import FieldStore
from proxy.http.h2.frames import (
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    HEADERS,
    PADDED,
    PROTOCOL_ERROR,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    FrameError,
    depends_on,
    window_update,
    without_padding,
)
from proxy.wire.alarm import NEVER, Alarm
from proxy.wire.h2.buckets import LITTLE, PROGRESS
from proxy.wire.h2.controls import Controls
from proxy.wire.h2.streams import MOST_PIECES, Stream

STREAM_WINDOW: Final = 256 * 1024
"""Bytes that a peer may send on a stream before they have left towards the other side."""
CONNECTION_WINDOW: Final = 1024 * 1024
"""The same of the connection; its credit is returned at receipt."""
_STREAM_STEP: Final = STREAM_WINDOW // 4
_CONNECTION_STEP: Final = CONNECTION_WINDOW // 4
"""Credit is returned in portions of at least so many bytes."""
_BLOCK_SECONDS: Final = 10.0
MAX_CONTINUATIONS: Final = 8
_MAX_SKIPPED: Final = 16
_NO_BLOCK: Final[list[bytes]] = []


class Receiver(Controls):
    """`max_bytes` and `max_fields` limit a field section, its compressed form too.

    `last_id` is the highest stream that the peer opened, `taken_id` the highest that was not
    refused: GOAWAY names it, so that it names no higher one later (section 6.8).
    """

    __slots__ = (
        "_block",
        "_block_bytes",
        "_block_due",
        "_block_flags",
        "_block_stream",
        "_decoder",
        "_skipped",
        "_touched",
        "_unreturned",
        "alarm",
        "last_id",
        "max_bytes",
        "max_fields",
        "taken_id",
    )

    alarm: Alarm

    def __init__(self, store: FieldStore, *, max_bytes: int, max_fields: int) -> None:
        super().__init__()
        self._decoder = Decoder(store)
        self.max_bytes = max_bytes
        self.max_fields = max_fields
        self.last_id = 0
        self.taken_id = 0
        self._touched: list[Stream] = []
        self._unreturned = 0
        self._block_stream = 0
        self._block_flags = 0
        self._block = _NO_BLOCK
        self._block_bytes = 0
        self._block_due = NEVER
        self._skipped: list[tuple[int, int]] = []

    # --- what each side decides -------------------------------------------------------------------

    def on_section(self, number: int, section: FieldSection, ended: bool) -> None:
        """A field section has arrived. Raises FrameError for a connection error."""
        raise NotImplementedError

    def block_seconds(self) -> float:
        """How long a field block may take."""
        return _BLOCK_SECONDS

    # --- for the sides and the owners of streams --------------------------------------------------

    def by(self, due: float) -> None:
        """Let the alarm ring at `due` or earlier."""
        if due < self.alarm.due:
            self.alarm.set(due)

    def touch(self, stream: Stream) -> None:
        """Deliver the stream after this read."""
        if not stream.touched:
            stream.touched = True
            self._touched.append(stream)

    def count(self, stream: Stream) -> None:
        """A stream begins: it counts until `forget`."""
        stream.counted = True
        self.streams[stream.id] = stream

    def forget(self, stream: Stream) -> bool:
        """The owner is done with a stream: it no longer counts. False: that was known."""
        if not stream.counted:
            return False
        stream.counted = False
        del self.streams[stream.id]
        self.leave_ring(stream)
        stream.closed = True
        stream.drop()
        return True

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

    def skip_to(self, number: int) -> None:
        """The peer opens a stream: lower ones that were not used are closed (section 5.1.1)."""
        if number > self.last_id + 2:
            if len(self._skipped) >= _MAX_SKIPPED:
                del self._skipped[0]
            self._skipped.append((self.last_id + 1, number - 1))
        self.last_id = number

    def was_skipped(self, number: int) -> bool:
        """Whether a lower stream than the last one was never used."""
        return any([first <= number <= last for first, last in self._skipped])

    # --- frames -----------------------------------------------------------------------------------

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
            self.spend()
            self._on_control(kind, flags, number, payload)

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self._unreturned += size
        if self._unreturned >= _CONNECTION_STEP:
            self.control(window_update(0, self._unreturned))
            self._unreturned = 0
        if flags & PADDED:
            payload = without_padding(payload, flags, DATA)
        stream = self.streams.get(number)
        if stream is None or stream.closed:
            self._on_stray_data(number, payload)
            return
        if stream.remote_ended:
            self.break_stream(stream, STREAM_CLOSED, "DATA came after the end of its stream")
            return
        ended = flags & END_STREAM != 0
        if payload:
            stream.empty = False
            stream.pieces.append(payload)
            if len(stream.pieces) > MOST_PIECES:
                stream.pieces = [b"".join(stream.pieces)]
            stream.body_bytes += len(payload)
            self.calm.give(PROGRESS if len(payload) >= LITTLE else 1.0)
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

    def _on_stray_data(self, number: int, payload: bytes) -> None:
        """DATA of a stream that is not open (section 5.1)."""
        if self.is_idle(number):
            raise FrameError(PROTOCOL_ERROR, "DATA came on an idle stream")
        if self.was_reset_here(number):
            if not payload:
                self.stray()
            return
        raise FrameError(STREAM_CLOSED, "DATA came on a closed stream")

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
            if selfish:
                stream = self.streams.get(number)
                if stream is not None:
                    self.break_stream(stream, PROTOCOL_ERROR, "a stream depends on itself")
            return
        self._block_stream = number
        self._block_flags = flags
        self._block = []
        self._block_bytes = 0
        self._block_due = monotonic() + self.block_seconds()
        self.by(self._block_due)
        self._keep_fragment(payload)

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
            raise FrameError(COMPRESSION_ERROR, str(error)) from None
        self.on_section(number, section, ended)
