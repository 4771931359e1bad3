"""The source of each value of a whole configuration."""

from collections.abc import Iterable, Iterator
from typing import Any

from proxy.config.keys import (
    APP_PORT_VARIABLE,
    CONFIG,
    SECTIONS,
    effective,
    entries,
    without_sections,
)
from proxy.config.model import APP_UPSTREAM, Config, PolicyConfig, RouteConfig
from proxy.config.policy_keys import POLICY
from proxy.config.problems import Path, format_path
from proxy.config.route_keys import ROUTE
from proxy.config.sources import BUILT_IN, Sources
from proxy.config.upstream_keys import UPSTREAM

_DERIVED: dict[Path, str] = {
    ("service",): "OTEL_SERVICE_NAME, else the host's name",
    ("upstreams", APP_UPSTREAM.name, "endpoints"): f"{APP_PORT_VARIABLE}, else 8080",
}
"""Sources of built-in defaults that depend on the environment."""


def provenance(config: Config, sources: Sources) -> Iterator[tuple[str, str]]:
    """By key, as problems spell it: ``file:line``, with the layer if a policy supplies it; an
    environment variable; or that it is a built-in default.

    The keys are those of `effective`; `sources` and `config` must come from the same load. The
    pairs of one entry are made at a time.
    """
    rest = without_sections(config)
    yield from _told((), effective(rest), _plain(CONFIG.leaves(rest), sources))
    for name, shown in entries(config, "upstreams"):
        path: Path = ("upstreams", name)
        leaves = UPSTREAM.leaves(config.upstreams[name], path)
        yield from _told(path, shown, _plain(leaves, sources))
    for name, shown in entries(config, "policies"):
        path = ("policies", name)
        yield from _told(path, shown, _of_policy(config.policies[name], path, name, sources))
    for index, (_, shown) in enumerate(entries(config, "routes")):
        path = ("routes", index)
        yield from _told(path, shown, _of_route(config.routes[index], path, sources))


def _told(
    prefix: Path, shown: dict[str, Any], found: Iterable[tuple[Path, str]]
) -> Iterator[tuple[str, str]]:
    """`shown`: the part of the document at `prefix`."""
    for path, source in found:
        if _is_there(shown, path[len(prefix) :]):
            derived = source == BUILT_IN and path in _DERIVED
            yield format_path(path), f"{source} ({_DERIVED[path]})" if derived else source


def _of_policy(
    policy: PolicyConfig, at: Path, name: str, sources: Sources
) -> Iterator[tuple[Path, str]]:
    for path, _ in POLICY.leaves(policy):
        yield (*at, *path), sources.policy(name, path)


def _of_route(route: RouteConfig, at: Path, sources: Sources) -> Iterator[tuple[Path, str]]:
    yield from _plain(ROUTE.leaves(route, at), sources)
    for path, _ in POLICY.leaves(route.policies):
        yield (*at, *path), sources.in_route(route, path)


def _plain(leaves: Iterable[tuple[Path, Any]], sources: Sources) -> Iterator[tuple[Path, str]]:
    for path, _ in leaves:
        if not (len(path) == 1 and path[0] in SECTIONS):
            yield path, sources.of(path)


def _is_there(document: Any, path: Path) -> bool:
    """Keys at their default are omitted in sparse sections."""
    for step in path:
        if isinstance(document, dict) and step not in document:
            return False
        document = document[step]
    return True
