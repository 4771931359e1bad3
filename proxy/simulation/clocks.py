"""When the timers of recorded requests rang: none is exact.

A process that has much to do begins a retry 1 ms after its wait, and cuts an attempt of 50 ms at
50.8 ms. In between, other requests were admitted or refused. It also reads what has arrived before
it judges a deadline: an answer that a log has after 1.002 s came although attempts had 1 s. Virtual
time would be exact. So a timer that is due when one was due in the log rings when that one did.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from math import inf

from proxy.errors import (
    AttemptTimeout,
    ConnectTimeout,
    QueueTimeout,
    RequestTimeout,
    UpstreamTruncated,
)
from proxy.policies.retry import StopReason
from proxy.simulation.recording import LIMITED, RecordedAttempt, RecordedRequest, Ring
from proxy.wire.alarm import LATE

_TOLD = re.compile(
    r".* ([0-9.e-]+) s \((?:timeouts|bulkhead)\.(attempt|request|max_duration|queue_timeout)\)"
)
_EXACT = 2e-5
"""Seconds between a moment in the log and the one from which a timer counts, at most."""
_AFTER = 1e-6
"""Seconds from what came in time to the timer that it forestalled."""
_FEWEST, _USUAL, _HIGHEST = 20, 0.0015, 0.05
"""Timers that tell how late timers are in a log; what is assumed with fewer, and at most."""
_SHARE = 0.99
_BY_TIMERS = frozenset({AttemptTimeout.reason, ConnectTimeout.reason, RequestTimeout.reason})
"""Failures of attempts that a timer decided."""


class Clocks:
    """The deadlines of each route, as far as the log tells. All of its requests are noted first."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], float] = {}
        # Of attempts that were cut off, where no sentence has told more.
        self._shortest: dict[str, float] = {}
        # The delay of hedges by route, in whole milliseconds.
        self._hedges: dict[str, float] = {}
        # Routes where callers' deadlines expired.
        self._given: set[str] = set()
        self._refused: set[int] = set()
        # When exchanges ended that may have held a permit.
        self._ends: list[float] = []
        self._late: list[float] = []
        self._usual = 0.0

    def note(self, request: RecordedRequest, detail: str, refused: object) -> None:
        """`detail`: the sentence of its failure; `refused`: why it was not retried."""
        told = _TOLD.match(detail)
        if told is not None:
            self._seconds[request.route, told[2]] = float(told[1])
        if request.deadline < inf:
            self._given.add(request.route)
        if refused == StopReason.DEADLINE.value and request.status and request.deadline == inf:
            self._refused.add(id(request))
        if request.reason not in LIMITED:
            self._ends.append(request.at + request.duration)
        ended = began = request.at
        for attempt in request.attempts:
            if attempt.hedge:
                delay = int((attempt.at - began) * 1000) / 1000
                self._hedges[request.route] = min(self._hedges.get(request.route, inf), delay)
            began = attempt.at
            if attempt.wait and not request.hedged:
                self._late.append(attempt.at - ended - attempt.wait)
            ended = attempt.at + attempt.head
            if attempt.failure == AttemptTimeout.reason:
                shortest = self._shortest.get(request.route, inf)
                self._shortest[request.route] = min(shortest, int(attempt.head * 1000) / 1000)

    def corrected(self, request: RecordedRequest) -> RecordedRequest:
        """The request with its timers, and with its caller's deadline where that was noticed."""
        answered = request.reason != RequestTimeout.reason
        if answered and id(request) in self._refused and request.route in self._given:
            request = replace(request, deadline=max(0.001, round(request.duration, 3)))
        rings = tuple(self._rings(request))
        seconds = self._attempt_seconds(request)
        attempts = request.attempts
        if any(_late(one, seconds) for one in attempts):
            attempts = tuple(replace(one, late=_late(one, seconds)) for one in attempts)
        return replace(request, rings=rings, attempts=attempts)

    def _rings(self, request: RecordedRequest) -> Iterator[Ring]:
        if request.queued or request.reason == QueueTimeout.reason:
            yield from self._queued(request)
        if request.refused < inf:
            tried = [one for one in request.attempts if one.upstream == request.upstream][-1]
            yield Ring(tried.at + tried.head, request.refused, request.refused)
        yield from self._hedged(request)
        ended = request.at
        for attempt in request.attempts:
            if attempt.wait:
                yield _ring(ended + attempt.wait, attempt.at)
            ended = attempt.at + attempt.head
            yield from self._deadline(request, attempt, ended)
        if request.attempts and request.reason != RequestTimeout.reason:
            yield from _in_time(request.at + self._of(request, "request"), ended)
        yield from self._end(request)

    def _end(self, request: RecordedRequest) -> Iterator[Ring]:
        """What cut the request, or came too late for that."""
        ended, last = request.at + request.duration, request.attempts[-1:]
        longest = request.at + self._of(request, "max_duration")
        if request.reason == RequestTimeout.reason:
            if last and last[0].failure == RequestTimeout.reason:
                ended = last[0].at + last[0].head
            yield self._cut(request, "request", ended)
        if request.reason in (RequestTimeout.reason, UpstreamTruncated.reason):
            if longest <= ended:
                yield _ring(longest, ended)
        elif not request.reason:
            yield from _in_time(longest, ended)

    def _hedged(self, request: RecordedRequest) -> Iterator[Ring]:
        """Hedges that began, or that came too late."""
        attempts, delay = request.attempts, self._hedges.get(request.route)
        if delay is None:
            return
        for place, attempt in enumerate(attempts):
            due = attempt.at + delay
            if place + 1 == len(attempts) or not attempts[place + 1].hedge:
                yield from _in_time(due, attempt.at + attempt.head)
            else:
                began = attempts[place + 1].at
                yield _ring(due, began)
                yield self._some_time(began)

    def _queued(self, request: RecordedRequest) -> Iterator[Ring]:
        """A wait that ended with a permit, or with its longest time."""
        ended = request.at + request.duration
        if request.reason == QueueTimeout.reason:
            yield self._cut(request, "queue_timeout", ended)
            return
        granted = request.at + request.queued
        began = request.attempts[0].at if request.attempts else ended
        first = min(granted - self._lateness, self._freed(granted) - _EXACT)
        yield Ring(first, began, began)
        yield from _in_time(request.at + self._of(request, "queue_timeout"), began)

    def _freed(self, at: float) -> float:
        """When the last permit before `at` can have become free."""
        place = bisect_right(self._ends, at + _EXACT)
        found = self._ends[place - 1] if place else at
        return found if at - found <= LATE else at

    def _deadline(
        self, request: RecordedRequest, attempt: RecordedAttempt, ended: float
    ) -> Iterator[Ring]:
        """Of one attempt."""
        due = attempt.at + self._attempt_seconds(request)
        if attempt.failure in _BY_TIMERS:
            if due <= ended:
                yield _ring(due, ended)
        else:
            yield from _in_time(due, ended)

    def _attempt_seconds(self, request: RecordedRequest) -> float:
        """What an attempt has, as far as is known; else inf."""
        shortest = self._shortest.get(request.route, inf)
        return self._seconds.get((request.route, "attempt"), shortest)

    def _of(self, request: RecordedRequest, kind: str) -> float:
        """The seconds of a deadline; inf: unknown."""
        if kind == "request" and request.deadline < inf:
            return request.deadline
        return self._seconds.get((request.route, kind), inf)

    def _cut(self, request: RecordedRequest, kind: str, ended: float) -> Ring:
        """A deadline of the whole request that expired."""
        due = request.at + self._of(request, kind)
        return _ring(due, ended) if due <= ended else self._some_time(ended)

    def _some_time(self, at: float) -> Ring:
        """The log does not tell when it was due."""
        return Ring(at - self._lateness, at, at)

    @property
    def _lateness(self) -> float:
        """How late timers usually are in this log, in seconds."""
        if not self._usual:
            self._usual = _usual(self._late)
            self._ends.sort()
        return self._usual


def _usual(late: list[float]) -> float:
    if len(late) < _FEWEST:
        return _USUAL
    return min(max(sorted(late)[int(len(late) * _SHARE)], _USUAL), _HIGHEST)


def _ring(due: float, at: float) -> Ring:
    return Ring(due - _EXACT, due + _EXACT, at)


def _late(attempt: RecordedAttempt, seconds: float) -> float:
    """How long after its deadline of so many seconds it was answered, although in time."""
    in_time = not attempt.censored and seconds <= attempt.head <= seconds + LATE
    return attempt.head - seconds + _AFTER if in_time else 0.0


def _in_time(due: float, ended: float) -> Iterator[Ring]:
    """What ended a little after its deadline was in time."""
    if due <= ended <= due + LATE:
        yield _ring(due, ended + _AFTER)
