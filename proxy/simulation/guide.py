"""What the log has for the attempt that begins now."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import NamedTuple

from proxy.clock import Clock, Random
from proxy.config.model import Listener
from proxy.exchange.exchange import Exchange
from proxy.exchange.gate import ListenerGate
from proxy.exchange.record import Record
from proxy.policies.backoff import Backoff, BackoffConfig
from proxy.policies.ejection import JITTER
from proxy.policies.faults import FaultConfig
from proxy.simulation.followed import Shares
from proxy.simulation.recording import RecordedAttempt, RecordedRequest
from proxy.upstream.upstream import Upstream

Requests = Callable[[bytes], RecordedRequest]
"""The recorded request by the id that it is played with."""
_SELDOM = 0.001
"""How seldom the longest of the waits that a backoff draws is shorter than what is taken for it."""
_JUST_BEFORE = 2e-6
_HIGHEST = 1.0 - 2**-53
_ROUNDED = 1e-6
"""Seconds by which a wait in a log may be longer than it was."""


def attempt_of(request: RecordedRequest, upstream: str, number: int) -> RecordedAttempt | None:
    """The recorded attempt `number` (from 1) at an upstream: that of a fallback begins again."""
    for attempt in request.attempts:
        if attempt.upstream == upstream:
            number -= 1
            if not number:
                return attempt
    return None


class Waited(NamedTuple):
    """Attempt `number` failed, after a wait of `previous`; `wait` followed. `longest`: of all that
    followed such an attempt of this route, `waits` in number. Seconds.
    """

    number: int
    previous: float
    wait: float
    longest: float
    waits: int


class Guide:
    """Finds the exchange that is running, and its recorded request."""

    def __init__(
        self,
        gates: Mapping[Listener, ListenerGate],
        requests: Requests,
        longest: Mapping[tuple[str, int], tuple[float, int]],
        now: Clock,
    ) -> None:
        """`longest`: see `longest_waits`. `now`: Unix seconds, as the log tells the time."""
        self._gates = gates
        self._requests = requests
        self._longest = longest
        self._now = now

    def begun(self) -> tuple[int, str]:
        """The attempt that begins now: its number, and its recorded endpoint, "" without one."""
        record = self._running()
        found = self.beginning()
        number = 0 if record is None else record.attempts[-1].number
        return number, "" if found is None else found.endpoint

    def beginning(self) -> RecordedAttempt | None:
        """The recorded attempt that begins now, None if the log has none."""
        record = self._running()
        if record is None:
            return None
        last = record.attempts[-1]
        return attempt_of(self._requests(record.id), last.upstream, last.number)

    def coming(self) -> RecordedAttempt | None:
        """The recorded attempt that is about to begin, None if the log has none."""
        exchange = self._exchange()
        if exchange is None:
            return None
        made, attempts = len(exchange.record.attempts), self._requests(exchange.record.id).attempts
        return attempts[made] if made < len(attempts) else None

    def wait(self) -> Waited | None:
        """The recorded wait after the attempt that has just failed, None if the log has none."""
        record = self._running()
        if record is None:
            return None
        last, request = record.attempts[-1], self._requests(record.id)
        number = len(record.attempts)
        found = attempt_of(request, last.upstream, number + 1)
        wait = request.refused - self._now() if found is None else found.wait
        if not 0.0 <= wait < inf:
            return None
        longest, waits = self._longest.get((request.route, number), (0.0, 0))
        return Waited(number, last.wait, wait, longest, waits)

    def _running(self) -> Record | None:
        """The record of the exchange that is running, if it has made an attempt."""
        exchange = self._exchange()
        return exchange.record if exchange is not None and exchange.record.attempts else None

    def _exchange(self) -> Exchange | None:
        """The one that is running."""
        for gate in self._gates.values():
            for exchange in gate.exchanges:
                if exchange.running:
                    return exchange
        return None


def longest_waits(requests: Iterable[RecordedRequest]) -> dict[tuple[str, int], tuple[float, int]]:
    """The longest wait by route and number of the attempt that had failed, and how many waits
    there were.
    """
    found: dict[tuple[str, int], tuple[float, int]] = {}
    for request in requests:
        for number, attempt in enumerate(request.attempts[1:], 1):
            kind = (request.route, number)
            longest, waits = found.get(kind, (0.0, 0))
            found[kind] = (max(longest, attempt.wait), waits + (attempt.wait > 0.0))
    return found


class FollowedWaits:
    """Chance for one backoff: what makes a wait as long as the log has it.

    Only where the log's waits reach to about the longest that this backoff allows: another backoff
    draws its own.
    """

    def __init__(self, config: BackoffConfig, chance: Random, guide: Guide) -> None:
        self._chance = chance
        self._guide = guide
        self._shortest = Backoff(config, lambda: 0.0)
        self._longest = Backoff(config, lambda: 1.0)

    def draw(self) -> float:
        found = self._guide.wait()
        if found is not None:
            low = self._shortest.delay(found.number, found.previous)
            high = self._longest.delay(found.number, found.previous)
            likely = high * _SELDOM ** (1.0 / max(1, found.waits))
            alike = likely < found.longest <= high + _ROUNDED
            if alike and low <= found.wait <= high + _ROUNDED and low < high:
                return min((found.wait - low) / (high - low), _HIGHEST)
        return self._chance()


class FollowedReturns:
    """Chance for how long the ejections of one upstream last, about a tenth more or less: until the
    log has the request that decides about the endpoint's return.
    """

    def __init__(
        self,
        begun: Callable[[str], Sequence[float]],
        chance: Random,
        clock: Clock,
    ) -> None:
        """`begun`: when the recorded attempts at an endpoint began, on the clock."""
        self._begun = begun
        self._chance = chance
        self._clock = clock
        self.upstream: Upstream | None = None

    def draw(self) -> float:
        now, upstream = self._clock(), self.upstream
        standings = None if upstream is None else upstream.choice.standings
        if upstream is not None and standings is not None:
            for endpoint in upstream.endpoints:
                if endpoint.member is not None and endpoint.member.since == now:
                    row = endpoint.member.row
                    eject_for = standings.ejection.config.eject_for
                    seconds = min(eject_for.max, eject_for.initial * row)
                    share = self._back(endpoint.label, now) / seconds
                    drawn = (share - 1.0 + JITTER) / (2.0 * JITTER)
                    if 0.0 <= drawn < 1.0:
                        return drawn
        return self._chance()

    def _back(self, label: str, now: float) -> float:
        """Seconds until just before the next recorded attempt at the endpoint began."""
        begun = self._begun(label)
        place = bisect_right(begun, now)
        return begun[place] - _JUST_BEFORE - now if place < len(begun) else inf


class FollowedFaults:
    """Chance for the faults of one route: each entry acts where the log has its kind, while it has
    not acted more, or less, than its share.

    `Faults` asks once for each entry that no header asks for, in the file's order.
    """

    def __init__(self, entries: Iterable[FaultConfig], chance: Random, guide: Guide) -> None:
        self._entries = [one for one in entries if not one.headers]
        self._shares = [Shares() for _ in self._entries]
        self._chance = chance
        self._guide = guide
        self._next = 0

    def draw(self) -> float:
        place = self._next
        self._next = (place + 1) % len(self._entries)
        entry, shares = self._entries[place], self._shares[place]
        recorded = self._guide.coming()
        due = {_ACTS: entry.share, _RESTS: 1.0 - entry.share}
        acts = self._chance() < entry.share
        if recorded is not None:
            told = _kinds(entry) <= set(recorded.fault.split("+"))
            told = told and entry.abort in (0, recorded.status)
            name = _ACTS if told else _RESTS
            if shares.allow(name, due[name]):
                acts = told
        shares.give(_ACTS if acts else _RESTS, due)
        return 0.0 if acts else 1.0


_ACTS, _RESTS = "acts", "rests"


def _kinds(entry: FaultConfig) -> set[str]:
    kinds = {"delay": entry.delay, "abort": entry.abort, "reset": entry.reset}
    return {kind for kind, value in (kinds | {"throttle": entry.throttle}).items() if value}
