"""Rate limits: how many requests of a route, a client or a header's value are admitted per time.

    admit ─▶ permit       every limit has room: each is charged, none before all have agreed
       ├───▶ wait ──▶ its turn has come, and every limit has room: wait.permit
       │        └───▶ abandon (queue timeout, client gone)
       └───▶ refusal      of the limit that has room last

One limit is a `rate_limit.Limit`. A waiting request stands in one line: that of the limit that has
room last, among the requests of its key there. It is charged when it proceeds, so one that leaves
costs nothing, and one that waits for a limit of its own does not hold up others at a shared one.
Lines are in the order of arrival. A limit in mode observe is charged as others are, and refuses
nothing.
"""

from dataclasses import dataclass
from math import ceil, inf
from typing import Final

from proxy.errors import ProxyError, RateLimited
from proxy.outcome import Verdict
from proxy.policies.gate import (
    OBSERVE,
    Answer,
    Ask,
    Family,
    Gate,
    GateKind,
    Permit,
    Refusal,
    Scope,
    Snapshot,
    Wait,
)
from proxy.policies.rate_limit import ROUTE_KEY, Limit, RateLimitConfig


class _Passed(Permit):
    """Nothing is returned."""

    __slots__ = ()


_PASSED: Final = _Passed()
_OBSERVED: Final = _Passed("rate_limits.limited")
_LATE: Final = 0.05
"""Seconds by which a turn may be late and still count as if it were not."""


class RateWait(Wait):
    """A request that waits for its turn in one of the bulkhead's places.

    `keys`: its key in each limit. It stands in the line of the limit at `place`. `turn` is when it
    will probably have room; if a request ahead of it leaves, it is told to ask again.
    """

    __slots__ = ("ask", "gate", "keys", "number", "over", "place", "since")

    def __init__(
        self, gate: "RateLimits", ask: Ask, keys: list[bytes], number: int, now: float
    ) -> None:
        super().__init__(inf)
        self.gate = gate
        self.ask = ask
        self.keys = keys
        self.number = number
        self.since = now
        self.place = -1
        self.over = False

    def timeout(self) -> ProxyError:
        return self.gate.give_up(self)


class RateRefusal(Refusal):
    """The limit `limit` of the gate `name` has room for this request in `delay` seconds."""

    __slots__ = ("delay", "limit", "name")

    def __init__(self, name: str, limit: Limit, delay: float) -> None:
        super().__init__()
        self.name = name
        self.limit = limit
        self.delay = delay

    def error(self) -> ProxyError:
        config, seconds = self.limit.config, max(ceil(self.delay), 1)
        each = "" if config.key == ROUTE_KEY else f" for each {config.key}"
        return RateLimited(
            f"Rate limit {config.name!r} of route {self.name!r} admits {config.rate}{each}, "
            f"{config.burst} at once; it has room again in {seconds} s.",
            retry_after=seconds,
            fields=self.limit.refusal_fields(seconds),
        )


@dataclass(frozen=True, slots=True)
class RateLimitsSnapshot(Snapshot):
    """All but `name` and `waiting` by the limit's name.

    `allowed` requests had room, `waited` of them after a wait; `limited` were refused; `observed`
    would have been. `keys`: how many have used a part of their burst. `total` is a metric: by
    limit and result.
    """

    name: str
    limits: dict[str, str]
    allowed: dict[str, int]
    limited: dict[str, int]
    observed: dict[str, int]
    waited: dict[str, int]
    keys: dict[str, int]
    waiting: int
    total: dict[tuple[str, str], int]

    def not_shown(self) -> frozenset[str]:
        return frozenset({"total"})


