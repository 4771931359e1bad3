"""Message framing (RFC 9112 section 6): where a body ends, found without looking inside it.

Every decoder has the one method ``scan(data) -> (piece, rest)``: `piece` is what to pass on, and
`rest` is None while the body goes on, or the bytes behind its end. A body with a length is
counted, one of chunks is parsed by `http/h1/chunked.py`, and one that ends with the connection
has no end that its bytes could tell.
"""

from typing import Final

MAX_LENGTH_DIGITS = 20
"""Of a Content-Length: as many as 64 bits need."""

_NO_TRAILERS: Final[list[tuple[bytes, bytes]]] = []


class BodyDecoder:
    """Finds the end of one body. `payload_bytes` counts what it carried so far.

    `trailers` are the fields behind a chunked one. `stalled`: not all bytes that came have been
    scanned, and `scan(b"")` goes on.
    """

    __slots__ = ("payload_bytes", "stalled", "trailers")

    def __init__(self) -> None:
        self.payload_bytes = 0
        self.stalled = False
        self.trailers = _NO_TRAILERS

    def scan(self, data: bytes) -> tuple[bytes, bytes | None]:
        raise NotImplementedError


class LengthDecoder(BodyDecoder):
    """A body of `length` bytes, as its Content-Length said (section 6.2)."""

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
