"""Operations on sagas."""

from typing import Any, Final

from proxy.store.operations import (
    BeginSaga,
    ClaimSagas,
    CountSagas,
    GetSaga,
    ListSagas,
    RenewSagas,
    TakeSaga,
    UpdateSaga,
)
from proxy.store.records import ClaimedSagas, SagaRecord, SagaRef
from proxy.store.rows import MOST_IN_A_LIST
from proxy.store.sqlite.tables import Tables

_COLUMNS: Final = (
    "token, name, id, state, fence, lease_until, created_at, due_at, finished_at, fingerprint, "
    "input, journal"
)


def begin(tables: Tables, ask: BeginSaga) -> SagaRecord:
    present = _find(tables, "name = ? AND id = ?", ask.name, ask.id)
    if present is not None:
        return _record(tables, present)
    tables.need_room()
    tables.execute(
        "INSERT INTO sagas VALUES (NULL,?,?,?,?,0,0,?,?,0,NULL,?,?,?)",
        ask.token,
        ask.name,
        ask.id,
        ask.state,
        tables.now,
        tables.now,
        ask.fingerprint,
        ask.input,
        ask.journal,
    )
    tables.due_earlier = True
    return _record(tables, _find(tables, "token = ?", ask.token), created=True)


def claim(tables: Tables, ask: ClaimSagas) -> ClaimedSagas:
    now = tables.now
    names = ",".join("?" * len(ask.names))
    tokens = tables.execute(
        "SELECT token FROM sagas INDEXED BY sagas_due"
        f" WHERE due_at <= ? AND lease_until <= ? AND name IN ({names})"
        " ORDER BY due_at LIMIT ?",
        now,
        now,
        *ask.names,
        ask.limit,
    ).fetchall()
    claimed = [_own(tables, token, ask.lease) for (token,) in tokens]
    (due_at,) = tables.one(
        "SELECT min(max(due_at, lease_until)) FROM sagas INDEXED BY sagas_due"
        f" WHERE due_at IS NOT NULL AND name IN ({names})",
        *ask.names,
    )
    return ClaimedSagas(claimed, due_at, now)


def take(tables: Tables, ask: TakeSaga) -> SagaRecord | None:
    row = _find(tables, "token = ?", ask.token)
    if row is None or row[3] not in ask.states or row[5] > tables.now:
        return None
    return _own(tables, ask.token, ask.lease)


def renew(tables: Tables, ask: RenewSagas) -> list[SagaRef]:
    return [
        ref
        for ref in ask.refs
        if not tables.extend("sagas", "token", ref.token, ref.fence, ask.lease)
    ]


def update(tables: Tables, ask: UpdateSaga) -> bool:
    finished = ask.keep is not None
    given_back = ask.release or finished
    changed = tables.execute(
        "UPDATE sagas SET state = ?, journal = ?,"
        " lease_until = CASE WHEN ? THEN 0 ELSE lease_until END,"
        " due_at = CASE WHEN ? THEN ? ELSE ? END,"
        " finished_at = ?, forget_at = ?"
        " WHERE token = ? AND fence = ? AND lease_until > 0",
        ask.state,
        ask.journal,
        given_back,
        given_back,
        None if finished or ask.due_in is None else tables.now + ask.due_in,
        tables.now,  # if its owner dies it is due
        tables.now if finished else 0,
        tables.now + ask.keep if ask.keep is not None else None,
        ask.ref.token,
        ask.ref.fence,
    ).rowcount
    if given_back:
        tables.due_earlier = True
    return changed == 1


def get(tables: Tables, ask: GetSaga) -> SagaRecord | None:
    if ask.token:
        row = _find(tables, "token = ?", ask.token)
    else:
        row = _find(tables, "name = ? AND id = ?", ask.name, ask.id)
    return None if row is None else _record(tables, row)


def list_sagas(tables: Tables, ask: ListSagas) -> list[SagaRecord]:
    kinds = [
        (name, state)
        for name, state in count(tables, CountSagas())
        if ask.name in (None, name) and ask.state in (None, state)
    ]
    limit = min(ask.limit, MOST_IN_A_LIST)
    order = "ASC" if ask.oldest_first else "DESC"
    found: list[SagaRecord] = []
    for name, state in kinds:
        rows = tables.execute(
            f"SELECT {_COLUMNS} FROM sagas WHERE name = ? AND state = ? AND created_at < ?"
            f" ORDER BY created_at {order} LIMIT ?",
            name,
            state,
            ask.before if ask.before is not None else float("inf"),
            limit,
        )
        found.extend(_record(tables, row) for row in rows)
    found.sort(key=lambda saga: saga.created_at, reverse=not ask.oldest_first)
    return found[:limit]


def count(tables: Tables, ask: CountSagas) -> dict[tuple[str, str], int]:
    rows = tables.execute("SELECT name, state, number FROM saga_counts WHERE number > 0")
    return {(name, state): number for name, state, number in rows}


def free_claims(tables: Tables) -> int:
    """A new process on the file: what its predecessor had claimed is due at once."""
    return tables.execute(
        "UPDATE sagas SET lease_until = 0, fence = fence + 1 WHERE lease_until > 0"
    ).rowcount


def forget(tables: Tables, limit: int) -> int:
    """Delete sagas whose time has passed, at most `limit`. Returns how many."""
    return tables.execute(
        "DELETE FROM sagas WHERE seq IN (SELECT seq FROM sagas"
        " WHERE forget_at IS NOT NULL AND forget_at <= ? ORDER BY forget_at LIMIT ?)",
        tables.now,
        limit,
    ).rowcount


def next_expiry(tables: Tables) -> float | None:
    (at,) = tables.one("SELECT min(forget_at) FROM sagas WHERE forget_at IS NOT NULL")
    return None if at is None else float(at)


def _own(tables: Tables, token: str, lease: float) -> SagaRecord:
    tables.execute(
        "UPDATE sagas SET fence = fence + 1, lease_until = ? WHERE token = ?",
        tables.now + lease,
        token,
    )
    return _record(tables, _find(tables, "token = ?", token))


def _find(tables: Tables, condition: str, *values: object) -> Any:
    return tables.one(f"SELECT {_COLUMNS} FROM sagas WHERE {condition}", *values)


def _record(tables: Tables, row: Any, *, created: bool = False) -> SagaRecord:
    return SagaRecord(
        token=row[0],
        name=row[1],
        id=row[2],
        state=row[3],
        fence=row[4],
        owned=row[5] > tables.now,
        created_at=row[6],
        due_at=row[7],
        finished_at=row[8],
        fingerprint=row[9],
        input=row[10],
        journal=row[11],
        created=created,
    )
