"""One route of the configuration, compiled."""

from collections.abc import Callable, Sequence

from proxy.config.match import MatchConfig
from proxy.config.model import RouteConfig
from proxy.errors import BadRequest
from proxy.policies.split import Split
from proxy.routing.head import Head
from proxy.routing.matchers import Matcher, RegexMatcher, compile_match


class Route:
    """A route of the configuration, compiled.

    Invariant: `matches(head)` holds exactly when `mismatch(head)` is None. `order`: its place in
    the file. `regex_prefix`: the beginning of every path that `match.regex` matches. `rewrites`:
    path or host are changed upstream. `respond`: the fixed answer in place of an upstream.
    `alone`: it needs no upstream, because it has a fixed answer or starts a saga. `split`:
    several upstreams in place of one. `unconditional`: it matches every request.
    """

    __slots__ = (
        "_matchers",
        "_rewrite",
        "alone",
        "config",
        "listener",
        "matches",
        "name",
        "order",
        "regex_prefix",
        "respond",
        "rewrite_host",
        "rewrites",
        "split",
        "unconditional",
    )

    matches: Callable[[Head], bool]

    def __init__(self, config: RouteConfig, order: int = 0) -> None:
        self.name = config.name
        self.order = order
        self.listener = config.listener
        self.config = config
        self._matchers = compile_match(config.match)
        self.unconditional = not self._matchers
        self.regex_prefix = ""
        for matcher in self._matchers:
            if isinstance(matcher, RegexMatcher):
                self.regex_prefix = matcher.prefix
        # Most routes have one matcher: it is called directly.
        only = self._matchers[0] if len(self._matchers) == 1 else None
        self.matches = only.matches if only is not None else _all_of(self._matchers)
        self._rewrite = _path_rewriter(config.match, config.rewrite.prefix)
        self.respond = config.respond
        self.alone = config.respond is not None or config.saga is not None
        self.split = Split(config.split) if config.split else None
        self.rewrite_host = config.rewrite.host
        self.rewrites = self._rewrite is not None or self.rewrite_host is not None

    def mismatch(self, head: Head) -> str | None:
        """Why this route does not take the request, None if it does."""
        for matcher in self._matchers:
            if not matcher.matches(head):
                return matcher.why_not(head)
        return None

    def rewrite_path(self, path: str) -> str:
        """The path to send for a path that this route has matched. ``*`` stays.

        Raises BadRequest for a path with dot segments if the route rewrites its prefix.
        """
        return self._rewrite(path) if self._rewrite and path != "*" else path

    def __repr__(self) -> str:
        return f"Route({self.name!r})"


def _all_of(matchers: Sequence[Matcher]) -> Callable[[Head], bool]:
    def matches(head: Head) -> bool:
        for matcher in matchers:  # noqa: SIM110  a generator for all() costs a frame per request
            if not matcher.matches(head):
                return False
        return True

    return matches


def _path_rewriter(match: MatchConfig, prefix: str | None) -> Callable[[str], str] | None:
    """Replaces the matched prefix with `prefix`, or the whole path if an exact path or a regular
    expression matched. A route without any of them matches the prefix ``/``."""
    if prefix is None:
        return None
    if match.exact_path is not None or match.regex is not None:
        return lambda path: prefix
    length = len((match.below or "/").rstrip("/"))
    front = prefix.rstrip("/")

    def rewrite(path: str) -> str:
        if _has_dot_segment(path):
            raise BadRequest(
                "The path has a dot segment (. or ..) and this route rewrites its prefix: the "
                "request could leave that prefix."
            )
        return front + path[length:] or "/"

    return rewrite


def _has_dot_segment(path: str) -> bool:
    """RFC 3986 section 3.3, as generously as any server reads it: percent-encoded dots and
    slashes, backslashes, parameters after a semicolon."""
    if "." not in path and "%" not in path:
        return False
    path = path.lower()
    for written, read in (("%2e", "."), ("%2f", "/"), ("%5c", "/"), ("\\", "/")):
        path = path.replace(written, read)
    return any(segment.partition(";")[0] in (".", "..") for segment in path.split("/"))
