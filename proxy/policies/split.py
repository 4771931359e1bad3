"""Split: one route's requests go to several upstreams, each by its weight.

By chance, or by a value that the request carries: equal values go to the same upstream, in every
replica and after every restart. That is weighted rendezvous hashing (Schindelhauer and Schomaker,
2005): the order in the file does not matter, and while an upstream's weight grows, values move to
it and none moves anywhere else.
"""

from collections.abc import Sequence
from hashlib import blake2b
from math import log
from typing import Final, TypeAlias

Shares: TypeAlias = tuple[tuple[str, int], ...]
"""Upstreams and their weights, in the file's order."""
_MOST: Final = 1 << 52


class Split:
    """`names`: the upstreams, `shares`: of all requests. At least one weight is above 0."""

    __slots__ = ("_ends", "_keys", "names", "shares")

    def __init__(self, shares: Sequence[tuple[str, int]]) -> None:
        total = sum([weight for _, weight in shares])
        self.names: Final = [name for name, _ in shares]
        self.shares: Final = [weight / total for _, weight in shares]
        self._keys: Final = [name.encode() for name in self.names]
        self._ends: list[float] = []
        end = 0
        for _, weight in shares:
            end += weight
            self._ends.append(end / total)

    def choose(self, chance: float) -> int:
        """The index of an upstream. `chance`: from 0 up to, but not, 1."""
        ends = self._ends
        at = 0
        while chance >= ends[at]:
            at += 1
        return at

    def choose_by(self, value: bytes) -> int:
        """The index of the upstream for a value."""
        best, most = 0, -1.0
        for at in range(len(self._keys)):
            share = self.shares[at]
            if share:
                score = -share / log(point_of(value, self._keys[at]))
                if score > most:
                    best, most = at, score
        return best


def point_of(value: bytes, key: bytes) -> float:
    """Where a value lies between 0 and 1, both excluded; with another `key` elsewhere."""
    digest = blake2b(value, digest_size=8, key=key[:64]).digest()
    return ((int.from_bytes(digest, "big") >> 12) + 0.5) / _MOST
