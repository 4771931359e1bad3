"""Matchers: each is one compiled condition of a route, and explains a mismatch.

A route has matchers only for the conditions in its configuration, cheap and selective ones first; a
route that matches everything has none. Both methods of a matcher use the same test, so they cannot
disagree.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from urllib.parse import parse_qsl

from proxy.config.match import GrpcMatch, MatchConfig, ValueMatch
from proxy.config.regex import Regex
from proxy.http.grpc import is_call
from proxy.routing.head import Head

_MAX_PARAMETERS = 1000
"""A query with more parameters is not examined and never matches."""


class Matcher(ABC):
    __slots__ = ()

    @abstractmethod
    def matches(self, head: Head) -> bool: ...

    @abstractmethod
    def why_not(self, head: Head) -> str:
        """Why a request does not match: ``method GET is not POST``."""


class MethodMatcher(Matcher):
    __slots__ = ("_methods",)

    def __init__(self, methods: Iterable[str]) -> None:
        self._methods = frozenset(methods)

    def matches(self, head: Head) -> bool:
        return head.method in self._methods

    def why_not(self, head: Head) -> str:
        return f"method {head.method} is not {_one_of(sorted(self._methods))}"


class HostPatterns:
    """``*``, exact hosts and ``*.suffix``, which matches every name below the suffix at any depth,
    but not the suffix itself."""

    __slots__ = ("_any", "_exact", "_suffixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = tuple(patterns)
        self._any = "*" in patterns
        self._exact = frozenset(p for p in patterns if not p.startswith("*"))
        self._suffixes = tuple(p[1:] for p in patterns if p.startswith("*."))

    def __contains__(self, host: str) -> bool:
        if host in self._exact or self._any:
            return True
        # An empty label before the suffix is not a name.
        return host.endswith(self._suffixes) and not host.startswith(".")


class HostMatcher(Matcher):
    __slots__ = ("_hosts", "_patterns")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._patterns = patterns
        self._hosts = HostPatterns(patterns)

    def matches(self, head: Head) -> bool:
        return head.host in self._hosts

    def why_not(self, head: Head) -> str:
        return f"host {head.host or '(none)'} is not {_one_of(self._patterns)}"


class PathMatcher(Matcher):
    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def matches(self, head: Head) -> bool:
        return head.path == self._path

    def why_not(self, head: Head) -> str:
        return f"path {head.path} is not {self._path}"


class PrefixMatcher(Matcher):
    """Whole segments: ``/api`` matches ``/api`` and ``/api/x``, not ``/apix``. ``/`` matches every
    path, but not the ``*`` of OPTIONS."""

    __slots__ = ("_below", "_prefix")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._below = prefix.rstrip("/") + "/"

    def matches(self, head: Head) -> bool:
        path = head.path
        return path.startswith(self._below) or path == self._prefix

    def why_not(self, head: Head) -> str:
        return f"path {head.path} is not below {self._prefix}"


class RegexMatcher(Matcher):
    """`prefix`: the beginning of every path that matches."""

    __slots__ = ("_regex", "prefix")

    def __init__(self, regex: str) -> None:
        self._regex = Regex(regex)
        self.prefix = self._regex.prefix

    def matches(self, head: Head) -> bool:
        return self._regex.matches(head.path)

    def why_not(self, head: Head) -> str:
        return f"path {head.path} does not match {self._regex.pattern}"


class ValueTest:
    """A condition for one header or parameter. One matching value of several is enough."""

    __slots__ = ("_test", "_wanted")

    def __init__(self, match: ValueMatch) -> None:
        self._test: Callable[[str], object] | None = None
        self._wanted = match.present
        if match.exact is not None:
            self._test = match.exact.__eq__
        elif match.regex is not None:
            self._test = Regex(match.regex).matches

    def met(self, values: list[str]) -> bool:
        if self._test is None:
            return bool(values) is self._wanted
        return any(self._test(value) for value in values)


class HeaderMatcher(Matcher):
    """Values are compared as received; lists in one field are not split."""

    __slots__ = ("_exact", "_match", "_name", "_raw_name", "_test")

    def __init__(self, name: str, match: ValueMatch) -> None:
        self._name = name
        self._raw_name = name.encode("ascii")
        self._match = match
        self._exact = None if match.exact is None else match.exact.encode("latin-1")
        self._test = ValueTest(match)

    def matches(self, head: Head) -> bool:
        values = head.values(self._raw_name)
        if self._exact is not None:
            return self._exact in values
        return self._test.met([value.decode("latin-1") for value in values])

    def why_not(self, head: Head) -> str:
        return _why_value(f"header {self._name}", self._match, bool(head.values(self._raw_name)))


class QueryMatcher(Matcher):
    """Names and values are form-decoded before comparing; in ``?a`` the value is empty."""

    __slots__ = ("_match", "_name", "_test")

    def __init__(self, name: str, match: ValueMatch) -> None:
        self._name = name
        self._match = match
        self._test = ValueTest(match)

    def matches(self, head: Head) -> bool:
        return self._test.met(self._values(head))

    def why_not(self, head: Head) -> str:
        return _why_value(f"query parameter {self._name}", self._match, bool(self._values(head)))

    def _values(self, head: Head) -> list[str]:
        if not head.query:
            return []
        try:
            pairs = parse_qsl(head.query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
        except ValueError:
            return []
        return [value for name, value in pairs if name == self._name]


class GrpcMatcher(Matcher):
    """gRPC calls: an HTTP/2 POST with gRPC's content-type, and the path of service and method.

    Names are compared as they are. The path is tested first: it is the cheapest test.
    """

    __slots__ = ("_below", "_exact", "_named")

    def __init__(self, match: GrpcMatch) -> None:
        self._named = f"{match.service}/{match.method or '*'}" if match.service else ""
        self._below = f"/{match.service}/" if match.service else ""
        self._exact = bool(match.method)
        if self._exact:
            self._below += match.method

    def matches(self, head: Head) -> bool:
        path = head.path
        if not (path == self._below if self._exact else path.startswith(self._below)):
            return False
        return head.version == 20 and is_call(head.method, head.values(b"content-type"))

    def why_not(self, head: Head) -> str:
        if head.version != 20 or not is_call(head.method, head.values(b"content-type")):
            return "it is not a gRPC call (HTTP/2, POST, content-type application/grpc)"
        return f"path {head.path} is not {self._named}"


def compile_match(match: MatchConfig) -> tuple[Matcher, ...]:
    """The matchers of a route; none if it matches everything."""
    matchers: list[Matcher] = []
    if match.hosts and "*" not in match.hosts:
        matchers.append(HostMatcher(match.hosts))
    if match.path is not None:
        matchers.append(PathMatcher(match.path))
    if match.prefix is not None:
        matchers.append(PrefixMatcher(match.prefix))
    if match.grpc is not None:
        matchers.append(GrpcMatcher(match.grpc))
    if match.methods:
        matchers.append(MethodMatcher(match.methods))
    matchers.extend(HeaderMatcher(name, value) for name, value in match.headers)
    matchers.extend(QueryMatcher(name, value) for name, value in match.query)
    if match.regex is not None:
        matchers.append(RegexMatcher(match.regex))
    return tuple(matchers)


def _one_of(names: Iterable[str]) -> str:
    names = list(names)
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _why_value(what: str, match: ValueMatch, there: bool) -> str:
    if not match.present:
        return f"{what} must be absent"
    if not there:
        return f"{what} is missing"
    if match.exact is not None:
        return f"{what} is not {match.exact!r}"
    return f"{what} does not match {match.regex}"
