"""Ids of entries: 48 bits of time, then 128 random bits.

Ids that are made one after the other stand beside each other in the store's index, so that a commit
of many accepts writes a few of its pages, and not one for each accept.
"""

from collections.abc import Callable
from os import urandom
from time import time
from typing import Final

_TIME_BYTES: Final = 6
_RANDOM_BYTES: Final = 16
_AT_ONCE: Final = 64 * _RANDOM_BYTES

LENGTHS: Final = (2 * _RANDOM_BYTES, 2 * (_TIME_BYTES + _RANDOM_BYTES))
"""Characters of an id; the shorter ones are of former versions."""


class Identities:
    """Makes ids. The random bits are read from the system for many ids at once."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._bits = b""

    def new(self) -> str:
        """An id in lower-case hexadecimal digits."""
        if not self._bits:
            self._bits = urandom(_AT_ONCE)
        own, self._bits = self._bits[:_RANDOM_BYTES], self._bits[_RANDOM_BYTES:]
        milliseconds = int(self._clock() * 1000)
        return (milliseconds.to_bytes(_TIME_BYTES, "big") + own).hex()


def is_identity(text: str) -> bool:
    """Whether it can be an id."""
    return len(text) in LENGTHS and text.isascii() and text.isalnum() and text == text.lower()
