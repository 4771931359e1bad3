"""One timer for a connection's whole life, cheap to move.

Deadlines move with every request, and nearly all move later before they are due. The event loop's
timer therefore stays when the deadline moves later; if it rings too early, it is set again.
Starting and cancelling a timer for every deadline would cost 0.7 µs each time.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

NEVER: Final = float("inf")
LATE: Final = 0.25
"""An alarm is late after this many seconds: the process was stopped, or had no CPU time."""
HELD_UP: Final = 0.005
"""If a timer is this many seconds late, the loop may not have read all earlier input."""
FINEST: Final = 0.001
"""The loop's timers count whole milliseconds."""


def _nobody() -> None:
    """The callback of a closed alarm; never called."""


class Alarm:
    """Calls `on_due` once at `due` (monotonic seconds); `set` starts it again.

    A deadline is judged after the loop has read all input that arrived before it. Timers can run
    before the loop reads, so an alarm whose timer ran late rings in a later turn. `late` is true
    during `on_due` if the alarm was late: input that is still missing may wait elsewhere.
    """

    __slots__ = (
        "_armed_for",
        "_expected",
        "_handle",
        "_loop",
        "_missed",
        "_on_due",
        "_postponed",
        "due",
        "late",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, on_due: Callable[[], None]) -> None:
        self._loop = loop
        self._on_due = on_due
        self._handle: asyncio.TimerHandle | None = None
        self._armed_for = NEVER
        self._expected = 0.0
        self._postponed = False
        self._missed = False
        self.due = NEVER
        self.late = False

    def set(self, due: float) -> None:
        """Move the deadline; NEVER removes it."""
        self.due = due
        if due < self._armed_for:
            self._arm(due)

    def close(self) -> None:
        """Stop it for good, and drop the callback, so that no reference cycle remains."""
        self.due = self._armed_for = NEVER
        self._on_due = _nobody
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, due: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed_for = due
        now = monotonic()
        delay = max(due - now, FINEST)
        self._expected = now + delay
        self._handle = self._loop.call_later(delay, self._ring)

    def _ring(self) -> None:
        self._handle = None
        self._armed_for = NEVER
        now = monotonic()
        due = self.due
        if now < due:
            self._postponed = self._missed = False
            if due != NEVER:
                self._arm(due)
            return
        if now - self._expected > HELD_UP and not self._postponed:
            self._postponed = True
            self._missed = now - max(due, self._expected) > LATE
            self._arm(now + FINEST)
            return
        self.late = self._missed
        self._postponed = self._missed = False
        self.due = NEVER
        try:
            self._on_due()
        finally:
            self.late = False
