"""One sample as plain data, for `top --format json`."""

from dataclasses import asdict
from typing import Any

from proxy.top.rates import StoreRates, Window


def document(window: Window) -> dict[str, Any]:
    """The latest sample, with rates over the `span_s` seconds before it.

    The window must have at least one sample.
    """
    look = window.latest
    assert look is not None
    found = asdict(look)
    for name in ("at", "flying"):  # the watcher's own clock; each route has its in_flight
        del found[name]
    found["uptime_s"] = found.pop("uptime")
    found["oldest_s"] = found.pop("oldest")
    found["in_flight"] = {name: found.pop(name) for name in ("inbound", "outbound")}
    found["span_s"] = round(window.span, 3)
    if found["store"] is not None:
        found["store"] = _store(found["store"], window.store())
    found["outbox"] = [_with_unit(queue) for queue in found["outbox"]]
    found["sagas"] = [_with_unit(saga) for saga in found["sagas"]]
    found["routes"] = [_route(asdict(route)) for route in window.routes()]
    return found


def _with_unit(found: dict[str, Any]) -> dict[str, Any]:
    found["oldest_s"] = found.pop("oldest")
    return found


def _store(found: dict[str, Any], rates: StoreRates | None) -> dict[str, Any]:
    """The histogram is told as a rate and a percentile."""
    for name in ("bounds", "counts"):
        del found[name]
    found["commits_per_s"] = rates.commits if rates is not None else None
    found["commit_p99_ms"] = rates.p99 if rates is not None else None
    return found


def _route(found: dict[str, Any]) -> dict[str, Any]:
    """A route, with the units of the view's column titles."""
    return {
        "listener": found["listener"],
        "name": found["name"],
        "total": found["total"],
        "in_flight": found["flying"],
        "requests_per_s": found["requests"],
        "error_share": found["errors"],
        "retries_per_s": found["retries"],
        "fallbacks_per_s": found["fallbacks"],
        "p50_ms": found["p50"],
        "p99_ms": found["p99"],
    }
