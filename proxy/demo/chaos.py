"""`demo --faults`: the dependencies work, and the proxy injects faults into the calls to them.

Both order services call through the proxy, and both meet the same shares of the same faults. The
calls of the second one carry a header: its routes have the faults and no policy that helps. One
of inventory's replicas fails for a while by itself, because injected faults eject no endpoint.
"""

from typing import Any

from proxy.demo.configuration import scaled
from proxy.demo.scene import Dependency, Tempo

BARE_HEADER, BARE = "x-demo", "bare"
"""The header of calls to the routes without policies."""
SHIPPING_RATE = 1.6
"""Calls to shipping that its limit admits, as a multiple of the usual orders."""


def is_bare(route: str) -> bool:
    """Whether this is the name of a route without policies."""
    return route.endswith(f"-{BARE}")


def with_faults(document: dict[str, Any], tempo: Tempo) -> dict[str, Any]:
    """The demo's configuration with faults, the policies that answer them, and bare routes."""
    _let_breakers_see_more(document)
    routes = document["routes"]
    for dependency, route in zip(Dependency, routes, strict=True):
        route["faults"] = _faults(dependency, tempo)
        _add_policies(dependency, route, tempo)
    connect = document["policies"]["dependency"]["timeouts"]["connect"]
    bare = [_bare(route, connect) for route in routes]
    upstreams = document["upstreams"]
    alone = {f"{name}-{BARE}": {**upstream} for name, upstream in upstreams.items()}
    upstreams[Dependency.INVENTORY.value]["outlier_detection"] = _ejection(tempo)
    return {**document, "upstreams": {**upstreams, **alone}, "routes": bare + routes}


def _ejection(tempo: Tempo) -> dict[str, Any]:
    wait = scaled(tempo.open_for)
    return {"consecutive_failures": 2, "eject_for": {"initial": wait(30), "max": wait(60)}}


def _let_breakers_see_more(document: dict[str, Any]) -> None:
    """Of ten calls six may fail by chance, where one in ten does; of thirty hardly ever."""
    breaker = document["policies"]["dependency"]["circuit_breaker"]
    breaker |= {"window": {"type": "count", "size": 30}, "minimum_calls": 20}
    breaker["slow_call"] = {"rate": "100%"}
    for route in document["routes"]:
        route.get("circuit_breaker", {}).pop("slow_call", None)


def _faults(dependency: Dependency, tempo: Tempo) -> list[dict[str, Any]]:
    wait = scaled(tempo.waits)
    match dependency:
        case Dependency.PRICING:  # longer than its caller waits
            return [{"share": "10%", "delay": wait(6)}]
        case Dependency.INVENTORY:
            return [{"share": "10%", "abort": 503}]
        case Dependency.PAYMENT:
            return [{"share": "6%", "reset": True}, {"share": "3%", "abort": 502}]
        case Dependency.SHIPPING:
            return [{"share": "6%", "delay": wait(6)}, {"share": "3%", "abort": 503}]


def _add_policies(dependency: Dependency, route: dict[str, Any], tempo: Tempo) -> None:
    if dependency is Dependency.PRICING:
        route["hedge"] = {"delay": scaled(tempo.waits)(0.3)}
    if dependency is Dependency.SHIPPING:
        rate = max(1, round(SHIPPING_RATE / tempo.order_interval))
        route["rate_limits"] = [{"name": "contract", "rate": f"{rate}/s", "burst": rate}]
        route["fallback"]["when"] = ["timeout", "circuit-open", "gateway-error", "rate-limited"]


def _bare(route: dict[str, Any], connect: str) -> dict[str, Any]:
    """The same way and the same faults, once, whatever comes of it."""
    request = route["timeouts"]["request"]
    return {
        "name": f"{route['name']}-{BARE}",
        "match": {**route["match"], "headers": {BARE_HEADER: BARE}},
        "upstream": f"{route['upstream']}-{BARE}",
        "timeouts": {"connect": connect, "attempt": request, "request": request},
        "retry": {"attempts": 1},
        "circuit_breaker": {"mode": "off"},
        "faults": route["faults"],
    }
