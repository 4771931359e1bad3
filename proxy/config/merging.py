"""Merges several files: the platform's, then the team's, then flags and environment.

Mappings are merged key by key and the later file wins; lists are replaced. Only ``routes`` is
joined: the later file's routes come first, and a route with the same name replaces the earlier
one. A ``null`` in a later file removes the earlier value, so that the default applies again.
"""

from collections.abc import Mapping as Environ

from proxy.config.document import Mapping, Node, Scalar, Sequence, is_null, merged_entries
from proxy.config.environment import substitute


def merge(lower: Mapping, upper: Mapping, environ: Environ[str, str]) -> Mapping:
    """Merge the roots of two files; every node keeps its place."""
    merged = _merge(lower, upper, environ)
    below, above = lower.entries.get("routes"), upper.entries.get("routes")
    if below and above and not _is_absent(above[1], environ):
        merged.entries["routes"] = (above[0], _join(below[1], above[1], environ))
    return merged


def _merge(lower: Mapping, upper: Mapping, environ: Environ[str, str]) -> Mapping:
    entries = merged_entries(lower)
    for key, (mark, node) in merged_entries(upper).items():
        below = entries.get(key)
        if below is None:
            entries[key] = (mark, node)
        elif _is_absent(node, environ):
            del entries[key]
        elif isinstance(below[1], Mapping) and isinstance(node, Mapping):
            entries[key] = (mark, _merge(below[1], node, environ))
        else:
            entries[key] = (mark, node)
    return Mapping(upper.mark, entries)


def _join(lower: Node, upper: Node, environ: Environ[str, str]) -> Node:
    """Join two lists of routes; the reader reports anything that is not a list."""
    if not isinstance(upper, Sequence):
        return upper
    if not isinstance(lower, Sequence):
        return lower
    names = {_name(route, environ) for route in upper.items} - {None}
    kept = [route for route in lower.items if _name(route, environ) not in names]
    return Sequence(upper.mark, [*upper.items, *kept])


def _name(route: Node, environ: Environ[str, str]) -> str | None:
    if not isinstance(route, Mapping):
        return None
    _, node = merged_entries(route).get("name", (None, None))
    return _text(node, environ) if isinstance(node, Scalar) else None


def _is_absent(node: Node, environ: Environ[str, str]) -> bool:
    if not isinstance(node, Scalar):
        return False
    text = _text(node, environ)
    return text is not None and is_null(Scalar(node.mark, text, node.quoted))


def _text(node: Scalar, environ: Environ[str, str]) -> str | None:
    """The text with the environment inserted; None if that fails, which the reader reports."""
    try:
        return substitute(node.text, environ)
    except ValueError:
        return None
