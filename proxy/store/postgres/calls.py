"""Operations as arguments of `v1_run` (functions.sql), and its rows as results.

An operation becomes one or more *calls*: rows of columns that all kinds share. The numbers of kinds
and the use of the columns are those of functions.sql.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from proxy.store import operations as ops
from proxy.store.group import Group
from proxy.store.records import (
    ClaimedEntries,
    ClaimedSagas,
    Committed,
    Entry,
    EntryState,
    KeyRecord,
    KeyRef,
    Lane,
    QueueCounts,
    SagaRecord,
)
from proxy.store.rows import (
    ENTRY_NUMBER,
    ENTRY_STATES,
    KEY_STATES,
    MOST_COUNTED,
    MOST_IN_A_LIST,
)

Rows = Sequence[Any]
"""Rows of one operation's result: mappings by the names of `v1_run`'s columns."""

EXPIRE_IN_ONE: Final = 1000
"""Rows of each table that one `Expire` deletes."""
_LAST_SEQ: Final = 1 << 62

STATEMENT: Final = (
    "SELECT op, ok, t1, t2, t3, t4, b1, b2, b3, b4, i1, i2, i3, i4, i5, f1, f2, f3, f4, f5"
    " FROM {schema}.v1_run($1::text[], $2::text[], $3::float8, $4::int[], $5::bool[],"
    " $6::int[], $7::int[], $8::text[], $9::text[], $10::text[], $11::text[], $12::bytea[],"
    " $13::bytea[], $14::bytea[], $15::bytea[], $16::float8[], $17::float8[], $18::int8[],"
    " $19::int8[], $20::int8[])"
)


class Call(NamedTuple):
    """One call: `kind` says what the columns mean."""

    kind: int
    a: str | None = None
    b: str | None = None
    c: str | None = None
    d: str | None = None
    x: bytes | None = None
    y: bytes | None = None
    z: bytes | None = None
    w: bytes | None = None
    n: float | None = None
    m: float | None = None
    f: int | None = None
    i: int | None = None
    j: int | None = None


class Calls:
    """The calls of a batch. `names` are locked, and the lanes of `entries`."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.entries: set[str] = set()
        self._rows: list[tuple[Any, ...]] = []

    def arguments(self, now: float | None) -> list[Any]:
        """The arguments of STATEMENT. `now` None: the server's time."""
        columns = list(zip(*self._rows, strict=True))
        return [list(self.names), list(self.entries), now, *columns]

    def add(self, group: int, together: bool, number: int, operation: ops.Operation[Any]) -> None:
        """Add the calls of an operation; `number` is its place in the batch."""
        for call in _CODECS[type(operation)].encode(self, operation):
            self._rows.append((group, together, number, *call))


# --- operations as calls ----------------------------------------------------------------------


def _claim_key(calls: Calls, ask: ops.ClaimKey) -> list[Call]:
    calls.names.add("k" + ask.key.hex())
    return [
        Call(
            1,
            ask.route,
            x=ask.scope,
            y=ask.key,
            z=ask.fingerprint,
            n=ask.lease,
            m=ask.keep,
            i=int(ask.execute),
        )
    ]


def _of_key(calls: Calls, kind: int, ref: KeyRef, **more: Any) -> Call:
    calls.names.add("k" + ref.key.hex())
    return Call(kind, ref.route, x=ref.scope, y=ref.key, f=ref.fence, **more)


def _finish_key(calls: Calls, ask: ops.FinishKey) -> list[Call]:
    call = Call(3) if ask.ref is None else _of_key(calls, 3, ask.ref)
    return [call._replace(z=ask.response, w=ask.fingerprint, i=ask.status)]


def _free_keys(calls: Calls, ask: ops.FreeKeys) -> list[Call]:
    calls.names.add("k" + ask.key.hex())
    return [Call(7, ask.route, y=ask.key)]


def _put(calls: Calls, ask: ops.Put) -> list[Call]:
    lane = _text(ask.lane)
    if lane:
        calls.names.add(f"l{ask.queue} {lane}")
    return [
        Call(
            10,
            ask.id,
            ask.queue,
            lane,
            x=ask.meta,
            y=ask.body,
            z=ask.history,
            n=ask.due_in,
            m=ask.give_up_in,
            f=ask.max_pending,
        )
    ]


def _claim_entries(calls: Calls, ask: ops.ClaimEntries) -> list[Call]:
    claims = [Call(11, b=queue, f=limit, n=ask.lease) for queue, limit in ask.limits.items()]
    return claims + [Call(12, b=queue) for queue in ask.limits]


def _of_entry(calls: Calls, call: Call) -> list[Call]:
    assert call.a is not None
    calls.names.add("e" + call.a)
    calls.entries.add(call.a)
    return [call]


def _renew_entries(calls: Calls, ask: ops.RenewEntries) -> list[Call]:
    calls.names.update("e" + ref.id for ref in ask.refs)
    return [Call(13, ref.id, f=ref.fence, n=ask.lease) for ref in ask.refs]


