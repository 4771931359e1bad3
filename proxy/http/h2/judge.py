"""Finds the shared part of HTTP/2 heads (RFC 9113 section 8.2).

Most fields of a head are remembered objects (`http/h2/fields.py`), the others are its own. The
remembered ones, and the names of the own ones in their places, are the key of the shared part:

    fields ──▶ key ──known?──▶ Shared     own fields: validated one by one
                └─ no ──▶ each field is treated by its name, and the result is remembered
"""

from collections.abc import Callable
from typing import Final

from proxy.errors import BadRequest
from proxy.http.h2.names import REGULAR, why_malformed
from proxy.http.message import Field, Head, Shared
from proxy.http.treatment import (
    CHECKED,
    DISGUISED,
    GOES_ON,
    HELD,
    LENGTH,
    MAX_LENGTH_DIGITS,
    Treatment,
    hold,
)

MEMORY_BYTES: Final = 512 * 1024
"""Maximum bytes of the fields of remembered shared parts, per reader."""
_MAX_SHARED: Final = 256
_MAX_NAMES: Final = 500
_LONGEST_NAME: Final = 64
_NO_OWN: Final[list[Field]] = []


class Malformed(Exception):
    """A message breaks a rule of RFC 9113 section 8: its stream ends with PROTOCOL_ERROR."""


class _Known:
    """A remembered shared part, and how the own fields beside it are treated, in their order."""

    __slots__ = ("kinds", "shared")

    def __init__(self, shared: Shared, kinds: list[int]) -> None:
        self.shared = shared
        self.kinds = kinds


class Judge:
    """Finds or makes the shared part of heads of one kind.

    `held_back` are the names of fields that do not go on, `checked` those of fields that go on
    only if they are unambiguous. `keeps_out`: further names that do not go on.
    """

    __slots__ = ("_bytes", "_kinds", "_known", "_treatment")

    def __init__(
        self,
        held_back: frozenset[bytes],
        checked: frozenset[bytes],
        keeps_out: Callable[[bytes], bool] | None,
    ) -> None:
        self._treatment = Treatment(held_back, checked, keeps_out)
        self._kinds: dict[bytes, int] = {}
        self._known: dict[tuple[object, ...], _Known] = {}
        self._bytes = 0

    def judge(self, head: Head, fields: list[Field], key: list[object], own: list[Field]) -> bytes:
        """Set the fields of a head; returns its Content-Length, b"" without one.

        `key` has the remembered fields and the names of the others, `own` the others; of `fields`
        those with pseudo-header names are left out. Raises Malformed or BadRequest.
        """
        head.written = b""
        marks = tuple(key)
        known = self._known.get(marks)
        if known is None:
            return self._learn(head, fields, marks)
        shared = known.shared
        head.shared = shared
        head.held = shared.held
        if not own:
            head.own = own
            return b""
        kinds = known.kinds
        length = b""
        going: list[Field] = []
        held: dict[bytes, list[bytes]] = {}
        for at, field in enumerate(own):
            kind = kinds[at]
            if kind == GOES_ON:
                going.append(field)
            elif kind == HELD:
                hold(held, field.name.lower, field.value)
            elif length:
                raise Malformed("there are several content-length fields")
            else:
                length = _length(field)
        head.own = going
        if held:
            held.update(shared.held)  # a remembered name never has fields of both kinds
            head.held = held
        return length

    def _learn(self, head: Head, fields: list[Field], marks: tuple[object, ...]) -> bytes:
        shared: list[Field | None] = []
        own: list[Field] = []
        held: dict[bytes, list[bytes]] = {}
        lasting: dict[bytes, list[bytes]] = {}
        kinds: list[int] = []
        checked: dict[bytes, bytes] = {}
        length = b""
        size = 0
        crumbs = 0
        dated = False
        memorable = True
        for field in fields:
            name = field.name
            if name.kind != REGULAR:
                continue
            if field.malformed:
                raise Malformed(why_malformed(field))
            kind = self._kind(name.lower)
            if not field.stable:
                kinds.append(kind)
            size += len(field.line)
            if kind == LENGTH:
                if length:
                    raise Malformed("there are several content-length fields")
                length = _length(field)
                memorable = memorable and not field.stable
            elif kind == HELD:
                hold(held, field.name.lower, field.value)
                if field.stable:
                    hold(lasting, name.lower, field.value)
            elif field.stable:
                shared.append(field)
            else:
                shared.append(None)
                own.append(field)
            if kind == CHECKED:
                _check(field, checked)
                memorable = memorable and field.stable
            dated = dated or name.lower == b"date"
            if name.lower == b"cookie":
                crumbs += 1
        for word, values in lasting.items():
            memorable = memorable and held[word] == values
        made = Shared(shared, lasting)
        made.dated = dated
        made.crumbs = crumbs > 1
        head.shared = made
        head.own = own or _NO_OWN
        head.held = held
        if memorable and size <= MEMORY_BYTES // 16:
            self._remember(marks, _Known(made, kinds), size)
        return length

    def _remember(self, marks: tuple[object, ...], known: _Known, size: int) -> None:
        if len(self._known) >= _MAX_SHARED or self._bytes + size > MEMORY_BYTES:
            self._known.clear()  # those still in use are cached again quickly
            self._bytes = 0
        self._known[marks] = known
        self._bytes += size

    def _kind(self, name: bytes) -> int:
        kind = self._kinds.get(name)
        if kind is not None:
            return kind
        kind = self._treatment.of(name)
        if len(name) <= _LONGEST_NAME:
            if len(self._kinds) >= _MAX_NAMES:
                self._kinds.clear()
            self._kinds[name] = kind
        return kind


def _length(field: Field) -> bytes:
    value = field.value
    if not value.isdigit() or len(value) > MAX_LENGTH_DIGITS:
        raise Malformed("content-length is not a number")
    return value


def _check(field: Field, seen: dict[bytes, bytes]) -> None:
    name = field.name.lower
    if name in DISGUISED:
        shown = name.decode("ascii")
        raise BadRequest(f"The request's head is malformed: {shown} could frame it again.")
    if seen.setdefault(name, field.value) != field.value:
        raise BadRequest(
            "The request's head is malformed: it has several different fields where only one is "
            "allowed."
        )


def misplaced(field: Field, late: bool) -> str:
    """Why a pseudo-header field is where it may not be; `late`: after another field."""
    name = field.name.text.decode("ascii")
    return f"{name} comes after a field" if late else f"{name} comes twice"
