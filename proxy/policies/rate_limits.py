"""Rate limits: how many requests of a route, a client or a header's value are admitted per time.

    admit ─▶ permit       every limit has room: each is charged, none before all have agreed
       ├───▶ wait ──▶ its turn has come: wait.permit
       │        └───▶ abandon (queue timeout, client gone)
       └───▶ refusal      of the limit that has room last

Each limit is GCRA: `burst` requests at once, then one each 1/rate seconds. A key is remembered as
the time at which its whole burst is available again. Keys whose time is past say nothing, and are
dropped; beyond `MAX_KEYS` the key that has been idle longest goes.

A waiting request is charged when it begins to wait, so turns come in the order of arrival. A limit
in mode observe is charged like the others and refuses nothing.
"""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
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
    Mode,
    Permit,
    Refusal,
    Scope,
    Snapshot,
    Wait,
)

MAX_KEYS = 100_000
"""Keys that one limit remembers."""
_LONGEST_KEY: Final = 32
"""Bytes; of a longer key its hash is remembered."""
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_SHORTEST: Final = 1e-6

ROUTE_KEY = "route"
CLIENT_KEY = "client"
HEADER_KEY = "header:"


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` requests per `unit`: s, m or h."""

    count: float
    unit: str

    @property
    def seconds(self) -> float:
        """The time of one request."""
        return _SECONDS[self.unit] / self.count

    def __str__(self) -> str:
        return f"{self.count:.15g}/{self.unit}"


@dataclass(frozen=True, slots=True)
class RateLimitConfig:
    """`key`: ``route``, ``client``, or ``header:`` and a header's name in lower case."""

    name: str
    key: str
    rate: Rate
    burst: int
    mode: Mode = Mode.ENFORCE

    def __str__(self) -> str:
        text = f"{self.rate} by {self.key}, {self.burst} at once"
        return f"{text}, observes" if self.mode is OBSERVE else text


class _Limit:
    """One limit, its keys and its counters. The counters never fall."""

    __slots__ = (
        "_header",
        "_of_client",
        "_slack",
        "_span",
        "_step",
        "allowed",
        "config",
        "limited",
        "observed",
        "waited",
        "whole_at",
    )

    def __init__(self, config: RateLimitConfig) -> None:
        self.allowed = self.waited = self.limited = self.observed = 0
        self.whole_at: OrderedDict[bytes, float] = OrderedDict()  # the idlest first
        self.configure(config)

    def configure(self, config: RateLimitConfig) -> None:
        """Count with these settings from now on."""
        self.config = config
        self._step = config.rate.seconds
        self._span = config.burst * self._step
        # Sums of steps are rounded: without this the last request of a burst could be refused.
        self._slack = min(_SHORTEST, self._step * 1e-3)
        self._of_client = config.key == CLIENT_KEY
        header = config.key.startswith(HEADER_KEY)
        self._header = config.key.removeprefix(HEADER_KEY).encode("ascii") if header else b""

    def key(self, ask: Ask) -> bytes:
        """The request's key. A request without the header has a key like any other."""
        if self._header:
            values = ask.values(self._header)
            key = values[0] if len(values) == 1 else b",".join(values)
        elif self._of_client:
            key = ask.client.encode("latin-1", "replace")
        else:
            return b""
        if len(key) <= _LONGEST_KEY:
            return key
        # A field's value never contains the first byte.
        return b"\0" + blake2b(key, digest_size=16).digest()

    def delay(self, key: bytes, now: float) -> float:
        """Seconds until there is room for one request of this key; 0 if there is room now."""
        delay = self.whole_at.get(key, now) + self._step - self._span - now
        return delay if delay > self._slack else 0.0

    def charge(self, key: bytes, at: float, now: float) -> float:
        """Charge one request that proceeds at `at`. Returns when the burst is whole again."""
        known = self.whole_at
        whole = known.get(key, at)
        whole = (whole if whole > at else at) + self._step
        known[key] = whole
        if len(known) > 1:
            known.move_to_end(key)
            self._forget(now)
        return whole

    def give_back(self, key: bytes, whole: float) -> None:
        """Take back a charge, if no later one follows it."""
        if self.whole_at.get(key) == whole:
            self.whole_at[key] = whole - self._step

    def refusal_fields(self, seconds: int) -> tuple[tuple[bytes, bytes], ...]:
        """The fields of draft-ietf-httpapi-ratelimit-headers for a refused request."""
        config = self.config
        name, window = config.name, ceil(self._span - self._slack)
        policy = f'"{name}";q={config.burst};w={max(window, 1)}'
        return (
            (b"RateLimit-Policy", policy.encode("ascii")),
            (b"RateLimit", f'"{name}";r=0;t={seconds}'.encode("ascii")),
        )

    def _forget(self, now: float) -> None:
        """Drop at most two keys, so that keys leave faster than new ones come."""
        known = self.whole_at
        for _ in range(2):
            oldest = next(iter(known))
            if known[oldest] > now and len(known) <= MAX_KEYS:
                return
            del known[oldest]


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

    def __init__(self, ask: Ask, turn: float, charges: list[tuple[_Limit, bytes, float]]) -> None:
        super().__init__(inf)
        self.turn = turn
        self.ask = ask
        self.charges = charges
        self.over = False


class RateRefusal(Refusal):
    """The limit `limit` of the gate `name` has room for this request in `delay` seconds."""

    __slots__ = ("delay", "limit", "name")

    def __init__(self, name: str, limit: _Limit, delay: float) -> None:
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

    __slots__ = ("_limits", "_observed", "waiting")

    def __init__(self, name: str, config: tuple[RateLimitConfig, ...]) -> None:
        super().__init__(name)
        self._limits = [_Limit(one) for one in config]
        self.waiting = 0
        self._observed = 0

    def admit(self, now: float, ask: Ask) -> Answer:
        limits = self._limits
        keys: list[bytes] = []
        longest = 0.0
        strictest: _Limit | None = None
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

    def _charge(
        self, keys: list[bytes], at: float, now: float
    ) -> list[tuple[_Limit, bytes, float]]:
        charges: list[tuple[_Limit, bytes, float]] = []
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
                limit = _Limit(one)
            else:
                if not _same(one, limit.config):
                    limit.whole_at.clear()
                limit.configure(one)
            limits.append(limit)
        self._limits = limits
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
            keys={name: len(one.whole_at) for name, one in limits.items()},
            waiting=self.waiting,
            total=total,
        )


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
