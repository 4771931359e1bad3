"""The sending half of an HTTP/2 connection: windows, turns, and one write for each loop turn.

    write, end ──room?──▶ frames ──▶ out ──flush, once a turn──▶ transport
                 └─ no ──▶ the stream waits ──▶ ring: a frame for each stream in turn

A stream that must wait for its window, the connection's, or the transport tells its owner, which
stops reading on the other side. A shared connection never waits for one of its streams.
"""

import asyncio
from collections import deque
from typing import Final

from proxy.http.h2.blocks import trailers_block
from proxy.http.h2.encoder import Encoder
from proxy.http.h2.frames import (
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEAD_BYTES,
    HEADERS,
    MAX_FRAME,
    frame_begin,
    headers_begin,
    pack_head,
    rst_stream,
)
from proxy.wire.flow import Channel
from proxy.wire.h2.buckets import PROGRESS, Bucket
from proxy.wire.h2.streams import Stream
from proxy.wire.streams import Trailers

_JOINED_BYTES: Final = 64 * 1024
"""Up to so many bytes of a turn are joined for one write; under TLS all, because each piece would
become a record of its own, the nine bytes of a frame's head too.
"""
_OUT_BYTES: Final = 256 * 1024
"""Above this many bytes in one turn, streams wait for the next one."""
_LARGE: Final = 8 * 1024
"""From this size on a frame is not joined with others: its head is one piece."""
_FEW: Final = 2
"""With so few streams there is next to nothing to join."""
_RESUME_BYTES: Final = 32 * 1024
"""An owner that was told to wait may write again when so few bytes wait."""
_CONTROL_BYTES: Final = 64 * 1024
"""Maximum bytes of control frames for a peer that does not read."""


class Reads:
    """The connections that write in consequence of a read, while it is processed.

    They flush at its end, which saves a turn of the loop. A process has one loop, so this is one
    for all of them.
    """

    __slots__ = ("open", "writers")

    def __init__(self) -> None:
        self.open = False
        self.writers: list[Sender] = []

    def end(self) -> None:
        """The read was processed: hand everything to the transports."""
        self.open = False
        while self.writers:
            writer = self.writers.pop()
            writer.scheduled = False
            writer.flush()


reads: Final = Reads()


