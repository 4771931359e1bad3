"""Decodes HPACK field blocks into remembered fields (RFC 7541).

A block that comes again while the dynamic table is the same gives the same section at once; peers
that send every field by its index do that in nearly every request.

    block ──known?──▶ FieldSection                        until the table changes
      │ no
      └─ each field: by its index, or its string ──known?──▶ Field    (`FieldStore`)
"""

from typing import Final

from proxy.http.h2 import huffman
from proxy.http.h2.errors import HpackError
from proxy.http.h2.fields import LONGEST_VALUE, FieldStore, StoredName
from proxy.http.h2.static_table import STATIC_SIZE
from proxy.http.message import Field

ENTRY_OVERHEAD: Final = 32
"""What a field counts besides its name and value (RFC 7541 section 4.1, RFC 9113 10.5.1)."""
_FLOOD: Final = 4
"""A section of so many times its limits ends the connection; a smaller one only its stream."""
_LONGEST_BLOCK: Final = 1024
_MEMORY_BYTES: Final = 16 * 1024
"""Maximum bytes of remembered blocks and their fields in one connection."""
_MAX_SECRETS: Final = 16
_LONGEST_INTEGER: Final = 28
"""Bits of an integer beyond its prefix; no string or index of ours needs more."""
_SPARE: Final = 256
"""So many evicted entries are kept before the list is shortened."""