class RateLimits(Gate):
    """All rate limits of one route."""

    __slots__ = ("_arrived", "_limits", "_lines", "_only", "_waits", "waiting")

    def __init__(self, name: str, config: tuple[RateLimitConfig, ...]) -> None:
        super().__init__(name)
        self._limits = [Limit(one) for one in config]
        self._only = _alone(self._limits)
        self._lines: list[dict[bytes, list[RateWait]]] = [{} for _ in config]
        self._waits: dict[int, RateWait] = {}  # in the order of arrival
        self._arrived = 0
        self.waiting = 0

    def admit(self, now: float, ask: Ask) -> Answer:
        only = self._only
        if only is not None and not self.waiting and only.take(only.key(ask), now):
            return _PASSED
        keys = [limit.key(ask) for limit in self._limits]
        place, delay = self._strictest(keys, now, None)
        if place < 0:
            return self._charge(keys, now, now)
        longest = _longest_wait(ask, delay)
        if longest <= 0.0:
            limit = self._limits[place]
            limit.limited += 1
            return RateRefusal(self.name, limit, delay)
        self._arrived += 1
        wait = RateWait(self, ask, keys, self._arrived, now)
        wait.deadline = now + longest
        self._waits[wait.number] = wait
        self.waiting += 1
        self._stand(wait, place, now + delay)
        return wait

    def _strictest(self, keys: list[bytes], now: float, wait: RateWait | None) -> tuple[int, float]:
        """The place of the limit that has room last for these keys, and in how many seconds.

        -1: all have room now. `wait`: the request is this one; else it is new.
        """
        longest, place = 0.0, -1
        for at in range(len(keys)):
            limit = self._limits[at]
            if limit.config.mode is OBSERVE:
                continue
            delay = limit.delay(keys[at], now, self._ahead(at, keys[at], wait))
            if delay > longest:
                longest, place = delay, at
        return place, longest

    def _ahead(self, at: int, key: bytes, wait: RateWait | None) -> int:
        """How many requests in that line are before this one; all are before a new one."""
        line = self._lines[at].get(key) if self.waiting else None
        if line is None:
            return 0
        if wait is None:
            return len(line)
        return _position(line, wait)

    def _charge(self, keys: list[bytes], at: float, now: float) -> _Passed:
        """Charge every limit that has room; the others only observe."""
        permit = _PASSED
        for position in range(len(keys)):
            limit, key = self._limits[position], keys[position]
            if limit.config.mode is OBSERVE and limit.delay(key, now):
                limit.observed += 1
                permit = _OBSERVED
            else:
                limit.charge(key, at, now)
        return permit

    def settle(self, permit: Permit, verdict: Verdict, seconds: float, now: float) -> None:
        pass

    def grant(self, wait: Wait, now: float) -> None:
        """Let it proceed if every limit has room; else it has another `turn`."""
        assert isinstance(wait, RateWait)
        if wait.over:
            return
        place, delay = self._strictest(wait.keys, now, wait)
        if place >= 0:
            if place != wait.place:
                self._step_out(wait)
            self._stand(wait, place, now + delay)
            return
        self._leave(wait)
        permit = self._charge(wait.keys, self._had_room_at(wait, now), now)
        for limit in self._limits:
            limit.waited += 1
        if permit is _OBSERVED:
            wait.ask.observe(permit.observed)
        wait.permit = _PASSED

    def _had_room_at(self, wait: RateWait, now: float) -> float:
        """When it could have proceeded: a timer that is late would cost a part of the rate."""
        at = max(wait.since, now - _LATE)
        for position, limit in enumerate(self._limits):
            if limit.config.mode is not OBSERVE:
                at = max(at, limit.room_at(wait.keys[position], now, 0))
        return min(at, now)

    def give_up(self, wait: RateWait) -> ProxyError:
        """The failure of a request whose turn did not come in time."""
        limit = self._limits[max(wait.place, 0)]
        limit.limited += 1
        return RateRefusal(self.name, limit, wait.turn - wait.deadline).error()

    def abandon(self, wait: Wait) -> None:
        """Leave the line; those behind move up."""
        assert isinstance(wait, RateWait)
        if not wait.over:
            self._leave(wait)

    def _leave(self, wait: RateWait) -> None:
        self._step_out(wait)
        wait.over = True
        del self._waits[wait.number]
        self.waiting -= 1
        wait.ask.leave_place()

    def _stand(self, wait: RateWait, place: int, turn: float) -> None:
        """It stands in the line at `place`, perhaps already."""
        wait.turn = turn
        if wait.place != place:
            wait.place = place
            line = self._lines[place].setdefault(wait.keys[place], [])
            line.insert(_position(line, wait), wait)

    def _step_out(self, wait: RateWait) -> None:
        """Leave its line, and tell the request that is the first one now."""
        if wait.place < 0:
            return
        lines, key = self._lines[wait.place], wait.keys[wait.place]
        wait.place = -1
        line = lines[key]
        was_first = line[0] is wait
        line.remove(wait)
        if not line:
            del lines[key]
        elif was_first:
            _tell(line[0])

    def adopt(self, config: object) -> bool:
        """Use other limits; always possible. Those with the same settings keep their keys."""
        assert isinstance(config, tuple)
        former = {limit.config.name: limit for limit in self._limits}
        limits = []
        for one in config:
            limit = former.get(one.name)
            if limit is None:
                limit = Limit(one)
            else:
                if not _same(one, limit.config):
                    limit.clear()
                limit.configure(one)
            limits.append(limit)
        self._limits = limits
        self._only = _alone(limits)
        self._lines = [{} for _ in limits]
        for wait in self._waits.values():
            wait.keys = [limit.key(wait.ask) for limit in limits]
            wait.place = -1
            _tell(wait)
        return True

    def idle(self, now: float) -> bool:
        return not self.waiting

    def snapshot(self, now: float) -> RateLimitsSnapshot:
        limits = {one.config.name: one for one in self._limits}
        total = {}
        for name, one in limits.items():
            total[name, "allowed"] = one.allowed
            total[name, "limited"] = one.limited
            total[name, "observed"] = one.observed
        return RateLimitsSnapshot(
            name=self.name,
            limits={name: str(one.config) for name, one in limits.items()},
            allowed={name: one.allowed for name, one in limits.items()},
            limited={name: one.limited for name, one in limits.items()},
            observed={name: one.observed for name, one in limits.items()},
            waited={name: one.waited for name, one in limits.items()},
            keys={name: one.keys for name, one in limits.items()},
            waiting=self.waiting,
            total=total,
        )


