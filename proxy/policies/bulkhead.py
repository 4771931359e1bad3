"""Bulkhead: how many exchanges may be under way at once."""

from dataclasses import dataclass
from enum import Enum


class BulkheadScope(Enum):
    ROUTE = "route"
    UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True)
class BulkheadConfig:
    """`queue_timeout` in seconds, the longest wait of one exchange in the queue."""

    max_concurrent: int = 256
    max_queue: int = 0
    queue_timeout: float = 0.0
    scope: BulkheadScope = BulkheadScope.ROUTE
