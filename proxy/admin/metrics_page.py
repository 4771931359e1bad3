"""`/metrics`: rendered in slices between which the data plane continues, and shared.

    request from loopback ──▶ a rendering that begins afterwards, shared by its waiters
    request from elsewhere ─▶ the last one, if it is less than a second old; else the same

There is one rendering at a time, and renderings only take their share of the loop.
"""

import asyncio

from prometheus_client import CollectorRegistry

from proxy.admin.pace import Pace
from proxy.clock import Clock
from proxy.telemetry.exposition import Form, text

FRESH = 1.0
"""Seconds for which other machines get the same rendering."""
SLICE = 0.002
"""Seconds of the loop per slice, plus the last piece."""
PAUSE = 0.006
"""Seconds between two slices: rendering takes at most a quarter of the time."""


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
        """The document; with `fresh` it is rendered after this call."""
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
                del self._next[form]  # later requests need another rendering
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
