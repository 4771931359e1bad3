"""Pieces of configuration that the tests put together."""

from collections.abc import Mapping
from typing import Any

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


ONCE: Settings = {"attempts": 1}
"""A retry policy that makes no retry."""
