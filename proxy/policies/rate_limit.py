"""One rate limit (GCRA): `burst` requests at once, then one each 1/rate seconds.

A key is remembered as the time at which its whole burst is available again. Keys whose time is past
say nothing, and are dropped; beyond `MAX_KEYS` the key that has been idle longest goes.
"""

from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from typing import Final

from proxy.policies.gate import OBSERVE, Ask, Mode

MAX_KEYS = 100_000
"""Keys that one limit remembers."""
_FORGET_EVERY: Final = 8
"""Requests of known keys after which one may be forgotten; with a new key, two may be."""
_LONGEST_KEY: Final = 32
"""Bytes; of a longer key its hash is remembered."""
_MARK: Final = b"mark"
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_SHORTEST: Final = 1e-6
_GRID: Final = 2.0**30
"""Parts of a second: sums of times on this grid are exact for 97 days of the monotonic clock."""

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


class Key:
    """A key that a limit knows: its burst is whole again at `whole`.

    `before` and `after` it are keys in the order of their last use. They form a ring: after the
    latest comes a mark, and after the mark the idlest.
    """

    __slots__ = ("after", "before", "name", "whole")

    before: "Key"
    after: "Key"

    def __init__(self, name: bytes, whole: float) -> None:
        self.name = name
        self.whole = whole

    def leave(self) -> None:
        """Close the ring without it."""
        before, after = self.before, self.after
        before.after = after
        after.before = before


class Limit:
    """One limit, its keys and its counters. The counters never fall."""

    __slots__ = (
        "_client",
        "_client_key",
        "_header",
        "_known",
        "_of_client",
        "_ring",
        "_slack",
        "_span",
        "_step",
        "_until_forgetting",
        "allowed",
        "config",
        "limited",
        "observed",
        "waited",
    )

    def __init__(self, config: RateLimitConfig) -> None:
        self.allowed = self.waited = self.limited = self.observed = 0
        self._until_forgetting = _FORGET_EVERY
        self._known: dict[bytes, Key] = {}
        ring = Key(_MARK, 0.0)
        self._ring = ring.before = ring.after = ring
        # The client that came last: a service's proxy has one client.
        self._client = ""
        self._client_key = b""
        self.configure(config)

    def __del__(self) -> None:
        # Keys refer to each other: without this only the cycle collector could free them.
        self.clear()

    def configure(self, config: RateLimitConfig) -> None:
        """Count with these settings from now on."""
        self.config = config
        # On the grid, because otherwise the rounded sums of a large burst miss its last requests.
        self._step = max(round(config.rate.seconds * _GRID), 1.0) / _GRID
        self._span = config.burst * self._step
        # What is rounded nevertheless: sums in a clock that is older, and the times that come in.
        self._slack = min(_SHORTEST, self._step * 1e-3)
        self._of_client = config.key == CLIENT_KEY
        header = config.key.startswith(HEADER_KEY)
        self._header = config.key.removeprefix(HEADER_KEY).encode("ascii") if header else b""

    def key(self, ask: Ask) -> bytes:
        """The request's key. A request without the header has a key like any other."""
        if self._header:
            return _short(ask.joined(self._header))
        if self._of_client:
            client = ask.client
            if client != self._client:
                self._client = client
                self._client_key = _short(client.encode("latin-1", "replace"))
            return self._client_key
        return b""

    @property
    def keys(self) -> int:
        """How many it knows."""
        return len(self._known)

    def _find(self, key: bytes) -> Key | None:
        latest = self._ring.before
        return latest if latest.name is key else self._known.get(key)

    def room_at(self, key: bytes, now: float, ahead: int) -> float:
        """When there is room for one request of this key after `ahead` others."""
        known = self._find(key)
        whole = now if known is None else known.whole
        if ahead and whole < now:
            whole = now
        return whole + (ahead + 1) * self._step - self._span

    def delay(self, key: bytes, now: float, ahead: int = 0) -> float:
        """Seconds until there is room for one request of this key after `ahead` others; 0 if there
        is room now."""
        delay = self.room_at(key, now, ahead) - now
        return delay if delay > self._slack else 0.0

    def take(self, key: bytes, now: float) -> bool:
        """Charge one request that proceeds now, if there is room: `delay` and `charge` in one."""
        known = self._find(key)
        whole = now + self._step
        if known is not None and known.whole > now:
            whole = known.whole + self._step
        if whole - self._span - now > self._slack:
            return False
        self._note(key, known, whole, now)
        self.allowed += 1
        return True

    def charge(self, key: bytes, at: float, now: float) -> None:
        """Charge one request that could proceed at `at`, and does so now."""
        known = self._find(key)
        whole = at + self._step
        if known is not None and known.whole > at:
            whole = known.whole + self._step
        self._note(key, known, whole, now)
        self.allowed += 1

    def _note(self, key: bytes, known: Key | None, whole: float, now: float) -> None:
        """The burst of `key` is whole again at `whole`; `known`: the key, if it is known."""
        ring = self._ring
        if known is None:
            known = self._take_out(now, 1)
            if known is None:
                known = Key(key, whole)
            else:  # to use the object again is cheaper than to make another one
                known.name = key
                known.whole = whole
            self._known[key] = known
            _append(known, ring)
            # Keys leave faster than new ones come.
            self._take_out(now, 0)
            return
        known.whole = whole
        if known is not ring.before:
            known.leave()
            _append(known, ring)
        self._until_forgetting -= 1
        if not self._until_forgetting:
            self._until_forgetting = _FORGET_EVERY
            self._take_out(now, 0)

    def clear(self) -> None:
        """Forget every key."""
        for known in self._known.values():
            known.leave()
        self._known.clear()

    def refusal_fields(self, seconds: int) -> tuple[tuple[bytes, bytes], ...]:
        """The fields of draft-ietf-httpapi-ratelimit-headers for a refused request."""
        config = self.config
        name, window = config.name, ceil(config.burst * config.rate.seconds - _SHORTEST)
        policy = f'"{name}";q={config.burst};w={max(window, 1)}'
        return (
            (b"RateLimit-Policy", policy.encode("ascii")),
            (b"RateLimit", f'"{name}";r=0;t={seconds}'.encode("ascii")),
        )

    def _take_out(self, now: float, new: int) -> Key | None:
        """Forget the idlest key if it says nothing any more, or if there are too many.

        Never the latest. `new`: how many are about to come.
        """
        ring = self._ring
        idlest = ring.after
        if idlest is ring.before:
            return None
        if idlest.whole > now and len(self._known) + new <= MAX_KEYS:
            return None
        idlest.leave()
        del self._known[idlest.name]
        return idlest


def _append(key: Key, ring: Key) -> None:
    """It is the latest."""
    latest = ring.before
    key.before = latest
    key.after = ring
    latest.after = ring.before = key


def _short(key: bytes) -> bytes:
    """The key itself, or the hash of a long one."""
    if len(key) <= _LONGEST_KEY:
        return key
    # A field's value never contains the first byte.
    return b"\0" + blake2b(key, digest_size=16).digest()
