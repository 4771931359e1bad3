"""Chunked bodies (RFC 9112 section 7.1): find the end, check the framing, return the data.

    SIZE ──size > 0──▶ DATA ──▶ DATA_CR ──▶ DATA_LF ──▶ SIZE
      └────size = 0──▶ TRAILERS ──empty line──▶ ENDED            any ──▶ BROKEN

The data of all chunks in one call is returned as one piece; the data of a single chunk is returned
without a copy. Only an unfinished size line and the trailer section are held back.

Work is bounded: a call with bytes scans at most `FIRST_CHUNKS` chunks or trailer lines. The
remaining bytes stay here; `stalled` is then true, and each `scan(b"")` scans `MORE_CHUNKS`.

The scanner is stricter than the grammar where two parsers could disagree about the end of a
message: no white space in a size line outside a quoted string (the grammar allows BWS around
extensions), no bare CR or LF, at most 16 digits.
"""

import re
from enum import Enum
from typing import Final

from proxy.http.h1.framing import BodyDecoder
from proxy.http.trailers import parse_trailer

MAX_SIZE_LINE = 256
"""Maximum bytes of one size line, including extensions and CRLF."""
MAX_EXTENSIONS = 16 * 1024
"""Maximum bytes of all chunk extensions of one message."""
FIRST_CHUNKS: Final = 128
"""Maximum per call with bytes: one read can contain 40,000 tiny chunks, which would take 40 ms."""
MORE_CHUNKS: Final = 512
"""Maximum per call without bytes."""
MAX_DIGITS = 16
MAX_SIZE = 2**63 - 1

_HEX = b"0123456789abcdefABCDEF"

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_EXTENSIONS = re.compile(rb"(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)+")


class ChunkError(ValueError):
    """The body's chunked framing is invalid; the message says why."""


class _State(Enum):
    SIZE = "size line"
    DATA = "chunk data"
    DATA_CR = "CR after chunk data"
    DATA_LF = "LF after chunk data"
    TRAILERS = "trailer section"
    ENDED = "ended"
    BROKEN = "broken"


# Reading a global is cheaper than an enum attribute, and this runs for every chunk.
_SIZE: Final = _State.SIZE
_DATA: Final = _State.DATA
_DATA_CR: Final = _State.DATA_CR
_ENDED: Final = _State.ENDED


class ChunkedDecoder(BodyDecoder):
    """Scans one chunked body. How its bytes are split over calls only affects the pieces.

    `payload_bytes` counts the data bytes so far. `trailers` has the allowed fields of the trailer
    section, names spelled as received; it is complete once the body has ended. `stalled`: bytes
    are left to scan, see the module.
    """

    __slots__ = (
        "_extension_bytes",
        "_held",
        "_left",
        "_max_trailer_bytes",
        "_state",
        "_trailer_bytes",
    )

    def __init__(self, max_trailer_bytes: int = 16384) -> None:
        super().__init__()
        self.trailers = []
        self._max_trailer_bytes = max_trailer_bytes
        self._state = _SIZE
        self._left = 0  # data bytes of the chunk still to come
        self._held = b""  # the incomplete line, or what is left to scan
        self._extension_bytes = 0
        self._trailer_bytes = 0

    def scan(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Accept received bytes; return the data to pass on, and what follows the body's end.

        The second value is None until the body ends, then the bytes after it (b"" without any).
        Raises ChunkError, also at every later call: no byte of the failed call may be passed on.
        """
        most = FIRST_CHUNKS if data else MORE_CHUNKS
        if self._held:
            data = self._held + data if data else self._held
            self._held = b""
        try:
            return self._scan(data, most)
        except ChunkError:
            self._state = _State.BROKEN
            raise

    def _scan(self, data: bytes, most: int) -> tuple[bytes, bytes | None]:
        piece = b""
        pieces: list[bytes] | None = None
        chunks = pos = 0
        end = len(data)
        self.stalled = False
        while pos < end:
            state = self._state
            if state is _DATA:
                taken = min(self._left, end - pos)
                # Unchanged if it is all data: compiled code would copy a slice.
                part = data if taken == end else data[pos : pos + taken]
                if not piece:
                    piece = part
                elif pieces is None:
                    pieces = [piece, part]
                else:
                    pieces.append(part)
                pos += taken
                self.payload_bytes += taken
                self._left -= taken
                if not self._left:
                    self._state = _DATA_CR
            elif state is _DATA_CR and data.startswith(b"\r\n", pos):
                pos += 2
                self._state = _SIZE
                chunks += 1
                if chunks >= most and pos < end:
                    self._hold(data, pos)
                    break
            elif state is _SIZE:
                pos = self._size_line(data, pos)
            elif state is _ENDED:
                break
            else:
                pos = self._rare(data, pos)
                chunks += 1
                if chunks >= most and pos < end and self._state is not _ENDED:
                    self._hold(data, pos)
                    break
        if pieces is not None:
            piece = b"".join(pieces)
        return piece, data[pos:] if self._state is _ENDED else None

    def _hold(self, data: bytes, pos: int) -> None:
        """Keep the bytes at `pos` for the next call."""
        self._held = data[pos:]
        self.stalled = True

    # Each of the following consumes framing at `pos` and returns its end.

    def _size_line(self, data: bytes, pos: int) -> int:
        stop = data.find(b"\r\n", pos, pos + MAX_SIZE_LINE)
        digits = data[pos:stop] if stop > pos else b""
        if digits and not digits.strip(_HEX) and len(digits) < MAX_DIGITS:
            size = int(digits, 16)
        else:
            line = self._line(data, pos, MAX_SIZE_LINE)
            if line is None:
                return len(data)
            size = self._read_size(line)
            stop = pos + len(line)
        if size:
            self._left = size
            self._state = _DATA
        else:
            self._state = _State.TRAILERS
        return stop + 2

    def _rare(self, data: bytes, pos: int) -> int:
        if self._state is _State.TRAILERS:
            return self._trailer_line(data, pos)
        if self._state is _DATA_CR and data[pos:] == b"\r":
            self._state = _State.DATA_LF
            return pos + 1
        if self._state is _State.DATA_LF and data.startswith(b"\n", pos):
            self._state = _SIZE
            return pos + 1
        if self._state is _State.BROKEN:
            raise ChunkError("the body was malformed before")
        raise ChunkError("no CRLF after the chunk's data")

    def _line(self, data: bytes, pos: int, limit: int) -> bytes | None:
        """The line at `pos` without its CRLF, or None with its bytes held back.

        `limit` includes the CRLF. A line that is too long is detected before its end.
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

    def _trailer_line(self, data: bytes, pos: int) -> int:
        line = self._line(data, pos, self._max_trailer_bytes - self._trailer_bytes)
        if line is None:
            return len(data)
        self._trailer_bytes += len(line) + 2
        if line:
            try:
                field = parse_trailer(line)
            except ValueError as error:
                raise ChunkError(str(error)) from None
            if field is not None:
                self.trailers.append(field)
        else:
            self._state = _ENDED
        return pos + len(line) + 2
