"""The real command, stopped for longer than its leases while another replica goes on."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.running_proxy import RunningProxy, eventually
from integration.shop import SLOW, Shop
from integration.test_postgres_store import shop, start  # noqa: F401 - fixtures
from integration.test_sagas import ended, order, place_of
from integration.test_sagas import settings as saga_settings

LEASE = 30.0


@pytest.fixture
def settings(shop: Shop, postgres_url: str) -> dict[str, Any]:  # noqa: F811
    """An outbox and a saga whose tries may take minutes."""
    settings = saga_settings(shop, Path("unused"))
    settings["store"] = {"url": postgres_url}
    slow = {"attempt": "5m", "request": "5m", "idle": "5m"}
    settings["policies"] = {name: {"retry": {"attempts": 1}, "timeouts": slow}
                            for name in ("default", "once")}  # fmt: skip
    settings["routes"].append(
        {"name": "late", "match": {"path": "/late"}, "upstream": "shop",
         "outbox": {"mode": "always"}}
    )  # fmt: skip
    return settings


@pytest.mark.long
def test_a_try_is_ended_if_another_replica_has_it(
    start: Callable[..., RunningProxy],  # noqa: F811
    shop: Shop,  # noqa: F811
    settings: dict[str, Any],
) -> None:
    one = start(settings)
    shop.script = {"/late": [SLOW, SLOW], "/pay": [SLOW, SLOW]}
    accepted = one.call("POST", "/late", {"Host": "shop", "Idempotency-Key": "late-1"}, b"{}")
    assert accepted.status == 202
    place = place_of(order(one))
    for path in ("/late", "/pay"):
        shop.wait_for(path)
    other = start(settings)
    one.process.send_signal(signal.SIGSTOP)
    try:
        for path in ("/late", "/pay"):
            shop.wait_for(path, 2, timeout=LEASE + 15)
        assert shop.cut == 0
    finally:
        one.process.send_signal(signal.SIGCONT)
    eventually(lambda: shop.cut == 2, 3)
    shop.slow.set()
    ended(other, place, "done")
    eventually(lambda: other.state("/outbox")["queues"][0]["pending"] == 0, 10)
    assert shop.cut == 2, "the tries of the other replica have gone on"
    assert {path: len(shop.keys(path)) for path in ("/late", "/pay")} == {"/late": 2, "/pay": 2}
    assert set(shop.effects.values()) == {1}
    assert "claim-lost" in [line.get("reason") for line in one.log_lines()]
