"""Chunked bodies (RFC 9112 section 7.1): find the end, check the framing, pass the bytes on.

    SIZE ──size > 0──▶ DATA ──▶ DATA_CR ──▶ DATA_LF ──▶ SIZE
      └────size = 0──▶ TRAILERS ──empty line──▶ ENDED            any ──▶ BROKEN

What goes on to the other side is always canonical: sizes in lower-case hex without leading
zeros, no chunk extensions (section 7.1.1 lets a recipient drop those it does not know), CRLF.
Bytes that came that way are handed back as they are, so the common case costs one look per
chunk and no copy. Nothing is held back but an unfinished size line and the trailer section.

The scanner is stricter than the grammar wherever two parsers could disagree about where a
message ends: no white space in a size line outside a quoted string (the grammar has BWS round
extensions), no bare CR or LF, at most 16 digits.
"""

import re
from enum import Enum
from typing import Final

from proxy.http.trailers import parse_trailer

MAX_SIZE_LINE = 256
"""Bytes of one size line, extensions and CRLF included."""
MAX_EXTENSIONS = 16 * 1024
"""Bytes of all chunk extensions of one message."""
MAX_DIGITS = 16
MAX_SIZE = 2**63 - 1

_LOWER_HEX = b"0123456789abcdef"
_HEX = b"0123456789abcdefABCDEF"
_ZERO = ord("0")
_LAST_CHUNK = b"0\r\n\r\n"

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_EXTENSIONS = re.compile(rb"(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)+")


class ChunkError(ValueError):
    """The body is not chunked as it should be; the message says what is wrong."""


class _State(Enum):
    SIZE = "size line"
    DATA = "chunk data"
    DATA_CR = "CR after chunk data"
    DATA_LF = "LF after chunk data"
    TRAILERS = "trailer section"
    ENDED = "ended"
    BROKEN = "broken"


# A global is cheaper to look up than an attribute of the enum, and this runs per chunk.
_SIZE: Final = _State.SIZE
_DATA: Final = _State.DATA
_DATA_CR: Final = _State.DATA_CR
_ENDED: Final = _State.ENDED


