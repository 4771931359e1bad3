"""Operations on idempotency records.

A record stays in the part in which it was claimed. A look-up asks all parts in one statement, the
newest first. A part is dropped when its last record has expired and none is claimed.
"""

from collections.abc import Iterator
from math import ceil
from typing import Any, Final

from proxy.store.operations import (
    ClaimKey,
    DoubtKey,
    FindKeys,
    FinishKey,
    FreeKeys,
    ReleaseKey,
    RenewKeys,
)
from proxy.store.records import KeyRecord, KeyRef, KeyState
from proxy.store.rows import KEY_STATES
from proxy.store.sqlite.tables import PART_BYTES, PART_STRETCHES, ROW_BYTES, Part, Tables

_IN_FLIGHT, _DONE, _UNREPLAYABLE, _UNKNOWN = range(4)
_MOST_IN_ONE: Final = 100
"""Parts that one statement asks; SQLite allows 500."""

_COLUMNS: Final = (
    "row, route, scope, key, state, fence, lease_until, created_at, expires_at, "
    "fingerprint, status, response"
)


def claim(tables: Tables, ask: ClaimKey) -> KeyRecord:
    found = next(_rows(tables, ask.key, ask.scope, ask.route), None)
    if found is None:
        return _insert(tables, ask)
    part, row = found
    if row[4] == _IN_FLIGHT and row[6] <= tables.now:
        # The fence rises too: the former owner of the claim may still be running.
        row = _unknown(row, tables.next_fence())
        tables.execute(
            f"UPDATE {_name(part)} SET state = ?, lease_until = 0, fence = ? WHERE row = ?",
            _UNKNOWN,
            row[5],
            row[0],
        )
    record = _record(part, row)
    same = record.fingerprint.startswith(ask.fingerprint)
    if record.state is KeyState.UNKNOWN and ask.execute and same:
        fence = tables.next_fence()
        tables.execute(
            f"UPDATE {_name(part)} SET state = ?, fence = ?, lease_until = ? WHERE row = ?",
            _IN_FLIGHT,
            fence,
            tables.now + ask.lease,
            row[0],
        )
        ref = KeyRef(ask.route, ask.scope, ask.key, fence, part, row[0])
        return _claimed(ref, ask, record.created_at, record.expires_at)
    return record


def renew(tables: Tables, ask: RenewKeys) -> list[KeyRef]:
    return [
        ref
        for ref in ask.refs
        if not _change(tables, ref, "lease_until = ?", tables.now + ask.lease)
    ]


def finish(tables: Tables, ask: FinishKey) -> bool:
    assert ask.ref is not None
    state = _DONE if ask.response is not None else _UNREPLAYABLE
    changed = _change(
        tables,
        ask.ref,
        "state = ?, lease_until = 0, status = ?, response = ?,"
        " fingerprint = coalesce(?, fingerprint)",
        state,
        ask.status,
        ask.response,
        ask.fingerprint,
    )
    part = _part(tables, ask.ref.part)
    if changed and part is not None:
        part.bytes += ask.size
        tables.changed_parts.add(part.id)
    return changed


def release(tables: Tables, ask: ReleaseKey) -> bool:
    ref = ask.ref
    if _part(tables, ref.part) is None:
        return False
    done = tables.execute(
        f"DELETE FROM {_name(ref.part)} WHERE row = ? AND fence = ? AND state = ?",
        ref.row,
        ref.fence,
        _IN_FLIGHT,
    )
    return done.rowcount == 1


def doubt(tables: Tables, ask: DoubtKey) -> bool:
    return _change(
        tables,
        ask.ref,
        "state = ?, lease_until = 0, fingerprint = coalesce(?, fingerprint)",
        _UNKNOWN,
        ask.fingerprint,
    )


def find(tables: Tables, ask: FindKeys) -> list[KeyRecord]:
    found = []
    for part, row in _rows(tables, ask.key, None, ask.route):
        if row[4] == _IN_FLIGHT and row[6] <= tables.now:
            row = _unknown(row, row[5])
        found.append(_record(part, row))
        if len(found) >= ask.limit:
            break
    return found


def free(tables: Tables, ask: FreeKeys) -> int:
    rows = [
        (part, row[0])
        for part, row in _rows(tables, ask.key, None, ask.route)
        if row[4] != _IN_FLIGHT or row[6] <= tables.now
    ]
    for part, row in rows:
        tables.execute(f"DELETE FROM {_name(part)} WHERE row = ?", row)
    return len(rows)


def free_claims(tables: Tables) -> int:
    """A new process on the file: what its predecessor was doing is unknown. Returns how many."""
    return sum(
        tables.execute(
            f"UPDATE {part.table} SET state = ?, lease_until = 0, fence = ? WHERE state = 0",
            _UNKNOWN,
            tables.next_fence(),
        ).rowcount
        for part in tables.parts
    )


def drop_expired(tables: Tables) -> bool:
    """Drop the oldest part whose records have all expired. True: one was dropped."""
    for part in tables.parts:
        if part.expires_at > tables.now:
            continue
        claimed = tables.one(
            f"SELECT 1 FROM {part.table} WHERE state = 0 AND lease_until > ?", tables.now
        )
        if claimed is None:
            tables.execute(f"DROP TABLE {part.table}")
            tables.execute("DELETE FROM parts WHERE id = ?", part.id)
            tables.parts.remove(part)
            tables.lookups.clear()
            return True
    return False


