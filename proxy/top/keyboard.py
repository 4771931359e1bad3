"""Reads single keys from a terminal as they are typed."""

import os
import select
import sys
import termios
import tty
from types import TracebackType
from typing import Any

_NAMES = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\r": "enter",
    b"\n": "enter",
    b"\x1b": "escape",
    b" ": "space",
}


class Keyboard:
    """A context in which the terminal delivers keys at once and does not echo them.

    If standard input is not a terminal there are no keys, only Ctrl-C. `wake` is a descriptor that
    ends a wait as a key does.
    """

    __slots__ = ("_descriptor", "_saved", "_wake")

    def __init__(self, wake: int) -> None:
        self._wake = wake
        self._descriptor: int | None = None
        self._saved: Any = None

    def __enter__(self) -> "Keyboard":
        if sys.stdin is not None and sys.stdin.isatty():
            self._descriptor = sys.stdin.fileno()
            self._saved = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)  # Ctrl-C keeps its meaning
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._saved is not None and self._descriptor is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._saved)

    def read(self, timeout: float) -> list[str]:
        """Wait `timeout` seconds at most for keys or for `wake`; returns the keys."""
        watched = [self._wake]
        if self._descriptor is not None:
            watched.append(self._descriptor)
        ready, _, _ = select.select(watched, [], [], timeout)
        if self._wake in ready:
            os.read(self._wake, 4096)
        if self._descriptor is None or self._descriptor not in ready:
            return []
        typed = os.read(self._descriptor, 1024)
        if not typed:  # the terminal is gone: no more keys
            self._descriptor = None
        return keys_of(typed)


def keys_of(typed: bytes) -> list[str]:
    """``up``, ``down``, ``enter``, ``escape``, ``space``, and lower-case characters.

    Other escape sequences are ignored.
    """
    found: list[str] = []
    rest = typed
    while rest:
        if rest[:3] in _NAMES:
            found.append(_NAMES[rest[:3]])
            rest = rest[3:]
        elif rest[:1] == b"\x1b" and rest[1:2] in (b"[", b"O"):
            end = 2
            while end < len(rest) and not 0x40 <= rest[end] <= 0x7E:
                end += 1
            rest = rest[end + 1 :]
        else:
            found.append(_NAMES.get(rest[:1]) or rest[:1].decode("latin-1").lower())
            rest = rest[1:]
    return found
