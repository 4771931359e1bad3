"""Operations as calls: which kind each one is, and what its columns are."""

from typing import Any, Final

from proxy.store import operations as ops
from proxy.store.postgres.calls import Call, Calls
from proxy.store.records import KeyRef
from proxy.store.rows import ENTRY_NUMBER, MOST_IN_A_LIST

_LAST_SEQ: Final = 1 << 62


def claim_key(calls: Calls, ask: ops.ClaimKey) -> list[Call]:
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


def of_key(calls: Calls, kind: int, ref: KeyRef, **more: Any) -> Call:
    calls.names.add("k" + ref.key.hex())
    return Call(kind, ref.route, x=ref.scope, y=ref.key, f=ref.fence, **more)


def finish_key(calls: Calls, ask: ops.FinishKey) -> list[Call]:
    call = Call(3) if ask.ref is None else of_key(calls, 3, ask.ref)
    return [call._replace(z=ask.response, w=ask.fingerprint, i=ask.status)]


def free_keys(calls: Calls, ask: ops.FreeKeys) -> list[Call]:
    calls.names.add("k" + ask.key.hex())
    return [Call(7, ask.route, y=ask.key)]


def put(calls: Calls, ask: ops.Put) -> list[Call]:
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


def claim_entries(calls: Calls, ask: ops.ClaimEntries) -> list[Call]:
    claims = [Call(11, b=queue, f=limit, n=ask.lease) for queue, limit in ask.limits.items()]
    return claims + [Call(12, b=queue) for queue in ask.limits]


def of_entry(calls: Calls, call: Call) -> list[Call]:
    assert call.a is not None
    calls.names.add("e" + call.a)
    calls.entries.add(call.a)
    return [call]


def renew_entries(calls: Calls, ask: ops.RenewEntries) -> list[Call]:
    calls.names.update("e" + ref.id for ref in ask.refs)
    return [Call(13, ref.id, f=ref.fence, n=ask.lease) for ref in ask.refs]


def settle(calls: Calls, ask: ops.Settle) -> list[Call]:
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
    return of_entry(calls, call)


def list_entries(calls: Calls, ask: ops.ListEntries) -> list[Call]:
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


def begin_saga(calls: Calls, ask: ops.BeginSaga) -> list[Call]:
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


def claim_sagas(calls: Calls, ask: ops.ClaimSagas) -> list[Call]:
    names = "\n".join(ask.names)
    return [Call(31, b=names, f=ask.limit, n=ask.lease), Call(32, b=names)]


def take_saga(calls: Calls, ask: ops.TakeSaga) -> list[Call]:
    calls.names.add("s" + ask.token)
    return [Call(33, ask.token, "\n".join(ask.states), n=ask.lease)]


def renew_sagas(calls: Calls, ask: ops.RenewSagas) -> list[Call]:
    calls.names.update("s" + ref.token for ref in ask.refs)
    return [Call(34, ref.token, f=ref.fence, n=ask.lease) for ref in ask.refs]


def update_saga(calls: Calls, ask: ops.UpdateSaga) -> list[Call]:
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


def get_saga(calls: Calls, ask: ops.GetSaga) -> list[Call]:
    return [Call(36, ask.token) if ask.token else Call(36, b=ask.name, c=ask.id)]


def list_sagas(calls: Calls, ask: ops.ListSagas) -> list[Call]:
    before = ask.before if ask.before is not None else float("inf")
    most = min(ask.limit, MOST_IN_A_LIST)
    return [Call(37, b=ask.name, d=ask.state, n=before, f=most, i=int(ask.oldest_first))]


def _text(value: str) -> str:
    """PostgreSQL's texts have no NUL."""
    return value.replace("\0", "\ufffd")
