"""Passes on the few records that an observer keeps.

Observers that are not compiled would cost every request a thousand instructions to say no.
"""

from collections.abc import Callable

from proxy.exchange.record import Record


class Sampled:
    """`record` is an observer of settled exchanges: it passes on those whose trace is sampled."""

    __slots__ = ("_keep",)

    def __init__(self, keep: Callable[[Record], None]) -> None:
        self._keep = keep

    def record(self, record: Record) -> None:
        if record.sampled:
            self._keep(record)


class Notable:
    """Passes on exchanges with trouble, and those that took longer than `slow_from` seconds."""

    __slots__ = ("_keep", "slow_from")

    def __init__(self, keep: Callable[[Record], None]) -> None:
        self._keep = keep
        self.slow_from = 0.0

    def record(self, record: Record) -> None:
        if record.duration > self.slow_from or record.troubled:
            self._keep(record)
