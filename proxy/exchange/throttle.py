"""A fault that slows a response's body down: between an upstream's stream and what handles it.

    stream ──▶ Throttle: pieces wait, and leave at `rate` ──▶ the attempt, later the relay

Heads pass at once. What waits is bounded: beyond it nothing more is read from the upstream.
"""

import asyncio
from collections import deque
from time import monotonic
from typing import Final

from proxy.errors import ProxyError
from proxy.http.message import ResponseHead
from proxy.wire.alarm import NEVER, Alarm
from proxy.wire.streams import NO_TRAILERS, StreamHandler, Trailers, UpstreamStream

TICK: Final = 0.05
"""Seconds from one portion to the next, if a whole byte has become due."""
HELD_BYTES: Final = 64 * 1024


class ThrottledStream(UpstreamStream):
    """The stream as a relay sees it: its handler gets the events in their own time."""

    __slots__ = ("_throttle",)

    def __init__(self, throttle: "Throttle", handler: StreamHandler) -> None:
        super().__init__()
        self._throttle = throttle
        self.handler = handler

    def pause_reading(self) -> None:
        self._throttle.hold()

    def resume_reading(self) -> None:
        self._throttle.go_on()

    @property
    def payload_bytes(self) -> int:
        return self._throttle.sent


class Throttle(StreamHandler):
    """Passes the events of `stream` on, and the body at `rate` bytes per second.

    `view`: the stream for the one who handles it. `sent`: bytes of the body that were passed on.
    """

    __slots__ = (
        "_alarm",
        "_began",
        "_ended",
        "_error",
        "_flowing",
        "_full",
        "_held",
        "_pieces",
        "_queued",
        "_rate",
        "_stream",
        "_trailers",
        "sent",
        "view",
    )

    def __init__(self, rate: int, stream: UpstreamStream, handler: StreamHandler) -> None:
        self._rate = rate
        self._stream: UpstreamStream | None = stream
        self.view = ThrottledStream(self, handler)
        self.sent = 0
        self._alarm = Alarm(asyncio.get_running_loop(), self._flow)
        self._began = NEVER  # with the response's head
        self._pieces: deque[bytes] = deque()
        self._queued = 0
        self._full = False  # so that nothing more is read
        self._held = False  # by the one who handles it
        self._flowing = False
        self._ended = False
        self._trailers = NO_TRAILERS
        self._error: ProxyError | None = None

    def close(self) -> None:
        """The stream is returned: pass on nothing more."""
        self._stream = None
        self.view.handler = None
        self._pieces.clear()
        self._alarm.close()

    def hold(self) -> None:
        """Pass on no more pieces until `go_on`."""
        self._held = True

    def go_on(self) -> None:
        self._held = False
        self._no_burst()
        self._flow()

    # --- from the upstream ------------------------------------------------------------------------

    def on_informational(self, head: ResponseHead) -> None:
        if self.view.handler is not None:
            self.view.handler.on_informational(head)

    def on_head(self, head: ResponseHead, piece: bytes, ended: bool, trailers: Trailers) -> None:
        handler = self.view.handler
        if handler is None:
            return
        if head.status == 101 or (ended and not piece):
            handler.on_head(head, piece, ended, trailers)
            return
        self._began = monotonic()
        self._add(piece)
        self._ended, self._trailers = ended, trailers
        handler.on_head(head, b"", False, NO_TRAILERS)
        self._flow()

    def on_piece(self, piece: bytes) -> None:
        if not self._pieces:
            self._no_burst()
        self._add(piece)
        self._flow()

    def on_end(self, trailers: Trailers) -> None:
        self._ended, self._trailers = True, trailers
        self._flow()

    def on_lost(self, error: ProxyError) -> None:
        self._error = error
        self._flow()

    def on_upstream_writable(self, writable: bool) -> None:
        if self.view.handler is not None:
            self.view.handler.on_upstream_writable(writable)

    # --- the flow ---------------------------------------------------------------------------------

    def _add(self, piece: bytes) -> None:
        if not piece:
            return
        self._pieces.append(piece)
        self._queued += len(piece)
        if self._queued > HELD_BYTES and not self._full and self._stream is not None:
            self._full = True
            self._stream.pause_reading()

    def _no_burst(self) -> None:
        """After a pause the rate counts from now on."""
        self._began = max(self._began, monotonic() - self.sent / self._rate)

    def _flow(self) -> None:
        """Pass on what is due, and wait for the rest."""
        if self._flowing:
            return
        self._flowing = True
        try:
            self._pass_due()
        finally:
            self._flowing = False

    def _pass_due(self) -> None:
        now = monotonic()
        due = int((now - self._began) * self._rate) - self.sent if self._began != NEVER else 0
        while self._pieces and due > 0 and not self._held:
            handler = self.view.handler
            if handler is None:
                return
            piece = self._pieces.popleft()
            if len(piece) > due:
                self._pieces.appendleft(piece[due:])
                piece = piece[:due]
            due -= len(piece)
            self.sent += len(piece)
            self._queued -= len(piece)
            handler.on_piece(piece)
        if self._full and self._queued < HELD_BYTES // 2 and self._stream is not None:
            self._full = False
            self._stream.resume_reading()
        handler = self.view.handler
        if handler is None or self._held:
            return
        if self._pieces:
            self._alarm.set(now + max(TICK, 1 / self._rate))
        elif self._ended:
            handler.on_end(self._trailers)
        elif self._error is not None:
            handler.on_lost(self._error)
