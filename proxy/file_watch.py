"""Detects changed files without reading them."""

import os
from collections.abc import Iterable, Iterator
from typing import TypeAlias

_Identity: TypeAlias = tuple[str, int, int, int] | None


class FileWatch:
    """A set of files and their state at the last check.

    A file has changed if its path resolves differently (Kubernetes swaps a symbolic link above
    the files of a Secret), or if inode, modification time or size differ. An unreadable file is a
    state like any other. Of a directory, its files that end in .yaml are checked too.
    """

    def __init__(self, paths: Iterable[str | None]) -> None:
        """Take the first state; None stands for a file that is not configured."""
        self._paths = tuple(path for path in paths if path is not None)
        self._seen = self._look()

    def changed(self) -> bool:
        """Check again; whether anything has changed since the last check."""
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> tuple[_Identity, ...]:
        return tuple(_identity(path) for given in self._paths for path in _with_files(given))


def _with_files(path: str) -> Iterator[str]:
    yield path
    if os.path.isdir(path):
        try:
            names = sorted(os.listdir(path))
        except OSError:
            return
        yield from (os.path.join(path, name) for name in names if name.endswith(".yaml"))


def _identity(path: str) -> _Identity:
    try:
        real = os.path.realpath(path)
        stat = os.stat(real)
    except OSError:
        return None
    return real, stat.st_ino, stat.st_mtime_ns, stat.st_size
