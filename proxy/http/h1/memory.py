"""Remembers repeated whole heads by their bytes; bounded in bytes."""

from typing import Final, Generic, TypeVar

LONGEST_KNOWN: Final = 4096
"""Maximum bytes of a remembered head."""
MEMORY_BYTES: Final = 512 * 1024
"""Maximum bytes of raw heads per memory; the parsed heads take about four times as much."""
_MAX_SEEN: Final = 1024

T = TypeVar("T")


class HeadMemory(Generic[T]):
    """Remembers a parsed head when its bytes are read for the second time.

    A head that is read once, with a new id, leaves only its hash, for the next 1,024 heads.
    """

    __slots__ = ("_bytes", "_seen", "known")

    def __init__(self) -> None:
        self.known: dict[bytes, T] = {}
        self._bytes = 0
        self._seen: set[int] = set()

    def offer(self, raw: bytes, head: T) -> None:
        """Note that an unknown head has been read."""
        size = len(raw)
        if size > LONGEST_KNOWN:
            return
        mark = hash(raw)
        if mark not in self._seen:
            if len(self._seen) >= _MAX_SEEN:
                self._seen.clear()
            self._seen.add(mark)
            return
        if self._bytes + size > MEMORY_BYTES:
            self.known.clear()  # entries still in use are cached again quickly
            self._bytes = 0
        self.known[raw] = head
        self._bytes += size
