"""`resilience-proxy store`: checks and exports a file that no process uses."""

import base64
import json
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

from proxy.store.sqlite.connection import Busy, SqliteConfig, connect
from proxy.store.store import CannotOpen

IN_USE = "a running process uses it; stop it first, or ask its admin API (/store)"


def open_unused(path: str) -> sqlite3.Connection:
    """The file, locked while it is looked at. Raises CannotOpen."""
    if not os.path.exists(path):
        raise CannotOpen(f"the store {path} cannot be used: there is no such file")
    try:
        return connect(SqliteConfig(path, max_bytes=1 << 62))
    except Busy:
        raise CannotOpen(f"the store {path} cannot be used: {IN_USE}") from None


def check(db: sqlite3.Connection) -> list[str]:
    """What is damaged, as SQLite says it; empty: nothing."""
    found = [text for (text,) in db.execute("PRAGMA integrity_check")]
    return [] if found == ["ok"] else found


def counts(db: sqlite3.Connection) -> dict[str, int]:
    """How many records of each kind there are."""
    parts = [number for (number,) in db.execute("SELECT id FROM parts")]
    keys = sum(db.execute(f"SELECT count(*) FROM keys_{part}").fetchone()[0] for part in parts)
    return {
        "idempotency records": keys,
        "outbox entries": db.execute("SELECT count(*) FROM entries").fetchone()[0],
        "sagas": db.execute("SELECT count(*) FROM sagas").fetchone()[0],
    }


def export(db: sqlite3.Connection) -> Iterator[str]:
    """Every record as one line of JSON. Bytes are text where they are UTF-8, else base64."""
    parts = [number for (number,) in db.execute("SELECT id FROM parts ORDER BY id")]
    for part in parts:
        yield from _rows(db, "idempotency", f"SELECT * FROM keys_{part} ORDER BY row")
    yield from _rows(
        db,
        "outbox",
        "SELECT e.*, b.body FROM entries e LEFT JOIN bodies b ON b.seq = e.seq ORDER BY e.seq",
    )
    yield from _rows(db, "saga", "SELECT * FROM sagas ORDER BY seq")


_DIGESTS = frozenset(("key", "scope", "fingerprint"))


def _rows(db: sqlite3.Connection, kind: str, statement: str) -> Iterator[str]:
    cursor = db.execute(statement)
    names = [column[0] for column in cursor.description]
    for row in cursor:
        told = {name: _plain(name, value) for name, value in zip(names, row, strict=True)}
        yield json.dumps({"kind": kind, **told}, ensure_ascii=False)


def _plain(name: str, value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    if name in _DIGESTS:
        return value.hex()
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
