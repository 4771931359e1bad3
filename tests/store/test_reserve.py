"""The reserve on the disk: when it is held, and what is allowed without it."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from proxy.store.sqlite.reserve import Reserve

MIB = 1024 * 1024


class Disk:
    """`free` and `size` in bytes; `error`: what making a file ends with."""

    def __init__(self) -> None:
        self.free, self.size, self.error = 1000 * MIB, 4000 * MIB, 0

    def statvfs(self, path: str) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=self.free, f_blocks=self.size, f_frsize=1)

    def posix_fallocate(self, file: int, at: int, size: int) -> None:
        if self.error:
            raise OSError(self.error, "no")
        os.truncate(file, size)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(os, "statvfs", made.statvfs)
    monkeypatch.setattr(os, "posix_fallocate", made.posix_fallocate)
    return made


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Reserve]:
    def made(most: int = 16 * MIB) -> Reserve:
        reserve = Reserve(str(tmp_path / "s.db"), most)
        assert reserve.allows_growth(0), "before the disk was looked at"
        reserve.take()
        return reserve

    return made


def test_it_is_a_file_beside_the_stores(
    disk: Disk, make: Callable[..., Reserve], tmp_path: Path
) -> None:
    reserve = make()
    file = tmp_path / "s.db-reserve"
    assert (reserve.held, file.stat().st_size) == (16 * MIB, 16 * MIB)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert reserve.allows_growth(0)
    reserve.give()
    assert (reserve.held, list(tmp_path.iterdir())) == (0, [])


def test_it_is_a_quarter_of_what_a_small_disk_has(disk: Disk, make: Callable[..., Reserve]) -> None:
    disk.free = 8 * MIB
    assert make().held == 2 * MIB


def test_without_it_nothing_grows(disk: Disk, make: Callable[..., Reserve]) -> None:
    disk.free = 0
    reserve = make()
    assert (reserve.held, reserve.allows_growth(15 * MIB)) == (0, False)
    assert reserve.allows_growth(16 * MIB), "what the file does not use is room too"
    disk.free = 64 * MIB
    reserve.take()
    assert reserve.allows_growth(0)


def test_what_it_left_is_not_for_new_promises(disk: Disk, make: Callable[..., Reserve]) -> None:
    reserve = make()
    reserve.give()
    disk.free = 31 * MIB
    reserve.take()
    assert not reserve.allows_growth(0)
    disk.free = 64 * MIB
    reserve.take()
    assert reserve.held == 16 * MIB


def test_it_grows_with_the_room(disk: Disk, make: Callable[..., Reserve]) -> None:
    disk.free = 8 * MIB
    reserve = make()
    disk.free = 62 * MIB
    reserve.take()
    assert reserve.held == 16 * MIB


def test_one_that_a_crash_left_is_used_again(disk: Disk, make: Callable[..., Reserve]) -> None:
    assert make().held == 16 * MIB
    disk.free = 0
    assert make().held == 16 * MIB


@pytest.mark.parametrize(
    ("error", "allowed"), [(errno.ENOSPC, False), (errno.EDQUOT, False), (errno.EOPNOTSUPP, True)]
)
def test_a_disk_that_makes_none(
    disk: Disk, make: Callable[..., Reserve], tmp_path: Path, error: int, allowed: bool
) -> None:
    disk.error = error
    reserve = make()
    assert reserve.allows_growth(0) is allowed
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_memory_has_none(disk: Disk, make: Callable[..., Reserve]) -> None:
    reserve = make(0)
    assert (reserve.held, reserve.allows_growth(0)) == (0, True)
