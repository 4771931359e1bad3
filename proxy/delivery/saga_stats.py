"""Counters of sagas, for metrics."""

from typing import Final

MAX_SERIES: Final = 1000
"""Label values come from definitions, of which a long life with many reloads may have many."""


class SagaStats:
    """`counts`: sagas by name and state, as the store last counted them. `steps`: tries by saga,
    step, phase and outcome."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        self.steps: dict[tuple[str, str, str, str], int] = {}

    def count(self, saga: str, step: str, phase: str, outcome: str) -> None:
        """A try ended, or could not begin."""
        key = (saga, step, phase, outcome)
        if key not in self.steps and len(self.steps) >= MAX_SERIES:
            key = ("other", "other", phase, outcome)
        self.steps[key] = self.steps.get(key, 0) + 1
