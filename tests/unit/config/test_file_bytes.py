"""Bytes of files, pipes and what is neither."""

import os
import threading
from pathlib import Path

import pytest

from proxy.config.file_bytes import CannotRead, read_bytes


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 600_000)
    assert read_bytes(str(tmp_path / "f"), 600_000) == b"x" * 600_000
    assert len(read_bytes(str(tmp_path / "f"), 1000)) == 1001


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    assert read_bytes(str(tmp_path / "f"), 10) == b""


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("missing", "cannot be read: No such file or directory"),
        (".", "cannot be read: Is a directory"),
        ("a\0b", "cannot be read: its path has a NUL in it"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, path: str, why: str) -> None:
    with pytest.raises(CannotRead, match=why):
        read_bytes(f"{tmp_path}/{path}", 10)


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    writer = threading.Thread(target=(tmp_path / "f").write_bytes, args=[b"y" * 300_000])
    writer.start()
    assert read_bytes(str(tmp_path / "f"), 300_000) == b"y" * 300_000
    writer.join()


def test_a_pipe_that_nobody_writes_to_is_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    with pytest.raises(CannotRead, match=r"nothing was written to it for 0\.01s"):
        read_bytes(str(tmp_path / "f"), 10, pipe_waits=0.01)


def test_an_endless_device_is_read_to_the_limit() -> None:
    assert len(read_bytes("/dev/zero", 1000)) == 1001
    assert read_bytes("/dev/null", 1000) == b""
