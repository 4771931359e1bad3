"""A file that is deleted or replaced while it is in use makes no promise that would be lost."""

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest
from store.conftest import OpenStore
from store.test_entries import PUT, claim, put, settle
from store.test_keys import ASK
from store.test_sagas import BEGIN

from proxy.errors import StoreFailed
from proxy.store.operations import FinishKey, Operation
from proxy.store.records import EntryState, KeyState
from proxy.store.sqlite import committer
from proxy.store.sqlite.committer import Point


def deleted(file: Path) -> None:
    file.unlink()


def log_deleted(file: Path) -> None:
    Path(f"{file}-wal").unlink()


def replaced(file: Path) -> None:
    shutil.copy(file, f"{file}.new")
    os.replace(f"{file}.new", file)


def directory_moved(file: Path) -> None:
    file.parent.rename(file.parent.with_name("moved"))


def directory_moved_back(file: Path) -> None:
    file.parent.with_name("moved").rename(file.parent)


def other_files(file: Path) -> dict[Path, bytes]:
    """Of another process, instead of the file and its log."""
    others = {file: b"another store", Path(f"{file}-wal"): b"and its log"}
    for path, content in others.items():
        path.unlink()
        path.write_bytes(content)
    return others


def content_of(path: Path) -> bytes:
    return path.read_bytes()


WAYS = [deleted, log_deleted, replaced, directory_moved]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.db"


@pytest.mark.parametrize("lose", WAYS)
@pytest.mark.parametrize("promise", [PUT, ASK, BEGIN], ids=lambda value: type(value).__name__)
async def test_no_promise_is_given(
    open_store: OpenStore, file: Path, lose: Callable[[Path], None], promise: Operation[object],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    store = await open_store(str(file), full_sync=False)
    assert not store.failure
    lose(file)
    for _ in range(2):
        with pytest.raises(StoreFailed) as refused:
            await store.do(promise)
        assert "takes no new promises" in refused.value.detail
    assert str(file) in store.failure
    assert store.stats.refused_failed == 2
    told = [record for record in caplog.records if "is lost when this process ends" in record.msg]
    assert len(told) == 1


async def test_what_was_promised_before_is_finished(open_store: OpenStore, file: Path) -> None:
    store = await open_store(str(file), full_sync=False)
    claimed = await store.do(ASK)
    await put(store, "a")
    deleted(file)
    assert (await store.do(FinishKey(claimed.ref, 201, b"created"))) is True
    assert (await store.do(ASK)).state is KeyState.DONE, "a repeat gets its answer"
    (entry,) = await claim(store)
    await settle(store, entry, EntryState.DELIVERED)
    assert store.finishes
    assert store.dies_with_pod, "so that a drain delivers what is due, and counts what is left"


async def test_a_file_that_vanishes_during_a_commit(open_store: OpenStore, file: Path) -> None:
    store = await open_store(str(file), full_sync=False)
    await put(store, "a")
    assert store._committer is not None
    lost = []

    def lose(point: Point) -> None:
        if point is Point.EXECUTED and not lost:
            lost.append(point)
            file.unlink()

    store._committer.at = lose  # type: ignore[method-assign]
    with pytest.raises(StoreFailed):
        await store.do(replace(PUT, id="b"))
    assert lost
    assert "a" in [entry.id for entry in await claim(store)]


async def test_it_is_noticed_without_traffic(
    open_store: OpenStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "SWEEP_SECONDS", 0.01)
    store = await open_store(str(file), full_sync=False)
    deleted(file)
    end = monotonic() + 5
    while not store.failure and monotonic() < end:
        await asyncio.sleep(0.005)
    assert "has been deleted" in store.failure


async def test_a_file_that_comes_back_is_not_trusted(open_store: OpenStore, file: Path) -> None:
    store = await open_store(str(file), full_sync=False)
    directory_moved(file)
    with pytest.raises(StoreFailed):
        await put(store, "a")
    directory_moved_back(file)
    with pytest.raises(StoreFailed):
        await put(store, "b")


async def test_the_end_leaves_the_log_of_another_file(open_store: OpenStore, file: Path) -> None:
    """SQLite deletes the log at its path when it closes a file."""
    store = await open_store(str(file), full_sync=False)
    await put(store, "a")
    others = other_files(file)
    await store.close()
    assert all(content_of(path) == content for path, content in others.items())
