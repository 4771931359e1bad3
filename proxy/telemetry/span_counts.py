"""What became of the spans of sampled exchanges, for a metric; it lives through reloads."""

from collections.abc import Mapping
from threading import Lock


class SpanCounts:
    """`dropped` is counted by the loop, the rest by the threads of exporters. All only grow."""

    __slots__ = ("_lock", "dropped", "exported", "failed")

    def __init__(self) -> None:
        self._lock = Lock()
        self.dropped = 0
        self.exported = 0
        self.failed = 0

    def ended(self, count: int, *, exported: bool) -> None:
        """A batch was taken by the collector, or was not."""
        with self._lock:  # of an exporter that ends, and of the next one
            if exported:
                self.exported += count
            else:
                self.failed += count

    @property
    def by_result(self) -> Mapping[str, int]:
        return {"exported": self.exported, "failed": self.failed, "dropped": self.dropped}
