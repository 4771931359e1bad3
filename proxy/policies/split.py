"""Split: one route's requests go to several upstreams, each by its weight.

By chance, or by a value that the request carries: equal values go to the same upstream, in every
replica and after every restart. That is weighted rendezvous hashing (Schindelhauer and Schomaker,
2005): the order in the file does not matter, and while an upstream's weight grows, values move to
it and none moves anywhere else.
"""

from collections.abc import Sequence
from math import log
from typing import Final, TypeAlias
from zlib import crc32

Shares: TypeAlias = tuple[tuple[str, int], ...]
"""Upstreams and their weights, in the file's order."""
_MOST: Final = 1 << 30
_MASK: Final = _MOST - 1


class Split:
    """`names`: the upstreams, `shares`: of all requests. At least one weight is above 0."""

    __slots__ = ("_ends", "_seeds", "names", "shares")

    def __init__(self, shares: Sequence[tuple[str, int]]) -> None:
        total = sum([weight for _, weight in shares])
        self.names: Final = [name for name, _ in shares]
        self.shares: Final = [weight / total for _, weight in shares]
        self._seeds: Final = [seed_of(name.encode()) for name in self.names]
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
        bits = crc32(value)
        for at in range(len(self._seeds)):
            share = self.shares[at]
            if share:
                score = -share / log(point_of(bits, self._seeds[at]))
                if score > most:
                    best, most = at, score
        return best


def seed_of(name: bytes) -> int:
    """30 bits, the same for a name in every process."""
    return _mixed(crc32(name))


def point_of(value: int, seed: int) -> float:
    """Where a value (its hash) lies between 0 and 1, both excluded; with another seed elsewhere."""
    return (_mixed(value ^ seed) + 0.5) / _MOST


def _mixed(bits: int) -> int:
    """30 bits, each of which depends on all.

    Compiled code multiplies numbers of at most 30 bits without making objects of them.
    """
    bits = (bits ^ bits >> 15) & _MASK
    bits = bits * 0x2C1B3C6D & _MASK
    bits ^= bits >> 12
    bits = bits * 0x297A2D39 & _MASK
    return bits ^ bits >> 15
