"""Tells without reading them whether files have changed."""

import os
from collections.abc import Iterable, Iterator
from typing import TypeAlias

_Identity: TypeAlias = tuple[str, int, int, int] | None


class FileWatch:
    """A set of files and what they were at the last look.

    A file has changed when its path leads elsewhere (Kubernetes swaps a symbolic link above
    the files of a Secret), or when inode, time of change or size differ. One that cannot be looked
    at is a state like any other. Of a folder the files in it that end in .yaml are looked at too.
    """

    def __init__(self, paths: Iterable[str | None]) -> None:
        """Look for the first time; None stands for a file that is not set."""
        self._paths = tuple(path for path in paths if path is not None)
        self._seen = self._look()

    def changed(self) -> bool:
        """Look again: whether anything is different from the last look."""
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
