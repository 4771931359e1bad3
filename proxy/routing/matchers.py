"""One compiled criterion of a route each: whether a request meets it, and if not, why.

A route has a matcher only for what its configuration names, in the order of what is cheap and
tells most requests apart; a route that matches everything has none at all. Both answers of a
matcher rest on the same test, so they cannot disagree.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from urllib.parse import parse_qsl

from proxy.config.model import MatchConfig, ValueMatch
from proxy.config.regex import Regex
from proxy.routing.head import Head

_MAX_PARAMETERS = 1000
"""Beyond it a query is not looked into and matches nothing: nobody writes one by hand."""


class Matcher(ABC):
    __slots__ = ()

    @abstractmethod
    def matches(self, head: Head) -> bool: ...

    @abstractmethod
    def why_not(self, head: Head) -> str:
        """Of a request that does not match, what it lacks: ``method GET is not POST``."""


class MethodMatcher(Matcher):
    __slots__ = ("_methods",)

    def __init__(self, methods: Iterable[str]) -> None:
        self._methods = frozenset(methods)

    def matches(self, head: Head) -> bool:
        return head.method in self._methods

    def why_not(self, head: Head) -> str:
        return f"method {head.method} is not {_one_of(sorted(self._methods))}"


class HostPatterns:
    """``*``, exact hosts and ``*.suffix``, which takes every name below the suffix, however deep,
    and not the suffix itself."""

    __slots__ = ("_any", "_exact", "_suffixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = tuple(patterns)
        self._any = "*" in patterns
        self._exact = frozenset(p for p in patterns if not p.startswith("*"))
        self._suffixes = tuple(p[1:] for p in patterns if p.startswith("*."))

    def __contains__(self, host: str) -> bool:
        if host in self._exact or self._any:
            return True
        # An empty label in front of the suffix is no name.
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
    """Whole segments: ``/api`` takes ``/api`` and ``/api/x``, not ``/apix``. ``/`` takes every
    path, but not the ``*`` of OPTIONS, which is none."""

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
    """`prefix`: what every path that matches begins with."""

    __slots__ = ("_regex", "prefix")

    def __init__(self, regex: str) -> None:
        self._regex = Regex(regex)
        self.prefix = self._regex.prefix

    def matches(self, head: Head) -> bool:
        return self._regex.matches(head.path)

    def why_not(self, head: Head) -> str:
        return f"path {head.path} does not match {self._regex.pattern}"


class ValueTest:
    """One header's or parameter's condition. Of several values, one that meets it is enough."""

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
    """Values are compared as they came, lists in one field are not taken apart."""

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
    """Names and values are compared decoded, as forms encode them; in ``?a`` a has an empty one."""

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


def compile_match(match: MatchConfig) -> tuple[Matcher, ...]:
    """The matchers of a route; none for one that takes everything."""
    matchers: list[Matcher] = []
    if match.hosts and "*" not in match.hosts:
        matchers.append(HostMatcher(match.hosts))
    if match.path is not None:
        matchers.append(PathMatcher(match.path))
    if match.prefix is not None:
        matchers.append(PrefixMatcher(match.prefix))
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
        return f"{what} is there and must not be"
    if not there:
        return f"{what} is missing"
    if match.exact is not None:
        return f"{what} is not {match.exact!r}"
    return f"{what} does not match {match.regex}"
