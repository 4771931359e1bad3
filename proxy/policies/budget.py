"""Retry budget: how many retries a stretch of traffic may cause."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """In the last `window` seconds: retries <= min_per_second * window + ratio * requests."""

    ratio: float = 0.2
    min_per_second: float = 3.0
    window: float = 10.0
