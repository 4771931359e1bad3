"""Finds routes that can never match because an earlier one takes all their requests."""

from proxy.config.model import MatchConfig, ValueMatch
from proxy.config.regex import Regex


def covers(first: MatchConfig, second: MatchConfig) -> bool:
    """Whether `first` certainly matches every request that `second` matches.

    False if the patterns do not show it (two different regular expressions).
    """
    return (
        _hosts_cover(first.hosts, second.hosts)
        and (not first.methods or (bool(second.methods) and second.methods <= first.methods))
        and _path_covers(first, second)
        and _values_cover(dict(first.headers), dict(second.headers))
        and _values_cover(dict(first.query), dict(second.query))
    )


def _hosts_cover(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    if not first or "*" in first:
        return True
    return bool(second) and all(any(_host_covers(a, b) for a in first) for b in second)


def _host_covers(first: str, second: str) -> bool:
    if first == second:
        return True
    # *.shop covers a.shop and also *.a.shop.
    return first.startswith("*.") and second.endswith(first[1:])


def _path_covers(first: MatchConfig, second: MatchConfig) -> bool:
    if first.prefix is not None:
        if first.prefix == "/":
            return True
        below = second.prefix if second.prefix is not None else second.path
        return below is not None and (below == first.prefix or below.startswith(first.prefix + "/"))
    if first.path is not None:
        return second.path == first.path
    if first.regex is not None:
        if second.path is not None:
            return Regex(first.regex).matches(second.path)
        return second.regex == first.regex
    return True


def _values_cover(first: dict[str, ValueMatch], second: dict[str, ValueMatch]) -> bool:
    return all(name in second and _value_covers(a, second[name]) for name, a in first.items())


def _value_covers(first: ValueMatch, second: ValueMatch) -> bool:
    if first == second:
        return True
    if not first.present or not second.present:
        return False
    if first.regex is not None:
        return second.exact is not None and Regex(first.regex).matches(second.exact)
    return first.exact is None
