"""Finds the first matching route among many without testing most of them.

An index finds candidates by their patterns: a host or suffix, then an exact path or its leading
segments. Each candidate is still tested, and of those that match the first in the file wins, so the
result equals that of testing all routes in order.

    host of the request ─▶ exact host ┐              ┌ exact path
                           suffixes   ├─▶ path index ┼ leading segments: "", /api, /api/v1
                           any host   ┘              └ any path
"""

from proxy.config.match import MatchConfig
from proxy.routing.head import Head
from proxy.routing.route import Route

FEW = 8
"""Up to this many routes are tested in order, which is as fast."""


class ListenerRoutes:
    """The routes of one listener: `written` ones in the file's order, `default` for the rest."""

    __slots__ = ("_any_host", "_few", "_hosts", "_suffix_labels", "_suffixes", "default", "written")

    def __init__(self, written: tuple[Route, ...], default: Route, few: int = FEW) -> None:
        """`default` matches everything and is last in order."""
        self.written = written
        self.default = default
        self._few = len(written) <= few
        self._hosts: dict[str, PathIndex] = {}
        self._suffixes: dict[str, PathIndex] = {}
        self._suffix_labels = 0
        self._any_host = PathIndex()
        if not self._few:
            for route in written:
                self._add(route)

    def _add(self, route: Route) -> None:
        hosts = route.config.match.hosts
        if not hosts or "*" in hosts:
            self._any_host.add(route)
            return
        for host in hosts:
            if host.startswith("*."):
                suffix = host[1:]
                self._suffixes.setdefault(suffix, PathIndex()).add(route)
                self._suffix_labels = max(self._suffix_labels, suffix.count("."))
            else:
                self._hosts.setdefault(host, PathIndex()).add(route)

    def match(self, head: Head) -> Route:
        """The first route that matches, else the default one."""
        if self._few:
            for route in self.written:
                if route.unconditional or route.matches(head):
                    return route
            return self.default
        path, host = head.path, head.host
        best = self._any_host.first(head, path, self.default)
        index = self._hosts.get(host)
        if index is not None:
            best = index.first(head, path, best)
        end = len(host)
        for _ in range(self._suffix_labels):
            end = host.rfind(".", 0, end)
            if end < 0:
                break
            index = self._suffixes.get(host[end:])
            if index is not None:
                best = index.first(head, path, best)
        return best


class PathIndex:
    """Routes by their path patterns, each list in the file's order."""

    __slots__ = ("_anywhere", "_below", "_depth", "_exact")

    def __init__(self) -> None:
        self._exact: dict[str, list[Route]] = {}
        self._below: dict[str, list[Route]] = {}
        self._depth = 0  # slashes of the deepest key of `_below`
        self._anywhere: list[Route] = []

    def add(self, route: Route) -> None:
        match = route.config.match
        path = match.exact_path
        if path is not None:
            self._exact.setdefault(path, []).append(route)
            return
        segments = _leading_segments(match, route.regex_prefix)
        if segments is None:
            self._anywhere.append(route)
        else:
            self._below.setdefault(segments, []).append(route)
            self._depth = max(self._depth, segments.count("/"))

    def first(self, head: Head, path: str, best: Route) -> Route:
        """The first route that matches and comes before `best`, else `best`."""
        if self._anywhere:
            best = _first(self._anywhere, head, best)
        if self._exact:
            found = self._exact.get(path)
            if found is not None:
                best = _first(found, head, best)
        if self._below:
            end = path.find("/")
            for _ in range(self._depth + 1):
                if end < 0:
                    end = len(path)
                found = self._below.get(path[:end])
                if found is not None:
                    best = _first(found, head, best)
                if end == len(path):
                    break
                end = path.find("/", end + 1)
        return best


def _first(candidates: list[Route], head: Head, best: Route) -> Route:
    for route in candidates:
        if route.order >= best.order:
            break
        if route.unconditional or route.matches(head):
            return route
    return best


def _leading_segments(match: MatchConfig, regex_prefix: str) -> str | None:
    """The whole segments that a path must begin with, without a final slash.

    Empty for any path with segments, None for any text: the ``*`` of OPTIONS has none.
    """
    below = match.below
    if below is not None:
        return below.rstrip("/")
    if match.regex is not None and "/" in regex_prefix:
        return regex_prefix[: regex_prefix.rindex("/")]
    return None
