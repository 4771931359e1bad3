"""Random hex digits for ids, taken from a buffer: drawing for each id costs several times more."""

from collections.abc import Callable
from typing import TypeAlias

RandomHex: TypeAlias = Callable[[int], str]
"""Draws n random lower-case hex digits."""

_STRIP_BYTES = 2048
_STRIP_DIGITS = 2 * _STRIP_BYTES


class HexStrip:
    """`draw(n)` is a `RandomHex`; no digit is used twice."""

    __slots__ = ("_at", "_random_bytes", "_strip")

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        """`random_bytes(n)` draws n random bytes."""
        self._random_bytes = random_bytes
        self._strip = ""
        self._at = _STRIP_DIGITS

    def draw(self, digits: int) -> str:
        at = self._at
        end = at + digits
        if end > _STRIP_DIGITS:
            self._strip = self._random_bytes(_STRIP_BYTES).hex()
            at, end = 0, digits
        self._at = end
        return self._strip[at:end]
