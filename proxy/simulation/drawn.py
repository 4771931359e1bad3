"""What an endpoint does in a simulation: what the log has, else a result that it had around then.

The log has the first attempt of nearly every request, but not the third one that another retry
policy would make, nor the one at another endpoint. Such an attempt gets the outcome of one that the
endpoint really had around that moment, drawn at random from earlier ones that no attempt has
used: so the same file gives nearly the same counts.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import replace
from math import inf

from proxy.clock import Random
from proxy.simulation.guide import attempt_of
from proxy.simulation.recording import UNSENT, RecordedAttempt, RecordedRequest

NEAREST = 40
"""Recorded attempts around a moment, among which is drawn."""
_LONGER = 0.001
"""Seconds that a body stays silent beyond the moment at which that cut it."""
CONNECT_FAILURES = frozenset(
    {"connect-refused", "connect-failed", "connect-timeout", "tls-failure", "dns-failure"}
)


class _Line:
    """Attempts in the order of their beginning."""

    __slots__ = ("attempts", "times")

    def __init__(self, attempts: list[RecordedAttempt]) -> None:
        self.attempts = sorted(attempts, key=lambda one: one.at)
        self.times = [one.at for one in self.attempts]

    def around(self, at: float, count: int) -> list[RecordedAttempt]:
        """The `count` nearest in time, or all."""
        low = high = bisect_left(self.times, at)
        end = len(self.times)
        while high - low < count and (low > 0 or high < end):
            before = at - self.times[low - 1] if low > 0 else float("inf")
            after = self.times[high] - at if high < end else float("inf")
            if before <= after:
                low -= 1
            else:
                high += 1
        return self.attempts[low:high]


class Drawing:
    """Outcomes by route, upstream and endpoint. `drawn` counts those that the log does not have."""

    def __init__(self, requests: Iterable[RecordedRequest], random: Random) -> None:
        self._random = random
        self.drawn = 0
        self.known = 0
        self._used: set[int] = set()
        sorted_in: dict[tuple[str, ...], list[RecordedAttempt]] = {}
        for request in requests:
            for number, attempt in enumerate(request.attempts, 1):
                if attempt.tells and attempt.failure not in CONNECT_FAILURES:
                    for key in _keys(request.route, attempt.upstream, attempt.endpoint, number):
                        sorted_in.setdefault(key, []).append(attempt)
        self._lines = {key: _Line(attempts) for key, attempts in sorted_in.items()}
        self._connects: dict[tuple[str, str], _Line] = _connects(requests)

    def of(
        self,
        request: RecordedRequest,
        number: int,
        upstream: str,
        endpoint: str,
        at: float,
        fault: str = "",
    ) -> RecordedAttempt | None:
        """What becomes of attempt `number` (from 1) at an endpoint; None: no answer ever.

        An attempt that was cut off before its answer is known to take longer: it gets the answer of
        one that took longer, or none. `fault`: those that it suffers.
        """
        own = attempt_of(request, upstream, number)
        if own is not None and _happened(own, endpoint, fault):
            self.known += 1
            self._used.add(id(own))
            return self._whole(request, own, at)
        self.drawn += 1
        around = self._around(request.route, upstream, endpoint, number, at)
        if not around:
            return None
        fresh = [one for one in around if one.at <= at and id(one) not in self._used] or around
        drawn = fresh[int(self._random() * len(fresh))]
        self._used.add(id(drawn))
        if drawn.late:
            drawn = replace(drawn, head=drawn.head - drawn.late, late=0.0)
        return self._whole(request, drawn, at)

    def connect_failure(self, upstream: str, endpoint: str, at: float) -> RecordedAttempt | None:
        """How a connect fails that begins now; None: it succeeds."""
        line = self._connects.get((upstream, endpoint)) or self._connects.get((upstream, ""))
        if line is None:
            return None
        nearest = line.around(at, 1)[0]
        return nearest if nearest.failure in CONNECT_FAILURES else None

    def addresses(self, upstream: str) -> list[str]:
        """The recorded endpoints of an upstream, ``ip:port``."""
        return sorted(
            key[2] for key in self._lines if key[0] == "endpoint" and key[1] == upstream and key[2]
        )

    def begun(self, upstream: str, endpoint: str) -> list[float]:
        """When the recorded attempts at an endpoint began, in order."""
        line = self._lines.get(("endpoint", upstream, endpoint))
        return [] if line is None else line.times

    def _around(
        self, route: str, upstream: str, endpoint: str, number: int, at: float
    ) -> list[RecordedAttempt]:
        for key in _keys(route, upstream, endpoint, number):
            line = self._lines.get(key)
            if line is not None:
                return line.around(at, NEAREST)
        return []

    def _whole(
        self, request: RecordedRequest, one: RecordedAttempt, at: float
    ) -> RecordedAttempt | None:
        """Itself, or where it was cut short, what it would have come to."""
        if one.censored:
            return self._longer(request, one, at)
        return self._longer_body(request, one, at) if one.cut else one

    def _longer(
        self, request: RecordedRequest, cut: RecordedAttempt, at: float
    ) -> RecordedAttempt | None:
        around = self._around(request.route, cut.upstream, cut.endpoint, 1, at)
        longer = [one for one in around if not one.censored and one.head > cut.head]
        return self._one_of(longer)

    def _longer_body(
        self, request: RecordedRequest, cut: RecordedAttempt, at: float
    ) -> RecordedAttempt:
        """Its head, and then the body of one that took longer; without one, an end that never
        comes."""
        around = self._around(request.route, cut.upstream, cut.endpoint, 1, at)
        longer = [one for one in around if not one.cut and one.status and one.body > cut.body]
        other = self._one_of(longer)
        body = inf if other is None else other.body
        failure = "" if other is None else other.failure
        pause = (max(0.0, cut.body - cut.silent), cut.body + _LONGER) if cut.silent else cut.pause
        return replace(cut, body=max(body, pause[1]), failure=failure, cut=False, pause=pause)

    def _one_of(self, attempts: list[RecordedAttempt]) -> RecordedAttempt | None:
        return attempts[int(self._random() * len(attempts))] if attempts else None


def _happened(own: RecordedAttempt, endpoint: str, fault: str) -> bool:
    """Whether the recorded attempt was sent to this endpoint, under the same faults."""
    sent = own.failure not in UNSENT
    return sent and own.endpoint == endpoint and own.fault in ("", fault)


def _keys(route: str, upstream: str, endpoint: str, number: int) -> list[tuple[str, ...]]:
    """From the closest kin to the farthest. What was tried again fails more often again."""
    turn = "first" if number == 1 else "later"
    return [
        (turn, route, upstream, endpoint),
        ("route", route, upstream, endpoint),
        ("endpoint", upstream, endpoint),
        ("route", route, upstream),
        ("upstream", upstream),
        ("all",),
    ]


def _connects(requests: Iterable[RecordedRequest]) -> dict[tuple[str, str], _Line]:
    """Attempts by upstream and endpoint, of those endpoints where connecting ever failed."""
    by_place: dict[tuple[str, str], list[RecordedAttempt]] = {}
    failing: set[tuple[str, str]] = set()
    for request in requests:
        for attempt in request.attempts:
            if attempt.tells:
                place = (attempt.upstream, attempt.endpoint)
                by_place.setdefault(place, []).append(attempt)
                if attempt.failure in CONNECT_FAILURES:
                    failing.add(place)
    return {place: _Line(by_place[place]) for place in failing}
