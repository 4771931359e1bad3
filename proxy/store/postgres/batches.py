"""Batches: groups of operations as the calls of one statement, and its rows as their results."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from proxy.store import operations as ops
from proxy.store.group import Group
from proxy.store.postgres import asking, results
from proxy.store.postgres.calls import Call, Calls
from proxy.store.postgres.results import Rows
from proxy.store.records import Committed
from proxy.store.rows import MOST_COUNTED

EXPIRE_IN_ONE: Final = 1000
"""Rows of each table that one `Expire` deletes."""


class _Codec(NamedTuple):
    encode: Callable[[Calls, Any], list[Call]]
    decode: Callable[[Any, Rows], Any]


_CODECS: Final[dict[type[Any], _Codec]] = {
    ops.ClaimKey: _Codec(
        asking.claim_key, lambda ask, rows: results.key(rows[0], claimed=rows[0]["ok"])
    ),
    ops.RenewKeys: _Codec(
        lambda calls, ask: [asking.of_key(calls, 2, ref, n=ask.lease) for ref in ask.refs],
        results.lost,
    ),
    ops.FinishKey: _Codec(asking.finish_key, results.met),
    ops.ReleaseKey: _Codec(lambda calls, ask: [asking.of_key(calls, 4, ask.ref)], results.met),
    ops.DoubtKey: _Codec(
        lambda calls, ask: [asking.of_key(calls, 5, ask.ref, w=ask.fingerprint)], results.met
    ),
    ops.FindKeys: _Codec(
        lambda calls, ask: [Call(6, ask.route, y=ask.key, f=ask.limit)],
        lambda ask, rows: [results.key(row) for row in rows],
    ),
    ops.FreeKeys: _Codec(asking.free_keys, results.number),
    ops.Put: _Codec(
        asking.put, lambda ask, rows: None if rows[0]["ok"] else results.entry_state(ask, rows)
    ),
    ops.ClaimEntries: _Codec(asking.claim_entries, results.claimed_entries),
    ops.RenewEntries: _Codec(asking.renew_entries, results.lost),
    ops.Settle: _Codec(asking.settle, results.met),
    ops.Cancel: _Codec(
        lambda calls, ask: asking.of_entry(calls, Call(15, ask.id, m=ask.keep)), results.entry_state
    ),
    ops.Redrive: _Codec(
        lambda calls, ask: asking.of_entry(calls, Call(16, ask.id, m=ask.give_up_in)),
        results.entry_state,
    ),
    ops.GetEntry: _Codec(
        lambda calls, ask: [Call(17, ask.id, i=int(ask.with_body))],
        lambda ask, rows: results.entry(rows[0]) if rows else None,
    ),
    ops.ListEntries: _Codec(asking.list_entries, results.entries),
    ops.CountEntries: _Codec(lambda calls, ask: [Call(19)], results.counted_entries),
    ops.BlockedLanes: _Codec(
        lambda calls, ask: [Call(20, b=ask.queue, f=ask.limit, j=MOST_COUNTED)], results.lanes
    ),
    ops.BeginSaga: _Codec(
        asking.begin_saga, lambda ask, rows: results.saga(rows[0], created=rows[0]["ok"])
    ),
    ops.ClaimSagas: _Codec(asking.claim_sagas, results.claimed_sagas),
    ops.TakeSaga: _Codec(asking.take_saga, results.one_saga),
    ops.RenewSagas: _Codec(asking.renew_sagas, results.lost),
    ops.UpdateSaga: _Codec(asking.update_saga, results.met),
    ops.GetSaga: _Codec(asking.get_saga, results.one_saga),
    ops.ListSagas: _Codec(asking.list_sagas, lambda ask, rows: [results.saga(row) for row in rows]),
    ops.CountSagas: _Codec(
        lambda calls, ask: [Call(38)],
        lambda ask, rows: {(row["t1"], row["t2"]): row["i1"] for row in rows},
    ),
    ops.Expire: _Codec(
        lambda calls, ask: [Call(40, f=EXPIRE_IN_ONE)],
        lambda ask, rows: rows[-1]["i1"] >= EXPIRE_IN_ONE,
    ),
}


def encode(groups: Sequence[Group]) -> Calls:
    """All operations of the groups."""
    calls = Calls()
    number = 0
    for place, group in enumerate(groups):
        # One whose condition is not met has changed nothing: there is nothing to undo.
        together = len(group.operations) > 1
        for operation in group.operations:
            asked = _CODECS[type(operation)].encode(calls, operation)
            calls.add(place, together, number, asked)
            number += 1
    return calls


def decode(groups: Sequence[Group], rows: Rows) -> list[Any]:
    """The result of each group."""
    found: list[list[Any]] = [[] for group in groups for _ in group.operations]
    for row in rows:
        found[row["op"]].append(row)
    told: list[Any] = []
    number = 0
    for group in groups:
        mine = found[number : number + len(group.operations)]
        number += len(group.operations)
        if group.alone:
            operation = group.operations[0]
            told.append(_CODECS[type(operation)].decode(operation, mine[0]))
        else:
            told.append(_committed(group, mine))
    return told


def _committed(group: Group, found: list[list[Any]]) -> Committed:
    told: list[object] = []
    for number, (operation, rows) in enumerate(zip(group.operations, found, strict=True)):
        told.append(_CODECS[type(operation)].decode(operation, rows))
        if not operation.met(told[-1]):
            return Committed(told, number)
    return Committed(told)


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
