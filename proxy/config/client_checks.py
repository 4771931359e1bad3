"""Warnings about `client` as a key where all requests have the same client: this machine."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Final

from proxy.config.model import Config, Listener, LoadBalancing, RouteConfig
from proxy.config.problems import Mark, Marks, Path, Problems
from proxy.http.hash_key import HashSource
from proxy.policies.rate_limit import CLIENT_KEY
from proxy.policies.rate_limits import RATE_LIMITS

_CLIENT: Final = HashSource.CLIENT
_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1"))
_TRUST: Final = "list the proxy in front in listeners.inbound.forwarded.trust"


def warn_of_clients(config: Config, given: Marks, problems: Problems) -> None:
    """A listener that only this machine reaches has one client."""
    local = {listener for listener in Listener if _has_one_client(config, listener)}
    if not local:
        return
    _warn_limits(config, local, given, problems)
    for index, route in enumerate(config.routes):
        if route.listener in local and route.split_by and route.split_by.source is _CLIENT:
            path: Path = ("routes", index, "split_by")
            why = _same_client(config, route.listener)
            message = f"{why}: one upstream gets all of them; {_other_key(route.listener)}"
            problems.warning(_mark(given, path), path, message)
    _warn_hashes(config, local, given, problems)


def _has_one_client(config: Config, listener: Listener) -> bool:
    """Whether nothing tells its clients apart: addresses that other machines do not reach, and no
    proxy on this machine that is trusted to name the client.
    """
    settings = config.listeners.of(listener)
    if not settings.local:
        return False
    if listener is Listener.OUTBOUND:
        return True
    networks = [ip_network(text) for text in settings.forwarded.trust.networks]
    return not any(
        network.version == own.version and network.overlaps(own)
        for network in networks
        for own in _LOOPBACK
    )


def _same_client(config: Config, listener: Listener) -> str:
    address = config.listeners.of(listener).addresses[0]
    return (
        "all requests have the same client, because only this machine reaches the "
        f"{listener.value} listener ({address})"
    )


def _other_key(listener: Listener, form: str = "{header: NAME}") -> str:
    key = f"use {form}"
    return key if listener is Listener.OUTBOUND else f"{key}, or {_TRUST}"


def _warn_limits(config: Config, local: set[Listener], given: Marks, problems: Problems) -> None:
    for path, route in _sets_limits(config, given):
        if route.listener not in local:
            continue
        for number, limit in enumerate(route.policies.settings(RATE_LIMITS)):
            if limit.key != CLIENT_KEY:
                continue
            place: Path = (*path, number, "key")
            why = _same_client(config, route.listener)
            other = _other_key(route.listener, "key: route or key: header:NAME")
            problems.warning(_mark(given, place), place, f"{why}: they share one limit; {other}")


def _sets_limits(config: Config, given: Marks) -> Iterator[tuple[Path, RouteConfig]]:
    """Each route whose requests have rate limits, and where these are written.

    A default route counts only if no route of the file has its policy: what such a policy says is
    meant for them.
    """
    used = {route.policy for route in config.routes}
    defaults = [config.default_route(listener) for listener in Listener]
    places: list[tuple[Path, RouteConfig]] = [
        (("routes", index), route) for index, route in enumerate(config.routes)
    ]
    places += [((), route) for route in defaults if route.policy not in used]
    for place, route in places:
        for owner in (place, ("policies", route.policy), ("policies", "default")):
            path = (*owner, "rate_limits")
            if path in given:
                yield path, route
                break


def _warn_hashes(config: Config, local: set[Listener], given: Marks, problems: Problems) -> None:
    """Where all routes to an upstream have the same client."""
    for name, upstream in config.upstreams.items():
        if upstream.load_balancing is not LoadBalancing.CONSISTENT_HASH:
            continue
        if upstream.hash is None or upstream.hash.source is not _CLIENT:
            continue
        listeners = {route.listener for route in config.routes if name in _goes_to(route)}
        if not listeners or not listeners <= local:
            continue
        path: Path = ("upstreams", name, "hash")
        listener = min(listeners, key=lambda one: one is Listener.INBOUND)
        message = f"{_same_client(config, listener)}: one endpoint gets all of them; "
        problems.warning(_mark(given, path), path, message + _other_key(listener))


def _goes_to(route: RouteConfig) -> Iterator[str]:
    yield from route.upstreams
    if route.mirror is not None:
        yield route.mirror.upstream
    fallback = route.policies.fallback
    if fallback is not None and fallback.upstream is not None:
        yield fallback.upstream


def _mark(given: Marks, path: Path) -> Mark:
    """Where it is written; at the least, the key around it."""
    while path and path not in given:
        path = path[:-1]
    return given.get(path, Mark(1, 1))
