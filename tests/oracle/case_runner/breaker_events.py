"""Counts what a listener of Resilience4j would have been told."""

import re
from collections import Counter

from proxy.policies.circuit_breaker_answers import BreakerSnapshot
from proxy.policies.circuit_breaker_config import CircuitBreakerConfig

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TYPES = {
    "success": "success",
    "error": "error",
    "failure": "error",
    "ignored": "ignored_error",
    "ignored_error": "ignored_error",
    "not_permitted": "not_permitted",
    "call_not_permitted": "not_permitted",
    "state_transition": "state_transition",
    "transition": "state_transition",
    "reset": "reset",
    "failure_rate_exceeded": "failure_rate_exceeded",
    "slow_call_rate_exceeded": "slow_call_rate_exceeded",
    "slow_rate_exceeded": "slow_call_rate_exceeded",
}
# Nothing is published in these but changes of state and resets.
_SILENT_STATES = ("FORCED_OPEN", "DISABLED")
_ALWAYS = ("state_transition", "reset")


class EventCounts:
    """Counters by event type; thresholds are told once for each stay in a state."""

    def __init__(self, config: CircuitBreakerConfig) -> None:
        self._failure_rate = config.failure_rate * 100
        self._slow_rate = config.slow_call.rate * 100
        self._counts: Counter[str] = Counter()
        self._exceeded: set[str] = set()

    def add(self, event: str, state: str) -> None:
        if event in _ALWAYS or state not in _SILENT_STATES:
            self._counts[event] += 1
        if event in _ALWAYS:
            self._exceeded.clear()

    def watch_rates(self, snapshot: BreakerSnapshot, state: str) -> None:
        """After every recorded outcome, with the state in which it was recorded."""
        if state not in ("CLOSED", "METRICS_ONLY"):
            return
        if snapshot.failure_rate >= self._failure_rate:
            self._exceed("failure_rate_exceeded")
        if snapshot.slow_call_rate >= self._slow_rate:
            self._exceed("slow_call_rate_exceeded")

    def clear(self) -> None:
        self._counts.clear()

    def count(self, name: str) -> int | None:
        """By any usual spelling of the event's name; None for a name that is none."""
        event = event_type(name)
        return None if event is None else self._counts[event]

    def _exceed(self, event: str) -> None:
        if event not in self._exceeded:
            self._exceeded.add(event)
            self._counts[event] += 1


def event_type(name: str) -> str | None:
    """``onSuccess``, ``success_events`` and ``SUCCESS`` are all the same event."""
    word = _CAMEL.sub("_", name.strip()).replace("-", "_").lower()
    word = word.removeprefix("on_").removeprefix("events_").removeprefix("event_")
    for ending in ("_events", "_event", "_count"):
        word = word.removesuffix(ending)
    return _TYPES.get(word) or _TYPES.get(word.removesuffix("s"))
