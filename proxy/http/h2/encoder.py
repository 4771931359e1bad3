"""Encodes fields as HPACK field blocks (RFC 7541), for one connection.

Fields that repeat are put into the peer's table when they come for the second time, until it is
full; nothing is ever evicted. So the indices stay, and the coded form of a whole shared head is
remembered. What differs each time is written as a literal that no table holds, and without the
Huffman code: shorter bytes would cost more than they save on a pod's own network.
"""

from typing import Final

from proxy.http.h2.decoder import ENTRY_OVERHEAD
from proxy.http.h2.static_table import STATIC_SIZE, static_rows
from proxy.http.message import Field, FieldName, Shared, named_field

DEFAULT_TABLE_SIZE: Final = 4096
"""The peer's table until it says something else, and the most that is used (RFC 9113 6.5.2)."""
_MAX_HEADS: Final = 32
_HEAD_BYTES: Final = 16 * 1024
"""Maximum bytes of the fields of remembered heads."""
_MAX_SEEN: Final = 256
_LONGEST_AUTHORITY: Final = 300
_AUTHORITY: Final = FieldName(b":authority")
_SECRET: Final = 0x10
"""The first bits of a literal never indexed (RFC 7541 section 6.2.3)."""
_INSERTED: Final = 0x40
_INDEXED: Final = 0x80
_LONGEST_SHORT: Final = 126
"""A string of more bytes has its length in several bytes."""

_NEVER_INSERTED: Final = frozenset(
    {
        b":path",
        b"age",
        b"authorization",
        b"content-length",
        b"content-range",
        b"cookie",
        b"date",
        b"etag",
        b"if-modified-since",
        b"if-none-match",
        b"last-modified",
        b"location",
        b"proxy-authorization",
        b"set-cookie",
        b"traceparent",
        b"x-request-id",
    }
)
"""Values that differ in most messages, and credentials (RFC 7541 section 7.1.3)."""


def _static_names() -> dict[bytes, int]:
    names: dict[bytes, int] = {}
    for at, (name, _) in enumerate(static_rows(), 1):
        names.setdefault(name, at)
    return names


def _integer(value: int, prefix: int, bits: int) -> bytes:
    """An integer (RFC 7541 section 5.1); `prefix` is the largest value of its first byte."""
    if value < prefix:
        return bytes((bits | value,))
    coded = [bits | prefix]
    value -= prefix
    while value >= 0x80:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    coded.append(value)
    return bytes(coded)


_LENGTHS: Final = [_integer(length, 0x7F, 0) for length in range(_LONGEST_SHORT + 1)]
_INDICES: Final = [_integer(index, 0x7F, _INDEXED) for index in range(0x7F)]
_STATIC_NAMES: Final = _static_names()


def _static_fields() -> dict[bytes, bytes]:
    """The coded forms of the static table's fields, by their lines."""
    rows = enumerate(static_rows(), 1)
    return {name + b": " + value: _INDICES[at] for at, (name, value) in rows if value}


_STATIC_FIELDS: Final = _static_fields()


def _string(text: bytes) -> bytes:
    length = len(text)
    if length <= _LONGEST_SHORT:
        return _LENGTHS[length] + text
    return _integer(length, 0x7F, 0) + text


def _secret_name(name: FieldName) -> bytes:
    """What a literal never indexed begins with."""
    literal = name.literal
    if not literal:
        lower = name.lower
        index = _STATIC_NAMES.get(lower, 0)
        literal = _integer(index, 0x0F, _SECRET)
        if not index:
            literal += _string(lower)
        name.literal = literal
    return literal


def _set_size(name: FieldName, length: int) -> None:
    """Let `name.sized` begin a literal whose value has `length` bytes."""
    name.sized = _secret_name(name) + _LENGTHS[length]
    name.sized_for = length


def fixed(name: FieldName, value: bytes) -> bytes:
    """The coded form of a field that is the same on every connection: no dynamic table has it."""
    known = _STATIC_FIELDS.get(name.lower + b": " + value)
    if known is not None:
        return known
    return _integer(_STATIC_NAMES[name.lower], 0x0F, 0) + _string(value)


