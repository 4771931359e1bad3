"""Entries: lanes in order, claims with fences, counts without a scan."""

from dataclasses import replace

import pytest
from store.conftest import Clock, OpenStore

from proxy.store.operations import (
    BlockedLanes,
    Cancel,
    ClaimEntries,
    CountEntries,
    Expire,
    GetEntry,
    ListEntries,
    Put,
    Redrive,
    RenewEntries,
    Settle,
)
from proxy.store.records import Entry, EntryState
from proxy.store.store import Store

PUT = Put("a", "orders", b"meta", b"body", due_in=0.0, give_up_in=3600.0)


async def put(store: Store, *ids: str, lane: str = "") -> None:
    for one in ids:
        assert await store.do(replace(PUT, id=one, lane=lane)) is None


async def claim(store: Store, limit: int = 10, queue: str = "orders") -> list[Entry]:
    return (await store.do(ClaimEntries({queue: limit}, 30.0))).entries


async def settle(
    store: Store, entry: Entry, state: EntryState, *, due_in: float = 0.0, keep: float = 60.0
) -> bool:
    attempts = entry.attempts + 1
    return await store.do(Settle(entry.ref, state, attempts, b"history", due_in, keep))


async def test_what_is_put_is_claimed_with_its_body(store: Store, clock: Clock) -> None:
    await put(store, "a")
    (entry,) = await claim(store)
    assert (entry.id, entry.meta, entry.body, entry.body_bytes) == ("a", b"meta", b"body", 4)
    assert entry.state is EntryState.DELIVERING
    assert (entry.accepted_at, entry.give_up_at) == (clock.now, clock.now + 3600)
    assert await claim(store) == []


async def test_an_id_is_accepted_once(store: Store) -> None:
    await put(store, "a")
    assert await store.do(PUT) is EntryState.PENDING
    (entry,) = await claim(store)
    await settle(store, entry, EntryState.DELIVERED)
    assert await store.do(PUT) is EntryState.DELIVERED


async def test_a_queue_takes_so_many(store: Store) -> None:
    assert await store.do(replace(PUT, max_pending=1)) is None
    assert await store.do(replace(PUT, id="b", max_pending=1)) is EntryState.PENDING
    assert await store.do(replace(PUT, id="c", queue="other", max_pending=1)) is None


async def test_a_queue_takes_so_many_of_those_that_come_at_once(store: Store) -> None:
    """They share a transaction, with one that makes room."""
    await put(store, "a", "b")
    (first, _) = await claim(store)
    asks = [replace(PUT, id=f"c{number}", max_pending=3) for number in range(4)]
    early = [store.commit([ask]) for ask in asks[:2]]
    gone = store.do(Settle(first.ref, EntryState.DELIVERED, 1, b"", keep=60.0))
    late = [store.commit([ask]) for ask in asks[2:]]
    assert [(await one).unmet for one in early] == [-1, 0]
    assert await gone
    assert [(await one).unmet for one in late] == [-1, 0]
    counts = await store.do(CountEntries())
    assert counts["orders"].of(EntryState.PENDING, EntryState.DELIVERING) == 3


async def test_an_id_that_is_there_is_told_also_where_the_queue_is_full(store: Store) -> None:
    await put(store, "a")
    (entry,) = await claim(store)
    again = replace(PUT, id="a", max_pending=1)
    assert await store.do(again) is EntryState.DELIVERING
    assert (await store.commit([again])).results == [EntryState.DELIVERING]
    assert await settle(store, entry, EntryState.DELIVERED, keep=60.0)
    assert await store.do(again) is EntryState.DELIVERED


async def test_entries_are_due_when_they_say(store: Store, clock: Clock) -> None:
    await store.do(replace(PUT, due_in=5.0))
    found = await store.do(ClaimEntries({"orders": 10}, 30.0))
    assert (found.entries, found.next_due_at) == ([], clock.now + 5)
    clock.now += 5
    assert len(await claim(store)) == 1


async def test_a_lane_is_delivered_in_order_and_one_at_a_time(store: Store) -> None:
    await put(store, "a", "b", lane="x")
    await put(store, "c", lane="y")
    first = await claim(store)
    assert [entry.id for entry in first] == ["a", "c"]
    assert await claim(store) == []
    assert await settle(store, first[0], EntryState.DELIVERED)
    assert [entry.id for entry in await claim(store)] == ["b"]


async def test_a_head_that_waits_blocks_its_lane_only(store: Store, clock: Clock) -> None:
    await put(store, "a", "b", lane="x")
    await put(store, "c")
    head, other = await claim(store)
    await settle(store, head, EntryState.PENDING, due_in=10.0)
    await settle(store, other, EntryState.DELIVERED)
    assert await claim(store) == []
    (blocked,) = await store.do(BlockedLanes())
    assert (blocked.lane, blocked.head, blocked.waiting) == ("x", "a", 1)
    clock.now += 10
    (again,) = await claim(store)
    assert (again.id, again.attempts, again.history) == ("a", 1, b"history")


async def test_entries_without_a_lane_do_not_wait_for_each_other(store: Store) -> None:
    await put(store, "a", "b", "c")
    assert len(await claim(store, limit=2)) == 2
    assert [entry.id for entry in await claim(store)] == ["c"]