class FieldSection:
    """The fields of one block. They belong to the decoder: readers do not change the list.

    `size` counts names, values and 32 bytes for each field. `over`: there were more fields or
    bytes than allowed, and `fields` has only the first ones. `judged` is a cache for the reader:
    a section is the same object as long as its peer repeats the block.
    """

    __slots__ = ("fields", "judged", "over", "size")

    def __init__(self, fields: list[Field], size: int, *, over: bool) -> None:
        self.fields = fields
        self.size = size
        self.over = over
        self.judged: object = None

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field by its lower-case name."""
        return [field.value for field in self.fields if field.name.lower == name]


class Decoder:
    """The receiving half of one connection's compression state.

    `max_table_size` is the SETTINGS_HEADER_TABLE_SIZE that the peer was told. After an HpackError
    the decoder must not be used again.
    """

    __slots__ = (
        "_at",
        "_block",
        "_entries",
        "_evicted",
        "_is_changed",
        "_is_huffman",
        "_known",
        "_known_bytes",
        "_max_table_size",
        "_names",
        "_secrets",
        "_start",
        "_store",
        "_table_limit",
        "table_bytes",
    )

    def __init__(self, store: FieldStore, max_table_size: int = 4096) -> None:
        self._store = store
        self._max_table_size = max_table_size
        self._table_limit = max_table_size
        self.table_bytes = 0
        self._entries: list[Field] = []  # the oldest first; the first `_evicted` are gone
        self._names: list[StoredName] = []
        self._evicted = 0
        self._is_changed = False  # whether this block changed the table
        self._known: dict[bytes, FieldSection] = {}
        self._known_bytes = 0
        self._secrets: dict[bytes, Field] = {}
        self._block = b""
        self._at = 0
        self._start = 0
        self._is_huffman = False

    @property
    def table(self) -> list[Field]:
        """The dynamic table, the newest entry first."""
        return self._entries[self._evicted :][::-1]

    def decode(self, block: bytes, max_bytes: int, max_fields: int) -> FieldSection:
        """The fields of a whole block.

        Beyond `max_bytes` or `max_fields` the section is `over`; beyond four times as much, and
        for every error of RFC 7541, raises HpackError.
        """
        known = self._known.get(block)
        if known is not None and known.size <= max_bytes and len(known.fields) <= max_fields:
            return known
        self._is_changed = False
        section = self._decode(block, max_bytes, max_fields)
        if not self._is_changed and not section.over and len(block) <= _LONGEST_BLOCK:
            self._remember(block, section)
        return section

    def _decode(self, block: bytes, max_bytes: int, max_fields: int) -> FieldSection:
        fields: list[Field] = []
        size = 0
        count = 0
        self._block = block
        at = 0
        end = len(block)
        while at < end:
            first = block[at]
            self._at = at + 1
            if first >= 0x80:
                field = self._indexed(first & 0x7F)
            elif first >= 0x40:
                field = self._inserted(first & 0x3F)
            elif first >= 0x20:
                if count:
                    raise HpackError("a size update comes after a field")
                self._resize(first & 0x1F)
                at = self._at
                continue
            elif first >= 0x10:
                field = self._secret(self._name(first & 0x0F, 0x0F))
            else:
                field = self._field(self._name(first & 0x0F, 0x0F))
            at = self._at
            count += 1
            size += len(field.name.text) + len(field.value) + ENTRY_OVERHEAD
            if size <= max_bytes and count <= max_fields:
                fields.append(field)
            elif size > _FLOOD * max_bytes or count > _FLOOD * max_fields:
                raise HpackError("a header is more than four times as long as allowed")
        return FieldSection(fields, size, over=count > len(fields))

    def _remember(self, block: bytes, section: FieldSection) -> None:
        taken = len(block) + section.size
        if self._known_bytes + taken > _MEMORY_BYTES:
            self._forget()
            if taken > _MEMORY_BYTES:
                return
        self._known[block] = section
        self._known_bytes += taken

    def _forget(self) -> None:
        if self._known:
            self._known.clear()
            self._known_bytes = 0

    # --- representations (RFC 7541 section 6) -----------------------------------------------------

    def _indexed(self, index: int) -> Field:
        if index == 0x7F:
            index = self._integer(0x7F)
        if index == 0:
            raise HpackError("index 0 has no field")
        if index <= STATIC_SIZE:
            return self._store.static_fields[index]
        return self._entries[self._place(index)]

    def _inserted(self, index: int) -> Field:
        name = self._name(index, 0x3F)
        field = self._field(name)
        size = len(field.name.text) + len(field.value) + ENTRY_OVERHEAD
        self._is_changed = True
        self._forget()
        self.table_bytes += size
        self._entries.append(field)
        self._names.append(name)
        self._evict()
        return field

    def _secret(self, name: StoredName) -> Field:
        """A literal never indexed: remembered only for this connection."""
        begin = self._at
        self._read_string()
        string = self._block[begin : self._at]
        known = self._secrets.get(string)
        if known is not None and known.name is name.name:
            return known
        field = name.make(self._text())
        field.secret = True
        if len(string) <= LONGEST_VALUE:
            if len(self._secrets) >= _MAX_SECRETS:
                self._secrets.clear()
            self._secrets[string] = field
        return field

    def _resize(self, limit: int) -> None:
        if limit == 0x1F:
            limit = self._integer(0x1F)
        if limit > self._max_table_size:
            raise HpackError("a size update is larger than the table may be")
        self._table_limit = limit
        self._is_changed = True
        self._forget()
        self._evict()

    # --- their parts ------------------------------------------------------------------------------

    def _name(self, index: int, prefix: int) -> StoredName:
        if index == 0:
            begin = self._at
            self._read_string()
            string = self._block[begin : self._at]
            known = self._store.known_name(string)
            return self._store.remember_name(string, self._text()) if known is None else known
        if index == prefix:
            index = self._integer(prefix)
        if index <= STATIC_SIZE:
            return self._store.static_names[index]
        return self._names[self._place(index)]

    def _field(self, name: StoredName) -> Field:
        begin = self._at
        self._read_string()
        end = self._at
        if name.own or end - begin > LONGEST_VALUE:
            return name.make(self._text())
        string = self._block[begin:end]
        known = name.known(string)
        return self._store.remember(name, string, self._text()) if known is None else known

    def _read_string(self) -> None:
        """Find the next string: its text is between `_start` and `_at`."""
        block = self._block
        if self._at >= len(block):
            raise HpackError("a field block is truncated")
        first = block[self._at]
        self._at += 1
        length = first & 0x7F
        if length == 0x7F:
            length = self._integer(0x7F)
        self._is_huffman = first >= 0x80
        self._start = self._at
        self._at += length
        if self._at > len(block):
            raise HpackError("a string is longer than its field block")

    def _text(self) -> bytes:
        """What the string that was found says."""
        text = self._block[self._start : self._at]
        return huffman.decode(text) if self._is_huffman else text

    def _integer(self, prefix: int) -> int:
        """What follows a full prefix (RFC 7541 section 5.1)."""
        block = self._block
        end = len(block)
        value = prefix
        shift = 0
        while True:
            if self._at >= end:
                raise HpackError("a field block is truncated")
            if shift >= _LONGEST_INTEGER:
                raise HpackError("an integer is too large")
            byte = block[self._at]
            self._at += 1
            value += (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    # --- the dynamic table (RFC 7541 sections 2.3.2 and 4) ----------------------------------------

    def _place(self, index: int) -> int:
        place = len(self._entries) + STATIC_SIZE - index
        if place < self._evicted:
            raise HpackError("an index has no field")
        return place

    def _evict(self) -> None:
        entries = self._entries
        while self.table_bytes > self._table_limit:
            field = entries[self._evicted]
            self.table_bytes -= len(field.name.text) + len(field.value) + ENTRY_OVERHEAD
            self._evicted += 1
        if self._evicted > _SPARE or self._evicted == len(entries):
            del entries[: self._evicted]
            del self._names[: self._evicted]
            self._evicted = 0
