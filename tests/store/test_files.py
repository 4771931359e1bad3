"""The file: its mode, its version, another process on it, no room, and what is not a store."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store.conftest import Clock, OpenStore
from store.test_entries import PUT, claim, put, settle
from store.test_keys import ASK

from proxy.errors import StoreFailed, StoreFull
from proxy.store.operations import ClaimKey, CountEntries, Expire, FinishKey, Operation
from proxy.store.records import EntryState, KeyState
from proxy.store.sqlite.connection import SqliteConfig
from proxy.store.sqlite.engine import SqliteStore
from proxy.store.sqlite.schema import MIGRATIONS
from proxy.store.store import CannotOpen, Store

MIB = 1 << 20


async def test_only_its_user_reads_it(open_store: OpenStore, tmp_path: Path) -> None:
    file = tmp_path / "new" / "store.db"
    store = await open_store(str(file))
    await put(store, "a")
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in file.parent.iterdir()}
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-reserve": 0o600}


async def test_a_file_that_others_can_read_becomes_private(
    open_store: OpenStore, tmp_path: Path
) -> None:
    file = tmp_path / "store.db"
    file.touch(0o644)
    await open_store(str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_what_was_promised_is_there_after_a_restart(open_store: OpenStore) -> None:
    store = await open_store()
    claimed = await store.do(ASK)
    await store.do(FinishKey(claimed.ref, 201, b"created"))
    await put(store, "a")
    await store.close()
    store = await open_store()
    assert (await store.do(ASK)).response == b"created"
    assert [entry.id for entry in await claim(store)] == ["a"]


async def test_the_log_of_processes_that_are_killed_does_not_grow(
    open_store: OpenStore, tmp_path: Path
) -> None:
    """Each is killed before it has written so much that it would have emptied the log."""
    before: Path | None = None
    for life in range(8):
        folder = tmp_path / str(life)
        folder.mkdir()
        if before is not None:  # as it is on the disk at this moment
            for file in ("store.db", "store.db-wal"):
                shutil.copy(before / file, folder / file)
        store = await open_store(str(folder / "store.db"))
        for number in range(12):
            body = os.urandom(MIB // 4)
            assert await store.do(replace(PUT, id=f"{life}-{number}", body=body)) is None
        before = folder
    assert (before / "store.db-wal").stat().st_size < 12 * MIB
    (count,) = (await store.do(CountEntries())).values()
    assert count.of(EntryState.PENDING) == 8 * 12


HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA locking_mode = EXCLUSIVE")
db.execute("BEGIN IMMEDIATE"); db.execute("COMMIT")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that has the file; it lets go when its input ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "store.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process


async def test_it_waits_for_another_process(
    holder: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    file = str(tmp_path / "store.db")
    with pytest.raises(CannotOpen, match=r"in use by another process"):
        await SqliteStore(SqliteConfig(file)).open(0.15)
    waiting = SqliteStore(SqliteConfig(file))
    assert holder.stdin is not None
    holder.stdin.close()
    await waiting.open(10.0)
    await waiting.close()


async def test_an_older_file_is_migrated(open_store: OpenStore, tmp_path: Path) -> None:
    store = await open_store()
    await put(store, "a")
    await store.close()
    store = await open_store(migrations=(*MIGRATIONS, "ALTER TABLE parts ADD COLUMN note TEXT;"))
    assert [entry.id for entry in await claim(store)] == ["a"]
    await store.close()
    with pytest.raises(CannotOpen, match=r"has version 2, and this proxy knows .* up to 1"):
        await open_store()


async def test_a_migration_that_fails_changes_nothing(open_store: OpenStore) -> None:
    store = await open_store()
    await store.close()
    bad = "ALTER TABLE parts ADD COLUMN note TEXT;\nINSERT INTO nowhere VALUES (1);"
    with pytest.raises(CannotOpen, match="nowhere"):
        await open_store(migrations=(*MIGRATIONS, bad))
    await open_store()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"not a database, but long enough to look at" * 50, "not a database"),
        (None, "another application"),
    ],
    ids=["garbage", "foreign"],
)
async def test_what_is_not_a_store_is_left_alone(
    open_store: OpenStore, tmp_path: Path, content: bytes | None, why: str
) -> None:
    file = tmp_path / "store.db"
    if content is None:
        db = sqlite3.connect(file)
        db.execute("CREATE TABLE users (name)")
        db.commit()
        db.close()
        content = file.read_bytes()
    else:
        file.write_bytes(content)
    with pytest.raises(CannotOpen, match=why):
        await open_store(str(file))


async def test_a_folder_that_cannot_be_made(open_store: OpenStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotOpen, match=r"the store .* cannot be used"):
        await open_store(str(tmp_path / "file" / "store.db"))


async def until_full(store: Store, operations: Sequence[Operation[Any]]) -> int:
    """How many were done before the first was refused, one after the other."""
    for number, operation in enumerate(operations):
        try:
            await store.do(operation)
        except StoreFull:
            return number
    raise AssertionError("never full")


async def test_a_full_store_refuses_new_promises_and_keeps_the_old_ones(
    open_store: OpenStore, clock: Clock
) -> None:
    store = await open_store(max_bytes=2 * MIB)
    claimed = await store.do(ASK)
    body = b"x" * 64 * 1024
    puts = [replace(PUT, id=str(number), body=body) for number in range(100)]
    accepted = await until_full(store, puts)
    assert 10 < accepted < 40
    assert store.full
    with pytest.raises(StoreFull):
        await store.do(replace(ASK, key=b"l" * 32))
    assert (await store.do(ASK)).state is KeyState.IN_FLIGHT
    # What finishes a promise goes on, with room kept for it.
    assert await store.do(FinishKey(claimed.ref, 200, b"y" * 32 * 1024))
    entries = await claim(store, limit=100)
    assert len(entries) == accepted
    for entry in entries:
        assert await settle(store, entry, EntryState.DELIVERED, keep=1.0)
    clock.now += 2
    while await store.do(Expire()):
        pass
    assert await store.do(CountEntries()) == {}
    await store.do(Expire())
    assert await store.do(replace(PUT, id="again", body=body)) is None


async def test_a_full_store_says_when_something_expires(open_store: OpenStore) -> None:
    store = await open_store(max_bytes=1 * MIB)
    puts = [replace(PUT, id=str(number), body=b"x" * 64 * 1024) for number in range(100)]
    await until_full(store, puts)
    with pytest.raises(StoreFull) as full:
        await store.do(replace(PUT, id="again"))
    assert full.value.retry_after is None, "nothing expires: what waits must be delivered first"
    (entry,) = await claim(store, limit=1)
    assert await settle(store, entry, EntryState.DELIVERED, keep=40.5)
    with pytest.raises(StoreFull) as full:
        await store.do(replace(PUT, id="again"))
    assert full.value.retry_after == 41


async def test_finishing_beyond_the_last_page_is_refused_and_nothing_is_lost(
    open_store: OpenStore,
) -> None:
    """More answers at once than the reserve has room for."""
    store = await open_store(max_bytes=1 * MIB)
    refs = [(await store.do(replace(ASK, key=bytes([n]) * 32))).ref for n in range(30)]
    ends = [FinishKey(ref, 200, bytes([ref.key[0]]) * 60_000) for ref in refs]
    done = await until_full(store, ends)
    assert done > 5
    for ref in refs[:done]:
        found = await store.do(replace(ASK, key=ref.key))
        assert found.response == bytes([ref.key[0]]) * 60_000
    assert (await store.do(replace(ASK, key=refs[-1].key))).state is KeyState.IN_FLIGHT


async def test_records_expire_as_parts(open_store: OpenStore, clock: Clock) -> None:
    store = await open_store()

    def ask(number: int) -> ClaimKey:
        return replace(ASK, key=number.to_bytes(32, "big"), keep=800.0)

    for number in range(5):
        record = await store.do(ask(number))
        await store.do(FinishKey(record.ref, 200, b"x" * 4000))
        clock.now += 101  # an eighth of the time that they are kept
    assert {(await store.do(ask(n))).ref.part for n in range(5)} == {1, 2, 3, 4, 5}
    clock.now += 500
    await store.do(Expire())
    parts = [record.ref.part for n in range(5) if not (record := await store.do(ask(n))).claimed]
    assert parts == [4, 5]


async def test_a_damaged_file_is_not_used(open_store: OpenStore, tmp_path: Path) -> None:
    store = await open_store()
    for number in range(50):
        await store.do(replace(PUT, id=str(number), body=b"x" * 5000))
    await store.close()
    file = tmp_path / "store.db"
    size = file.stat().st_size
    with file.open("r+b") as raw:
        raw.seek(4096)
        raw.write(os.urandom(size - 4096))
    store = SqliteStore(SqliteConfig(str(file)))
    with pytest.raises((CannotOpen, StoreFailed)):
        await store.open(0.0)
    await store.close()


def test_nothing_of_a_store_is_loaded_without_one() -> None:
    code = (
        "import sys, proxy.app; parts = ('sqlite3', 'proxy.store.', 'proxy.promises',"
        " 'proxy.exchange.idempotency', 'proxy.delivery.outbox');"
        "print([one for one in sys.modules if one.startswith(parts)])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout == "[]\n", loaded.stderr