class ChunkedDecoder:
    """Scans one chunked body. How its bytes are split over calls changes nothing.

    `payload_bytes` counts the data bytes seen so far. `trailers` holds the fields of the trailer
    section that may pass, names spelled as received; it is whole once the body has ended.
    """

    __slots__ = (
        "_extension_bytes",
        "_held",
        "_left",
        "_max_trailer_bytes",
        "_payload_only",
        "_state",
        "_trailer_bytes",
        "payload_bytes",
        "trailers",
    )

    def __init__(self, max_trailer_bytes: int = 16384, *, payload: bool = False) -> None:
        """`payload`: hand on the data alone, without framing or trailers (HTTP/1.0 clients)."""
        self.payload_bytes = 0
        self.trailers: list[tuple[bytes, bytes]] = []
        self._payload_only = payload
        self._max_trailer_bytes = max_trailer_bytes
        self._state = _SIZE
        self._left = 0  # data bytes of the chunk still to come
        self._held = b""  # the line that is not whole yet
        self._extension_bytes = 0
        self._trailer_bytes = 0

    def scan(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Take bytes as they come; return what to pass on, and what follows the body's end.

        The second value is None while the body goes on; once it has ended, the bytes after it
        (b"" if there are none). Raises ChunkError, and from then on at every call: nothing of
        the bytes of that call may be passed on.
        """
        if self._held:
            data = self._held + data
            self._held = b""
        try:
            return self._scan(data)
        except ChunkError:
            self._state = _State.BROKEN
            raise

    def _scan(self, data: bytes) -> tuple[bytes, bytes | None]:
        pieces: list[bytes] = []
        start = pos = 0  # data[start:pos] is the run that goes on as it came
        end = len(data)
        canonical: bytes | None
        while pos < end and self._state is not _ENDED:
            state = self._state
            if state is _DATA:
                taken = min(self._left, end - pos)
                pos += taken
                self.payload_bytes += taken
                self._left -= taken
                if not self._left:
                    self._state = _DATA_CR
                continue
            if state is _SIZE:
                after, canonical = self._size_line(data, pos)
            elif state is _DATA_CR and data.startswith(b"\r\n", pos):
                after, canonical = pos + 2, None
                self._state = _SIZE
            else:
                after, canonical = self._rare(data, pos)
            if canonical is not None or self._payload_only:
                if start < pos:
                    pieces.append(data[start:pos])
                if canonical and not self._payload_only:
                    pieces.append(canonical)
                start = after
            pos = after
        rest = data[pos:] if self._state is _ENDED else None
        if not pieces:
            # As it is, if that is all: a slice would be a copy where this is compiled.
            return (data if pos - start == end else data[start:pos]), rest
        if start < pos:
            pieces.append(data[start:pos])
        return b"".join(pieces), rest

    # Each of the following consumes framing at `pos` and returns where it ends and what goes on
    # in its place: None for the bytes as they came, b"" for nothing (yet).

    def _size_line(self, data: bytes, pos: int) -> tuple[int, bytes | None]:
        stop = data.find(b"\r\n", pos, pos + MAX_SIZE_LINE)
        digits = data[pos:stop] if stop > pos else b""
        if digits and not digits.strip(_LOWER_HEX) and len(digits) < MAX_DIGITS:
            size = int(digits, 16)
            if digits[0] != _ZERO:
                self._left = size
                self._state = _DATA
                return stop + 2, None
            if data.startswith(_LAST_CHUNK, pos):
                self._state = _ENDED
                return pos + len(_LAST_CHUNK), None
        else:
            line = self._line(data, pos, MAX_SIZE_LINE)
            if line is None:
                return len(data), b""
            size = self._read_size(line)
            stop = pos + len(line)
        if size:
            self._left = size
            self._state = _DATA
            return stop + 2, b"%x\r\n" % size
        # The last chunk goes on together with the trailers, when they are whole.
        self._state = _State.TRAILERS
        return stop + 2, b""

    def _rare(self, data: bytes, pos: int) -> tuple[int, bytes | None]:
        if self._state is _State.TRAILERS:
            return self._trailer_line(data, pos)
        if self._state is _DATA_CR and data[pos:] == b"\r":
            self._state = _State.DATA_LF
            return pos + 1, None
        if self._state is _State.DATA_LF and data.startswith(b"\n", pos):
            self._state = _SIZE
            return pos + 1, None
        if self._state is _State.BROKEN:
            raise ChunkError("the body was malformed before")
        raise ChunkError("no CRLF after the chunk's data")

    def _line(self, data: bytes, pos: int, limit: int) -> bytes | None:
        """The line at `pos` without its CRLF, or None with the bytes of it held back.

        `limit` counts the CRLF. A line that is too long is told by what has come of it.
        """
        stop = data.find(b"\n", pos, pos + limit)
        if stop < 0:
            if len(data) - pos >= limit:
                raise ChunkError(f"{self._state.value} too long")
            self._held = data[pos:]
            return None
        line = data[pos:stop]
        if line[-1:] != b"\r":
            raise ChunkError(f"bare LF in the {self._state.value}")
        return line[:-1]

    def _read_size(self, line: bytes) -> int:
        digits, semicolon, _ = line.partition(b";")
        if b"\r" in line:
            raise ChunkError("bare CR in the size line")
        if not digits:
            raise ChunkError("empty chunk size")
        if digits.strip(_HEX):
            raise ChunkError("chunk size is not a plain hexadecimal number")
        if len(digits) > MAX_DIGITS or (size := int(digits, 16)) > MAX_SIZE:
            raise ChunkError("chunk size too large")
        if semicolon:
            extensions = line[len(digits) :]
            if _EXTENSIONS.fullmatch(extensions) is None:
                raise ChunkError("malformed chunk extension")
            self._extension_bytes += len(extensions)
            if self._extension_bytes > MAX_EXTENSIONS:
                raise ChunkError("too many chunk extensions")
        return size

    def _trailer_line(self, data: bytes, pos: int) -> tuple[int, bytes]:
        line = self._line(data, pos, self._max_trailer_bytes - self._trailer_bytes)
        if line is None:
            return len(data), b""
        after = pos + len(line) + 2
        self._trailer_bytes += len(line) + 2
        if line:
            try:
                field = parse_trailer(line)
            except ValueError as error:
                raise ChunkError(str(error)) from None
            if field is not None:
                self.trailers.append(field)
            return after, b""
        self._state = _ENDED
        lines = [b"%b: %b\r\n" % field for field in self.trailers]
        return after, b"0\r\n" + b"".join(lines) + b"\r\n"
