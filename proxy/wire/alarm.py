"""One timer for a connection's whole life, cheap to move.

Deadlines move with every request, and nearly all move later before they are due. The event loop's
timer therefore stays when the deadline moves later; if it rings too early, it is set again.
Starting and cancelling a timer for every deadline would cost 0.7 µs each time.

Alarms that are due after the next whole second wait in a `Wheel`, one timer for all, which sets
theirs when that second comes. Most have been closed or moved by then, so a connection that lives
for less than a second needs no timer of its own.
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
AT_ONCE: Final = 256
"""Alarms that a wheel hands over in one turn of the loop."""
_JUST_AFTER: Final = 1e-6
NOWHERE: Final = -1
"""The second of an alarm that is in no wheel."""


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
        "_second",
        "_wheel",
        "due",
        "late",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, on_due: Callable[[], None]) -> None:
        self._loop = loop
        self._wheel = _wheel_of(loop)
        self._second = NOWHERE
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

    def begin(self, due: float) -> None:
        """Set the first deadline of a new connection.

        Its place in the wheel is before the deadlines of most requests, so that a connection with
        one request moves no place.
        """
        self.due = due
        now = monotonic()
        second = int(now) + 2  # at least a second away
        if due > second:
            self._place(second)
        else:
            self._arm(due)

    def close(self) -> None:
        """Stop it for good, and drop the callback, so that no reference cycle remains."""
        self.due = self._armed_for = NEVER
        self._on_due = _nobody
        self._disarm()

    def hand_over(self, now: float) -> None:
        """The wheel's second has come: set a timer, or wait for a later second."""
        self._second = NOWHERE
        self._armed_for = NEVER
        due = self.due
        if due > now:
            self._postponed = self._missed = False
            if due != NEVER:
                self._arm(due)
        else:
            self._ring_later(now, now - due)

    def _disarm(self) -> None:
        if self._second != NOWHERE:
            self._wheel.remove(self, self._second)
            self._second = NOWHERE
        elif self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, due: float) -> None:
        self._disarm()
        now = monotonic()
        second = int(due)
        if second == due:
            second -= 1  # a wheel's second begins before its alarms are due
        if second > now:
            self._place(second)
        else:
            self._set_timer(now, due)

    def _place(self, second: int) -> None:
        """Wait in the wheel: a deadline after that second's start needs no other place."""
        self._armed_for = second + _JUST_AFTER
        self._second = second
        self._wheel.add(self, second)

    def _set_timer(self, now: float, due: float) -> None:
        self._armed_for = due
        delay = max(due - now, FINEST)
        self._expected = now + delay
        self._handle = self._loop.call_later(delay, self._ring)

    def _ring_later(self, now: float, late: float) -> None:
        """Ring after the loop has read; `late`: seconds that it was held up."""
        self._postponed = True
        self._missed = late > LATE
        self._set_timer(now, now + FINEST)

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
            self._ring_later(now, now - max(due, self._expected))
            return
        self.late = self._missed
        self._postponed = self._missed = False
        self.due = NEVER
        try:
            self._on_due()
        finally:
            self.late = False


class Wheel:
    """The alarms of one loop by the whole second in which each is due.

    Its timer is set for the earliest second, and only while an alarm is there.
    """

    __slots__ = ("_handle", "_next", "_seconds", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._seconds: dict[int, dict[Alarm, None]] = {}
        self._next = NEVER
        self._handle: asyncio.TimerHandle | None = None

    def add(self, alarm: Alarm, second: int) -> None:
        alarms = self._seconds.get(second)
        if alarms is None:
            self._seconds[second] = {alarm: None}
            if second < self._next:
                self._set_timer(float(second))
        else:
            alarms[alarm] = None

    def remove(self, alarm: Alarm, second: int) -> None:
        alarms = self._seconds.get(second)
        if alarms is None:
            return
        alarms.pop(alarm, None)
        if not alarms:
            del self._seconds[second]
            if not self._seconds:
                self._stop_timer()

    def _set_timer(self, when: float) -> None:
        self._stop_timer()
        self._next = when
        self._handle = self.loop.call_later(max(when - monotonic(), FINEST), self._turn)

    def _stop_timer(self) -> None:
        self._next = NEVER
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _turn(self) -> None:
        """Hand over the alarms whose second has come, a part of them in each turn of the loop."""
        self._handle = None
        self._next = NEVER
        now = monotonic()
        left = AT_ONCE
        while left and self._seconds:
            second = min(self._seconds)
            if second > now:
                break
            alarms = self._seconds.pop(second)
            while alarms and left:
                left -= 1
                alarms.popitem()[0].hand_over(now)
            if alarms:
                self._seconds[second] = alarms
        if self._seconds:
            self._set_timer(float(min(self._seconds)))


_wheels: Final[list[Wheel]] = []
"""That of the running loop: a process has one loop, and tests have one after another."""


def _wheel_of(loop: asyncio.AbstractEventLoop) -> Wheel:
    if not _wheels or _wheels[0].loop is not loop:
        _wheels[:] = [Wheel(loop)]
    return _wheels[0]
