"""Sagas: one record, rewritten with each step by the owner of its claim."""

from dataclasses import replace

from store.conftest import Clock, OpenStore

from proxy.store.operations import (
    BeginSaga,
    ClaimSagas,
    CountSagas,
    Expire,
    GetSaga,
    ListSagas,
    RenewSagas,
    TakeSaga,
    UpdateSaga,
)
from proxy.store.records import SagaRecord
from proxy.store.store import Store

BEGIN = BeginSaga("t1", "order", "o-1", "running", b"f", b"input", b"journal")


async def claim(store: Store) -> list[SagaRecord]:
    return (await store.do(ClaimSagas(["order"], 10, 30.0))).sagas


async def test_a_saga_begins_once(store: Store) -> None:
    first = await store.do(BEGIN)
    assert (first.created, first.state, first.journal) == (True, "running", b"journal")
    second = await store.do(replace(BEGIN, token="t2", fingerprint=b"g"))
    assert (second.created, second.token, second.fingerprint) == (False, "t1", b"f")


async def test_it_is_claimed_written_and_finished(store: Store, clock: Clock) -> None:
    await store.do(BEGIN)
    (saga,) = await claim(store)
    assert await claim(store) == []
    assert await store.do(UpdateSaga(saga.ref, "running", b"intent"))
    assert await claim(store) == [], "it is still owned"
    assert await store.do(UpdateSaga(saga.ref, "done", b"outcome", keep=60.0))
    found = await store.do(GetSaga(name="order", id="o-1"))
    assert found is not None
    assert (found.state, found.journal, found.owned) == ("done", b"outcome", False)
    assert (found.finished_at, found.due_at) == (clock.now, None)
    assert not await store.do(UpdateSaga(saga.ref, "running", b"late"))


async def test_it_is_given_back_until_it_is_due(store: Store, clock: Clock) -> None:
    await store.do(BEGIN)
    (saga,) = await claim(store)
    await store.do(UpdateSaga(saga.ref, "running", b"1", release=True, due_in=5.0))
    found = await store.do(ClaimSagas(["order"], 10, 30.0))
    assert (found.sagas, found.next_due_at) == ([], clock.now + 5)
    clock.now += 5
    assert len(await claim(store)) == 1


async def test_sagas_of_other_names_are_left_alone(store: Store) -> None:
    await store.do(replace(BEGIN, name="other"))
    assert await claim(store) == []


async def test_a_lease_that_ended_is_taken_over(store: Store, clock: Clock) -> None:
    await store.do(BEGIN)
    (old,) = await claim(store)
    assert await store.do(UpdateSaga(old.ref, "running", b"intent"))
    clock.now += 29
    assert await store.do(RenewSagas([old.ref], 30.0)) == []
    clock.now += 31
    (new,) = await claim(store)
    assert new.journal == b"intent"
    assert await store.do(RenewSagas([old.ref], 30.0)) == [old.ref]
    assert not await store.do(UpdateSaga(old.ref, "running", b"late"))


async def test_a_stuck_saga_waits_for_an_order(store: Store, clock: Clock) -> None:
    await store.do(BEGIN)
    (saga,) = await claim(store)
    await store.do(UpdateSaga(saga.ref, "stuck", b"1", release=True, due_in=None))
    clock.now += 1000
    assert await claim(store) == []
    assert await store.do(TakeSaga("t1", ["running"], 30.0)) is None
    taken = await store.do(TakeSaga("t1", ["stuck"], 30.0))
    assert taken is not None
    assert await store.do(TakeSaga("t1", ["stuck"], 30.0)) is None, "it is owned"
    assert await store.do(UpdateSaga(taken.ref, "undoing", b"2", release=True))
    assert len(await claim(store)) == 1


async def test_lists_and_counts(store: Store, clock: Clock) -> None:
    for number in range(3):
        clock.now += 1
        await store.do(replace(BEGIN, token=f"t{number}", id=f"o-{number}"))
    (saga,) = (await store.do(ClaimSagas(["order"], 1, 30.0))).sagas
    await store.do(UpdateSaga(saga.ref, "done", b"", keep=60.0))
    assert await store.do(CountSagas()) == {("order", "done"): 1, ("order", "running"): 2}
    assert [one.id for one in await store.do(ListSagas())] == ["o-2", "o-1", "o-0"]
    assert [one.id for one in await store.do(ListSagas(state="done"))] == ["o-0"]
    assert [one.id for one in await store.do(ListSagas(before=clock.now, limit=1))] == ["o-1"]
    oldest = ListSagas(limit=2, oldest_first=True)
    assert [one.id for one in await store.do(oldest)] == ["o-0", "o-1"]
    running = ListSagas(state="running", limit=1, oldest_first=True)
    assert [one.id for one in await store.do(running)] == ["o-1"]
    clock.now += 61
    await store.do(Expire())
    assert await store.do(CountSagas()) == {("order", "running"): 2}
    assert await store.do(GetSaga("t0")) is None


async def test_a_new_process_goes_on_at_once(open_store: OpenStore) -> None:
    store = await open_store()
    await store.do(BEGIN)
    (old,) = await claim(store)
    await store.do(UpdateSaga(old.ref, "running", b"intent"))
    await store.close()
    store = await open_store()
    (new,) = await claim(store)
    assert new.journal == b"intent"
    assert not await store.do(UpdateSaga(old.ref, "running", b"late"))
