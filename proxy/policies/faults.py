"""Faults: failures that the configuration asks for, to see what the other policies do about them.

They stand where the upstream does: gates, deadlines, retries and hedges see them as its own. Each
attempt draws again. An entry with `headers` acts only on requests that ask, up to its own values.
"""

from dataclasses import dataclass

from proxy.clock import Random


@dataclass(frozen=True, slots=True)
class FaultConfig:
    """`share` of the attempts. `delay` in seconds; `abort` is a status; `throttle` in bytes per
    second; 0: none.

    With `headers` a request asks for the fault; `delay` is the longest that it can ask for, and
    `throttle` the slowest.
    """

    share: float
    delay: float = 0.0
    abort: int = 0
    reset: bool = False
    throttle: int = 0
    headers: bool = False


class Fault:
    """The fault of one attempt: a delay, then an abort or a reset; or a slow body."""

    __slots__ = ("abort", "delay", "reset", "throttle")

    def __init__(self) -> None:
        self.delay = 0.0
        self.abort = 0
        self.reset = False
        self.throttle = 0

    @property
    def kinds(self) -> list[str]:
        """The names of what it does, for metrics and logs."""
        found = ["delay"] if self.delay else []
        if self.abort:
            found.append("abort")
        elif self.reset:
            found.append("reset")
        elif self.throttle:
            found.append("throttle")
        return found


class Faults:
    """Draws the faults of one route. It keeps no state."""

    __slots__ = ("_entries", "_random", "asks")

    def __init__(self, entries: tuple[FaultConfig, ...], random: Random) -> None:
        self._entries = entries
        self._random = random
        self.asks = any([entry.headers for entry in entries])

    def draw(self, asked_delay: float, asked_abort: int, asked_throttle: int = 0) -> Fault | None:
        """The fault of one attempt, or None. `asked_…`: what its request asks for; 0: nothing."""
        fault = Fault()
        for entry in self._entries:
            delay, abort, throttle = entry.delay, entry.abort, entry.throttle
            if entry.headers:
                if not asked_delay and not asked_abort and not asked_throttle:
                    continue
                delay, abort = min(asked_delay, entry.delay), asked_abort
                throttle = max(asked_throttle, throttle) if asked_throttle and throttle else 0
            if self._random() >= entry.share:
                continue
            fault.delay = max(fault.delay, delay)
            if not fault.abort and not fault.reset:
                fault.abort, fault.reset = abort, entry.reset
            if throttle and (not fault.throttle or throttle < fault.throttle):
                fault.throttle = throttle
        return fault if fault.kinds else None
