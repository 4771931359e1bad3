"""One timer for a connection's whole life, moved for next to nothing.

Deadlines move with every request, and nearly all of them move later before they are due. So the
event loop's timer is left where it is when the deadline moves later: when it rings too early it
is set again. Starting and cancelling a timer for every deadline would cost 0.7 µs each time.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

NEVER = float("inf")
_FINEST = 0.001  # the loop's timers count whole milliseconds


def _nobody() -> None:
    """Called by no alarm: it is closed."""


class Alarm:
    """Calls `on_due` once `due` (monotonic seconds) has come; `set` again to hear it again."""

    __slots__ = ("_armed_for", "_handle", "_loop", "_on_due", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_due: Callable[[], None]) -> None:
        self._loop = loop
        self._on_due = on_due
        self._handle: asyncio.TimerHandle | None = None
        self._armed_for = NEVER
        self.due = NEVER

    def set(self, due: float) -> None:
        """Move the deadline; NEVER takes it away."""
        self.due = due
        if due < self._armed_for:
            self._arm(due)

    def close(self) -> None:
        """Silence it for good, and let go of who would be called: a circle would keep both."""
        self.due = self._armed_for = NEVER
        self._on_due = _nobody
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, due: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed_for = due
        self._handle = self._loop.call_later(max(due - monotonic(), _FINEST), self._ring)

    def _ring(self) -> None:
        self._handle = None
        self._armed_for = NEVER
        due = self.due
        if due == NEVER:
            return
        if monotonic() < due:
            self._arm(due)
            return
        self.due = NEVER
        self._on_due()
