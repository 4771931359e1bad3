"""Header fields, the same in both directions: judged by llhttp, taken apart and sorted here.

Those that may go on become lines, serialised anew in their order and spelling; the others are
held back by their lower-case name, for whoever decides about them.
"""

from typing import Final, Protocol

import httptools

PERSISTENCE = frozenset({b"close", b"keep-alive"})
_MAX_KNOWN = 1000
"""Lines of fields that are remembered taken apart."""
_LONGEST_KNOWN = 256
"""Bytes of a line that is remembered."""

_GOES_ON: Final = b""
_CHECKED: Final = b" "
JUDGE: Final = object()
"""What llhttp's parsers get for a protocol: nobody to call back."""
_DISGUISED = {
    b"content_length": "Content_Length could be taken for Content-Length",
    b"transfer_encoding": "Transfer_Encoding could be taken for Transfer-Encoding",
}
"""Names that gateways to CGI and WSGI read as those that frame a body, and why they are refused."""
_WHITE = b" \t"
"""White space round a value is no part of it (RFC 9112 section 5)."""
_KEEP_ALIVE = [b"keep-alive"]


class Parser(Protocol):
    """One of llhttp's, for requests or for responses."""

    def feed_data(self, data: bytes) -> None: ...


class Fields:
    """The fields of one head. `lines` go on; `held` has the values of those that do not."""

    __slots__ = ("held", "lines")

    held: dict[bytes, list[bytes]]
    lines: list[bytes]

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field by its lower-case name, in order."""
        if name in self.held:
            return self.held[name]
        size = len(name)
        return [
            line[size + 2 : -2].rstrip(_WHITE)
            for line in self.lines
            if line[size : size + 1] == b":" and line[:size].lower() == name
        ]

    def persistence(self, minor: int, kept: frozenset[bytes]) -> bool:
        """Whether the connection may carry another message (RFC 9112 section 9.3).

        Also drops what Connection names (RFC 9110 section 7.6.1), but for the names in `kept`.
        """
        values = self.held.get(b"connection")
        if values is None:
            return minor == 1
        if values == _KEEP_ALIVE:
            return True
        options = connection_options(values)
        named = options - PERSISTENCE
        if named:
            self.lines = without(self.lines, named)
            for name in named - kept:
                self.held.pop(name, None)
        return b"close" not in options and (minor == 1 or b"keep-alive" in options)


class _Field:
    """One field's line, taken apart. `kind`: its lower-case name, or what becomes of it."""

    __slots__ = ("kind", "line", "name", "value")

    def __init__(self, kind: bytes, name: bytes, value: bytes, line: bytes) -> None:
        self.kind = kind
        self.name = name
        self.value = value
        self.line = line


class FieldReader:
    """Has llhttp judge a head, and sorts the fields of one that it accepts.

    llhttp is asked once for the whole head, and calls nothing back: in a head that it has accepted
    every line ends with CRLF, no line goes on in the next, and a name ends at the first colon. So
    taking the lines apart is no second opinion. Those that came before are known by then: but for
    a few, a connection's heads have the same fields again and again.

    `held_back` are the lower-case names of fields that do not go on, `checked` those of fields
    that do, but not without a look (`_check`).
    """

    __slots__ = ("_checked", "_held_back", "_known")

    def __init__(
        self, held_back: frozenset[bytes], checked: frozenset[bytes] = frozenset()
    ) -> None:
        self._held_back = held_back
        self._checked = checked
        self._known: dict[bytes, _Field] = {}

    def read(self, parser: Parser, raw: bytes, head: Fields) -> str | None:
        """Give the fields of one whole head to `head`. What is wrong with it, or None."""
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # CONNECT, Upgrade or a 101: the head is whole, what follows is not llhttp's
        except httptools.HttpParserError as error:
            return str(error)
        known = self._known
        lines: list[bytes] = []
        held: dict[bytes, list[bytes]] = {}
        head.lines = lines
        head.held = held
        for line in raw.split(b"\r\n")[1:-2]:
            field = known.get(line)
            if field is None:
                field = self._learn(line)
            kind = field.kind
            if kind is _GOES_ON:
                lines.append(field.line)
            elif kind is _CHECKED:
                fault = _check(field, held)
                if fault is not None:
                    return fault
                lines.append(field.line)
            elif kind in held:
                held[kind].append(field.value)
            else:
                held[kind] = [field.value]
        return None

    def _learn(self, line: bytes) -> _Field:
        name, _, value = line.partition(b":")
        value = value.strip(_WHITE)
        lower = name.lower()
        kind = _GOES_ON
        if lower in self._held_back:
            kind = lower
        elif lower in self._checked:
            kind = _CHECKED
        written = b"".join((name, b": ", value, b"\r\n"))
        field = _Field(kind, lower, value, written)
        if len(line) <= _LONGEST_KNOWN:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()  # those that are in use are soon there again
            self._known[line] = field
        return field


def _check(field: _Field, held: dict[bytes, list[bytes]]) -> str | None:
    """What could be read in two ways in a checked field, or None."""
    if field.name in _DISGUISED:
        return _DISGUISED[field.name]
    if held.setdefault(field.name, [field.value]) != [field.value]:
        return "it has several fields where only one may be, and they differ"
    return None


def connection_options(values: list[bytes]) -> frozenset[bytes]:
    """The lower-case options of Connection fields (RFC 9110 section 7.6.1)."""
    joined = b",".join(values).lower()
    return frozenset(option.strip() for option in joined.split(b",")) - {b""}


def without(lines: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """The lines of fields whose lower-case name is none of `names`."""
    return [line for line in lines if line[: line.find(b":")].lower() not in names]
