"""Message framing (RFC 9112 section 6): finds the end of a body.

Every decoder has the method ``scan(data) -> (piece, rest)``: `piece` is the data to pass on, `rest`
is None until the body ends, then the bytes after its end. A body with a length is counted, a
chunked one is parsed by `http/h1/chunked.py`, and the end of one that lasts until the connection
closes is not in its bytes.
"""

from typing import Final

MAX_LENGTH_DIGITS = 20
"""Maximum digits of a Content-Length: as many as 64 bits need."""

_NO_TRAILERS: Final[list[tuple[bytes, bytes]]] = []


class BodyDecoder:
    """Finds the end of one body. `payload_bytes` counts its data so far.

    `trailers` are the fields after a chunked one. `stalled`: received bytes are left to scan, and
    `scan(b"")` continues.
    """

    __slots__ = ("payload_bytes", "stalled", "trailers")

    def __init__(self) -> None:
        self.payload_bytes = 0
        self.stalled = False
        self.trailers = _NO_TRAILERS

    def scan(self, data: bytes) -> tuple[bytes, bytes | None]:
        raise NotImplementedError


class LengthDecoder(BodyDecoder):
    """A body of `length` bytes, from Content-Length (section 6.2)."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        super().__init__()
        self._left = length

    def scan(self, data: bytes) -> tuple[bytes, bytes | None]:
        size = len(data)
        if size < self._left:
            self._left -= size
            self.payload_bytes += size
            return data, None
        end = self._left
        self._left = 0
        self.payload_bytes += end
        if size == end:
            return data, b""
        return data[:end], data[end:]


class CloseDecoder(BodyDecoder):
    """A response body that lasts until the connection closes (section 6.3, rule 8)."""

    __slots__ = ()

    def scan(self, data: bytes) -> tuple[bytes, bytes | None]:
        self.payload_bytes += len(data)
        return data, None
