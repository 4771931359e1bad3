"""Counts exported, failed and dropped spans for a metric; it survives reloads."""

from collections.abc import Mapping
from threading import Lock


class SpanCounts:
    """The loop counts `dropped`, the exporters' threads the others. Counts never fall."""

    __slots__ = ("_lock", "dropped", "exported", "failed")

    def __init__(self) -> None:
        self._lock = Lock()
        self.dropped = 0
        self.exported = 0
        self.failed = 0

    def ended(self, count: int, *, exported: bool) -> None:
        """Count a batch that the collector accepted or refused."""
        with self._lock:  # an ending exporter and the next one may count at the same time
            if exported:
                self.exported += count
            else:
                self.failed += count

    @property
    def by_result(self) -> Mapping[str, int]:
        return {"exported": self.exported, "failed": self.failed, "dropped": self.dropped}


class CannotExport(Exception):
    """``tracing.exporter`` is unusable; the text says why."""

    def __init__(self, why: str) -> None:
        super().__init__(f"tracing.exporter: {why}")
