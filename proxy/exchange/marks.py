"""What `timeouts` in mode observe would have cut.

The exchange's clocks have no end then. Its marks stand where a deadline would have ended it: when
one is passed, that is noted once in its record, and the exchange goes on.

    exchange: request, max_duration, body_rate       attempt: connect, attempt
    either, while bodies flow: idle, and stream_idle of a gRPC stream
"""

from math import inf
from typing import Final

from proxy.exchange.record import Record
from proxy.policies.deadline import Deadline, TimeoutsConfig
from proxy.wire.alarm import NEVER

LONGEST_CONNECT: Final = 130.0
"""Seconds for a look-up or a connect: Linux gives up on a TCP connection after 127."""

CONNECT: Final = "timeouts.connect"
ATTEMPT: Final = "timeouts.attempt"
REQUEST: Final = "timeouts.request"
IDLE: Final = "timeouts.idle"
STREAM_IDLE: Final = "timeouts.stream_idle"
MAX_DURATION: Final = "timeouts.max_duration"
BODY_RATE: Final = "timeouts.body_rate"


class Marks:
    """The marks of one exchange, in monotonic seconds."""

    __slots__ = ("_deadline", "_given", "_longest", "_request", "_started")

    def __init__(
        self, timeouts: TimeoutsConfig, deadline: Deadline, started: float, given: float | None
    ) -> None:
        """`deadline`: the exchange's, without an end: it knows the time in which the body flowed.

        `given`: the caller's deadline in seconds. It is passed on, and it ends nothing here either.
        """
        self._deadline = deadline
        self._started = started
        self._given = inf if given is None else given
        self._request = min(timeouts.request, self._given)
        self._longest = timeouts.max_duration or inf

    def first(self) -> float:
        """When to look for the first time."""
        return self._started + min(self._request, self._longest)

    def look(self, record: Record, now: float, *, committed: bool) -> float:
        """Note what has been passed; returns when to look again."""
        again = NEVER
        if not committed and REQUEST not in record.observed:
            request_at = self._started + self._request + self._deadline.standing(now)
            if now < request_at:
                again = request_at
            else:
                record.observe(REQUEST)
        if MAX_DURATION not in record.observed:
            longest_at = self._started + self._longest
            if now < longest_at:
                again = min(again, longest_at)
            else:
                record.observe(MAX_DURATION)
        return again

    def callers_time_left(self, now: float) -> float:
        """Seconds left of the caller's own deadline; inf if it gave none."""
        return self._started + self._given + self._deadline.standing(now) - now
