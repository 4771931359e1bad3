"""Opening the file: mode 0600, one process at a time, settings that are read back.

And what failures mean.
"""

import os
import sqlite3
from dataclasses import dataclass
from enum import Enum
from typing import Final

from proxy.store.sqlite.reserve import MOST as RESERVE
from proxy.store.sqlite.schema import MIGRATIONS, WrongFile, migrate
from proxy.store.store import CannotOpen

MEMORY: Final = ":memory:"
_CACHE_KIB: Final = 2048


class Failure(Enum):
    """What a failed statement means.

    FAULT: of one operation. FULL: the file or the disk is. FAILED: the file is not to be used
    again.
    """

    FAULT = "fault"
    FULL = "full"
    FAILED = "failed"


_FAULTS: Final = ("SQLITE_ERROR", "SQLITE_CONSTRAINT", "SQLITE_TOOBIG", "SQLITE_MISMATCH")


class Busy(Exception):
    """Another process has the file."""


@dataclass(frozen=True, slots=True)
class SqliteConfig:
    """`path` of the file, or MEMORY. `full_sync`: a commit is on the disk before it is told."""

    path: str
    full_sync: bool = True
    max_bytes: int = 1 << 30

    @property
    def growth_limit(self) -> int:
        """Bytes in use from which new promises are refused: the rest is for operations that finish
        one."""
        return self.max_bytes - min(RESERVE, self.max_bytes // 8)

    @property
    def disk_reserve(self) -> int:
        """Bytes of the disk that are kept for the same, where the disk is full before that."""
        return 0 if self.path == MEMORY else min(RESERVE, self.max_bytes // 8)


def connect(config: SqliteConfig, migrations: tuple[str, ...] = MIGRATIONS) -> sqlite3.Connection:
    """Open, lock and migrate. Raises Busy, or CannotOpen with a sentence."""
    try:
        if config.path != MEMORY:
            _make_file(config.path)
        db = sqlite3.connect(
            config.path,
            timeout=0,
            isolation_level=None,
            cached_statements=256,
            check_same_thread=False,
        )
    except (OSError, sqlite3.Error) as error:
        raise CannotOpen(_sentence(config, str(error))) from None
    try:
        _set_up(db, config)
        migrate(db, migrations)
    except sqlite3.Error as error:
        db.close()
        if error_name(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise Busy from None
        raise CannotOpen(_sentence(config, f"{error} ({error_name(error)})")) from None
    except (WrongFile, CannotOpen) as error:
        db.close()
        raise CannotOpen(_sentence(config, str(error))) from None
    return db


def error_name(error: sqlite3.Error) -> str:
    """SQLite's name of an error, "" for those of the Python module."""
    return getattr(error, "sqlite_errorname", "")


def meaning(error: sqlite3.Error) -> Failure:
    """What a failed statement means. An error that is not known to be harmless ends the store."""
    name = error_name(error)
    if name == "SQLITE_FULL":
        return Failure.FULL
    if not name or name.startswith(_FAULTS):
        return Failure.FAULT
    return Failure.FAILED


def _sentence(config: SqliteConfig, why: str) -> str:
    return f"the store {config.path} cannot be used: {why}"


def _make_file(path: str) -> None:
    """Create the file with mode 0600, or give an existing one that mode; SQLite's others follow."""
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _set_up(db: sqlite3.Connection, config: SqliteConfig) -> None:
    """Locks are taken here, and kept. Every setting that a promise rests on is read back."""
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    if config.path != MEMORY:
        _require(db, "journal_mode", "WAL", "wal")
        _require(db, "synchronous", "FULL" if config.full_sync else "NORMAL", _level(config))
        # Checkpoints are the committer's: SQLite's own would hide a failed fsync.
        _require(db, "wal_autocheckpoint", "0", 0)
        db.execute(f"PRAGMA journal_size_limit = {RESERVE}")
    db.execute("BEGIN IMMEDIATE")  # takes the lock
    db.execute("COMMIT")
    (page,) = db.execute("PRAGMA page_size").fetchone()
    db.execute(f"PRAGMA max_page_count = {max(config.max_bytes // page, 64)}")


def _level(config: SqliteConfig) -> int:
    return 2 if config.full_sync else 1


def _require(db: sqlite3.Connection, name: str, value: str, expected: object) -> None:
    db.execute(f"PRAGMA {name} = {value}")
    (found,) = db.execute(f"PRAGMA {name}").fetchone()
    if found != expected:
        raise CannotOpen(f"SQLite does not accept {name} = {value}, it has {found}")
