"""The source of each value of a whole configuration."""

from collections.abc import Iterator
from typing import Any, TypeAlias, TypeVar

from proxy.config.keys import (
    APP_PORT_VARIABLE,
    CONFIG,
    SECTIONS,
    without_sections,
)
from proxy.config.kinds import Kind
from proxy.config.model import APP_UPSTREAM, Config
from proxy.config.policy_keys import POLICY
from proxy.config.problems import Path, format_path
from proxy.config.record import MOST_SHARED, Record
from proxy.config.route_keys import ROUTE
from proxy.config.sources import BUILT_IN, Sources
from proxy.config.upstream_keys import UPSTREAM

K = TypeVar("K")
V = TypeVar("V")

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
    for path in _paths(CONFIG, without_sections(config), ()):
        if path[0] not in SECTIONS:
            yield format_path(path), _derived(path, sources.of(path))
    of_upstream, of_policy, of_route = _Keys(UPSTREAM), _Keys(POLICY), _Keys(ROUTE)
    for name, upstream in config.upstreams.items():
        at: Path = ("upstreams", name)
        for path, text in of_upstream.named(at, upstream):
            yield text, _derived(path, sources.of(path))
    for name, policy in config.policies.items():
        at = ("policies", name)
        for path, text in of_policy.named(at, policy):
            yield text, sources.policy(name, path[2:])
    inherited = _Inherited(of_policy, sources)
    for index, route in enumerate(config.routes):
        at = ("routes", index)
        for path, text in of_route.named(at, route):
            yield text, sources.of(path)
        before = format_path(at)
        for name, member in POLICY.members(route.policies):
            if sources.place((*at, name)) is None:
                for text, source in inherited.of(route.policy, name, member):
                    yield before + text, source
                continue
            for path, text in of_policy.below(name, member):
                yield before + text, sources.in_route(route, path)


def _derived(path: Path, source: str) -> str:
    if source == BUILT_IN and path in _DERIVED:
        return f"{source} ({_DERIVED[path]})"
    return source


_Key: TypeAlias = tuple[Path, str]
"""A key's path, and how it continues the text of the path before it."""


class _Keys:
    """The keys of a record's values that `effective` shows.

    Thousands of values share most of what they consist of: its keys are found once.
    """

    def __init__(self, record: Record[Any]) -> None:
        self._record = record
        self._known: dict[tuple[str, int], tuple[Any, list[_Key]]] = {}

    def named(self, at: Path, value: Any) -> Iterator[tuple[Path, str]]:
        """Each key of the value at `at`: its whole path, and that as a text."""
        before = format_path(at)
        for name, member in self._record.members(value):
            for path, text in self.below(name, member):
                yield at + path, before + text

    def below(self, name: str, member: Any) -> list[_Key]:
        """The keys of one member of a value."""
        known = self._known.get((name, id(member)))
        if known is None:
            paths = _paths(self._record.keys[name].kind, member, (name,))
            keys = [(path, format_path((0, *path))[len("[0]") :]) for path in paths]
            # The member is kept with them, so that no other object takes its id.
            known = member, keys
            _remember(self._known, (name, id(member)), known)
        return known[1]


class _Inherited:
    """The sources of what routes take from their policies unchanged, found once."""

    def __init__(self, keys: _Keys, sources: Sources) -> None:
        self._keys = keys
        self._sources = sources
        self._known: dict[tuple[str, str, int], tuple[Any, list[tuple[str, str]]]] = {}

    def of(self, policy: str, name: str, member: Any) -> list[tuple[str, str]]:
        """The text of each key below the route, and its source."""
        known = self._known.get((policy, name, id(member)))
        if known is None:
            keys = self._keys.below(name, member)
            told = [(text, self._sources.policy(policy, path)) for path, text in keys]
            known = member, told
            _remember(self._known, (policy, name, id(member)), known)
        return known[1]


def _remember(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= MOST_SHARED:
        known.clear()
    known[key] = value


def _paths(kind: Kind[Any], value: Any, path: Path) -> Iterator[Path]:
    if not isinstance(kind, Record) or value is None:
        yield path
        return
    for key, member in kind.members(value):
        yield from _paths(kind.keys[key].kind, member, (*path, key))
