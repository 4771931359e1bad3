"""Rate limits: how many requests of a route, a client or a header's value are admitted per time.

    admit ─▶ permit       every limit has room: each is charged, none before all have agreed
       ├───▶ wait ──▶ its turn has come: wait.permit
       │        └───▶ abandon (queue timeout, client gone)
       └───▶ refusal      of the limit that has room last

One limit is a `rate_limit.Limit`. A waiting request is charged when it begins to wait, so turns
come in the order of arrival. A limit in mode observe is charged as others are, and refuses nothing.
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


class RateWait(Wait):
    """A request that waits for its turn in one of the bulkhead's places.

    `charges`: each limit that charged it, the key, and when the key's burst is whole again.
    """

    __slots__ = ("ask", "charges", "over")

    def __init__(self, ask: Ask, turn: float, charges: list[tuple[Limit, bytes, float]]) -> None:
        super().__init__(inf)
        self.turn = turn
        self.ask = ask
        self.charges = charges
        self.over = False


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

    __slots__ = ("_limits", "_observed", "_only", "waiting")

    def __init__(self, name: str, config: tuple[RateLimitConfig, ...]) -> None:
        super().__init__(name)
        self._limits = [Limit(one) for one in config]
        self._only = _alone(self._limits)
        self.waiting = 0
        self._observed = 0

    def admit(self, now: float, ask: Ask) -> Answer:
        limits = self._limits
        only = self._only
        if only is not None and only.take(only.key(ask), now):
            return _PASSED
        keys: list[bytes] = []
        longest = 0.0
        strictest: Limit | None = None
        for limit in limits:
            key = limit.key(ask)
            keys.append(key)
            if limit.config.mode is not OBSERVE:
                delay = limit.delay(key, now)
                if delay > longest:
                    longest, strictest = delay, limit
        if strictest is None:
            before = self._observed
            self._charge(keys, now, now)
            return _PASSED if self._observed == before else _OBSERVED
        if not self._waits(ask, longest):
            strictest.limited += 1
            return RateRefusal(self.name, strictest, longest)
        self.waiting += 1
        turn = now + longest
        return RateWait(ask, turn, self._charge(keys, turn, now))

    def _charge(self, keys: list[bytes], at: float, now: float) -> list[tuple[Limit, bytes, float]]:
        charges: list[tuple[Limit, bytes, float]] = []
        for position in range(len(keys)):
            limit, key = self._limits[position], keys[position]
            if limit.config.mode is OBSERVE and limit.delay(key, now):
                limit.observed += 1
                self._observed += 1
                continue
            whole = limit.charge(key, at, now)
            if at > now:
                charges.append((limit, key, whole))
            else:
                limit.allowed += 1
        return charges

    @staticmethod
    def _waits(ask: Ask, delay: float) -> bool:
        """Whether the request takes a place to wait in."""
        longest = ask.take_place()
        if longest <= 0.0:
            return False
        if delay <= longest:
            return True
        ask.leave_place()
        return False

    def settle(self, permit: Permit, verdict: Verdict, seconds: float, now: float) -> None:
        pass

    def grant(self, wait: Wait) -> None:
        assert isinstance(wait, RateWait)
        if not wait.over:
            for limit, _, _ in wait.charges:
                limit.allowed += 1
                limit.waited += 1
            wait.permit = _PASSED
            self._leave(wait)

    def abandon(self, wait: Wait) -> None:
        """Leave the line. The last one gives its turn back; no later turn moves."""
        assert isinstance(wait, RateWait)
        if not wait.over:
            for limit, key, whole in wait.charges:
                limit.give_back(key, whole)
            self._leave(wait)

    def _leave(self, wait: RateWait) -> None:
        wait.over = True
        wait.charges = []
        self.waiting -= 1
        wait.ask.leave_place()

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
