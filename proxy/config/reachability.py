"""Finds routes that can never match because an earlier one takes all their requests.

Of thousands of routes each is compared with few: routes are filed under what their match names,
a host (or ``*.suffix``) and a path (or prefix), and only a route that is filed under the same name
or a wider one can cover another.
"""

from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import TypeAlias

from proxy.config.match import MatchConfig, ValueMatch
from proxy.config.model import RouteConfig
from proxy.config.regex import Regex

MOST_COMPARED = 100
"""Earlier routes that one is compared with; of more that look alike, the first ones."""

_ANY = ""

_Key: TypeAlias = tuple[str, str]
"""Host and path. `_ANY`: no matter which."""


class Reachability:
    """The routes of one listener, added in the file's order."""

    def __init__(self) -> None:
        self._routes: list[RouteConfig] = []
        self._filed: dict[_Key, list[int]] = {}
        self._regexes: dict[str, Regex] = {}

    def add(self, route: RouteConfig) -> RouteConfig | None:
        """An earlier route that takes every request that this one could; None: it is reachable, as
        far as the patterns show. The route is one of the earlier ones afterwards.
        """
        lists = [self._filed[key] for key in _wider(route.match) if key in self._filed]
        found = None
        for index in islice(merge(*lists), MOST_COMPARED):
            if self._covers(self._routes[index].match, route.match):
                found = self._routes[index]
                break
        for key in _names(route.match):
            self._filed.setdefault(key, []).append(len(self._routes))
        self._routes.append(route)
        return found

    def _covers(self, first: MatchConfig, second: MatchConfig) -> bool:
        """Whether `first` certainly matches every request that `second` matches.

        False if the patterns do not show it (two different regular expressions).
        """
        return (
            _hosts_cover(first.hosts, second.hosts)
            and (not first.methods or (bool(second.methods) and second.methods <= first.methods))
            and (first.grpc is None or second.grpc is not None)
            and self._path_covers(first, second)
            and self._values_cover(dict(first.headers), dict(second.headers))
            and self._values_cover(dict(first.query), dict(second.query))
        )

    def _path_covers(self, first: MatchConfig, second: MatchConfig) -> bool:
        prefix, path = first.below, first.exact_path
        if prefix is not None:
            if prefix == "/":
                return True
            below = second.below if second.below is not None else second.exact_path
            return below is not None and (below == prefix or below.startswith(prefix + "/"))
        if path is not None:
            return second.exact_path == path
        if first.regex is not None:
            if second.exact_path is not None:
                return self._regex(first.regex).matches(second.exact_path)
            return second.regex == first.regex
        return True

    def _values_cover(self, first: dict[str, ValueMatch], second: dict[str, ValueMatch]) -> bool:
        return all(
            name in second and self._value_covers(a, second[name]) for name, a in first.items()
        )

    def _value_covers(self, first: ValueMatch, second: ValueMatch) -> bool:
        if first == second:
            return True
        if not first.present or not second.present:
            return False
        if first.regex is not None:
            return second.exact is not None and self._regex(first.regex).matches(second.exact)
        return first.exact is None

    def _regex(self, pattern: str) -> Regex:
        """The expression, compiled once."""
        if pattern not in self._regexes:
            self._regexes[pattern] = Regex(pattern)
        return self._regexes[pattern]


def _hosts_cover(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    if not first or "*" in first:
        return True
    return bool(second) and all(any(_host_covers(a, b) for a in first) for b in second)


def _host_covers(first: str, second: str) -> bool:
    if first == second:
        return True
    # *.shop covers a.shop and also *.a.shop.
    return first.startswith("*.") and second.endswith(first[1:])


def _names(match: MatchConfig) -> Iterator[_Key]:
    """The keys that a route is filed under. An expression's path could be any."""
    hosts = match.hosts if match.hosts and "*" not in match.hosts else (_ANY,)
    path = match.below or match.exact_path or _ANY
    return ((host, _ANY if path == "/" else path) for host in dict.fromkeys(hosts))


def _wider(match: MatchConfig) -> Iterator[_Key]:
    """The keys of all routes that could cover this one."""
    for host in _wider_hosts(match.hosts):
        yield host, _ANY
        path = match.below or match.exact_path
        while path and path != "/":
            yield host, path
            path = path[: path.rindex("/")]


def _wider_hosts(hosts: tuple[str, ...]) -> Iterator[str]:
    """Every host must be covered, so the first one tells enough."""
    yield _ANY
    if not hosts or "*" in hosts:
        return
    yield hosts[0]
    rest = hosts[0].removeprefix("*.")
    while "." in rest:
        rest = rest[rest.index(".") + 1 :]
        yield f"*.{rest}"
