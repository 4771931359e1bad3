"""Computes and applies the difference of two JSON values as a JSON Patch (RFC 6902).

Mappings are compared key by key, and lists of named items (containers, ports, variables, volumes:
what Kubernetes merges by name) item by item, so that one more container in front is one addition.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Operation = dict[str, Any]


def diff(before: Any, after: Any, pointer: str = "") -> Iterator[Operation]:
    """Operations that turn `before` into `after`, to be applied in this order."""
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _diff_mappings(before, after, pointer)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _diff_lists(before, after, pointer)
    elif not _same(before, after):
        yield {"op": "replace", "path": pointer, "value": after}


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON scalars: true is not 1. Lists and mappings are not compared deeply."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _diff_mappings(
    before: Mapping[str, Any], after: Mapping[str, Any], pointer: str
) -> Iterator[Operation]:
    for key in before:
        if key not in after:
            yield {"op": "remove", "path": _below(pointer, key)}
    for key, value in after.items():
        if key in before:
            yield from diff(before[key], value, _below(pointer, key))
        else:
            yield {"op": "add", "path": _below(pointer, key), "value": value}


def _diff_lists(before: list[Any], after: list[Any], pointer: str) -> Iterator[Operation]:
    old, new = _names(before), _names(after)
    if old is None or new is None:
        yield from _diff_plain_lists(before, after, pointer)
        return
    kept = [name for name in old if name in new]
    if kept != [name for name in new if name in old]:  # in another order
        yield {"op": "replace", "path": pointer, "value": after}
        return
    for name, index in reversed(old.items()):
        if name not in new:
            yield {"op": "remove", "path": _below(pointer, index)}
    # From front to back, so that every index is the item's final one.
    for name, index in new.items():
        value = after[index]
        if name in old:
            yield from diff(before[old[name]], value, _below(pointer, index))
        else:
            yield {"op": "add", "path": _below(pointer, index), "value": value}


def _names(items: list[Any]) -> dict[str, int] | None:
    """The index of each item by name; None if the items have no names, or not unique ones."""
    places: dict[str, int] = {}
    for index, item in enumerate(items):
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or name in places:
            return None
        places[name] = index
    return places


def _diff_plain_lists(before: list[Any], after: list[Any], pointer: str) -> Iterator[Operation]:
    """Index by index; surplus items are removed or added at the end."""
    common = min(len(before), len(after))
    for index in range(common):
        yield from diff(before[index], after[index], _below(pointer, index))
    for index in reversed(range(common, len(before))):
        yield {"op": "remove", "path": _below(pointer, index)}
    for index in range(common, len(after)):
        yield {"op": "add", "path": _below(pointer, index), "value": after[index]}


def _below(pointer: str, key: str | int) -> str:
    """RFC 6901, section 3: ``~`` and ``/`` are escaped, ``~`` first."""
    return f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"


def apply(document: Any, operations: Sequence[Operation]) -> None:
    """Apply the operations of `diff` to `document` in place; its root must not be replaced.

    It accepts mappings and lists of any class, so that a YAML reader's keep their comments.
    """
    for operation in operations:
        *above, last = [
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
        ]
        parent = document
        for part in above:
            parent = parent[int(part) if isinstance(parent, list) else part]
        key = int(last) if isinstance(parent, list) else last
        if operation["op"] == "remove":
            del parent[key]
        elif operation["op"] == "add" and isinstance(parent, list):
            parent.insert(key, operation["value"])
        else:
            parent[key] = operation["value"]