def _settle(calls: Calls, ask: ops.Settle) -> list[Call]:
    call = Call(
        14,
        ask.ref.id,
        x=ask.meta,
        z=ask.history,
        n=ask.due_in,
        m=ask.keep,
        f=ask.ref.fence,
        i=ENTRY_NUMBER[ask.state],
        j=ask.attempts,
    )
    return _of_entry(calls, call)


def _list_entries(calls: Calls, ask: ops.ListEntries) -> list[Call]:
    return [
        Call(
            18,
            b=ask.queue,
            n=ask.since,
            f=ask.before_seq if ask.before_seq is not None else _LAST_SEQ,
            i=None if ask.state is None else ENTRY_NUMBER[ask.state],
            j=min(ask.limit, MOST_IN_A_LIST),
        )
    ]


def _begin_saga(calls: Calls, ask: ops.BeginSaga) -> list[Call]:
    calls.names.add(f"i{ask.name} {ask.id}")
    return [
        Call(
            30,
            ask.token,
            ask.name,
            ask.id,
            ask.state,
            x=ask.fingerprint,
            y=ask.input,
            z=ask.journal,
        )
    ]


def _claim_sagas(calls: Calls, ask: ops.ClaimSagas) -> list[Call]:
    names = "\n".join(ask.names)
    return [Call(31, b=names, f=ask.limit, n=ask.lease), Call(32, b=names)]


def _take_saga(calls: Calls, ask: ops.TakeSaga) -> list[Call]:
    calls.names.add("s" + ask.token)
    return [Call(33, ask.token, "\n".join(ask.states), n=ask.lease)]


def _renew_sagas(calls: Calls, ask: ops.RenewSagas) -> list[Call]:
    calls.names.update("s" + ref.token for ref in ask.refs)
    return [Call(34, ref.token, f=ref.fence, n=ask.lease) for ref in ask.refs]


def _update_saga(calls: Calls, ask: ops.UpdateSaga) -> list[Call]:
    calls.names.add("s" + ask.ref.token)
    given_back = ask.release or ask.keep is not None
    return [
        Call(
            35,
            ask.ref.token,
            d=ask.state,
            z=ask.journal,
            n=ask.due_in,
            m=ask.keep,
            f=ask.ref.fence,
            i=int(given_back),
        )
    ]


def _get_saga(calls: Calls, ask: ops.GetSaga) -> list[Call]:
    return [Call(36, ask.token) if ask.token else Call(36, b=ask.name, c=ask.id)]


def _list_sagas(calls: Calls, ask: ops.ListSagas) -> list[Call]:
    before = ask.before if ask.before is not None else float("inf")
    most = min(ask.limit, MOST_IN_A_LIST)
    return [Call(37, b=ask.name, d=ask.state, n=before, f=most, i=int(ask.oldest_first))]


def _text(value: str) -> str:
    """PostgreSQL's texts have no NUL."""
    return value.replace("\0", "\ufffd")


# --- rows as results --------------------------------------------------------------------------


def _met(ask: ops.Operation[Any], rows: Rows) -> bool:
    return bool(rows[0]["ok"])


def _number(ask: ops.Operation[Any], rows: Rows) -> int:
    return int(rows[0]["i1"])


def _key(row: Any, claimed: bool = False) -> KeyRecord:
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


def _entry_state(ask: ops.Operation[Any], rows: Rows) -> EntryState | None:
    number = rows[0]["i1"]
    return None if number is None else ENTRY_STATES[number]


def _entry(row: Any) -> Entry:
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


def _entries(ask: ops.Operation[Any], rows: Rows) -> list[Entry]:
    return [_entry(row) for row in rows]


def _claimed_entries(ask: ops.ClaimEntries, rows: Rows) -> ClaimedEntries:
    entries = [_entry(row) for row in rows if row["t1"] is not None]
    due = [row["f1"] for row in rows if row["t1"] is None and row["f1"] is not None]
    return ClaimedEntries(entries, min(due, default=None), rows[-1]["f2"] if rows else 0.0)


def _counted_entries(ask: ops.CountEntries, rows: Rows) -> dict[str, QueueCounts]:
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


def _lanes(ask: ops.BlockedLanes, rows: Rows) -> list[Lane]:
    return [
        Lane(row["t1"], row["t2"], row["t3"], ENTRY_STATES[row["i1"]], row["i2"]) for row in rows
    ]


def _saga(row: Any, created: bool = False) -> SagaRecord:
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


def _one_saga(ask: ops.Operation[Any], rows: Rows) -> SagaRecord | None:
    return _saga(rows[0]) if rows and rows[0]["ok"] else None


def _claimed_sagas(ask: ops.ClaimSagas, rows: Rows) -> ClaimedSagas:
    *claimed, last = rows
    return ClaimedSagas([_saga(row) for row in claimed], last["f1"], last["f2"])


def _lost(ask: Any, rows: Rows) -> list[Any]:
    return [ref for ref, row in zip(ask.refs, rows, strict=True) if not row["i1"]]


