"""Which function runs an operation."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from proxy.store import operations as ops
from proxy.store.records import KeyRecord
from proxy.store.sqlite import entries, keys, sagas
from proxy.store.sqlite.tables import Tables

FORGET_IN_ONE: Final = 500
"""Rows deleted in one transaction."""


def expire(tables: Tables) -> bool:
    """Drop one part, and delete some rows, whose time has passed. True: there may be more."""
    dropped = keys.drop_expired(tables)
    forgotten = entries.forget(tables, FORGET_IN_ONE) + sagas.forget(tables, FORGET_IN_ONE)
    return dropped or forgotten >= FORGET_IN_ONE


def next_expiry(tables: Tables) -> float | None:
    """When `expire` has something to do, None if nothing expires by time."""
    found = (keys.next_expiry(tables), entries.next_expiry(tables), sagas.next_expiry(tables))
    return min((at for at in found if at is not None), default=None)


_FUNCTIONS: Final[dict[type[Any], Callable[[Tables, Any], Any]]] = {
    ops.Expire: lambda tables, ask: expire(tables),
    ops.ClaimKey: keys.claim,
    ops.RenewKeys: keys.renew,
    ops.FinishKey: keys.finish,
    ops.ReleaseKey: keys.release,
    ops.DoubtKey: keys.doubt,
    ops.FindKeys: keys.find,
    ops.FreeKeys: keys.free,
    ops.Put: entries.put,
    ops.ClaimEntries: entries.claim,
    ops.RenewEntries: entries.renew,
    ops.Settle: entries.settle,
    ops.Cancel: entries.cancel,
    ops.Redrive: entries.redrive,
    ops.GetEntry: entries.get,
    ops.ListEntries: entries.list_entries,
    ops.CountEntries: entries.count,
    ops.BlockedLanes: entries.blocked_lanes,
    ops.BeginSaga: sagas.begin,
    ops.ClaimSagas: sagas.claim,
    ops.TakeSaga: sagas.take,
    ops.RenewSagas: sagas.renew,
    ops.UpdateSaga: sagas.update,
    ops.GetSaga: sagas.get,
    ops.ListSagas: sagas.list_sagas,
    ops.CountSagas: sagas.count,
}


def run(tables: Tables, operation: ops.Operation[Any], before: Sequence[object]) -> Any:
    """Run one operation; `before` has the results of the same commit's earlier ones."""
    if isinstance(operation, ops.FinishKey) and operation.ref is None:
        operation = replace(operation, ref=_claimed(before))
    return _FUNCTIONS[type(operation)](tables, operation)


def _claimed(before: Sequence[object]) -> Any:
    for result in reversed(before):
        if isinstance(result, KeyRecord):
            return result.ref
    raise ValueError("FinishKey without a ref needs a ClaimKey before it")
