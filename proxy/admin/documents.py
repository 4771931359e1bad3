"""Documents of any size as JSON text, made piece by piece.

A document is a JSON value with a list that is made item by item (`Rows`) or an object that is made
member by member (`Members`) wherever traffic or configuration decides the length. Each piece is
about one item, so that a document can be made in slices (`admin/slices.py`).
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any


class Rows:
    """A list whose items are made when they are written, once."""

    __slots__ = ("items",)

    def __init__(self, items: Iterable[Any]) -> None:
        self.items = items


class Members:
    """An object whose members are made when they are written, once."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, Any]]) -> None:
        self.pairs = pairs


def pieces(document: Any) -> Iterator[str]:
    """The text, as `json.dumps` writes it."""
    if not _in_parts(document):
        yield json.dumps(document)
    elif isinstance(document, Rows):
        yield "["
        for number, item in enumerate(document.items):
            if number:
                yield ", "
            yield from pieces(item)
        yield "]"
    else:
        pairs = document.pairs if isinstance(document, Members) else document.items()
        yield "{"
        for number, (name, value) in enumerate(pairs):
            yield f"{', ' if number else ''}{json.dumps(name)}: "
            yield from pieces(value)
        yield "}"


def _in_parts(value: Any) -> bool:
    if isinstance(value, (Rows, Members)):
        return True
    return isinstance(value, dict) and any(map(_in_parts, value.values()))
