"""Room on the disk that is kept for what finishes promises: a file beside the store's.

    held ── the disk is full ──▶ removed: its room is for commits that finish something
      ▲                             │
      └─ twice its room is free ────┘   until then new promises are refused

Without it a full disk would stop deliveries too, which are what makes room: each is recorded.
"""

import errno
import os
from contextlib import suppress
from typing import Final

MOST: Final = 16 * 1024 * 1024
"""Bytes; at most 1/8 of `max_bytes`, and a quarter of what the disk has."""
_LEAST: Final = 64 * 1024
_BLOCK: Final = 4096
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


class Reserve:
    """`held`: bytes of the file, 0 without one; `given` those that it had when it was removed.
    `usable` False: the file system has no such files, and nothing is kept.

    Not thread-safe: only the committer's thread uses it.
    """

    __slots__ = ("_most", "_path", "_wanted", "given", "held", "usable")

    def __init__(self, store: str, most: int) -> None:
        """`store`: the path of the store's file. A file that a crash left is used again."""
        self._path = f"{store}-reserve"
        self._most = most
        self._wanted = 0  # until the disk has been looked at
        self.usable = hasattr(os, "posix_fallocate") and most >= _LEAST
        self.held = self.given = 0
        if self.usable:
            with suppress(OSError):
                self.held = os.stat(self._path).st_size

    def allows_growth(self, unused: int) -> bool:
        """Whether it is held; or as much of the store's file is unused as it should have, so that
        the file need not grow. True also before the first `take`."""
        return not self.usable or self.held > 0 or unused >= self._wanted

    def take(self) -> None:
        """Make the file, or a larger one, where the disk has room for it now."""
        if not self.usable or self.held >= self._most:
            return
        free, disk = self._room()
        self._wanted = min(self._most, disk // 8)
        if free < 2 * self.given:  # new promises must not eat up what it left to the others
            return
        size = min(self._most, (free + self.held) // 4) // _BLOCK * _BLOCK
        if size < _LEAST or size <= self.held:
            return
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, size)
            finally:
                os.close(file)
        except OSError as error:
            if not self.held:
                self._remove()
            self.usable = error.errno in _NO_ROOM
        else:
            self.held, self.given = size, 0

    def give(self) -> None:
        """Remove the file."""
        self._remove()
        self.held, self.given = 0, self.held or self.given

    def _remove(self) -> None:
        with suppress(OSError):
            os.unlink(self._path)

    def _room(self) -> tuple[int, int]:
        """Bytes of the disk: those that are free, and all."""
        try:
            disk = os.statvfs(os.path.dirname(self._path) or ".")
        except OSError:
            return 0, 0
        return disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
