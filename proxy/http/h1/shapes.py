"""Shapes of heads: a head that has the lines of an earlier one needs no look-ups.

A shape has the lines of a head in order: the whole line where it is known, the beginning where the
value is new in each head. A head is compared with one shape, that of the last head with as many
lines; heads of other shapes are read by `fields`. A match is as strict as that: the same lines, and
own values without control characters.
"""

from typing import Final

from proxy.http.message import Field, FieldName, Head, Shared
from proxy.http.treatment import GOES_ON, HELD, MAX_LENGTH_DIGITS, hold

NO_LENGTH: Final = -1
OTHER_SHAPE: Final = -2

_SLOTS: Final = 8
_PATIENCE: Final = 8
"""So many heads in a row without a match, and the next one's shape replaces it."""
_PRINTABLE: Final = bytes([byte if chr(byte).isprintable() else 32 for byte in range(256)])
"""Maps the printable characters to themselves, and no others."""
_NO_OWN: Final[list[Field]] = []


class Name:
    """A name as spelled, and how its fields are treated.

    `own`: its lines are not remembered. `fresh` counts new values, `learnt_at` is the number of
    the head with the last one.
    """

    __slots__ = ("fixed", "fresh", "kind", "learnt_at", "name", "own")

    def __init__(self, name: FieldName, kind: int, *, own: bool, fixed: bool) -> None:
        self.name = name
        self.kind = kind
        self.own = own
        self.fixed = fixed
        self.fresh = 0
        self.learnt_at = 0


class _Shape:
    """`names` has None for a known line. `misses`: heads in a row that did not match."""

    __slots__ = ("misses", "names", "shared", "texts", "version")

    def __init__(
        self, texts: list[bytes], names: list[Name | None], version: int, shared: Shared
    ) -> None:
        self.texts = texts
        self.names = names
        self.version = version
        self.shared = shared
        self.misses = 0


class Shapes:
    """The latest shapes of one reader. `matched` counts the heads that had one of them."""

    __slots__ = ("_shapes", "matched")

    def __init__(self) -> None:
        self.matched = 0
        self._shapes: list[_Shape | None] = [None] * _SLOTS

    def clear(self) -> None:
        self._shapes = [None] * _SLOTS

    def read(self, head: Head, lines: list[bytes], version: int) -> int:
        """Set the fields of a head, split at CRLF, and return its length or `NO_LENGTH`.

        `OTHER_SHAPE`: nothing is set.
        """
        shape = self._shapes[len(lines) % _SLOTS]
        if shape is None:
            return OTHER_SHAPE
        texts, names = shape.texts, shape.names
        count = len(texts)
        shape.misses += 1  # until it matches
        if shape.version != version or len(lines) != count + 3:
            return OTHER_SHAPE
        length = NO_LENGTH
        held: dict[bytes, list[bytes]] | None = None
        own: list[Field] | None = None
        for at in range(count):
            line = lines[at + 1]
            text = texts[at]
            name = names[at]
            if name is None:
                if line != text:
                    return OTHER_SHAPE
                continue
            if not line.startswith(text):
                return OTHER_SHAPE
            value = line[len(text) :]
            if not value or value[0] == 32 or value[-1] == 32 or not printable(value):
                return OTHER_SHAPE
            if name.kind == GOES_ON:
                if own is None:
                    own = []
                own.append(Field(name.name, value, line))
            elif name.kind == HELD:
                if held is None:
                    held = {}
                hold(held, name.name.lower, value)
            elif length == NO_LENGTH and value.isdigit() and len(value) <= MAX_LENGTH_DIGITS:
                length = int(value)
            else:
                return OTHER_SHAPE
        shape.misses = 0
        self.matched += 1
        shared = shape.shared
        head.shared = shared
        head.own = own if own is not None else _NO_OWN
        if held is not None:
            held.update(shared.held)  # a name never has lines of both kinds
            head.held = held
        else:
            head.held = shared.held
        head.written = b""
        return length

    def offer(
        self, lines: list[bytes], names: list[Name | None], version: int, shared: Shared
    ) -> None:
        """A head that was read otherwise. `names` are those of its own lines, in order."""
        slot = len(lines) % _SLOTS
        before = self._shapes[slot]
        if before is not None and before.misses < _PATIENCE:
            return
        texts: list[bytes] = []
        for at, name in enumerate(names, 1):
            texts.append(lines[at] if name is None else name.name.text + b": ")
        self._shapes[slot] = _Shape(texts, names, version, shared)


def printable(value: bytes) -> bool:
    """Whether it has no control character, not even a tab."""
    return value.translate(_PRINTABLE) == value
