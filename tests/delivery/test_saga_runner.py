"""Sagas from the store to their services and back, with services that answer from a list."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from delivery.sagas import ORDERS, Bed, Clock, answer

from proxy.delivery.saga_runner import LEASE
from proxy.delivery.stored_request import TryResult
from proxy.store.operations import RenewSagas, TakeSaga
from proxy.store.records import SagaRef
from proxy.store.sqlite.connection import MEMORY, SqliteConfig
from proxy.store.sqlite.engine import SqliteStore
from proxy.store.store import Store

PAID = answer(200, {"tx": {"id": 77, "secret": "s"}, "more": [1]})


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = SqliteStore(SqliteConfig(MEMORY), clock=Clock())
    await store.open(0.0)
    yield store
    await store.close()


async def run(bed: Bed, *states: str) -> dict[str, Any]:
    """Begin a saga and run it until it has one of these states; its journal."""
    token = await bed.begin()
    bed.runner.start()
    record = await bed.until(token, *states)
    await bed.runner.stop()
    journal: dict[str, Any] = json.loads(record.journal)
    return journal


async def test_steps_are_sent_in_order_with_their_keys_and_values(store: Store) -> None:
    bed = Bed(store, _pay=[PAID])
    journal = await run(bed, "done")
    assert bed.services.sent == [
        ("place-order:reserve", "/deduct", "o-1/reserve/do", {"sku": "A"}),
        ("place-order:pay", "/pay", "o-1/pay/do", {"amount": 12.5}),
        ("place-order:ship", "/ship", "o-1/ship/do", {"tx": 77}),
    ]
    assert "secret" not in json.dumps(journal), "only what templates name is kept of an answer"
    (told,) = bed.told
    assert (told["id"], told["state"], told["attempts"]) == ("o-1", "done", 3)


async def test_a_failed_step_is_compensated_in_reverse(store: Store) -> None:
    text = ORDERS.replace("optional: true\n        attempts: 1\n        result: {status: DEFERRED}",
                          "attempts: 1")  # fmt: skip
    bed = Bed(store, text, _pay=[PAID], _ship=[answer(422)])
    await run(bed, "undone")
    assert bed.services.sent[3:] == [
        ("place-order:pay", "/refund", "o-1/pay/undo", {"id": 77}),
        ("place-order:reserve", "/release/o-1", "o-1/reserve/undo", {"key": "o-1/reserve/do"}),
    ]


async def test_the_same_key_on_every_try(store: Store) -> None:
    bed = Bed(store, _deduct=[answer(503), answer(500), answer(200)], _pay=[PAID])
    await run(bed, "done")
    assert bed.services.keys == ["o-1/reserve/do"] * 3 + ["o-1/pay/do", "o-1/ship/do"]
    assert bed.stats.steps["place-order", "reserve", "do", "retried"] == 2


async def test_a_missing_value_fails_the_step_before_it_is_sent(store: Store) -> None:
    bed = Bed(store, _pay=[answer(200, {"other": 1})])
    journal = await run(bed, "done")  # ship is optional
    assert bed.services.keys == ["o-1/reserve/do", "o-1/pay/do"]
    assert "steps.pay./tx/id" in journal["steps"][2]["do"]["reason"]


async def test_an_undo_without_its_value_is_stuck_until_an_order(store: Store) -> None:
    lost = TryResult(504, "attempt-timeout", sent=True)
    bed = Bed(store, _pay=[lost, lost])
    journal = await run(bed, "stuck")
    assert journal["steps"][1]["undo"]["state"] == "stuck"
    assert bed.services.keys == ["o-1/reserve/do"] + ["o-1/pay/do"] * 2


async def test_refusals_of_the_proxy_spend_no_attempt(store: Store) -> None:
    refused = TryResult(503, "circuit-open", postponed=True, sent=False, retry_after=0.001)
    bed = Bed(store, _pay=[refused, refused, refused, PAID])
    journal = await run(bed, "done")
    assert journal["steps"][1]["do"]["attempts"] == 1
    assert bed.stats.steps["place-order", "pay", "do", "postponed"] == 3


async def test_another_owner_goes_on_with_the_same_key(store: Store) -> None:
    bed = Bed(store, _pay=[PAID])
    bed.services.silent = True
    token = await bed.begin()
    bed.runner.start()
    await bed.services.asked.wait()
    await bed.runner.stop()
    store._clock.ahead = LEASE + 1  # the claim of a process that died ends with its lease
    bed.services.silent = False
    bed.runner = bed.new_runner()
    bed.runner.start()
    await bed.until(token, "done")
    await bed.runner.stop()
    assert bed.services.keys[:2] == ["o-1/reserve/do", "o-1/reserve/do"]


async def test_stop_claiming_ends_the_try_and_gives_the_saga_back(store: Store) -> None:
    bed = Bed(store, _pay=[PAID])
    token = await bed.begin()
    bed.runner.start()
    await bed.services.asked.wait()
    bed.runner.stop_claiming()
    await bed.runner.ended()
    found = await bed.record(token)
    assert not found.owned
    assert found.state in ("running", "done")
    await bed.runner.stop()


async def test_a_running_saga_keeps_its_definition(store: Store) -> None:
    bed = Bed(store, _pay=[PAID])
    token = await bed.begin()
    changed = ORDERS.replace("path: /deduct", "path: /other").replace("name: ship", "name: send")
    bed.services.config = Bed(store, changed).config
    bed.runner.start()
    await bed.until(token, "done")
    await bed.runner.stop()
    assert [path for _, path, _, _ in bed.services.sent] == ["/deduct", "/pay", "/ship"]


async def test_an_upstream_that_is_gone_is_waited_for(store: Store) -> None:
    bed = Bed(store, _pay=[PAID])
    token = await bed.begin()
    del bed.services.config.upstreams["inventory"]
    bed.runner.start()
    for _ in range(1000):
        record = await bed.record(token)
        if bed.stats.steps:
            break
        await asyncio.sleep(0.001)
    await bed.runner.stop()
    assert record.state == "running"
    assert bed.services.sent == []
    assert await store.do(TakeSaga(token, ["running"], 1.0))


async def test_a_lost_claim_is_left_alone(store: Store) -> None:
    bed = Bed(store, _deduct=[answer(503)] * 50)
    token = await bed.begin()
    taken = await store.do(TakeSaga(token, ["running"], 30.0))
    assert taken is not None
    bed.runner.start()
    await asyncio.sleep(0.02)
    assert bed.services.sent == []
    await bed.runner.stop()


class LosesClaims(SqliteStore):
    """Each renewal finds that a saga that ended meanwhile has no claim any more."""

    renewals = 0

    def do(self, operation: Any) -> Any:
        if not isinstance(operation, RenewSagas):
            return super().do(operation)
        self.renewals += 1
        done = asyncio.get_running_loop().create_future()
        done.set_result([SagaRef("ended", 1)])
        return done


async def test_a_saga_that_ends_while_claims_are_renewed_ends_no_renewal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.delivery.saga_runner.LEASE", 0.03)
    store = LosesClaims(SqliteConfig(MEMORY), clock=Clock())
    await store.open(0.0)
    bed = Bed(store)
    bed.services.silent = True
    await bed.begin()
    bed.runner.start()
    async with asyncio.timeout(2):
        while store.renewals < 3:
            await asyncio.sleep(0.005)
    assert bed.runner.in_hand == 1
    await bed.runner.stop()
    await store.close()