def _position(line: list[RateWait], wait: RateWait) -> int:
    """Where it stands in a line, or would."""
    at = len(line)
    while at and line[at - 1].number >= wait.number:
        at -= 1
    return at


def _tell(wait: RateWait) -> None:
    """It shall ask again: it may have room earlier."""
    if wait.on_granted is not None:
        wait.on_granted()


def _longest_wait(ask: Ask, delay: float) -> float:
    """Take a place to wait in, for at most so many seconds; 0: there is none for so long a wait."""
    longest = ask.take_place()
    if longest > 0.0 and delay > longest:
        ask.leave_place()
        return 0.0
    return longest


def _alone(limits: list[Limit]) -> Limit | None:
    """The only limit, if it acts."""
    return limits[0] if len(limits) == 1 and limits[0].config.mode is not OBSERVE else None


def _same(one: RateLimitConfig, other: RateLimitConfig) -> bool:
    """Whether they count in the same way; the mode does not matter."""
    return (one.key, one.rate, one.burst) == (other.key, other.rate, other.burst)


def observing(config: tuple[RateLimitConfig, ...]) -> tuple[RateLimitConfig, ...]:
    """The same limits, none of which refuses anything."""
    return tuple(RateLimitConfig(one.name, one.key, one.rate, one.burst, OBSERVE) for one in config)


RATE_LIMITS = GateKind(
    "rate_limits",
    make=RateLimits,
    default=(),
    member="rate_limits",
    title="rate limits",
    families=(
        Family(
            "total",
            "Requests by the rate limit's result: allowed, limited, or observed (would have been "
            "limited).",
            name="proxy_rate_limit",
            owner="route",
            labels=("limit", "result"),
            counter=True,
        ),
    ),
    scope_of=lambda config: Scope.ROUTE if config else None,
    whole_route=True,
    aside=observing,
    of_arrival=True,
)
