"""The table of routes: which one takes a request. Immutable; a reload makes a new one."""

from collections.abc import Callable, Sequence

from proxy.config.model import (
    Config,
    Listener,
    MatchConfig,
    RouteConfig,
)
from proxy.routing.head import Head
from proxy.routing.matchers import Matcher, compile_match


class Route:
    """A route of the configuration, compiled.

    Invariant: `matches(head)` holds exactly when `mismatch(head)` is None. `rewrites`: path or host
    are others upstream.
    """

    __slots__ = (
        "_matchers",
        "_rewrite",
        "config",
        "listener",
        "matches",
        "name",
        "rewrite_host",
        "rewrites",
    )

    matches: Callable[[Head], bool]

    def __init__(self, config: RouteConfig) -> None:
        self.name = config.name
        self.listener = config.listener
        self.config = config
        self._matchers = compile_match(config.match)
        # Most routes have one: it is asked without a detour.
        only = self._matchers[0] if len(self._matchers) == 1 else None
        self.matches = only.matches if only is not None else _all_of(self._matchers)
        self._rewrite = _path_rewriter(config.match, config.rewrite.prefix)
        self.rewrite_host = config.rewrite.host
        self.rewrites = self._rewrite is not None or self.rewrite_host is not None

    def mismatch(self, head: Head) -> str | None:
        """Why this route does not take the request, None if it does."""
        for matcher in self._matchers:
            if not matcher.matches(head):
                return matcher.why_not(head)
        return None

    def rewrite_path(self, path: str) -> str:
        """The path to send for a path that this route has matched. ``*`` is left alone."""
        return self._rewrite(path) if self._rewrite and path != "*" else path

    def __repr__(self) -> str:
        return f"Route({self.name!r})"


def _all_of(matchers: Sequence[Matcher]) -> Callable[[Head], bool]:
    def matches(head: Head) -> bool:
        for matcher in matchers:  # noqa: SIM110  a generator for all() costs a frame a request
            if not matcher.matches(head):
                return False
        return True

    return matches


class RouteTable:
    """The routes in the file's order, then for each listener the one that takes the rest."""

    __slots__ = ("_by_listener", "_defaults", "routes")

    def __init__(self, config: Config) -> None:
        self.routes = tuple(Route(route) for route in config.routes)
        self._by_listener = {
            listener: tuple(route for route in self.routes if route.listener is listener)
            for listener in Listener
        }
        self._defaults = {listener: Route(config.default_route(listener)) for listener in Listener}

    def match(self, listener: Listener, head: Head) -> Route:
        """The first route of the listener that matches, else its default one."""
        for route in self._by_listener[listener]:
            if route.matches(head):
                return route
        return self._defaults[listener]

    def of(self, listener: Listener) -> tuple[Route, ...]:
        """The routes of one listener in the order they are asked, the default one last."""
        return (*self._by_listener[listener], self._defaults[listener])

    def default(self, listener: Listener) -> Route:
        """The route that takes what no written one claims."""
        return self._defaults[listener]


def _path_rewriter(match: MatchConfig, prefix: str | None) -> Callable[[str], str] | None:
    """What puts `prefix` in the place of the matched prefix, or of the whole path where an exact
    path or a regular expression matched. A route without any of them matches the prefix ``/``."""
    if prefix is None:
        return None
    if match.path is not None or match.regex is not None:
        return lambda path: prefix
    length = len((match.prefix or "/").rstrip("/"))
    front = prefix.rstrip("/")
    return lambda path: front + path[length:] or "/"
