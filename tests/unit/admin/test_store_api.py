"""/store and /idempotency, over a store in memory."""

from collections.abc import AsyncIterator

import pytest
from unit.admin.asking import Admin, serving

from proxy.policies.idempotency_keys import key_digest
from proxy.store.operations import ClaimKey, FinishKey
from proxy.store.sqlite.connection import MEMORY, SqliteConfig
from proxy.store.sqlite.engine import SqliteStore


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    store = SqliteStore(SqliteConfig(MEMORY))
    await store.open(0.0)
    async with serving() as admin:
        admin.controls.store = store
        yield admin
    await store.close()


async def remember(admin: Admin, key: bytes = b"k/1") -> None:
    store: SqliteStore = admin.controls.store
    claim = await store.do(ClaimKey("pay", b"", key_digest(key), b"f" * 48, 30.0, 60.0))
    await store.do(FinishKey(claim.ref, 201, b"secret response"))


async def test_without_a_store() -> None:
    async with serving() as admin:
        assert (await admin.ask("GET", "/store")).json == {"store": None}
        for method, path in (("GET", "/idempotency/pay/k"), ("POST", "/idempotency/pay/k/release")):
            answer = await admin.ask(method, path)
            assert answer.status == 404
            assert "has no store" in answer.body


async def test_the_store(admin: Admin) -> None:
    await remember(admin)
    told = (await admin.ask("GET", "/store")).json["store"]
    assert (told["engine"], told["state"], told["failure"]) == ("memory", "open", None)
    assert told["commits"] == 2
    assert told["bytes"] > 0
    assert (await admin.ask("GET", "/status")).json["store"] == told


async def test_the_records_of_a_key(admin: Admin) -> None:
    await remember(admin)
    answer = await admin.ask("GET", "/idempotency/pay/k/1")
    (record,) = answer.json["records"]
    assert (record["state"], record["status"], record["scope"]) == ("done", 201, None)
    assert record["response_bytes"] == 15
    assert "secret" not in answer.body
    assert (await admin.ask("GET", "/idempotency/pay/k%2F1")).json == answer.json
    assert (await admin.ask("GET", "/idempotency/pay/other")).status == 404


async def test_a_released_key_is_forgotten(admin: Admin) -> None:
    await remember(admin)
    answer = await admin.ask("POST", "/idempotency/pay/k/1/release")
    assert answer.json == {"route": "pay", "released": 1}
    assert (await admin.ask("GET", "/idempotency/pay/k/1")).status == 404
    assert (await admin.ask("POST", "/idempotency/pay/k/1/release")).json["released"] == 0


async def test_another_page_releases_nothing(admin: Admin) -> None:
    await remember(admin)
    answer = await admin.ask("POST", "/idempotency/pay/k/1/release", {"Origin": "http://evil.test"})
    assert answer.status == 403


@pytest.mark.parametrize(
    ("required", "status", "word"), [(False, 200, "ready"), (True, 503, "store failed")]
)
async def test_readiness_after_a_failure(
    admin: Admin, required: bool, status: int, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.admin.api.all_inbound_needs_store", lambda config: required)
    assert (await admin.ask("GET", "/health/ready")).json == {"status": "ready"}
    admin.controls.store._committer.ended = "disk I/O error"
    answer = await admin.ask("GET", "/health/ready")
    assert (answer.status, answer.json) == (status, {"status": word, "store": "failed"})
    told = (await admin.ask("GET", "/store")).json["store"]
    assert (told["state"], told["failure"]) == ("failed", "disk I/O error")
