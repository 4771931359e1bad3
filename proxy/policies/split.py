"""Split: one route's requests go to several upstreams, each by its weight.

By chance, or by a value that the request carries: equal values go to the same upstream, in every
replica and after every restart (`rendezvous`).
"""

from collections.abc import Sequence
from math import inf
from typing import Final, TypeAlias

from proxy.policies.rendezvous import draw, hash_of, seed_of, wait

Shares: TypeAlias = tuple[tuple[str, int], ...]
"""Upstreams and their weights, in the file's order."""


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
        best, least = 0, inf
        hashed = hash_of(value)
        for at in range(len(self._seeds)):
            share = self.shares[at]
            if share:
                waits = wait(draw(hashed, self._seeds[at]), share)
                if waits < least:
                    best, least = at, waits
        return best
