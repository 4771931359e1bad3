"""Whether the files that SQLite has open are still the ones at their paths.

A file that is deleted, replaced, or below a volume that is unmounted stays usable for the process
that has it open: commits succeed, and the next process finds nothing of them.
"""

import errno
import logging
import os
import sqlite3
from typing import Final

left_open: Final[list[sqlite3.Connection]] = []
"""Connections to files that are not at their paths, of which a process has one: closing it would
delete the log at the path, which may belong to the file that is there now."""

_log = logging.getLogger("proxy.store")

_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


class Place:
    """The file and its log, as they were when SQLite had just opened them.

    `problem`: a sentence without its end once one of them is not at its path, else "".
    """

    __slots__ = ("_files", "problem")

    def __init__(self, path: str) -> None:
        """`path`: "" for a store without a file."""
        self.problem = ""
        names = (path, f"{path}-wal") if path else ()
        self._files = [(name, found) for name in names if (found := _identity(name))]

    def look(self) -> None:
        """Say it once; a file that comes back is not trusted again."""
        if self.problem:
            return
        for name, known in self._files:
            found = _identity(name)
            if found is None:
                self.problem = f"{name} has been deleted, or its directory unmounted"
            elif found != known and any(found):
                self.problem = f"{name} has been replaced by another file"
            else:
                continue
            _log.error(
                "the store's file %s: what it keeps is lost when this process ends. New promises "
                "are refused until a restart; what is due is still delivered",
                self.problem,
            )
            return


def _identity(name: str) -> tuple[int, int] | None:
    """Device and inode; None without a file, zeros if that cannot be known now."""
    try:
        found = os.stat(name)
    except OSError as error:
        return None if error.errno in _GONE else (0, 0)
    return found.st_dev, found.st_ino
