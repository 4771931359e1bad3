"""HTTP/2 fields remembered over many connections: equal fields are one object, validated once.

A string is looked up as it came, still Huffman-coded; decoding happens once for each value. If a
name's value is nearly always new (ids, a trace), its values are no longer looked up. Everything is
bounded, see the constants; what would go beyond is forgotten. Fields of unusual
length, malformed names and secrets are never remembered here.
"""

from typing import Final

from proxy.http.h2.names import is_malformed_name, is_malformed_value, make_name
from proxy.http.h2.static_table import static_rows
from proxy.http.message import Field, FieldName, named_field

LONGEST_VALUE: Final = 256
"""Maximum bytes of a remembered value, coded or not."""
_LONGEST_NAME: Final = 64
MEMORY_BYTES: Final = 1024 * 1024
"""Maximum bytes of everything that a store remembers, objects included."""
_FIELD_BYTES: Final = 400
"""What a remembered field takes besides its strings, twice each."""
_NAME_BYTES: Final = 800
_MAX_VALUES: Final = 64
"""Maximum values of a name, and again coded forms."""
_MAX_CODED_NAMES: Final = 1000
_MAX_MISSES: Final = 100
"""After so many new values, and fewer known ones, a name's values are no longer remembered."""


class StoredName:
    """A name with the values that were seen. `own`: its values are not remembered."""

    __slots__ = ("_coded", "_values", "hits", "malformed", "misses", "name", "own")

    def __init__(self, name: FieldName, *, own: bool) -> None:
        self.name = name
        self.own = own
        self.malformed = is_malformed_name(name)
        self.hits = 0
        self.misses = 0
        self._coded: dict[bytes, Field] = {}
        self._values: dict[bytes, Field] = {}

    def known(self, string: bytes) -> Field | None:
        """The remembered field for a coded value, its length included."""
        field = self._coded.get(string)
        if field is not None:
            self.hits += 1
        return field

    def make(self, value: bytes) -> Field:
        """A field that is not remembered."""
        field = named_field(self.name, value)
        field.malformed = self.malformed or is_malformed_value(self.name, value)
        return field

    def remember(self, string: bytes, value: bytes) -> Field:
        """The field for a coded value that was not known."""
        field = self._values.get(value)
        if field is None:
            self.misses += 1
            if self.misses >= _MAX_MISSES:
                if self.hits < self.misses:
                    self.forget()
                    return self.make(value)
                self.hits = self.misses = 0
            field = self.keep(value)
        if len(self._coded) >= _MAX_VALUES:
            self._coded.clear()
        self._coded[string] = field
        return field

    def keep(self, value: bytes) -> Field:
        """A new field that is remembered."""
        if len(self._values) >= _MAX_VALUES:
            self._values.clear()
            self._coded.clear()
        field = self.make(value)
        field.stable = True
        self._values[value] = field
        return field

    def forget(self) -> None:
        """Remember no values from now on."""
        self.own = True
        self._coded.clear()
        self._values.clear()


class FieldStore:
    """The names and fields that the peers of many connections sent.

    `own` are lower-case names whose values are new in each message. An emptied store makes new
    names; connections that still refer to former ones get fields that are not remembered.
    """

    __slots__ = ("_always_own", "_bytes", "_coded_names", "_names", "static_fields", "static_names")

    def __init__(self, own: frozenset[bytes] = frozenset()) -> None:
        self._always_own = own
        self._names: dict[bytes, StoredName] = {}
        self._coded_names: dict[bytes, StoredName] = {}
        self._bytes = 0
        self.static_names: list[StoredName] = []
        self.static_fields: list[Field] = []
        self._begin()

    def _begin(self) -> None:
        nothing = StoredName(make_name(b""), own=True)  # for index 0, which has no meaning
        self.static_names = [nothing]
        self.static_fields = [nothing.make(b"")]
        for text, value in static_rows():
            name = self._names.get(text)
            if name is None:
                name = self._names[text] = self._make_name(text)
            self.static_names.append(name)
            self.static_fields.append(name.keep(value))

    def known_name(self, string: bytes) -> StoredName | None:
        """The name that a string of a field block spells; `string` includes its length."""
        return self._coded_names.get(string)

    def remember_name(self, string: bytes, text: bytes) -> StoredName:
        """The name for a string that was not known."""
        known = self._names.get(text)
        if known is None:
            known = self._make_name(text)
            if known.malformed or len(text) > _LONGEST_NAME:
                known.own = True
                return known
            self._take(_NAME_BYTES)
            self._names[text] = known
        if len(string) <= LONGEST_VALUE:
            if len(self._coded_names) >= _MAX_CODED_NAMES:
                self._coded_names.clear()
            self._coded_names[string] = known
        return known

    def remember(self, name: StoredName, string: bytes, value: bytes) -> Field:
        """The field for a string, its length included, that was not known as a value of a name."""
        if len(value) > LONGEST_VALUE:
            return name.make(value)
        self._take(_FIELD_BYTES + len(string) + 3 * len(value))
        return name.make(value) if name.own else name.remember(string, value)

    def _make_name(self, text: bytes) -> StoredName:
        return StoredName(make_name(text), own=text in self._always_own)

    def _take(self, size: int) -> None:
        self._bytes += size
        if self._bytes > MEMORY_BYTES:
            for name in self._names.values():
                name.forget()
            self._names.clear()
            self._coded_names.clear()
            self._bytes = size
            self._begin()
