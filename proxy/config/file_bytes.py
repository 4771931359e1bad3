"""The bytes of a configuration file, of any type: reading never hangs on a pipe.

A regular file is read completely. A pipe (``--config <(...)``, ``/dev/stdin``, a FIFO) is read
until its writer closes it, as long as the writer keeps writing.
"""

import os
import select
import stat

PIPE_WAITS = 2.0
"""Seconds to wait for the next bytes of a pipe."""

_CHUNK = 256 * 1024


class CannotRead(Exception):
    """The text says why; it follows the file's name."""


def read_bytes(path: str, limit: int, *, pipe_waits: float = PIPE_WAITS) -> bytes:
    """At most `limit` + 1 bytes, so that the caller can detect larger files. Raises
    CannotRead.

    Blocks: for a regular file as long as the file system does.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO waits for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except ValueError:  # each version of Python has its own words for it
        raise CannotRead("cannot be read: its path has a NUL in it") from None
    except OSError as error:
        raise CannotRead(f"cannot be read: {_reason(error)}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise CannotRead("cannot be read: Is a directory")
        return _read(descriptor, limit, None if stat.S_ISREG(mode) else pipe_waits)
    except OSError as error:
        raise CannotRead(f"cannot be read: {_reason(error)}") from None
    finally:
        os.close(descriptor)


def _read(descriptor: int, limit: int, waits: float | None) -> bytes:
    """`waits`: seconds to wait for each piece; None for a file that always has its bytes."""
    pieces, left = [], limit + 1
    while left:
        if waits is not None:
            _wait(descriptor, waits)
        piece = os.read(descriptor, min(left, _CHUNK))
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _wait(descriptor: int, seconds: float) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if not poll.poll(seconds * 1000):
        raise CannotRead(
            "cannot be read: it is not a regular file, and nothing was written to it for "
            f"{seconds:g}s"
        )


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
