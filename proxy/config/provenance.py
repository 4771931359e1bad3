"""The source of each value of a whole configuration."""

from collections.abc import Iterable, Iterator
from typing import Any

from proxy.config.keys import APP_PORT_VARIABLE, CONFIG, effective
from proxy.config.model import APP_UPSTREAM, Config
from proxy.config.policy_keys import POLICY
from proxy.config.problems import Path, format_path
from proxy.config.route_keys import ROUTE
from proxy.config.server_keys import UPSTREAM
from proxy.config.sources import BUILT_IN, Sources

_SECTIONS: tuple[Path, ...] = (("upstreams",), ("policies",), ("routes",))

_DERIVED: dict[Path, str] = {
    ("service",): "OTEL_SERVICE_NAME, else the host's name",
    ("upstreams", APP_UPSTREAM.name, "endpoints"): f"{APP_PORT_VARIABLE}, else 8080",
}
"""Sources of built-in defaults that depend on the environment."""


def provenance(config: Config, sources: Sources) -> dict[str, str]:
    """By key, as problems spell it: ``file:line``, with the layer if a policy supplies it; an
    environment variable; or that it is a built-in default.

    The keys are those of `effective`; `sources` and `config` must come from the same load.
    """
    shown = effective(config)
    found = _all(config, sources)
    return {
        format_path(path): f"{source} ({_DERIVED[path]})"
        if source == BUILT_IN and path in _DERIVED
        else source
        for path, source in found
        if _is_there(shown, path)
    }


def _all(config: Config, sources: Sources) -> Iterator[tuple[Path, str]]:
    yield from _plain(CONFIG.leaves(config), sources)
    for name, upstream in config.upstreams.items():
        yield from _plain(UPSTREAM.leaves(upstream, ("upstreams", name)), sources)
    for name, policy in config.policies.items():
        for path, _ in POLICY.leaves(policy):
            yield ("policies", name, *path), sources.policy(name, path)
    for index, route in enumerate(config.routes):
        yield from _plain(ROUTE.leaves(route, ("routes", index)), sources)
        for path, _ in POLICY.leaves(route.policies):
            yield ("routes", index, *path), sources.in_route(route, path)


def _plain(leaves: Iterable[tuple[Path, Any]], sources: Sources) -> Iterator[tuple[Path, str]]:
    for path, _ in leaves:
        if path not in _SECTIONS:
            yield path, sources.of(path)


def _is_there(document: Any, path: Path) -> bool:
    """Keys at their default are omitted in sparse sections."""
    for step in path:
        if isinstance(document, dict) and step not in document:
            return False
        document = document[step]
    return True
