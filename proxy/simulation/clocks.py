"""What the clocks of the proxy did not see in time.

A process that has much to do reads what has arrived before it judges a deadline: an answer that a
log has after 1.002 s came although attempts had 1 s. Virtual time is exact, and would cut it. So
an answer that came a little after the deadline is taken to have come a little before.

What a timer decided came late too: a retry began 1 ms after its wait, a timeout cut at 50.8 ms. In
between, other requests were refused or admitted. So timers ring as late as they did.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from math import inf

from proxy.errors import AttemptTimeout, QueueTimeout, RequestTimeout
from proxy.policies.retry import StopReason
from proxy.simulation.recording import RecordedAttempt, RecordedRequest, Ring

_LATE = 0.02
"""Seconds, or this share of the deadline, if that is more."""
_LATE_SHARE = 0.1
_BEFORE = 0.0001
_TOLD = re.compile(
    r".* ([0-9.e-]+) s \((?:timeouts|bulkhead)\.(attempt|request|max_duration|queue_timeout)\)"
)
_EXACT = 2e-5
"""Seconds between the moment from which a timer counts and the moment in the log."""
_USUAL = 0.0015
"""Seconds that timers ring late, where the log does not tell when one was due."""


class Clocks:
    """The deadlines of each route, as far as the log tells."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], float] = {}
        # Routes where callers' deadlines expired.
        self._given: set[str] = set()
        self._refused: set[int] = set()

    def note(self, request: RecordedRequest, detail: str, refused: object) -> None:
        """`detail`: the sentence of its failure; `refused`: why it was not retried."""
        told = _TOLD.match(detail)
        if told is not None:
            self._seconds[request.route, told[2]] = float(told[1])
        if request.deadline < inf:
            self._given.add(request.route)
        if refused == StopReason.DEADLINE.value and request.status and request.deadline == inf:
            self._refused.add(id(request))
        kind = (request.route, "attempt")
        for attempt in request.attempts:
            if attempt.failure == AttemptTimeout.reason and kind not in self._seconds:
                self._seconds[kind] = int(attempt.head * 1000) / 1000

    def corrected(self, request: RecordedRequest) -> RecordedRequest:
        """The request as exact clocks would have had it, with its timers."""
        request = replace(request, rings=tuple(self._rings(request)))
        attempts = request.attempts
        answered = request.reason != RequestTimeout.reason
        if answered and id(request) in self._refused and request.route in self._given:
            request = replace(request, deadline=max(0.001, round(request.duration, 3)))
        seconds = self._seconds.get((request.route, "attempt"))
        if seconds is not None and any(_late(one.head, seconds) for one in attempts):
            attempts = tuple(_sooner(one, seconds) for one in attempts)
        seconds = self._seconds.get((request.route, "request"))
        if seconds is not None and attempts:
            attempts = (
                *attempts[:-1],
                _sooner(attempts[-1], seconds + request.at - attempts[-1].at),
            )
        seconds = self._seconds.get((request.route, "max_duration"))
        if (
            seconds is not None
            and attempts
            and not request.reason
            and _late(request.duration, seconds)
        ):
            last = attempts[-1]
            body = max(0.0, last.body - (request.duration - seconds) - _BEFORE)
            attempts = (*attempts[:-1], replace(last, body=body))
        return request if attempts is request.attempts else replace(request, attempts=attempts)

    def _rings(self, request: RecordedRequest) -> Iterator[Ring]:
        ended = request.at
        for number, attempt in enumerate(request.attempts):
            if number and attempt.wait:
                yield Ring(ended + attempt.wait - _EXACT, attempt.at)
            elif number:
                yield Ring(attempt.at - _USUAL, attempt.at)
            ended = attempt.at + attempt.head
            if attempt.failure == AttemptTimeout.reason:
                yield self._cut(request.route, "attempt", attempt.at, ended)
        ended = request.at + request.duration
        if request.reason == RequestTimeout.reason:
            yield self._cut(request.route, "request", request.at, ended)
        elif request.reason == QueueTimeout.reason:
            yield self._cut(request.route, "queue_timeout", request.at, ended)

    def _cut(self, route: str, kind: str, began: float, ended: float) -> Ring:
        """A deadline of `kind` that expired."""
        seconds = self._seconds.get((route, kind))
        late = _USUAL if seconds is None else ended - began - seconds
        return Ring(ended - late - _EXACT if 0.0 <= late <= _LATE else ended - _USUAL, ended)


def _late(took: float, seconds: float) -> bool:
    return seconds <= took <= seconds + max(_LATE, seconds * _LATE_SHARE)


def _sooner(attempt: RecordedAttempt, seconds: float) -> RecordedAttempt:
    if attempt.censored or not _late(attempt.head, seconds):
        return attempt
    return replace(attempt, head=seconds - _BEFORE)
