"""`/metrics`: rendered in slices between which the data plane continues, and shared.

    request from loopback ──▶ a rendering that begins afterwards, shared by its waiters
    request from elsewhere ─▶ the last one, if it is less than a second old; else the same

There is one rendering at a time, and renderings only take their share of the loop.
"""

from prometheus_client.registry import CollectorRegistry

from proxy.admin.pace import Pace
from proxy.admin.slices import Slices
from proxy.clock import Clock
from proxy.telemetry.exposition import Form, text

FRESH = 1.0
"""Seconds for which other machines get the same rendering."""


class MetricsPage:
    """Renders one registry, to be read in the loop."""

    def __init__(self, registry: CollectorRegistry, clock: Clock, pace: Pace) -> None:
        self._families = getattr(registry, "parts", registry.collect)
        self._clock = clock
        self._slices = Slices(clock, pace, takes_turns=True)
        self._last: dict[Form, tuple[float, list[bytes]]] = {}

    async def get(self, form: Form, *, fresh: bool) -> list[bytes]:
        """The document in slices; with `fresh` it is rendered after this call."""
        if not fresh and form in self._last:
            made, document = self._last[form]
            if self._clock() - made < FRESH:
                return document
        document = await self._slices.text(form, lambda: text(self._families(), form))
        self._last[form] = (self._clock(), document)
        return document