def next_expiry(tables: Tables) -> float | None:
    return min((part.expires_at for part in tables.parts), default=None)


# --- rows and parts ---------------------------------------------------------------------------


def _insert(tables: Tables, ask: ClaimKey) -> KeyRecord:
    tables.need_room()
    part = _open_part(tables, ask.keep)
    expires_at = tables.now + ask.keep
    fence = tables.next_fence()
    row = tables.execute(
        f"INSERT INTO {part.table} VALUES (NULL, ?, ?, ?, 0, ?, ?, ?, ?, ?, 0, NULL)",
        ask.route,
        ask.scope,
        ask.key,
        fence,
        tables.now + ask.lease,
        tables.now,
        expires_at,
        ask.fingerprint,
    ).lastrowid
    assert row is not None
    part.bytes += ROW_BYTES
    part.expires_at = max(part.expires_at, expires_at)
    tables.changed_parts.add(part.id)
    ref = KeyRef(ask.route, ask.scope, ask.key, fence, part.id, row)
    return _claimed(ref, ask, tables.now, expires_at)


def _claimed(ref: KeyRef, ask: ClaimKey, created_at: float, expires_at: float) -> KeyRecord:
    return KeyRecord(ref, KeyState.IN_FLIGHT, ask.fingerprint, created_at, expires_at, claimed=True)


def _open_part(tables: Tables, seconds: float) -> Part:
    """The part for records that are kept so long; another one if it is full or old."""
    keep = max(1, ceil(seconds))
    for part in reversed(tables.parts):
        if part.keep == keep:
            young = tables.now - part.opened_at < keep / PART_STRETCHES
            if young and part.bytes < PART_BYTES:
                return part
            break
    identity = tables.execute(
        "INSERT INTO parts VALUES (NULL, ?, ?, ?, 0)", keep, tables.now, tables.now
    ).lastrowid
    assert identity is not None
    part = Part(identity, keep, tables.now, tables.now, 0)
    tables.execute(
        f"CREATE TABLE {part.table} ("
        "row INTEGER PRIMARY KEY, route TEXT NOT NULL, scope BLOB NOT NULL, key BLOB NOT NULL, "
        "state INTEGER NOT NULL, fence INTEGER NOT NULL, lease_until REAL NOT NULL, "
        "created_at REAL NOT NULL, expires_at REAL NOT NULL, fingerprint BLOB NOT NULL, "
        "status INTEGER NOT NULL, response BLOB)"
    )
    tables.execute(f"CREATE INDEX {part.table}_key ON {part.table} (key, scope)")
    tables.execute(f"CREATE INDEX {part.table}_open ON {part.table} (lease_until) WHERE state = 0")
    tables.parts.append(part)
    tables.lookups.clear()
    return part


def _rows(tables: Tables, key: bytes, scope: bytes | None, route: str) -> Iterator[tuple[int, Any]]:
    """(part, row) of the records that have not expired, or are still claimed; the newest first.

    `scope` None: of each scope, for an operator.
    """
    statements = tables.lookups
    if scope is None:
        statements = _lookups(tables.parts, "")
    elif not statements:
        statements = tables.lookups = _lookups(tables.parts, " AND scope = :scope")
    for statement in statements:
        values = {"key": key, "scope": scope, "route": route, "now": tables.now}
        for part, *row in tables.db.execute(statement, values).fetchall():
            yield part, tuple(row)


def _lookups(parts: list[Part], condition: str) -> list[str]:
    newest = list(reversed(parts))
    return [
        " UNION ALL ".join(
            f"SELECT {part.id}, {_COLUMNS} FROM {part.table} WHERE key = :key{condition}"
            " AND route = :route AND (expires_at > :now OR state = 0 AND lease_until > :now)"
            for part in newest[start : start + _MOST_IN_ONE]
        )
        for start in range(0, len(newest), _MOST_IN_ONE)
    ]


def _record(part: int, row: Any) -> KeyRecord:
    number, route, scope, key, state, fence, _, created, expires, fingerprint, status, response = (
        row
    )
    return KeyRecord(
        KeyRef(route, scope, key, fence, part, number),
        KEY_STATES[state],
        fingerprint,
        created,
        expires,
        status=status,
        response=response,
    )


def _unknown(row: Any, fence: int) -> Any:
    return (*row[:4], _UNKNOWN, fence, *row[6:])


def _change(tables: Tables, ref: KeyRef, changes: str, *values: object) -> bool:
    """Change a claimed record, if the claim is still this one."""
    if _part(tables, ref.part) is None:
        return False
    done = tables.execute(
        f"UPDATE {_name(ref.part)} SET {changes} WHERE row = ? AND fence = ? AND state = 0",
        *values,
        ref.row,
        ref.fence,
    )
    return done.rowcount == 1


def _part(tables: Tables, identity: int) -> Part | None:
    return next((part for part in tables.parts if part.id == identity), None)


def _name(part: int) -> str:
    return f"keys_{part}"
