"""Sends settled exchanges to watchers, each as a line, while there is a watcher.

    first watcher ──▶ the tap becomes an observer      last watcher leaves ──▶ it is removed

Without a watcher the data plane does no work for it. A line is made once for all watchers that
match. Nothing waits for a watcher: one that does not read loses lines, and is told how many.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from proxy.clock import WallClock
from proxy.telemetry.access_log import as_json
from proxy.telemetry.observed import Exchange
from proxy.telemetry.timestamps import Timestamps

BACKLOG_BYTES = 256 * 1024
"""Maximum lines queued for a watcher, in addition to the socket's buffer."""

_STATUSES = re.compile(r"([1-9])xx|([1-9][0-9]{2})(?:-([1-9][0-9]{2}))?")


@dataclass(frozen=True, slots=True)
class TapFilter:
    """A watcher's filters: all must match. Of the ranges `statuses` one must match."""

    route: str = ""
    statuses: tuple[tuple[int, int], ...] = ()
    path: str = ""

    def matches(self, exchange: Exchange) -> bool:
        if self.route and exchange.route != self.route:
            return False
        if self.path and not exchange.path.startswith(self.path):
            return False
        status = exchange.status
        return not self.statuses or any(low <= status <= high for low, high in self.statuses)


def tap_filter(route: str = "", status: str = "", path: str = "") -> TapFilter:
    """`status`: statuses, ranges or classes (``404,500-503,5xx``); `path`: its beginning.

    Raises ValueError with a sentence.
    """
    return TapFilter(route, tuple(_statuses(status)), path)


def _statuses(text: str) -> Iterator[tuple[int, int]]:
    for term in filter(None, text.split(",")):
        found = _STATUSES.fullmatch(term.strip())
        if found is None:
            raise ValueError(f"{term!r} is not a status; write 404, 500-503 or 5xx")
        hundred, low, high = found.groups()
        if hundred:
            yield int(hundred) * 100, int(hundred) * 100 + 99
        else:
            yield int(low), int(high or low)


class Announces(Protocol):
    """The part of the gateway that calls observers."""

    observers: list[Callable[[Any], None]]


class Watcher:
    """One watcher's lines. `lost` counts lost lines since the last report."""

    __slots__ = ("_lines", "_news", "_size", "lost", "wants")

    def __init__(self, wants: TapFilter) -> None:
        self.wants = wants
        self.lost = 0
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._news = asyncio.Event()

    def offer(self, line: bytes) -> bool:
        """Queue a line; False: the queue is full."""
        if self._size + len(line) > BACKLOG_BYTES:
            self.lost += 1
            return False
        self._lines.append(line)
        self._size += len(line)
        self._news.set()
        return True

    async def take(self, within: float) -> tuple[list[bytes], int]:
        """All lines, and how many were lost after them; empty if none comes `within` seconds."""
        try:
            async with asyncio.timeout(within):
                await self._news.wait()
        except TimeoutError:
            return [], 0
        lines, lost = list(self._lines), self.lost
        self._lines.clear()
        self._size = self.lost = 0
        self._news.clear()
        return lines, lost


class Tap:
    """All watchers. `dropped` counts their lost lines."""

    def __init__(self, announces: Announces, wall_clock: WallClock = time.time) -> None:
        self._announces = announces
        self._wall_clock = wall_clock
        self._timestamps = Timestamps()
        self._watchers: set[Watcher] = set()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._watchers)

    def observers(self) -> Iterable[Callable[[Exchange], None]]:
        """The tap while there is a watcher, for a gateway that gets new observers."""
        return (self.record,) if self._watchers else ()

    def watch(self, wants: TapFilter) -> Watcher:
        """Begin to watch; `leave` ends it."""
        watcher = Watcher(wants)
        if not self._watchers:
            self._announces.observers.append(self.record)
        self._watchers.add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        if not self._watchers and self.record in self._announces.observers:
            self._announces.observers.remove(self.record)

    def record(self, exchange: Exchange) -> None:
        """Observe one settled exchange."""
        line: bytes | None = None
        for watcher in self._watchers:
            if not watcher.wants.matches(exchange):
                continue
            if line is None:
                began = self._timestamps.text(self._wall_clock() - exchange.duration)
                line = as_json(exchange, began).encode("ascii")
            self.dropped += not watcher.offer(line)