class _Codec(NamedTuple):
    encode: Callable[[Calls, Any], list[Call]]
    decode: Callable[[Any, Rows], Any]


_CODECS: Final[dict[type[Any], _Codec]] = {
    ops.ClaimKey: _Codec(_claim_key, lambda ask, rows: _key(rows[0], claimed=rows[0]["ok"])),
    ops.RenewKeys: _Codec(
        lambda calls, ask: [_of_key(calls, 2, ref, n=ask.lease) for ref in ask.refs],
        _lost,
    ),
    ops.FinishKey: _Codec(_finish_key, _met),
    ops.ReleaseKey: _Codec(lambda calls, ask: [_of_key(calls, 4, ask.ref)], _met),
    ops.DoubtKey: _Codec(lambda calls, ask: [_of_key(calls, 5, ask.ref, w=ask.fingerprint)], _met),
    ops.FindKeys: _Codec(
        lambda calls, ask: [Call(6, ask.route, y=ask.key, f=ask.limit)],
        lambda ask, rows: [_key(row) for row in rows],
    ),
    ops.FreeKeys: _Codec(_free_keys, _number),
    ops.Put: _Codec(_put, lambda ask, rows: None if rows[0]["ok"] else _entry_state(ask, rows)),
    ops.ClaimEntries: _Codec(_claim_entries, _claimed_entries),
    ops.RenewEntries: _Codec(_renew_entries, _lost),
    ops.Settle: _Codec(_settle, _met),
    ops.Cancel: _Codec(
        lambda calls, ask: _of_entry(calls, Call(15, ask.id, m=ask.keep)), _entry_state
    ),
    ops.Redrive: _Codec(
        lambda calls, ask: _of_entry(calls, Call(16, ask.id, m=ask.give_up_in)), _entry_state
    ),
    ops.GetEntry: _Codec(
        lambda calls, ask: [Call(17, ask.id, i=int(ask.with_body))],
        lambda ask, rows: _entry(rows[0]) if rows else None,
    ),
    ops.ListEntries: _Codec(_list_entries, _entries),
    ops.CountEntries: _Codec(lambda calls, ask: [Call(19)], _counted_entries),
    ops.BlockedLanes: _Codec(
        lambda calls, ask: [Call(20, b=ask.queue, f=ask.limit, j=MOST_COUNTED)], _lanes
    ),
    ops.BeginSaga: _Codec(_begin_saga, lambda ask, rows: _saga(rows[0], created=rows[0]["ok"])),
    ops.ClaimSagas: _Codec(_claim_sagas, _claimed_sagas),
    ops.TakeSaga: _Codec(_take_saga, _one_saga),
    ops.RenewSagas: _Codec(_renew_sagas, _lost),
    ops.UpdateSaga: _Codec(_update_saga, _met),
    ops.GetSaga: _Codec(_get_saga, _one_saga),
    ops.ListSagas: _Codec(_list_sagas, lambda ask, rows: [_saga(row) for row in rows]),
    ops.CountSagas: _Codec(
        lambda calls, ask: [Call(38)],
        lambda ask, rows: {(row["t1"], row["t2"]): row["i1"] for row in rows},
    ),
    ops.Expire: _Codec(
        lambda calls, ask: [Call(40, f=EXPIRE_IN_ONE)],
        lambda ask, rows: rows[-1]["i1"] >= EXPIRE_IN_ONE,
    ),
}


# --- batches ----------------------------------------------------------------------------------


def encode(groups: Sequence[Group]) -> Calls:
    """All operations of the groups."""
    calls = Calls()
    number = 0
    for place, group in enumerate(groups):
        # One whose condition is not met has changed nothing: there is nothing to undo.
        together = len(group.operations) > 1
        for operation in group.operations:
            calls.add(place, together, number, operation)
            number += 1
    return calls


def decode(groups: Sequence[Group], rows: Rows) -> list[Any]:
    """The result of each group."""
    found: list[list[Any]] = [[] for group in groups for _ in group.operations]
    for row in rows:
        found[row["op"]].append(row)
    results = []
    number = 0
    for group in groups:
        mine = found[number : number + len(group.operations)]
        number += len(group.operations)
        if group.alone:
            operation = group.operations[0]
            results.append(_CODECS[type(operation)].decode(operation, mine[0]))
        else:
            results.append(_committed(group, mine))
    return results


def _committed(group: Group, found: list[list[Any]]) -> Committed:
    results: list[object] = []
    for number, (operation, rows) in enumerate(zip(group.operations, found, strict=True)):
        results.append(_CODECS[type(operation)].decode(operation, rows))
        if not operation.met(results[-1]):
            return Committed(results, number)
    return Committed(results)


def brings_forward(operation: ops.Operation[Any], result: Any) -> bool:
    """Whether entries or sagas may be due earlier after it."""
    match operation:
        case ops.Put() | ops.Cancel() | ops.Redrive() | ops.BeginSaga():
            return operation.met(result)
        case ops.Settle():
            return bool(result)
        case ops.UpdateSaga():
            return bool(result) and (operation.release or operation.keep is not None)
    return False
