"""Writes lines to a descriptor from a separate thread, so that no caller waits for a slow reader.

    write ──▶ queue (bounded) ──▶ thread: collects for a moment, then writes

Standard output may be a file, a pipe that is not read, or a stopped terminal. Making it
non-blocking would change it for every process that shares it, so a daemon thread does the blocking
writes. The first line starts it; it sleeps while there are no lines. Lines that do not fit into
the queue, or that could not be written, are dropped and counted.
"""

import os
import select
import threading
from collections import deque
from typing import TextIO

DEFAULT_LIMIT = 1024 * 1024
"""Maximum bytes in the queue and in the current write."""
_BATCH = 64 * 1024
_COLLECT = 0.05
"""Seconds from the first line to the write: waking the thread costs more than a line."""


def descriptor_of(stream: TextIO | None) -> int | None:
    """The descriptor of `sys.stdout` or `sys.stderr`; None if the process was started without it.

    The number 1 or 2 alone is not enough: in such a process it may be a connection's.
    """
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):  # in memory, or closed
        return None


class LineWriter:
    """One thread at a time may call `write` (the event loop, or under a lock), any thread `flush`.

    With `descriptor` None every line is dropped.
    """

    __slots__ = (
        "_broken",
        "_descriptor",
        "_gone",
        "_hurry",
        "_limit",
        "_lines",
        "_lost",
        "_queued",
        "_refused",
        "_thread",
        "_wake",
        "_written",
    )

    def __init__(self, descriptor: int | None, *, limit: int = DEFAULT_LIMIT) -> None:
        self._descriptor = descriptor
        self._limit = limit
        self._lines: deque[bytes] = deque()
        # Each of these counts has one writer: `write` the two on the left, the thread the others.
        self._queued, self._gone = 0, 0  # bytes in all
        self._refused, self._lost = 0, 0  # lines
        self._broken = False  # the last write ended within a line
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._written = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Lines that were not written completely."""
        return self._refused + self._lost

    def write(self, line: bytes) -> None:
        """Accept one line with its newline. Never blocks and never raises."""
        size = len(line)
        if self._descriptor is None or self._queued - self._gone + size > self._limit:
            self._refused += 1
            return
        self._queued += size
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()
            if self._thread is None:
                self._start()

    def flush(self, timeout: float) -> bool:
        """Wait until all lines so far are written or dropped, `timeout` seconds at most.

        False if the descriptor accepts nothing. Blocks, so it is for the end of the process.
        """
        target = self._queued
        self._hurry.set()
        try:
            with self._written:
                return self._written.wait_for(lambda: self._gone >= target, timeout)
        finally:
            self._hurry.clear()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    # --- in the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        assert self._descriptor is not None
        while True:
            self._wake.wait()
            self._hurry.wait(_COLLECT)
            self._wake.clear()  # before the check: a line after it wakes the thread again
            while self._lines:
                batch = self._next_batch()
                self._write_batch(self._descriptor, batch)
                with self._written:
                    self._gone += len(batch)
                    self._written.notify_all()

    def _next_batch(self) -> bytes:
        lines, size = [], 0
        while self._lines and size < _BATCH:
            line = self._lines.popleft()
            lines.append(line)
            size += len(line)
        return b"".join(lines)

    def _write_batch(self, descriptor: int, batch: bytes) -> None:
        """Write the batch, however long that takes; a failure loses only this batch."""
        rest = memoryview(batch)
        try:
            if self._broken:
                self._write_some(descriptor, memoryview(b"\n"))
                self._broken = False
            while rest:
                rest = rest[self._write_some(descriptor, rest) :]
        except OSError:  # no reader, no room, closed
            self._lost += bytes(rest).count(b"\n")
            written = len(batch) - len(rest)
            if written:
                self._broken = not batch.endswith(b"\n", 0, written)

    @staticmethod
    def _write_some(descriptor: int, data: memoryview) -> int:
        while True:
            try:
                return os.write(descriptor, data)
            except BlockingIOError:  # another process made it non-blocking
                poll = select.poll()
                poll.register(descriptor, select.POLLOUT)
                poll.poll()
