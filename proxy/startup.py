"""The first steps of a process, which protect it from the way in which it was started.

Standard streams: if the process was started without one (``>&-``), the next socket or pipe would
get its number, and libuv aborts when it closes such a low descriptor. The numbers 0 to 2 are
therefore opened first.

SIGHUP ends a process by default. `hangups` defers it from the first moment on, remembers it, and
distinguishes a closed terminal from a request to reload:

    the process had a controlling terminal, and has none any more  ──▶ the terminal was closed
    else (a daemon, a container, a terminal that is still there)   ──▶ a request to reload

A process that was started with SIGHUP ignored (nohup) should outlive the terminal.
"""

import os
import signal
from collections.abc import Callable
from enum import Enum
from types import FrameType


class CannotStart(Exception):
    """A part of the proxy cannot be used: the text says why. The process ends with status 2."""


def fill_standard_streams() -> None:
    """Open /dev/null on each of the descriptors 0 to 2 that is closed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            if opened != descriptor:
                os.dup2(opened, descriptor, inheritable=False)
                os.close(opened)


def has_terminal() -> bool:
    """Whether the process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


class Hangup(Enum):
    """What a SIGHUP means."""

    RELOAD = "reload"
    TERMINAL_CLOSED = "terminal closed"
    NOTHING = "nothing"
    """The terminal was closed, and the process should outlive it."""


class Hangups:
    """SIGHUP before the event loop handles it. `held`: at least one arrived."""

    def __init__(self, has_terminal: Callable[[], bool] = has_terminal) -> None:
        self.held = False
        self._has_terminal = has_terminal
        self._had_terminal = False
        self._outlives = False

    def hold(self) -> None:
        """From now on SIGHUP does not end the process. Call it in the main thread; repeatable."""
        before = signal.signal(signal.SIGHUP, self._note)
        if before != self._note:
            self._had_terminal = self._has_terminal()
            self._outlives = before == signal.SIG_IGN

    def meaning(self) -> Hangup:
        """The meaning of a SIGHUP that has just arrived."""
        if not self._had_terminal or self._has_terminal():
            return Hangup.RELOAD
        return Hangup.NOTHING if self._outlives else Hangup.TERMINAL_CLOSED

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.held = True


hangups = Hangups()
"""The instance of this process: signals are global too."""


def begin() -> None:
    """The first step of a command that serves."""
    fill_standard_streams()
    hangups.hold()
