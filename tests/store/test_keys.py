"""Idempotency records: claimed once, finished by the claim's owner, kept as long as asked."""

from dataclasses import replace

import pytest
from store.conftest import Clock, OpenStore

from proxy.store.operations import (
    ClaimKey,
    DoubtKey,
    FindKeys,
    FinishKey,
    FreeKeys,
    ReleaseKey,
    RenewKeys,
)
from proxy.store.records import KeyState
from proxy.store.store import Store

ASK = ClaimKey("pay", b"s" * 32, b"k" * 32, b"f" * 32, lease=30.0, keep=3600.0)


async def test_a_new_key_is_claimed_and_the_next_one_sees_it(store: Store) -> None:
    first = await store.do(ASK)
    assert first.claimed
    second = await store.do(replace(ASK, fingerprint=b"g" * 32))
    assert not second.claimed
    assert second.state is KeyState.IN_FLIGHT
    assert second.fingerprint == b"f" * 32


@pytest.mark.parametrize(
    "other",
    [replace(ASK, route="book"), replace(ASK, scope=b"t" * 32), replace(ASK, key=b"l" * 32)],
    ids=["route", "scope", "key"],
)
async def test_route_scope_and_key_tell_records_apart(store: Store, other: ClaimKey) -> None:
    assert (await store.do(ASK)).claimed
    assert (await store.do(other)).claimed


async def test_a_finished_record_gives_the_response_back(store: Store) -> None:
    claim = await store.do(ASK)
    assert await store.do(FinishKey(claim.ref, 201, b"response"))
    found = await store.do(ASK)
    assert (found.state, found.status, found.response) == (KeyState.DONE, 201, b"response")
    assert not await store.do(FinishKey(claim.ref, 500, b"again"))


async def test_a_response_that_was_too_large_is_remembered_as_such(store: Store) -> None:
    claim = await store.do(ASK)
    assert await store.do(FinishKey(claim.ref, 200, None))
    found = await store.do(ASK)
    assert (found.state, found.status, found.response) == (KeyState.UNREPLAYABLE, 200, None)


async def test_a_released_key_is_new_again(store: Store) -> None:
    claim = await store.do(ASK)
    assert await store.do(ReleaseKey(claim.ref))
    again = await store.do(ASK)
    assert again.claimed
    assert not await store.do(FinishKey(claim.ref, 200, b"late")), "the old claim"
    assert await store.do(FinishKey(again.ref, 200, b""))


async def test_unknown_stays_until_it_may_be_executed_again(store: Store) -> None:
    claim = await store.do(ASK)
    assert await store.do(DoubtKey(claim.ref))
    assert (await store.do(ASK)).state is KeyState.UNKNOWN
    other = await store.do(replace(ASK, execute=True, fingerprint=b"g" * 32))
    assert not other.claimed
    again = await store.do(replace(ASK, execute=True))
    assert again.claimed
    assert again.ref.fence > claim.ref.fence
    assert not await store.do(FinishKey(claim.ref, 200, b"late"))
    assert await store.do(FinishKey(again.ref, 200, b""))


async def test_unknown_keeps_the_fingerprint_that_is_known_by_then(store: Store) -> None:
    whole = ASK.fingerprint + b"w" * 32
    claim = await store.do(ASK)
    assert await store.do(DoubtKey(claim.ref, whole))
    assert (await store.do(ASK)).fingerprint == whole
    other = await store.do(replace(ASK, execute=True, fingerprint=b"f" * 31 + b"g"))
    assert not other.claimed
    assert (await store.do(replace(ASK, execute=True))).claimed, "the claim begins it"


async def test_a_lease_that_ran_out_is_unknown(store: Store, clock: Clock) -> None:
    claim = await store.do(ASK)
    clock.now += 29
    assert (await store.do(ASK)).state is KeyState.IN_FLIGHT
    assert await store.do(RenewKeys([claim.ref], 30.0)) == []
    clock.now += 29
    assert (await store.do(ASK)).state is KeyState.IN_FLIGHT
    clock.now += 2
    assert (await store.do(FindKeys("pay", ASK.key)))[0].state is KeyState.UNKNOWN
    assert (await store.do(ASK)).state is KeyState.UNKNOWN
    assert await store.do(RenewKeys([claim.ref], 30.0)) == [claim.ref]
    assert not await store.do(FinishKey(claim.ref, 200, b"late"))


async def test_records_are_kept_as_long_as_asked(store: Store, clock: Clock) -> None:
    claim = await store.do(ASK)
    await store.do(FinishKey(claim.ref, 200, b"1"))
    clock.now += 3599
    assert not (await store.do(ASK)).claimed
    clock.now += 2
    assert (await store.do(ASK)).claimed


async def test_a_claim_outlives_its_keep(store: Store, clock: Clock) -> None:
    """A long request whose record would have expired is still the only one."""
    claim = await store.do(replace(ASK, keep=10.0))
    clock.now += 25
    assert await store.do(RenewKeys([claim.ref], 30.0)) == []
    clock.now += 25
    assert (await store.do(ASK)).state is KeyState.IN_FLIGHT


async def test_find_has_every_scope_and_free_spares_what_is_claimed(store: Store) -> None:
    done = await store.do(ASK)
    await store.do(FinishKey(done.ref, 200, b"1"))
    await store.do(replace(ASK, scope=b"t" * 32))
    assert {one.state for one in await store.do(FindKeys("pay", ASK.key))} == {
        KeyState.DONE,
        KeyState.IN_FLIGHT,
    }
    assert await store.do(FreeKeys("pay", ASK.key)) == 1
    assert [one.state for one in await store.do(FindKeys("pay", ASK.key))] == [KeyState.IN_FLIGHT]
    assert await store.do(FindKeys("book", ASK.key)) == []


async def test_a_new_process_makes_open_claims_unknown(open_store: OpenStore) -> None:
    store = await open_store()
    claim = await store.do(ASK)
    done = await store.do(replace(ASK, key=b"l" * 32))
    await store.do(FinishKey(done.ref, 200, b"1"))
    await store.close()
    store = await open_store()
    assert (await store.do(ASK)).state is KeyState.UNKNOWN
    assert (await store.do(replace(ASK, key=b"l" * 32))).state is KeyState.DONE
    assert not await store.do(FinishKey(claim.ref, 200, b"late"))


async def test_a_key_of_a_deleted_record_is_not_finished_by_its_former_owner(
    store: Store, clock: Clock
) -> None:
    """The row of the deleted record is used again by the next one."""
    claim = await store.do(ASK)
    clock.now += 31
    assert await store.do(FreeKeys("pay", ASK.key)) == 1
    again = await store.do(ASK)
    assert again.claimed
    assert not await store.do(FinishKey(claim.ref, 200, b"late"))
    assert await store.do(FinishKey(again.ref, 201, b"1"))
