"""Pieces of configuration that the tests put together."""

from collections.abc import Mapping
from typing import Any

from proxy.units import parse_duration

Settings = dict[str, Any]


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Settings:
    """`over` laid over `base`, mapping by mapping."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            value = merged(result[key], value)
        result[key] = value
    return result


def route(name: str, upstream: str = "chaos", **keys: Any) -> Settings:
    """An outbound route that takes ``/name`` and what lies below; `keys` are its policy keys."""
    return {"name": name, "match": {"prefix": f"/{name}"}, "upstream": upstream, **keys}


def breaker(calls: int = 4, open_for: str = "400ms", probes: int = 1, **keys: Any) -> Settings:
    """A circuit breaker over `calls` calls that opens at half of them."""
    return {
        "mode": "enforce",
        "window": {"type": "count", "size": calls},
        "minimum_calls": calls,
        "failure_rate": "50%",
        "open_for": {"initial": open_for},
        "half_open": {"calls": probes},
        **keys,
    }


def more_time(routes: list[Settings], *, attempt: float, request: float) -> None:
    """Lengthen the timeouts of routes, by these factors: so that no attempt that is answered is
    too late on a machine with much else to do. Breakers call no attempt slow that is in time."""
    for one in routes:
        timeouts = one["timeouts"]
        for name, factor in (("attempt", attempt), ("request", request)):
            timeouts[name] = f"{parse_duration(timeouts[name]) * factor:.3f}s"
        slow = {"slow_call": {"duration": timeouts["attempt"]}}
        one["circuit_breaker"] = merged(one.get("circuit_breaker", {}), slow)


ONCE: Settings = {"attempts": 1}
"""A retry policy that makes no retry."""
