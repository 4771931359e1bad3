"""Rows of `v1_run` as the results of operations."""

from collections.abc import Sequence
from typing import Any

from proxy.store import operations as ops
from proxy.store.records import (
    ClaimedEntries,
    ClaimedSagas,
    Entry,
    EntryState,
    KeyRecord,
    KeyRef,
    Lane,
    QueueCounts,
    SagaRecord,
)
from proxy.store.rows import ENTRY_STATES, KEY_STATES

Rows = Sequence[Any]
"""Rows of one operation's result: mappings by the names of `v1_run`'s columns."""


def met(ask: ops.Operation[Any], rows: Rows) -> bool:
    return bool(rows[0]["ok"])


def number(ask: ops.Operation[Any], rows: Rows) -> int:
    return int(rows[0]["i1"])


def key(row: Any, claimed: bool = False) -> KeyRecord:
    return KeyRecord(
        KeyRef(row["t1"], row["b1"], row["b2"], row["i2"]),
        KEY_STATES[row["i1"]],
        row["b3"],
        row["f1"],
        row["f2"],
        claimed=claimed,
        status=row["i3"],
        response=row["b4"],
    )


def entry_state(ask: ops.Operation[Any], rows: Rows) -> EntryState | None:
    number = rows[0]["i1"]
    return None if number is None else ENTRY_STATES[number]


def entry(row: Any) -> Entry:
    return Entry(
        id=row["t1"],
        seq=row["i1"],
        queue=row["t2"],
        lane=row["t3"],
        state=ENTRY_STATES[row["i2"]],
        fence=row["i3"],
        attempts=row["i4"],
        accepted_at=row["f1"],
        due_at=row["f2"],
        give_up_at=row["f3"],
        finished_at=row["f4"],
        forget_at=row["f5"],
        meta=row["b1"],
        history=row["b2"],
        body_bytes=row["i5"],
        body=row["b3"],
    )


def entries(ask: ops.Operation[Any], rows: Rows) -> list[Entry]:
    return [entry(row) for row in rows]


def claimed_entries(ask: ops.ClaimEntries, rows: Rows) -> ClaimedEntries:
    entries = [entry(row) for row in rows if row["t1"] is not None]
    due = [row["f1"] for row in rows if row["t1"] is None and row["f1"] is not None]
    return ClaimedEntries(entries, min(due, default=None), rows[-1]["f2"] if rows else 0.0)


def counted_entries(ask: ops.CountEntries, rows: Rows) -> dict[str, QueueCounts]:
    counts: dict[str, dict[EntryState, int]] = {}
    oldest: dict[str, list[float]] = {}
    for row in rows:
        counts.setdefault(row["t1"], {})[ENTRY_STATES[row["i1"]]] = row["i2"]
        times = oldest.setdefault(row["t1"], [])
        if row["f1"] is not None:
            times.append(row["f1"])
    return {
        queue: QueueCounts(found, min(oldest[queue], default=None))
        for queue, found in counts.items()
    }


def lanes(ask: ops.BlockedLanes, rows: Rows) -> list[Lane]:
    return [
        Lane(row["t1"], row["t2"], row["t3"], ENTRY_STATES[row["i1"]], row["i2"]) for row in rows
    ]


def saga(row: Any, created: bool = False) -> SagaRecord:
    return SagaRecord(
        token=row["t1"],
        name=row["t2"],
        id=row["t3"],
        state=row["t4"],
        fence=row["i1"],
        owned=bool(row["i2"]),
        created_at=row["f1"],
        due_at=row["f2"],
        finished_at=row["f3"],
        fingerprint=row["b1"],
        input=row["b2"],
        journal=row["b3"],
        created=created,
    )


def one_saga(ask: ops.Operation[Any], rows: Rows) -> SagaRecord | None:
    return saga(rows[0]) if rows and rows[0]["ok"] else None


def claimed_sagas(ask: ops.ClaimSagas, rows: Rows) -> ClaimedSagas:
    *claimed, last = rows
    return ClaimedSagas([saga(row) for row in claimed], last["f1"], last["f2"])


def lost(ask: Any, rows: Rows) -> list[Any]:
    return [ref for ref, row in zip(ask.refs, rows, strict=True) if not row["i1"]]
