"""Header fields of HTTP/1: validated once, parsed, and remembered as the shared part of heads.

A head is identified by its lines. A line that was read before is a known object; the others are
the head's own fields, whose values are new each time (ids, the trace, a length). The known lines
and the places of the own ones are the key of the remembered shared part:

    lines ──known?──▶ key ──known?──▶ Shared        own fields: validated here, by characters
               │                │
               └──── no ────────┴──▶ llhttp validates the whole head, then it is parsed and learnt

llhttp validates a whole head at once and calls nothing back: in an accepted head every line ends
with CRLF, no line is folded, and a name ends at the first colon. Splitting the lines therefore
cannot contradict llhttp. A line whose name llhttp has accepted before, and whose value has no
control character, is valid in any place (RFC 9110 section 5.5).

Some own fields are known in advance, others are learnt: if a name's value differs in nearly every
head, its lines are no longer remembered. All memory of one reader is bounded in bytes, see
`MEMORY_BYTES`; a full memory is emptied, and entries still in use are cached again quickly.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

import httptools

from proxy.http.h1.shapes import Name, Shapes, printable
from proxy.http.lists import connection_options
from proxy.http.message import Field, FieldName, Head, Shared
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
"""Maximum bytes of remembered lines, and again of shared parts, per reader; the objects take
about three times as much."""
PERSISTENCE = frozenset({b"close", b"keep-alive"})
LONGEST_KNOWN: Final = 256
"""Maximum bytes of a remembered line."""
_MAX_NAMES: Final = 500
_FRESH: Final = 8
"""So many new values of a name in close succession make it an own field."""
_SELDOM: Final = 64
"""After so many heads without a new value a name's count starts again."""

