"""The clocks of one exchange, and the alarm for all its waits.

Every wait has a deadline. The alarm of the client's stream is set to the earliest; when a deadline
moves later the alarm stays, and is set again if it rings too early. The waiting script then checks
which clock expired: attempt, request, idle, or the whole exchange (`cutoff`).
"""

from time import monotonic
from typing import Final

from proxy.errors import BodyTimeout, ProxyError, RequestTimeout, UpstreamTruncated
from proxy.exchange.marks import Marks
from proxy.exchange.script import Script
from proxy.policies.deadline import Deadline, TimeoutsConfig
from proxy.policies.gate import OBSERVE
from proxy.wire.alarm import NEVER, Alarm

_NO_TIMEOUTS: Final = TimeoutsConfig()
_NO_DEADLINE: Final = Deadline(0.0, 0.0)
"""Before the route is known; nothing pauses it."""


class Timing:
    """All in monotonic seconds.

    `activity`: when the last byte of a body moved. `idle_seconds`: the longest time without one
    (NEVER: any). `watch`: when to check the limits of the
    whole exchange: `timeouts.max_duration` and its client's pace. `shortened`: the caller's
    deadline is shorter than the policy's. `inherited`: the deadline is that of the inbound request
    that this one is made for, which is a caller's too. `stream_until`: when the inherited deadline
    ends a gRPC call, after its response's head too. `given`: seconds that the caller gave it, NEVER
    if none. `marks`: what the policy's timeouts would have cut, if they only observe; else None.
    `undelayed`: the exchange has not waited since `started`.
    """

    __slots__ = (
        "_alarm",
        "_first",
        "_main",
        "_others",
        "_timeouts",
        "activity",
        "deadline",
        "given",
        "idle_seconds",
        "inherited",
        "marks",
        "shortened",
        "started",
        "stream_until",
        "undelayed",
        "watch",
    )

    def __init__(self, alarm: Alarm, main: Script, now: float) -> None:
        """`main`: the exchange's script, which waits from start to end."""
        self._alarm = alarm
        alarm.set(NEVER)
        self._main: Script | None = main
        self._first: Script | None = None
        self._others: list[Script] | None = None
        self._timeouts = _NO_TIMEOUTS
        self.given = NEVER
        self.started = self.activity = now
        self.watch = NEVER
        self.idle_seconds = _NO_TIMEOUTS.idle
        self.deadline = _NO_DEADLINE
        self.marks: Marks | None = None
        self.shortened = False
        self.undelayed = True
        self.inherited = False
        self.stream_until = NEVER

    def begin(
        self, timeouts: TimeoutsConfig, given: float | None, inherited: float = NEVER
    ) -> None:
        """The route is known: its clocks start, with the request's head.

        `given`: the caller's deadline in seconds, or None. `inherited`: that of the inbound request
        that it is made for; NEVER: none.
        """
        self._timeouts = timeouts
        if given is not None:
            self.given = given
        if inherited < self.given:
            self.inherited = True
            given = max(inherited, 0.0)
        self.idle_seconds = timeouts.idle
        if timeouts.mode is OBSERVE:
            self.deadline = Deadline(self.started, 0.0)
            self.marks = Marks(timeouts, self.deadline, self.started, given)
            self.watch = self.marks.first()
            return
        self.deadline = Deadline(self.started, timeouts.request)
        if given is not None and given < timeouts.request:
            self.shortened = True
            self.deadline.shorten(self.started, given)
        if timeouts.max_duration:
            self.watch = self.started + timeouts.max_duration

    def disinherit(self) -> None:
        """The inherited deadline is no longer in effect: that of the policy and the caller is."""
        if self.inherited and self.marks is None:
            self.inherited = False
            seconds = min(self.given, self._timeouts.request)
            self.shortened = self.given < self._timeouts.request
            self.deadline.at = self.started + seconds + self.deadline.stood_still

    # --- waiting ----------------------------------------------------------------------------------

    def join(self, attempt: Script) -> None:
        """Set this alarm for an attempt too."""
        if self._first is None:
            self._first = attempt
        elif self._others is None:
            self._others = [attempt]
        else:
            self._others.append(attempt)

    def leave(self, attempt: Script) -> None:
        """No longer set the alarm for it."""
        attempt.until = NEVER
        if attempt is self._first:
            self._first = None
        elif self._others is not None and attempt in self._others:
            self._others.remove(attempt)

    @property
    def attempts(self) -> list[Script]:
        """The attempts in flight."""
        attempts = [self._first] if self._first is not None else []
        return attempts + self._others if self._others is not None else attempts

    def arm(self, script: Script, until: float) -> None:
        """Call `script.on_due` at `until`, instead of its previous time."""
        script.until = until
        if until < self._alarm.due:
            self._alarm.set(until)

    def use(self, alarm: Alarm) -> None:
        """Go on with another alarm: the client's stream is gone."""
        self._alarm = alarm
        alarm.set(min([script.until for script in self._all()], default=NEVER))

    def look_at(self, at: float) -> None:
        """Let the exchange check the limits of the whole exchange at `at` or earlier."""
        if at < self.watch:
            self.watch = at
            main = self._main
            if main is not None and at < main.until:
                self.arm(main, at)

    def ring(self) -> None:
        """The alarm has rung: call the scripts whose time has come."""
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
        """The exchange is over: stop the alarm."""
        self._main = self._first = self._others = None

    @property
    def stood_still(self) -> bool:
        """Whether the alarm rang late: the process was stopped, or had no CPU time.

        A deadline missed then says nothing about an upstream.
        """
        return self._alarm.late

    # --- clocks -----------------------------------------------------------------------------------

    @property
    def idle_at(self) -> float:
        """When the longest time after the last byte of a body ends."""
        return self.activity + self.idle_seconds

    @property
    def cutoff(self) -> float:
        """When `timeouts.max_duration` ends."""
        longest = self._timeouts.max_duration
        return self.started + longest if longest and self.marks is None else NEVER

    @property
    def time_left(self) -> float:
        """Seconds until the request's deadline or its cutoff."""
        now = monotonic()
        return min(self.deadline.remaining(now), self.cutoff - now)

    def left_to_tell(self, now: float) -> float:
        """Seconds left, for the upstream; inf: no deadline, because the timeouts only observe."""
        marks = self.marks
        return self.deadline.remaining(now) if marks is None else marks.callers_time_left(now)

    def request_timeout(self) -> RequestTimeout:
        if self.inherited:
            return RequestTimeout(
                "The deadline of the inbound request that this call is made for has expired "
                "(timeouts.inherit)."
            )
        if self.shortened:
            return RequestTimeout("The caller's deadline for this request has expired.")
        seconds = self._timeouts.request
        return RequestTimeout(f"No response within {seconds:g} s (timeouts.request).")

    def overlong(self, *, committed: bool, client_owes: bool) -> ProxyError:
        """The failure at the cutoff. `client_owes`: the client has not sent the whole body."""
        seconds = self._timeouts.max_duration
        text = f"The exchange took longer than {seconds:g} s (timeouts.max_duration)."
        if committed:
            return UpstreamTruncated(text)
        return BodyTimeout(text) if client_owes else RequestTimeout(text)