async def test_a_parked_entry_blocks_its_lane_until_it_is_redriven_or_cancelled(
    store: Store,
) -> None:
    await put(store, "a", "b", lane="x")
    (head,) = await claim(store)
    await settle(store, head, EntryState.PARKED)
    assert await claim(store) == []
    assert await store.do(Redrive("a", 3600.0)) is EntryState.PARKED
    (head,) = await claim(store)
    assert (head.id, head.attempts) == ("a", 0)
    await settle(store, head, EntryState.PARKED)
    assert await store.do(Cancel("a", 60.0)) is EntryState.PARKED
    assert [entry.id for entry in await claim(store)] == ["b"]


async def test_a_dead_entry_does_not_block_and_goes_back_to_its_place(store: Store) -> None:
    await put(store, "a", "b", "c", lane="x")
    (head,) = await claim(store)
    await settle(store, head, EntryState.DEAD)
    (second,) = await claim(store)
    assert second.id == "b"
    assert await store.do(Redrive("a", 3600.0)) is EntryState.DEAD
    assert await claim(store) == [], "b is still being delivered"
    await settle(store, second, EntryState.PENDING)
    assert [entry.id for entry in await claim(store)] == ["a"]


async def test_redrive_goes_before_what_waits(store: Store) -> None:
    await put(store, "a", "b", lane="x")
    (head,) = await claim(store)
    await settle(store, head, EntryState.DEAD)
    await store.do(Redrive("a", 3600.0))
    assert [entry.id for entry in await claim(store)] == ["a"]
    assert await claim(store) == []


@pytest.mark.parametrize("state", [EntryState.DELIVERED, EntryState.PENDING, None])
async def test_redrive_is_for_dead_ones(store: Store, state: EntryState | None) -> None:
    if state is not None:
        await put(store, "a")
        (entry,) = await claim(store)
        await settle(store, entry, state, due_in=60.0)
    assert await store.do(Redrive("a", 3600.0)) is state
    assert await claim(store) == []


async def test_only_what_waits_is_cancelled(store: Store) -> None:
    assert await store.do(Cancel("a", 60.0)) is None
    await put(store, "a", "b", lane="x")
    (entry,) = await claim(store)
    assert await store.do(Cancel("a", 60.0)) is EntryState.DELIVERING
    await settle(store, entry, EntryState.PENDING, due_in=60.0)
    assert await store.do(Cancel("a", 60.0)) is EntryState.PENDING
    found = await store.do(GetEntry("a"))
    assert found is not None
    assert found.state is EntryState.CANCELLED
    assert [entry.id for entry in await claim(store)] == ["b"]


async def test_a_claim_whose_lease_ended_is_taken_over(store: Store, clock: Clock) -> None:
    await put(store, "a")
    (old,) = await claim(store)
    clock.now += 29
    assert await store.do(RenewEntries([old.ref], 30.0)) == []
    clock.now += 29
    assert await claim(store) == []
    clock.now += 2
    (new,) = await claim(store)
    assert new.fence > old.fence
    assert await store.do(RenewEntries([old.ref], 30.0)) == [old.ref]
    assert not await settle(store, old, EntryState.DEAD)
    assert await settle(store, new, EntryState.DELIVERED)


async def test_finished_entries_are_listed_and_counted_until_forgotten(
    store: Store, clock: Clock
) -> None:
    await put(store, "a", "b", "c")
    clock.now += 1
    for entry in await claim(store, limit=2):
        await settle(store, entry, EntryState.DELIVERED, keep=60.0)
    await put(store, "d")
    counts = (await store.do(CountEntries()))["orders"]
    assert counts.counts == {EntryState.PENDING: 2, EntryState.DELIVERED: 2}
    assert counts.oldest_at == clock.now - 1
    listed = await store.do(ListEntries(queue="orders"))
    assert [entry.id for entry in listed] == ["d", "c", "b", "a"]
    assert listed[0].body is None
    assert [e.id for e in await store.do(ListEntries(state=EntryState.DELIVERED))] == ["b", "a"]
    assert [e.id for e in await store.do(ListEntries(since=clock.now))] == ["d"]
    assert [e.id for e in await store.do(ListEntries(limit=1, before_seq=listed[0].seq))] == ["c"]
    clock.now += 61
    await store.do(Expire())
    counts = (await store.do(CountEntries()))["orders"]
    assert counts.counts == {EntryState.PENDING: 2}
    assert await store.do(GetEntry("a")) is None


async def test_a_body_is_given_where_asked_for(store: Store) -> None:
    await put(store, "a")
    found = await store.do(GetEntry("a", with_body=True))
    assert found is not None
    assert found.body == b"body"


async def test_a_new_process_delivers_what_the_former_one_had_claimed(
    open_store: OpenStore,
) -> None:
    store = await open_store()
    await put(store, "a", "b", lane="x")
    (old,) = await claim(store)
    await store.close()
    store = await open_store()
    (new,) = await claim(store)
    assert new.id == "a"
    assert not await settle(store, old, EntryState.DEAD)


async def test_watchers_hear_of_new_entries(store: Store) -> None:
    heard: list[int] = []
    store.watch(lambda: heard.append(1))
    await put(store, "a")
    assert heard
