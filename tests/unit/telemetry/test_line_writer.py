"""A writer that never waits: for a reader that is slow, gone, or was never there."""

import io
import os
import threading
import time
from collections.abc import Iterator

import pytest

from proxy.telemetry.line_writer import LineWriter, descriptor_of


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for descriptor in (read, write):
        try:
            os.close(descriptor)
        except OSError:
            continue


def drained(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(descriptor, size - len(data))
    return data


def test_lines_come_out_whole_and_in_order(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1])
    lines = [b"line %d\n" % number for number in range(1000)]
    for line in lines:
        writer.write(line)
    assert writer.flush(5)
    assert drained(pipe[0], sum(map(len, lines))) == b"".join(lines)
    assert writer.dropped == 0


def test_lines_come_out_without_a_flush(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1])
    writer.write(b"first\n")
    assert drained(pipe[0], 6) == b"first\n"
    writer.write(b"second\n")
    assert drained(pipe[0], 7) == b"second\n"


def test_nothing_to_write_starts_no_thread(pipe: tuple[int, int]) -> None:
    before = threading.active_count()
    writer = LineWriter(pipe[1])
    assert writer.flush(5)
    assert threading.active_count() == before


def test_a_reader_that_does_not_read_costs_lines_and_no_time(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1], limit=256 * 1024)
    line = b"x" * 999 + b"\n"
    began = time.monotonic()
    for _ in range(1000):
        writer.write(line)
    assert time.monotonic() - began < 1
    assert not writer.flush(0.01)
    kept = 1000 - writer.dropped
    assert 255 <= kept <= 256 + 65, "the buffer, and what the pipe took at most"
    assert drained(pipe[0], kept * 1000) == line * kept
    assert writer.flush(5)
    writer.write(b"again\n")
    assert drained(pipe[0], 6) == b"again\n", "there is room again"


def test_a_reader_that_is_gone(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1])
    os.close(pipe[0])
    for _ in range(10):
        writer.write(b"lost\n")
    assert writer.flush(5)
    assert writer.dropped == 10


def test_no_descriptor_drops_everything() -> None:
    writer = LineWriter(None)
    writer.write(b"lost\n")
    assert writer.flush(5)
    assert writer.dropped == 1


def test_streams_without_a_descriptor() -> None:
    closed = open(os.devnull)  # noqa: SIM115 - closed in the next line
    closed.close()
    assert [descriptor_of(stream) for stream in (None, io.StringIO(), closed)] == [None] * 3
    with open(os.devnull) as stream:
        assert descriptor_of(stream) == stream.fileno()


def test_a_descriptor_that_somebody_made_non_blocking(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    writer = LineWriter(pipe[1])
    lines = b"y" * 99_999 + b"\n"
    writer.write(lines)  # more than a pipe holds
    assert drained(pipe[0], len(lines)) == lines
    assert writer.flush(5)
    assert writer.dropped == 0


def test_a_line_cut_short_by_an_error_does_not_swallow_the_next(
    monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int]
) -> None:
    """Half a line gets out, then the disk is full for a moment."""
    write, full = os.write, threading.Event()

    def unlucky(descriptor: int, data: memoryview) -> int:
        if descriptor == pipe[1] and not full.is_set():
            full.set()
            return write(descriptor, data[:4])
        if descriptor == pipe[1] and bytes(data).startswith(b"etle"):
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", unlucky)
    writer = LineWriter(pipe[1])
    writer.write(b"a titletle\n"[2:])
    assert writer.flush(5)
    assert writer.dropped == 1
    writer.write(b"next\n")
    assert writer.flush(5)
    assert drained(pipe[0], 10) == b"titl\nnext\n"