JUDGE: Final = object()
"""The protocol for llhttp's parsers, without callbacks."""
_FIXED = frozenset(
    {b"connection", b"expect", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"}
)
"""Names that are never own fields: each new value is validated with the whole head."""
_WHITE: Final = b" \t"
"""White space around a value is not part of it (RFC 9112 section 5)."""
TEXT: Final = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
"""Characters of values (RFC 9110 section 5.5) and reason phrases (RFC 9112 section 4)."""
_NO_OWN: Final[list[Field]] = []


class Parser(Protocol):
    """An llhttp parser, for requests or for responses."""

    def feed_data(self, data: bytes) -> None: ...


class _Line:
    """A known line: its field, and how it is treated."""

    __slots__ = ("field", "name")

    def __init__(self, name: Name, field: Field) -> None:
        self.name = name
        self.field = field


class Reading:
    """The result of reading a head. `lengths` are the values of Content-Length.

    `fault`: what is wrong, or None. `learnt`: the shared part is new; the caller validates it and
    passes it to `remember`, which keeps it under `key` (None: not at all) as `size` bytes.
    """

    __slots__ = ("fault", "held", "key", "learnt", "lengths", "own", "shared", "size")

    def __init__(self) -> None:
        self.fault: str | None = None
        self.shared: Shared
        self.own: list[Field] = _NO_OWN
        self.held: dict[bytes, list[bytes]]
        self.lengths: list[bytes] = []
        self.learnt = False
        self.key: Any = None
        self.size = 0


class FieldReader:
    """Reads the fields of heads of one listener or of all upstreams.

    `held_back` are the lower-case names of fields that do not go on, `own` those of fields whose
    values are new in each head, `checked` those of fields that go on, but only once (`_check`).
    `kept`: fields that count although Connection names them. `keeps_out`: further names that do not
    go on; it is asked once for each spelling.
    """

    __slots__ = (
        "_always_own",
        "_kept",
        "_known",
        "_known_bytes",
        "_make_parser",
        "_names",
        "_own",
        "_reads",
        "_shared",
        "_shared_bytes",
        "_treatment",
        "shapes",
    )

    def __init__(
        self,
        make_parser: Callable[[Any], Parser],
        held_back: frozenset[bytes],
        own: frozenset[bytes],
        *,
        checked: frozenset[bytes] = frozenset(),
        kept: frozenset[bytes] = frozenset(),
        keeps_out: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._make_parser = make_parser
        self._treatment = Treatment(held_back, checked, keeps_out)
        self._own = self._always_own = own
        self._kept = kept
        self._names: dict[bytes, Name] = {}
        self._known: dict[bytes, _Line] = {}
        self._known_bytes = 0
        self._shared: dict[Any, Shared] = {}
        self._shared_bytes = 0
        self._reads = 0
        self.shapes = Shapes()

    def read(self, first: bytes, lines: list[bytes], version: int) -> Reading:
        """Read the fields of a head of HTTP `version` (10 or 11), split at CRLF.

        `lines` has its first line, which is not examined, the fields, and two empty lines.
        `first` is the first line that llhttp gets.
        """
        reading = Reading()
        self._reads += 1
        key: list[object] = [version]
        names: list[Name | None] = []
        held: dict[bytes, list[bytes]] = {}
        own: list[Field] = []
        for at in range(1, len(lines) - 2):
            line = lines[at]
            known = self._known.get(line)
            if known is not None:
                key.append(known)
                names.append(None)
                continue
            colon = line.find(b":")
            name = self._names.get(line[:colon]) if colon > 0 else None
            if name is None or not name.own:
                return self._learn(reading, first, lines, version)
            value = _value(line, colon)
            if not printable(value):
                return self._learn(reading, first, lines, version)
            key.append(name)
            names.append(name)
            if name.kind == GOES_ON:
                own.append(_own_field(name.name, value, line))
            elif name.kind == HELD:
                hold(held, name.name.lower, value)
            elif value.isdigit() and len(value) <= MAX_LENGTH_DIGITS:
                reading.lengths.append(value)
            else:
                return self._learn(reading, first, lines, version)
        shared = self._shared.get(tuple(key))
        if shared is None:
            return self._learn(reading, first, lines, version)
        self.shapes.offer(lines, names, version, shared)
        reading.shared = shared
        if own:
            reading.own = own
        if held:
            held.update(shared.held)  # a name never has lines of both kinds
            reading.held = held
        else:
            reading.held = shared.held
        return reading

    def remember(self, reading: Reading) -> None:
        """Remember a learnt shared part after the caller has validated it."""
        if reading.key is None or reading.size > MEMORY_BYTES // 16:
            return
        if self._shared_bytes + reading.size > MEMORY_BYTES:
            self._shared.clear()
            self._shared_bytes = 0
        self._shared[reading.key] = reading.shared
        self._shared_bytes += reading.size

    # --- unknown heads --------------------------------------------------------------------------

    def _learn(self, reading: Reading, first: bytes, lines: list[bytes], version: int) -> Reading:
        """Let llhttp validate the whole head, and parse it."""
        reading.learnt = True
        reading.lengths.clear()
        fields = lines[1:]
        reading.fault = self._fault_of(b"\r\n".join((first, *fields)))
        if reading.fault is not None:
            return reading
        key: list[object] = [version]
        shared: list[Field | None] = []
        own: list[Field] = []
        held: dict[bytes, list[bytes]] = {}
        own_held: dict[bytes, list[bytes]] = {}
        checked: dict[bytes, bytes] = {}
        lasting = True
        dated = False
        for line in fields[:-2]:
            known = self._known.get(line)
            if known is None:
                known, kept = self._take_apart(line)
                lasting = lasting and kept
            name, field = known.name, known.field
            dated = dated or name.name.lower == b"date"
            key.append(name if name.own else known)
            if name.kind == LENGTH:
                reading.lengths.append(field.value)
            elif name.kind == HELD:
                hold(own_held if name.own else held, name.name.lower, field.value)
            elif name.own:
                shared.append(None)
                own.append(field)
            else:
                if name.kind == CHECKED:
                    reading.fault = reading.fault or _check(field, checked)
                shared.append(field)
            reading.size += len(line)
        options = connection_options(held.get(b"connection", []))
        named = options - PERSISTENCE - self._kept
        if named:  # such a head itself says which fields are forwarded
            lasting = False
            shared, own = _without(shared, own, named)
            for unwanted in named:
                held.pop(unwanted, None)
                own_held.pop(unwanted, None)
        made = Shared(shared, held)
        made.dated = dated
        made.keep_alive = b"close" not in options and (version == 11 or b"keep-alive" in options)
        reading.shared, reading.own = made, own
        reading.held = {**held, **own_held} if own_held else held
        reading.key = tuple(key) if lasting else None
        return reading

    def _fault_of(self, head: bytes) -> str | None:
        """What llhttp says is wrong with a head, None if nothing."""
        try:
            self._make_parser(JUDGE).feed_data(head)
        except httptools.HttpParserUpgrade:
            pass  # the head is complete; llhttp gets nothing else
        except httptools.HttpParserError as error:
            return str(error)
        return None

    def _take_apart(self, line: bytes) -> tuple[_Line, bool]:
        """Parse an unknown line; also returns whether heads with it can be remembered."""
        text, _, value = line.partition(b":")
        value = value.strip(_WHITE)
        name = self._name(text)
        known = _Line(name, _own_field(name.name, value, line))
        if name.own:
            return known, True
        reads = self._reads + self.shapes.matched
        if reads - name.learnt_at > _SELDOM:
            name.fresh = 0
        name.fresh += 1
        name.learnt_at = reads
        if name.fresh > _FRESH:
            if not name.fixed:
                self._make_own(name)
            return known, False
        if len(line) > LONGEST_KNOWN:
            return known, False
        if self._known_bytes + len(line) > MEMORY_BYTES:
            self._forget()
        self._known[line] = known
        self._known_bytes += len(line)
        return known, True

    def _name(self, text: bytes) -> Name:
        name = self._names.get(text)
        if name is not None:
            return name
        lower = text.lower()
        kind = self._treatment.of(lower)
        own = kind == LENGTH or lower in self._own
        fixed = kind == CHECKED or lower in _FIXED
        name = Name(FieldName(text), kind, own=own, fixed=fixed)
        if len(text) <= LONGEST_KNOWN:
            if len(self._names) >= _MAX_NAMES:
                self._names.clear()
                self._own = self._always_own
                self._forget()
            self._names[text] = name
        return name

    def _make_own(self, name: Name) -> None:
        """No longer remember its lines, in any spelling of the name."""
        for one in self._names.values():
            if one.name.lower == name.name.lower:
                one.own = True
        name.own = True
        self._own |= {name.name.lower}
        self._forget()

    def _forget(self) -> None:
        self._known.clear()
        self._known_bytes = 0
        self._shared.clear()
        self._shared_bytes = 0
        self.shapes.clear()


def give(reading: Reading, head: Head) -> None:
    """Set the fields of a head."""
    head.shared = reading.shared
    head.own = reading.own
    head.held = reading.held
    head.written = b""


def _value(line: bytes, colon: int) -> bytes:
    """The value after the colon, without the surrounding white space: nearly always one space."""
    size = len(line)
    if size > colon + 2 and line[colon + 1] == 32 and line[colon + 2] > 32 and line[size - 1] > 32:
        return line[colon + 2 :]
    return line[colon + 1 :].strip(_WHITE)


def _own_field(name: FieldName, value: bytes, line: bytes) -> Field:
    """A field; its line is the received one if that is already in the forwarded form."""
    before = len(name.text)
    if len(line) != before + 2 + len(value) or line[before + 1] != 32:
        line = name.text + b": " + value
    return Field(name, value, line)


def _check(field: Field, seen: dict[bytes, bytes]) -> str | None:
    """Why a checked field is ambiguous, or None."""
    name = field.name.lower
    if name in DISGUISED:
        return DISGUISED[name]
    if seen.setdefault(name, field.value) != field.value:
        return "it has several different fields where only one is allowed"
    return None


def _without(
    shared: list[Field | None], own: list[Field], names: frozenset[bytes]
) -> tuple[list[Field | None], list[Field]]:
    """All fields including own ones, without those of these names."""
    left: list[Field | None] = []
    left_own: list[Field] = []
    at = 0
    for field in shared:
        if field is None:
            own_field = own[at]
            at += 1
            if own_field.name.lower not in names:
                left.append(None)
                left_own.append(own_field)
        elif field.name.lower not in names:
            left.append(field)
    return left, left_own