class Encoder:
    """The sending half of one connection's compression state.

    Blocks must be sent completely and in the order in which they were begun, and so must the bytes
    that an `add_…` appended to a block.
    """

    __slots__ = (
        "_authority",
        "_coded_authority",
        "_entries",
        "_head_bytes",
        "_heads",
        "_learnt",
        "_names",
        "_places",
        "_seen",
        "_table_limit",
        "_update",
        "table_bytes",
    )

    def __init__(self) -> None:
        self._table_limit = DEFAULT_TABLE_SIZE
        self.table_bytes = 0
        self._entries = 0
        self._places: dict[bytes, int] = {}
        self._names: dict[bytes, int] = {}
        self._seen: set[int] = set()
        self._learnt = 0  # counts what may make the next block of the same fields another one
        self._heads: dict[Shared, list[bytes]] = {}
        self._head_bytes = 0
        self._authority = ""
        self._coded_authority = b""  # b"" if it is not remembered
        self._update = b""

    def resize(self, size: int) -> None:
        """Note the peer's SETTINGS_HEADER_TABLE_SIZE. Another size begins with an empty table."""
        size = min(size, DEFAULT_TABLE_SIZE)
        if size == self._table_limit:
            return
        self._table_limit = size
        self._update = _integer(0, 0x1F, 0x20) + _integer(size, 0x1F, 0x20)
        self.table_bytes = 0
        self._entries = 0
        self._places.clear()
        self._names.clear()
        self._forget()

    def begin(self) -> list[bytes]:
        """The pieces of a new block."""
        if not self._update:
            return []
        update, self._update = self._update, b""
        return [update]

    def add_own(self, block: list[bytes], name: FieldName, value: bytes) -> None:
        """Add a field whose value differs each time, or is secret."""
        length = len(value)
        if length != name.sized_for:
            if length > _LONGEST_SHORT:
                block.append(_secret_name(name) + _string(value))
                return
            _set_size(name, length)
        block.append(name.sized)
        block.append(value)

    def add_field(self, block: list[bytes], field: Field) -> None:
        """Add a field that repeats."""
        block.append(self._coded(field))

    def add_authority(self, block: list[bytes], text: str) -> None:
        """Add :authority, which most requests of a connection share."""
        if self._coded_authority and text == self._authority:
            block.append(self._coded_authority)
            return
        learnt = self._learnt
        coded = self._coded(named_field(_AUTHORITY, text.encode("latin-1")))
        block.append(coded)
        if self._learnt == learnt and len(text) <= _LONGEST_AUTHORITY:
            self._authority = text
            self._coded_authority = coded

    def add_head(self, block: list[bytes], shared: Shared, own: list[Field]) -> None:
        """Add a head's shared fields, with its own ones at their places."""
        coded = self._heads.get(shared)
        if coded is None:
            coded = self._coded_head(shared)
        block.append(coded[0])
        for at, field in enumerate(own):
            self.add_own(block, field.name, field.value)
            if coded[at + 1]:
                block.append(coded[at + 1])

    # --- fields that repeat -----------------------------------------------------------------------

    def _coded_head(self, shared: Shared) -> list[bytes]:
        """The coded fields between own ones: one piece more than own fields."""
        learnt = self._learnt
        coded: list[bytes] = []
        pieces: list[bytes] = []
        size = 0
        for field in shared.fields:
            if field is None:
                coded.append(b"".join(pieces))
                pieces = []
            else:
                size += len(field.line)
                pieces.append(self._coded(field))
        coded.append(b"".join(pieces))
        if self._learnt == learnt and size <= _HEAD_BYTES // 4:
            self._remember(shared, coded, size)
        return coded

    def _remember(self, shared: Shared, coded: list[bytes], size: int) -> None:
        if len(self._heads) >= _MAX_HEADS or self._head_bytes + size > _HEAD_BYTES:
            self._forget()
        self._heads[shared] = coded
        self._head_bytes += size

    def _forget(self) -> None:
        self._heads.clear()
        self._head_bytes = 0
        self._coded_authority = b""

    def _coded(self, field: Field) -> bytes:
        name = field.name
        lower = name.lower
        line = field.line if lower == name.text else lower + b": " + field.value
        known = _STATIC_FIELDS.get(line)
        if known is not None:
            return known
        place = self._places.get(line)
        if place is not None:
            index = self._index(place)
            return _INDICES[index] if index < 0x7F else _integer(index, 0x7F, _INDEXED)
        if field.secret or lower in _NEVER_INSERTED:
            return _secret_name(name) + _string(field.value)
        size = len(lower) + len(field.value) + ENTRY_OVERHEAD
        if self.table_bytes + size > self._table_limit or self._is_new(line):
            return self._named(lower, 0x0F, 0) + _string(field.value)
        coded = self._named(lower, 0x3F, _INSERTED) + _string(field.value)
        self._insert(lower, line, size)
        return coded

    def _is_new(self, line: bytes) -> bool:
        """Whether this field comes for the first time."""
        mark = hash(line)
        if mark in self._seen:
            return False
        if len(self._seen) >= _MAX_SEEN:
            self._seen.clear()
        self._seen.add(mark)
        self._learnt += 1
        return True

    def _named(self, lower: bytes, prefix: int, bits: int) -> bytes:
        """A literal's first bytes, with its name."""
        index = _STATIC_NAMES.get(lower, 0)
        if not index:
            place = self._names.get(lower)
            if place is not None:
                index = self._index(place)
        if index:
            return _integer(index, prefix, bits)
        return _integer(0, prefix, bits) + _string(lower)

    def _insert(self, lower: bytes, line: bytes, size: int) -> None:
        self.table_bytes += size
        self._places[line] = self._names[lower] = self._entries
        self._entries += 1
        self._learnt += 1
        self._forget()

    def _index(self, place: int) -> int:
        return STATIC_SIZE + self._entries - place
