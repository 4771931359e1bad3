"""Exports spans of sampled exchanges if the configuration says so, across reloads.

The SDK is imported only when an exporter is configured: it takes 9 MiB of memory and a third of a
second. A reload that turns the export on imports it in the thread that reads the file
(`check_exporter`), not in the loop.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from proxy.config.model import Config
from proxy.config.server_model import TraceExporter
from proxy.telemetry.exemplars import Exemplars
from proxy.telemetry.span_counts import CannotExport, SpanCounts
from proxy.telemetry.transitions import Transitions

if TYPE_CHECKING:
    from proxy.exchange.record import Record
    from proxy.telemetry.span_export import SpanExport

_TICK = 0.01

_log = logging.getLogger("proxy.tracing")


def check_exporter(config: Config) -> None:
    """Import and construct the exporter of `config` as a test. Raises CannotExport. Thread-safe."""
    if config.tracing.exporter is TraceExporter.NONE:
        return
    try:
        from proxy.telemetry.span_export import check
    except ImportError as error:
        raise CannotExport(str(error)) from error
    check(config.tracing.exporter)


class Tracing:
    """The exporter of the present configuration, and former ones that are still ending.

    `counts`, `changes` and `exemplars` live as long as the process.
    """

    def __init__(self, write_line: Callable[[bytes], None], changes: Transitions) -> None:
        """`write_line` writes to standard error, from any thread."""
        self.counts = SpanCounts()
        self.changes = changes
        self.exemplars = Exemplars()
        self._write_line = write_line
        self._export: SpanExport | None = None
        self._made_for: tuple[TraceExporter, str] = (TraceExporter.NONE, "")
        self._ending: list[threading.Thread] = []

    def observers(self, config: Config) -> "list[Callable[[Record], None]]":
        """The observers of settled exchanges from now on.

        The exporter stays if the configuration names the same one. Another one takes over at once,
        and the former exports its queue. `check_exporter` must have accepted `config`.
        """
        wanted = (config.tracing.exporter, config.service)
        if wanted != self._made_for:
            self._end()
            self._made_for = wanted
            if config.tracing.exporter is not TraceExporter.NONE:
                from proxy.telemetry.span_export import SpanExport

                self._export = SpanExport(config, self.counts, self.changes, self._write_line)
        if self._export is None:
            return [self.exemplars.observer]
        return [self.exemplars.observer, self._export.record]

    async def close(self, within: float) -> None:
        """Export the queue, `within` seconds: a dead collector must not delay the exit."""
        self._end()
        until = monotonic() + within
        while self._ends_still() and monotonic() < until:  # noqa: ASYNC110 - threads signal no event
            await asyncio.sleep(_TICK)
        if self._ends_still():
            _log.warning("not all spans were exported before the end")

    def _ends_still(self) -> bool:
        return any(thread.is_alive() for thread in self._ending)

    def _end(self) -> None:
        """End the exporter in a separate thread: it may have to wait for its collector."""
        self._ending = [thread for thread in self._ending if thread.is_alive()]
        if self._export is not None:
            thread = threading.Thread(target=self._export.finish, name="spans", daemon=True)
            thread.start()
            self._ending.append(thread)
            self._export = None
