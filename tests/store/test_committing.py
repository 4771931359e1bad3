"""Several operations as one, and what one failure does to its neighbours."""

import asyncio
from dataclasses import replace

import pytest
from store.test_entries import PUT
from store.test_keys import ASK
from store.test_sagas import BEGIN

from proxy.errors import InternalError, StoreFailed
from proxy.store.operations import ClaimKey, FinishKey, GetEntry, GetSaga, Put
from proxy.store.records import EntryState, KeyRecord, KeyState
from proxy.store.store import Store


async def test_claim_entry_and_answer_are_one(store: Store) -> None:
    done = await store.commit([ASK, PUT, FinishKey(None, 202, b"accepted")])
    assert done.unmet == -1
    found = await store.do(ASK)
    assert (found.state, found.response) == (KeyState.DONE, b"accepted")
    assert await store.do(GetEntry("a")) is not None


async def test_nothing_is_done_if_one_condition_is_not_met(store: Store) -> None:
    await store.do(PUT)
    done = await store.commit([BEGIN, ASK, PUT, FinishKey(None, 202, b"accepted")])
    assert done.unmet == 2
    assert done.results[2] is EntryState.PENDING
    assert isinstance(done.results[1], KeyRecord)
    assert await store.do(GetSaga("t1")) is None
    assert (await store.do(ASK)).claimed, "the first claim was undone"


async def test_what_is_unmet_leaves_the_neighbours_alone(store: Store) -> None:
    """All in one transaction: the part of the records is made in a group that is undone."""
    await store.do(PUT)
    futures = [store.commit([replace(ASK, key=bytes([n]) * 32), PUT]) for n in range(5)]
    futures += [store.commit([replace(ASK, key=bytes([n + 5]) * 32), BEGIN]) for n in range(2)]
    lone = store.do(replace(ASK, key=b"z" * 32))
    results = await asyncio.gather(*futures)
    assert [one.unmet for one in results] == [1] * 5 + [-1, 1]
    assert (await lone).claimed
    states = [(await store.do(replace(ASK, key=bytes([n]) * 32))).claimed for n in range(7)]
    assert states == [True] * 5 + [False, True]


async def test_many_at_once_share_commits(store: Store) -> None:
    before = store.stats.commits
    asks = [store.do(replace(ASK, key=n.to_bytes(32, "big"))) for n in range(200)]
    assert all(record.claimed for record in await asyncio.gather(*asks))
    assert store.stats.commits - before < 50


async def test_a_fault_of_one_is_its_own(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    bad = Put("bad", "orders", b"", None)
    object.__setattr__(bad, "meta", [])
    futures = [store.do(replace(PUT, id=str(n))) for n in range(3)]
    wrong = store.do(ClaimKey(None, b"", b"", b"", 1.0, 1.0))
    futures += [store.do(replace(PUT, id=str(n))) for n in range(3, 6)]
    with pytest.raises(InternalError):
        await wrong
    assert await asyncio.gather(*futures) == [None] * 6
    assert "internal error in the store" in caplog.text


async def test_a_closed_store_promises_nothing(store: Store) -> None:
    await store.close()
    with pytest.raises(StoreFailed):
        await store.do(PUT)
