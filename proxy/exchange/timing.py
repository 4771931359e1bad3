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


class Timing:
    """All in monotonic seconds.

    `activity`: when a byte of a body moved last. `cutoff`: when `timeouts.max_duration` is over.
    `shortened`: the caller gave the request less time than the policy does.
    """

    __slots__ = (
        "_alarm",
        "_scripts",
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
        self._scripts = [main]
        self._timeouts = _NO_TIMEOUTS
        self.started = self.activity = now
        self.cutoff = NEVER
        self.deadline = Deadline(now, 0.0)
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

    def join(self, script: Script) -> None:
        """Another script waits by this alarm."""
        self._scripts.append(script)

    def leave(self, script: Script) -> None:
        """It waits no more."""
        script.until = NEVER
        if script in self._scripts:
            self._scripts.remove(script)

    def arm(self, script: Script, until: float) -> None:
        """Have `script.on_due` called at `until`, and not at the time that it said before."""
        script.until = until
        if until < self._alarm.due:
            self._alarm.set(until)

    def ring(self) -> None:
        """The alarm has rung: tell those whose time has come."""
        now = monotonic()
        scripts = self._scripts
        for script in tuple(scripts):
            if script.until <= now:
                script.until = NEVER
                script.on_due()
        for script in scripts:
            if script.until < self._alarm.due:
                self._alarm.set(script.until)

    def close(self) -> None:
        """The exchange is over: nobody waits any more."""
        self._scripts.clear()

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
