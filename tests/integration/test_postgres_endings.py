"""A replica on PostgreSQL that ends or gets another file: its work goes on, once."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from integration.raw_client import BrokenOff, request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.shop import LOST, SLOW, Shop
from integration.test_postgres_store import shop, start  # noqa: F401 - fixtures
from integration.test_sagas import order, place_of, state
from integration.test_sagas import settings as saga_settings

LEASE = 30.0
AT_ONCE = 5.0
"""Seconds: far less than a lease."""


@pytest.fixture
def settings(shop: Shop, postgres_url: str) -> dict[str, Any]:  # noqa: F811
    settings = saga_settings(shop, Path("unused"))
    settings["store"] = {"url": postgres_url}
    settings["drain"] = {"delay": "0s", "timeout": "500ms"}
    timeouts = {"attempt": "1m", "request": "1m"}
    patient = {"retry": {"attempts": 1}, "timeouts": timeouts}
    settings["policies"] = {"default": patient, "once": patient}
    settings["routes"] += [
        {"name": "late", "match": {"prefix": "/late"}, "upstream": "shop",
         "outbox": {"mode": "always", "order_by": "header:x-lane"}},
        {"name": "keyed", "match": {"path": "/keyed"}, "upstream": "shop",
         "idempotency": {"mode": "required"}},
    ]  # fmt: skip
    return settings


def late(proxy: RunningProxy, key: str, lane: str = "a") -> None:
    fields = {"Host": "shop", "Idempotency-Key": key, "X-Lane": lane}
    assert proxy.call("POST", "/late", fields, b"{}").status == 202


class Load:
    """Threads that POST to /late of one proxy until it ends; `accepted` has the keys with 202."""

    def __init__(self, proxy: RunningProxy, threads: int = 4) -> None:
        self.accepted: list[str] = []
        self._proxy = proxy
        self._threads = [
            threading.Thread(target=self._post, args=(f"l{number}",)) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def _post(self, lane: str) -> None:
        number = 0
        with suppress(OSError, EOFError, BrokenOff):
            while True:
                key = f"{lane}-{number}"
                fields = {"Host": "shop", "Idempotency-Key": key, "X-Lane": lane}
                if self._proxy.call("POST", "/late", fields, b"{}").status == 202:
                    self.accepted.append(key)
                number += 1
                time.sleep(0.005)

    def ended(self) -> None:
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()


@pytest.mark.long
def test_a_drain_under_load_hands_its_claims_back(
    start: Callable[..., RunningProxy],  # noqa: F811
    shop: Shop,  # noqa: F811
    settings: dict[str, Any],
) -> None:
    one = start(settings)
    shop.script = {"/late/slow": [SLOW], "/pay": [SLOW], "/keyed": [SLOW]}
    slow = {"Host": "shop", "Idempotency-Key": "slow-1", "X-Lane": "slow"}
    assert one.call("POST", "/late/slow", slow, b"{}").status == 202
    place = place_of(order(one))
    with one.client() as client:
        keyed = {"Host": "shop", "Idempotency-Key": "k-1"}
        client.send(request_bytes("POST", "/keyed", keyed, b"{}"))
        for path in ("/late/slow", "/pay", "/keyed"):
            shop.wait_for(path)
        other = start(settings)
        load = Load(one)
        eventually(lambda: len(load.accepted) > 50, 10)
        one.signal()
        assert client.read_response().status == 503
    ended = time.monotonic()
    assert one.wait(10) == 3, "the request with a key was cut"
    load.ended()
    shop.wait_for("/late/slow", 2, timeout=AT_ONCE)
    shop.wait_for("/pay", 2, timeout=AT_ONCE)
    repeat = other.call("POST", "/keyed", keyed, b"{}")
    assert (repeat.status, b"idempotency-unknown" in repeat.body) == (409, True)
    eventually(lambda: state(other, place)["state"] == "done", AT_ONCE)
    eventually(lambda: set(load.accepted) <= set(shop.keys("/late")), AT_ONCE)
    assert time.monotonic() - ended < LEASE / 2
    assert other.metric("proxy_outbox_dead", route="late") == 0
    assert set(shop.effects.values()) == {1}
    assert "lost with the pod" not in one.errors + one.output
    one.assert_sound()


@pytest.mark.long
def test_a_saga_whose_owner_was_killed_goes_on_within_the_lease(
    start: Callable[..., RunningProxy],  # noqa: F811
    shop: Shop,  # noqa: F811
    settings: dict[str, Any],
) -> None:
    """At each step of a saga: its request is in flight, or was obeyed without an answer."""
    one = start(settings)
    shop.script = {"/reserve": [SLOW], "/pay": [SLOW], "/ship": [LOST, SLOW]}
    places = []
    for path, requests in (("/reserve", 1), ("/pay", 1), ("/ship", 2)):
        places.append(place_of(order(one, {"id": path[1:], "total": 1})))
        shop.wait_for(path, requests)
    other = start(settings)
    one.kill()
    killed = time.monotonic()
    shop.slow.set()
    eventually(lambda: [state(other, place)["state"] for place in places] == ["done"] * 3, 45)
    assert time.monotonic() - killed < LEASE + 10
    assert set(shop.effects.values()) == {1}
    assert len(shop.effects) == 9


# --- another file -----------------------------------------------------------------------------


def test_another_store_needs_a_restart_and_changes_nothing(
    start: Callable[..., RunningProxy],  # noqa: F811
    shop: Shop,  # noqa: F811
    settings: dict[str, Any],
    postgres_url: str,
) -> None:
    proxy = start(settings)
    late(proxy, "before")
    proxy.config["store"]["url"] = postgres_url.rpartition("/")[0] + "/other"
    proxy.config["store"]["timeout"] = "1s"
    proxy.config["service"] = "renamed"
    proxy.write()
    status, told = proxy.ask("POST", "/reload")
    assert status == 409
    assert "store.timeout: 2s cannot become 1s without a restart" in told
    assert proxy.state("/status")["service"] != "renamed", "all of it, or nothing"
    late(proxy, "after")
    eventually(lambda: shop.keys("/late") == ["before", "after"], AT_ONCE)


@pytest.mark.long
def test_other_lanes_hold_for_what_is_accepted_from_then_on(
    start: Callable[..., RunningProxy],  # noqa: F811
    shop: Shop,  # noqa: F811
    settings: dict[str, Any],
) -> None:
    """Both replicas get a file with another `order_by`, one after the other, while entries wait."""
    route = settings["routes"][-2]
    route["outbox"] |= {"order_by": "none", "backoff": {"initial": "10ms", "jitter": "none"}}
    one, other = start(settings), start(settings)
    shop.script = {"/late": [SLOW] * 3}
    for number in range(3):
        late(one, f"free-{number}", lane="a")
    shop.wait_for("/late", 3)
    route["outbox"]["order_by"] = "header:x-lane"
    for proxy in (one, other):
        proxy.reconfigure(settings)
        for number in range(5):
            late(proxy, f"{'one' if proxy is one else 'other'}-{number}", lane="a")
    in_order = [f"{name}-{number}" for name in ("one", "other") for number in range(5)]
    # Those of no lane are still tried, and hold nothing up.
    eventually(lambda: shop.keys("/late")[3:] == in_order, 2 * AT_ONCE)
    shop.slow.set()
    eventually(lambda: one.state("/outbox")["queues"][0]["pending"] == 0, AT_ONCE)
    assert set(shop.effects.values()) == {1}
    assert len(shop.keys("/late")) == 13
