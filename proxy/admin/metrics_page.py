"""`/metrics`: rendered in slices between which the data plane goes on, and shared.

    asked from loopback ──▶ a rendering that begins afterwards, shared by all who wait for it
    asked from elsewhere ─▶ the last one, if that is less than a second old; else the same

One rendering is made at a time, and all of them take no more than their share of the loop.
"""

import asyncio

from prometheus_client import CollectorRegistry

from proxy.admin.pace import Pace
from proxy.clock import Clock
from proxy.telemetry.exposition import Form, text

FRESH = 1.0
"""Seconds for which others get the same rendering."""
SLICE = 0.002
"""Seconds that rendering keeps the loop at once, but for the last piece."""
PAUSE = 0.006
"""Seconds between two slices: so rendering takes no more than a quarter of the time."""


class MetricsPage:
    """Renders one registry, to be read in the loop."""

    def __init__(self, registry: CollectorRegistry, clock: Clock, pace: Pace) -> None:
        self._families = getattr(registry, "parts", registry.collect)
        self._clock = clock
        self._pace = pace
        self._one_at_a_time = asyncio.Lock()
        self._next: dict[Form, asyncio.Task[bytes]] = {}
        self._last: dict[Form, tuple[float, bytes]] = {}

    async def get(self, form: Form, *, fresh: bool) -> bytes:
        """The document; with `fresh` nothing in it is from before this call."""
        if not fresh and form in self._last:
            made, document = self._last[form]
            if self._clock() - made < FRESH:
                return document
        task = self._next.get(form)
        if task is None:
            task = self._next[form] = asyncio.get_running_loop().create_task(self._make(form))
        return await asyncio.shield(task)

    async def _make(self, form: Form) -> bytes:
        try:
            async with self._one_at_a_time:
                await self._pace.turn()
                del self._next[form]  # who comes from here on is too late for this one
                document = await self._render(form)
        finally:
            if self._next.get(form) is asyncio.current_task():
                del self._next[form]
        self._last[form] = (self._clock(), document)
        return document

    async def _render(self, form: Form) -> bytes:
        clock = self._clock
        pieces = []
        begun = clock()
        for piece in text(self._families(), form):
            pieces.append(piece)
            now = clock()
            if now - begun >= SLICE:
                self._pace.spent(now - begun)
                await asyncio.sleep(PAUSE)
                begun = clock()
        document = "".join(pieces).encode("utf-8")
        self._pace.spent(clock() - begun)
        return document
