"""Tables of the file, and how a file of an older version becomes one of this version.

Idempotency records are in parts: a table for each stretch of time, dropped as a whole when its last
record has expired (`keys.py`). Entries and sagas are deleted by row when they are forgotten, a
bounded number in one transaction: their rows are in the order of acceptance, where that is cheap.
`entry_counts` and `saga_counts` are kept by triggers, so that counting never scans.
"""

import sqlite3
from typing import Final

APPLICATION_ID: Final = 0x52505331
"""In the file's header: it is a store of this proxy."""

_FIRST: Final = """
CREATE TABLE parts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    keep INTEGER NOT NULL,      -- its records are kept this long, in whole seconds
    opened_at REAL NOT NULL,
    expires_at REAL NOT NULL,   -- when its last record has expired
    bytes INTEGER NOT NULL
);
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    queue TEXT NOT NULL,
    lane TEXT NOT NULL,         -- '': a lane of its own
    -- 0 pending, 1 delivering, 2 parked, 3 delivered, 4 dead, 5 cancelled
    state INTEGER NOT NULL,
    head INTEGER NOT NULL,      -- 1: the first of its lane that is not finished
    fence INTEGER NOT NULL,
    lease_until REAL NOT NULL,
    attempts INTEGER NOT NULL,
    accepted_at REAL NOT NULL,
    due_at REAL NOT NULL,
    give_up_at REAL NOT NULL,
    finished_at REAL NOT NULL,
    forget_at REAL NOT NULL,
    body_bytes INTEGER NOT NULL,
    history BLOB NOT NULL,
    meta BLOB NOT NULL
);
CREATE TABLE bodies (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE INDEX entries_due ON entries (queue, due_at) WHERE head = 1 AND state = 0;
CREATE INDEX entries_lane ON entries (queue, lane, seq) WHERE lane <> '' AND state < 3;
CREATE INDEX entries_claimed ON entries (queue, lease_until) WHERE state = 1;
CREATE INDEX entries_blocked ON entries (queue, seq)
    WHERE head = 1 AND lane <> '' AND state < 3 AND (state = 2 OR attempts > 0);
CREATE INDEX entries_state ON entries (queue, state, seq);
CREATE INDEX entries_forget ON entries (forget_at) WHERE state > 2;
CREATE TABLE entry_counts (
    queue TEXT NOT NULL, state INTEGER NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (queue, state)
) WITHOUT ROWID;
CREATE TRIGGER entries_in AFTER INSERT ON entries BEGIN
    INSERT INTO entry_counts VALUES (new.queue, new.state, 1)
        ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER entries_move AFTER UPDATE OF state ON entries WHEN old.state <> new.state BEGIN
    UPDATE entry_counts SET number = number - 1 WHERE queue = old.queue AND state = old.state;
    INSERT INTO entry_counts VALUES (new.queue, new.state, 1)
        ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER entries_out AFTER DELETE ON entries BEGIN
    UPDATE entry_counts SET number = number - 1 WHERE queue = old.queue AND state = old.state;
    DELETE FROM bodies WHERE seq = old.seq;
END;
CREATE TABLE sagas (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    fence INTEGER NOT NULL,
    lease_until REAL NOT NULL,  -- 0: not owned
    created_at REAL NOT NULL,
    due_at REAL,                -- NULL: not by time
    finished_at REAL NOT NULL,
    forget_at REAL,             -- NULL: not finished
    fingerprint BLOB NOT NULL,
    input BLOB NOT NULL,
    journal BLOB NOT NULL,
    UNIQUE (name, id)
);
CREATE INDEX sagas_due ON sagas (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX sagas_owned ON sagas (lease_until) WHERE lease_until > 0;
CREATE INDEX sagas_state ON sagas (name, state, created_at);
CREATE INDEX sagas_forget ON sagas (forget_at) WHERE forget_at IS NOT NULL;
CREATE TABLE saga_counts (
    name TEXT NOT NULL, state TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (name, state)
) WITHOUT ROWID;
CREATE TRIGGER sagas_in AFTER INSERT ON sagas BEGIN
    INSERT INTO saga_counts VALUES (new.name, new.state, 1)
        ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER sagas_move AFTER UPDATE OF state ON sagas WHEN old.state <> new.state BEGIN
    UPDATE saga_counts SET number = number - 1 WHERE name = old.name AND state = old.state;
    INSERT INTO saga_counts VALUES (new.name, new.state, 1)
        ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER sagas_out AFTER DELETE ON sagas BEGIN
    UPDATE saga_counts SET number = number - 1 WHERE name = old.name AND state = old.state;
END;
"""

MIGRATIONS: Final[tuple[str, ...]] = (_FIRST,)
"""Element n turns a file of version n into one of version n + 1; an empty file has version 0."""


class WrongFile(Exception):
    """Not a store of this proxy, or one of a newer version."""


def migrate(db: sqlite3.Connection, migrations: tuple[str, ...] = MIGRATIONS) -> None:
    """Bring the tables to the latest version, in one transaction. Raises WrongFile."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application != APPLICATION_ID:
        raise WrongFile("it is a database of another application")
    if version > len(migrations):
        raise WrongFile(
            f"it has version {version}, and this proxy knows versions up to {len(migrations)}: "
            "use the newer proxy again, or another file"
        )
    if version == len(migrations):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for script in migrations[version:]:
            for statement in _statements(script):
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(migrations)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    """The statements of a script: `executescript` would commit before the first."""
    found, text = [], ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            found.append(text)
            text = ""
    return found
