"""Lines to a descriptor from a thread of its own, so that nobody ever waits for a slow reader.

    write ──▶ queue (bounded) ──▶ thread: collects for a moment, then writes what is there

Standard output may be a file, a pipe that nobody reads, or a terminal on hold. Making it
non-blocking would change it for every process that shares it; so the blocking is left to a
daemon thread, which is started by the first line and sleeps while there are none. Lines that find
the queue full, or that the descriptor did not take, are dropped and counted.
"""

import os
import select
import threading
from collections import deque
from typing import TextIO

DEFAULT_LIMIT = 1024 * 1024
"""Bytes that may be on their way, those in a write included."""
_BATCH = 64 * 1024
_COLLECT = 0.05
"""Seconds from the first line to the write: a hand-over to the thread costs more than a line."""


def descriptor_of(stream: TextIO | None) -> int | None:
    """Where `sys.stdout` or `sys.stderr` goes; None where the process was started without it.

    The number alone would not do: without standard output, 1 is soon some connection's.
    """
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):  # in memory, or closed
        return None


class LineWriter:
    """`write` is for one thread at a time (the event loop, or under a lock); `flush` for any.

    `descriptor` None: there is nowhere to write, and every line is dropped.
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
        # Each of these counts has one writer: the two on the left `write`, the others the thread.
        self._queued, self._gone = 0, 0  # bytes in all
        self._refused, self._lost = 0, 0  # lines
        self._broken = False  # the last write ended within a line
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._written = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Lines that were never written whole."""
        return self._refused + self._lost

    def write(self, line: bytes) -> None:
        """Take one line, its newline included. Never blocks and never fails."""
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
        """Wait until all lines so far are written or lost, `timeout` seconds at most.

        False: the descriptor takes nothing. Blocks, so it is for the end of the process.
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
            self._wake.clear()  # before looking: a line that comes after the look wakes again
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
        """Write all of it, however long that takes; what fails is lost, the next batch is not."""
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
            except BlockingIOError:  # somebody else made it non-blocking
                poll = select.poll()
                poll.register(descriptor, select.POLLOUT)
                poll.poll()
