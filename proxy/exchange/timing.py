"""The clocks of one exchange, and the alarm that rings for all who wait in it.

Every wait says until when. The alarm of the client's stream is set to the earliest of them; moving
a wait later leaves it where it is, and asks again when it rings too early. Which of the clocks it
was is asked by whoever waited: attempt, request, idle, or the whole (`cutoff`).
"""

from time import monotonic
from typing import Final

from proxy.errors import BodyTimeout, ProxyError, RequestTimeout, UpstreamTruncated
from proxy.exchange.script import Script
from proxy.policies.deadline import Deadline, TimeoutsConfig
from proxy.wire.alarm import NEVER, Alarm

_NO_TIMEOUTS: Final = TimeoutsConfig()
_NO_DEADLINE: Final = Deadline(0.0, 0.0)
"""Before the route is known; nothing pauses it."""


class Timing:
    """All in monotonic seconds.

    `activity`: when a byte of a body moved last. `cutoff`: when `timeouts.max_duration` is over.
    `shortened`: the caller gave the request less time than the policy does.
    """

    __slots__ = (
        "_alarm",
        "_first",
        "_main",
        "_others",
        "_timeouts",
        "activity",
        "cutoff",
        "deadline",
        "shortened",
        "started",
    )

    def __init__(self, alarm: Alarm, main: Script, now: float) -> None:
        """`main`: the script that waits from the first to the last."""
        self._alarm = alarm
        alarm.set(NEVER)
        self._main: Script | None = main
        self._first: Script | None = None
        self._others: list[Script] | None = None
        self._timeouts = _NO_TIMEOUTS
        self.started = self.activity = now
        self.cutoff = NEVER
        self.deadline = _NO_DEADLINE
        self.shortened = False

    def begin(self, timeouts: TimeoutsConfig, given: float | None) -> None:
        """The route is known: its clocks start, with the request's head.

        `given`: seconds that the caller gives, None where it says nothing.
        """
        self._timeouts = timeouts
        self.deadline = Deadline(self.started, timeouts.request)
        if given is not None and given < timeouts.request:
            self.shortened = True
            self.deadline.shorten(self.started, given)
        if timeouts.max_duration:
            self.cutoff = self.started + timeouts.max_duration

    # --- waiting ----------------------------------------------------------------------------------

    def join(self, attempt: Script) -> None:
        """An attempt waits by this alarm too."""
        if self._first is None:
            self._first = attempt
        elif self._others is None:
            self._others = [attempt]
        else:
            self._others.append(attempt)

    def leave(self, attempt: Script) -> None:
        """It waits no more."""
        attempt.until = NEVER
        if attempt is self._first:
            self._first = None
        elif self._others is not None and attempt in self._others:
            self._others.remove(attempt)

    @property
    def attempts(self) -> list[Script]:
        """Those that are under way."""
        attempts = [self._first] if self._first is not None else []
        return attempts + self._others if self._others is not None else attempts

    def arm(self, script: Script, until: float) -> None:
        """Have `script.on_due` called at `until`, and not at the time that it said before."""
        script.until = until
        if until < self._alarm.due:
            self._alarm.set(until)

    def ring(self) -> None:
        """The alarm has rung: tell those whose time has come."""
        now = monotonic()
        for script in self._all():
            if script.until <= now:
                script.until = NEVER
                script.on_due()
        for script in self._all():
            if script.until < self._alarm.due:
                self._alarm.set(script.until)

    def _all(self) -> list[Script]:
        return [self._main, *self.attempts] if self._main is not None else []

    def close(self) -> None:
        """The exchange is over: nothing waits any more."""
        self._main = self._first = self._others = None

    @property
    def stood_still(self) -> bool:
        """Whether the alarm rang late: the process was stopped, or had no CPU time.

        What is missed then says nothing about an upstream.
        """
        return self._alarm.late

    # --- what the clocks say ----------------------------------------------------------------------

    @property
    def idle_at(self) -> float:
        """When it will have been too long since a byte of a body moved."""
        return self.activity + self._timeouts.idle

    @property
    def idle_seconds(self) -> float:
        return self._timeouts.idle

    @property
    def time_left(self) -> float:
        """Seconds until the request's deadline or its cutoff."""
        now = monotonic()
        return min(self.deadline.remaining(now), self.cutoff - now)

    def request_timeout(self) -> RequestTimeout:
        if self.shortened:
            return RequestTimeout("The time that the caller gave for this request is over.")
        seconds = self._timeouts.request
        return RequestTimeout(f"No answer within {seconds:g} s (timeouts.request).")

    def overlong(self, *, committed: bool, client_owes: bool) -> ProxyError:
        """The cutoff has passed. `client_owes`: the rest of the request's body is still to come."""
        seconds = self._timeouts.max_duration
        text = f"The exchange took longer than {seconds:g} s (timeouts.max_duration)."
        if committed:
            return UpstreamTruncated(text)
        return BodyTimeout(text) if client_owes else RequestTimeout(text)
