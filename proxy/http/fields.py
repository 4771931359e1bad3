"""Header fields, the same in both directions: taken from llhttp one by one, and sorted at once.

Those that may go on become lines, serialised anew in their order and spelling; the others are
held back by their lower-case name, for whoever decides about them.
"""

from typing import Protocol

import httptools

PERSISTENCE = frozenset({b"close", b"keep-alive"})
_MAX_NAMES = 2000
"""Spellings of names that are remembered; there are few, but a client could make up more."""

_GOES_ON = b""
_CHECKED = b" "
_DISGUISED = {
    b"content_length": "Content_Length could be taken for Content-Length",
    b"transfer_encoding": "Transfer_Encoding could be taken for Transfer-Encoding",
}
"""Names that gateways to CGI and WSGI read as those that frame a body, and why they are refused."""
_WHITE = b" \t"
"""White space behind a value is no part of it (RFC 9112 section 5); llhttp leaves it there."""
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


class FieldSink:
    """What llhttp calls for each field; a callback that is not there costs nothing.

    `checked` are lower-case names that go on, but not without a look (`_check`).
    """

    __slots__ = ("_checked", "_held_back", "_names", "held", "lines")

    def __init__(
        self, held_back: frozenset[bytes], checked: frozenset[bytes] = frozenset()
    ) -> None:
        self._held_back = held_back
        self._checked = checked
        # By spelling: the lower-case name if it is held back, else _GOES_ON or _CHECKED.
        self._names: dict[bytes, bytes] = {}
        self.held: dict[bytes, list[bytes]] = {}
        self.lines: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        try:
            kind = self._names[name]
        except KeyError:
            kind = self._learn(name)
        if kind is _GOES_ON:
            self.lines.append(b"".join((name, b": ", value, b"\r\n")))  # half the time of %
        elif kind is _CHECKED:
            self._check(name, value)
        elif kind in self.held:
            self.held[kind].append(value.rstrip(_WHITE))
        else:
            self.held[kind] = [value.rstrip(_WHITE)]

    def _learn(self, name: bytes) -> bytes:
        lower = name.lower()
        kind = _GOES_ON
        if lower in self._held_back:
            kind = lower
        elif lower in self._checked:
            kind = _CHECKED
        if len(self._names) < _MAX_NAMES:
            self._names[name] = kind
        return kind

    def _check(self, name: bytes, value: bytes) -> None:
        """Let a checked field go on, if it says nothing that could be read in two ways.

        Raises ValueError, which llhttp hands back as a failed callback.
        """
        lower = name.lower()
        if lower in _DISGUISED:
            raise ValueError(_DISGUISED[lower])
        value = value.rstrip(_WHITE)
        if self.held.setdefault(lower, [value]) != [value]:
            raise ValueError("it has several fields where only one may be, and they differ")
        self.lines.append(b"".join((name, b": ", value, b"\r\n")))

    def read(self, parser: Parser, raw: bytes, head: Fields) -> str | None:
        """Let llhttp read one whole head, and give its fields to `head`.

        What is wrong with it, or None.
        """
        fault = None
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # CONNECT, Upgrade or a 101: the head is whole, what follows is not llhttp's
        except httptools.HttpParserCallbackError as error:
            fault = str(error.__context__)
        except httptools.HttpParserError as error:
            fault = str(error)
        head.lines, head.held = self.lines, self.held
        self.lines, self.held = [], {}
        return fault


def connection_options(values: list[bytes]) -> frozenset[bytes]:
    """The lower-case options of Connection fields (RFC 9110 section 7.6.1)."""
    joined = b",".join(values).lower()
    return frozenset(option.strip() for option in joined.split(b",")) - {b""}


def without(lines: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """The lines of fields whose lower-case name is none of `names`."""
    return [line for line in lines if line[: line.find(b":")].lower() not in names]