class Sender:
    """`window` is what the peer allows on the whole connection, `initial_window` on new streams.

    `write_paused`: the transport has no room. `flushes` counts writes to the transport. `calm`
    counts control frames that move nothing on. `joins`: what the reads of many other connections
    cause in a turn of the loop becomes one write. `scheduled`: it will flush.
    """

    __slots__ = (
        "_control_bytes",
        "_loop",
        "_out",
        "_out_bytes",
        "_ring",
        "calm",
        "channel",
        "encoder",
        "flushes",
        "initial_window",
        "joins",
        "lost",
        "scheduled",
        "streams",
        "window",
        "write_paused",
    )

    calm: Bucket
    channel: Channel
    _loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self.encoder = Encoder()
        self.streams: dict[int, Stream] = {}
        self.window = DEFAULT_WINDOW
        self.initial_window = DEFAULT_WINDOW
        self.write_paused = False
        self.lost = False
        self.flushes = 1
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._control_bytes = 0
        self._ring: deque[Stream] = deque()
        self.joins = False
        self.scheduled = False

    # --- for the owners of streams ----------------------------------------------------------------

    def write_headers(self, stream: Stream, block: list[bytes], ended: bool) -> None:
        """Send a field block; `ended`: the stream's end too. In the order of `encoder.begin`."""
        payload = b"".join(block)
        if ended:
            stream.local_ended = True
        size = len(payload)
        if not stream.flushed:
            stream.flushed = self.flushes
        self._out_bytes += size
        if size <= MAX_FRAME:
            out = self._out
            out.append(headers_begin(size, ended))
            out.append(stream.coded_id)
            out.append(payload)
        else:
            self._write_continued(stream.id, payload, END_STREAM if ended else 0)
        self._schedule()

    def _write_continued(self, number: int, payload: bytes, flags: int) -> None:
        """A field block that needs CONTINUATION frames."""
        size = len(payload)
        kind = HEADERS
        at = 0
        while at < size:
            end = min(at + MAX_FRAME, size)
            last = END_HEADERS if end == size else 0
            self._out.append(pack_head(0, end - at, kind, flags | last, number))
            self._out.append(payload[at:end])
            kind, flags = CONTINUATION, 0
            at = end

    def write(self, stream: Stream, piece: bytes, ended: bool) -> None:
        """Send a piece of a body; `ended`: it is the last one, and no trailers follow."""
        if stream.closed or stream.local_ended:
            return
        size = len(piece)
        if (
            size <= MAX_FRAME
            and size <= stream.window
            and size <= self.window
            and not stream.waiting
            and not self.write_paused
            and self._out_bytes < _OUT_BYTES
        ):
            self._frame(stream, piece, size, ended)
            self._schedule()
            return
        if piece:
            stream.waiting.append(piece)
            stream.waiting_bytes += size
        if ended:
            stream.ending = True
        self._push(stream)

    def end(self, stream: Stream, trailers: Trailers) -> None:
        """End a stream's body, after what waits."""
        if stream.closed or stream.local_ended or stream.ending:
            return
        if stream.waiting:
            stream.ending = stream.held_up = True  # its owner is told when all was sent
            stream.trailers = trailers
        elif trailers:
            self.write_headers(stream, trailers_block(self.encoder, trailers), True)
        else:
            self._frame(stream, b"", 0, True)
            self._schedule()

    def reset(self, stream: Stream, code: int) -> None:
        """Send RST_STREAM, and drop what waits."""
        if not stream.closed:
            stream.closed = True
            stream.drop()
            self.control(rst_stream(stream.id, code))

    def handed(self, stream: Stream) -> bool:
        """Whether a byte of the stream was handed to the transport."""
        return stream.flushed > 0 and self.flushes > stream.flushed

    def waits(self, stream: Stream) -> bool:
        """Whether its owner must wait before it writes more."""
        return stream.held_up

    # --- for subclasses ---------------------------------------------------------------------------

    def control(self, frame: bytes) -> None:
        """Send a control frame. A peer that does not read gets only so many."""
        if self.lost:
            return
        if self.write_paused:
            self._control_bytes += len(frame)
            if self._control_bytes > _CONTROL_BYTES:
                self.abort()
                return
        self._out.append(frame)
        self._out_bytes += len(frame)
        self._schedule()

    def add_window(self, stream: Stream, increment: int) -> None:
        """The peer allows more on a stream, or less after a change of its settings."""
        stream.window += increment
        if stream.waiting and stream.window > 0:
            self._enqueue(stream)

    def go_on(self) -> None:
        """Send what the windows now allow."""
        if self._ring and not self.write_paused:
            self._schedule()

    def leave_ring(self, stream: Stream) -> None:
        """A stream waits no more: without a window, nothing would take it from its place."""
        if stream.queued:
            stream.queued = False
            if stream in self._ring:
                self._ring.remove(stream)

    def on_writable(self, stream: Stream, writable: bool) -> None:
        """Tell a stream's owner whether it must wait."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close at once, and discard unsent bytes."""
        self.drop_unsent()
        self.channel.transport.abort()

    def drop_unsent(self) -> None:
        """Forget what was not handed to the transport."""
        self._out = []
        self._out_bytes = 0
        self._ring.clear()

    # --- frames -----------------------------------------------------------------------------------

    def _frame(self, stream: Stream, piece: bytes, size: int, ended: bool) -> None:
        out = self._out
        begin = frame_begin(size, DATA, END_STREAM if ended else 0)
        if size < _LARGE:
            out.append(begin)
            out.append(stream.coded_id)
        else:
            out.append(begin + stream.coded_id)
        if size:
            out.append(piece)
            stream.window -= size
            self.window -= size
            self.calm.give(PROGRESS)
        self._out_bytes += size + HEAD_BYTES
        if ended:
            stream.local_ended = True

    def _push(self, stream: Stream) -> None:
        """Send what can be sent at once, unless other streams already wait."""
        if not self._ring:
            while self._has_room() and self._send_next(stream):
                pass
        if not stream.waiting:
            if stream.ending and not stream.local_ended:
                self._finish(stream)
            return
        if stream.window > 0:
            self._enqueue(stream)
        if not stream.held_up:
            stream.held_up = True
            self.on_writable(stream, False)

    def _has_room(self) -> bool:
        return self.window > 0 and not self.write_paused and self._out_bytes < _OUT_BYTES

    def _enqueue(self, stream: Stream) -> None:
        if not stream.queued:
            stream.queued = True
            self._ring.append(stream)
        self._schedule()

    def _send_next(self, stream: Stream) -> bool:
        """Send the next frame of what waits; False: its window allows none, or nothing waits."""
        waiting = stream.waiting
        room = min(stream.window, self.window, MAX_FRAME)
        if not waiting or room <= 0:
            return False
        first = waiting[0]
        offset = stream.offset
        left = len(first) - offset
        if left <= room:
            piece = first[offset:] if offset else first
            stream.offset = 0
            del waiting[0]
            size = left
        else:
            piece = first[offset : offset + room]
            stream.offset = offset + room
            size = room
        stream.waiting_bytes -= size
        last = stream.ending and not waiting and not stream.trailers
        self._frame(stream, piece, size, last)
        self._schedule()
        return True

    def _finish(self, stream: Stream) -> None:
        """Everything that waited was sent: now the end."""
        trailers = stream.trailers
        if trailers:
            self.write_headers(stream, trailers_block(self.encoder, trailers), True)
        else:
            self._frame(stream, b"", 0, True)
        self._schedule()

    def _serve(self) -> None:
        """Give the waiting streams a frame each, in turn."""
        ring = self._ring
        while ring and self._has_room():
            stream = ring.popleft()
            stream.queued = False
            if stream.closed or not self._send_next(stream):
                continue
            if stream.waiting:
                if stream.window > 0:
                    stream.queued = True
                    ring.append(stream)
            elif stream.ending and not stream.local_ended:
                self._finish(stream)
            if stream.held_up and (
                not stream.waiting or (stream.waiting_bytes <= _RESUME_BYTES and not stream.ending)
            ):
                stream.held_up = False
                self.on_writable(stream, True)

    # --- the transport ----------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self.scheduled:
            return
        self.scheduled = True
        if reads.open and (not self.joins or len(self.streams) <= _FEW):
            reads.writers.append(self)
        else:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self.scheduled = False
        self.flush()

    def flush(self) -> None:
        """Hand everything to the transport now."""
        if self._ring:
            self._serve()
        out = self._out
        if not out:
            return
        size = self._out_bytes
        self._out = []
        self._out_bytes = 0
        transport = self.channel.transport
        if self.lost or transport.is_closing():
            return
        self.flushes += 1
        if size <= _JOINED_BYTES or not self.channel.half_closes:
            self.channel.write(b"".join(out))
        else:
            transport.writelines(out)
        if self._ring and self._has_room():
            self._schedule()

    def pause_writing(self) -> None:
        """The transport has no room."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """The transport has room again."""
        self.write_paused = False
        self._control_bytes = 0
        if self._ring:
            self._schedule()
