"""Time that passes when told: an event loop without sockets, and the data plane's clock."""

import asyncio
import heapq
import importlib
import itertools
import pkgutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

_REAL = time.monotonic
DATA_PLANE = ("proxy.exchange", "proxy.upstream", "proxy.wire")


class Handle:
    """A callback that has not run yet."""

    __slots__ = ("_args", "_callback", "cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._callback = callback
        self._args = args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def run(self) -> None:
        if not self.cancelled:
            self._callback(*self._args)


class VirtualLoop:
    """As much of an event loop as the data plane uses. `now` is monotonic seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self._ready: list[Handle] = []
        self._later: list[tuple[float, int, Handle]] = []
        self._count = itertools.count()

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=cast(asyncio.AbstractEventLoop, self))

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: object = None
    ) -> Handle:
        handle = Handle(callback, args)
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Handle:
        return self.call_at(self.now + delay, callback, *args)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Handle:
        handle = Handle(callback, args)
        heapq.heappush(self._later, (when, next(self._count), handle))
        return handle

    def turn(self) -> bool:
        """Run what is ready, and not what that makes ready; whether there was anything."""
        ready, self._ready = self._ready, []
        for handle in ready:
            handle.run()
        return bool(ready)

    def run(self) -> None:
        """Run everything that needs no more time."""
        while self._ready:
            self.turn()

    def advance(self, seconds: float) -> None:
        """Let time pass, each timer at its own moment."""
        end = self.now + seconds
        self.run()
        while self._later and self._later[0][0] <= end:
            self._next()
        self.now = end

    def run_out(self, until: float) -> None:
        """Let time pass until no timer is left, or to `until`."""
        self.run()
        while self._later and self._later[0][0] <= until:
            self._next()

    def _next(self) -> None:
        when, _, handle = heapq.heappop(self._later)
        if not handle.cancelled:
            self.now = max(self.now, when)
            handle.run()
            self.run()

    def stand_still(self, seconds: float) -> None:
        """The process is stopped for so long: what was due rings late."""
        self.now += seconds

    @property
    def timers(self) -> int:
        """Timers that have not run, cancelled ones left out."""
        return sum(not handle.cancelled for _, _, handle in self._later)


@contextmanager
def virtual_time(loop: VirtualLoop | None = None) -> Iterator[VirtualLoop]:
    """A loop that is the running one, and whose time is what the data plane's clocks say. `loop`:
    this one.

    All modules of the data plane are imported before: one that is first imported in the meantime
    would have the real clock. Other threads' loops are left alone.
    """
    for name in DATA_PLANE:
        _import_all(name)
    loop = VirtualLoop() if loop is None else loop
    clock = loop.time
    _replace(_REAL, clock)
    asyncio._set_running_loop(cast(asyncio.AbstractEventLoop, loop))
    try:
        yield loop
    finally:
        asyncio._set_running_loop(None)
        _replace(clock, _REAL)


@cache
def _import_all(package: str) -> None:
    """Import every module of a package, once."""
    path = importlib.import_module(package).__path__
    for module in pkgutil.walk_packages(path, f"{package}."):
        importlib.import_module(module.name)


def _replace(clock: Callable[[], float], by: Callable[[], float]) -> None:
    for name, module in tuple(sys.modules.items()):
        if name.startswith("proxy.") and getattr(module, "monotonic", None) == clock:
            vars(module)["monotonic"] = by
