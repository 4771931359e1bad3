"""Documents of any size as JSON text, made piece by piece.

A document is a JSON value with a list that is made item by item (`Rows`) or an object that is made
member by member (`Members`) wherever traffic or configuration decides the length. Each piece is
about one item, so that a document can be made in slices (`admin/slices.py`).
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

TEXTS: Final = 100
"""Members that are texts in one piece."""


class Rows:
    """A list whose items are made when they are written, once. `plain`: each is one piece."""

    __slots__ = ("items", "plain")

    def __init__(self, items: Iterable[Any], *, plain: bool = False) -> None:
        self.items = items
        self.plain = plain


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
            if document.plain:
                yield json.dumps(item)
            else:
                yield from pieces(item)
        yield "]"
    else:
        pairs = document.pairs if isinstance(document, Members) else document.items()
        yield "{"
        yield from _members(pairs)
        yield "}"


def _members(pairs: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Short texts, which there may be many of, go together."""
    texts: dict[str, str] = {}
    before = ""
    for name, value in pairs:
        if isinstance(value, str):
            texts[name] = value
            if len(texts) < TEXTS:
                continue
        if texts:
            yield before + json.dumps(texts)[1:-1]
            before = ", "
            texts = {}
        if not isinstance(value, str):
            yield f"{before}{json.dumps(name)}: "
            before = ", "
            yield from pieces(value)
    if texts:
        yield before + json.dumps(texts)[1:-1]


def _in_parts(value: Any) -> bool:
    if isinstance(value, (Rows, Members)):
        return True
    return isinstance(value, dict) and any(map(_in_parts, value.values()))
