"""Time that passes when told: an event loop turned by hand, and the clock of the data plane."""

import asyncio
import heapq
import itertools
import sys
import time
from contextlib import contextmanager

_REAL = time.monotonic


class Handle:
    def __init__(self, callback, args):
        self.callback, self.args = callback, args
        self.cancelled = False

    def cancel(self):
        self.cancelled = True

    def run(self):
        if not self.cancelled:
            self.callback(*self.args)


class HandLoop:
    """As much of an event loop as the data plane uses. `now` is monotonic seconds."""

    def __init__(self):
        self.now = 1000.0
        self._ready = []
        self._later = []
        self._count = itertools.count()

    def time(self):
        return self.now

    def call_soon(self, callback, *args):
        handle = Handle(callback, args)
        self._ready.append(handle)
        return handle

    def call_later(self, delay, callback, *args):
        handle = Handle(callback, args)
        heapq.heappush(self._later, (self.now + delay, next(self._count), handle))
        return handle

    def turn(self):
        """What is ready, and not what that makes ready; whether there was anything."""
        ready, self._ready = self._ready, []
        for handle in ready:
            handle.run()
        return bool(ready)

    def run(self):
        """Everything that can be done now."""
        while self._ready:
            self.turn()

    def advance(self, seconds):
        """Let time pass, each timer at its own moment."""
        end = self.now + seconds
        self.run()
        while self._later and self._later[0][0] <= end:
            when, _, handle = heapq.heappop(self._later)
            self.now = max(self.now, when)
            handle.run()
            self.run()
        self.now = end

    def stand_still(self, seconds):
        """The process is stopped for so long: what was due rings late."""
        self.now += seconds

    @property
    def timers(self):
        return sum(not handle.cancelled for _, _, handle in self._later)


@contextmanager
def turned_by_hand():
    """A loop that is the running one, and whose time is what the data plane's clocks say."""
    loop = HandLoop()
    modules = [
        module
        for name, module in tuple(sys.modules.items())
        if name.startswith(("proxy.exchange.", "proxy.wire.", "proxy.lifecycle"))
        and getattr(module, "monotonic", None) is _REAL
    ]
    for module in modules:
        module.monotonic = loop.time
    asyncio._set_running_loop(loop)
    try:
        yield loop
    finally:
        asyncio._set_running_loop(None)
        for module in modules:
            module.monotonic = _REAL
