"""The asynchronous order service (config/examples/order-service-async.yaml) over the real command.

The names are those of the tests of a reference order service, whose retries, breakers, time limits,
idempotency, outbox and saga are code of its own. Here they are the file's, at a faster tempo.
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from documents.blocks import ROOT
from integration.raw_client import Response
from integration.running_proxy import RunningProxy, eventually
from integration.shop import LOST, SLOW, Shop, open_shop
from service_table import ServiceTable

EXAMPLE = ROOT / "config" / "examples" / "order-service-async.yaml"
TABLE_EXAMPLE = ROOT / "config" / "examples" / "order-service-table.yaml"
RESERVE, PAY, SHIP = "/api/inventory/deduct", "/api/payments/process", "/api/shipping/create"
RELEASE, REFUND, TOLD = "/api/inventory/release", "/api/payments/refund", "/order-results"
BREAKERS = {name: f"place-order:{name}" for name in ("reserve", "pay", "ship")}
OPEN_FOR = 0.8


def settings(shop: Shop, store: Path) -> dict[str, Any]:
    """The example with shorter times, in front of `shop`."""
    file: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    file["store"]["url"] = f"sqlite:{store}"
    names = ("inventory", "payment", "shipping", "app")
    file["upstreams"] = {name: {"endpoints": [shop.url]} for name in names}
    short = {"initial": "20ms", "max": "50ms", "multiplier": 2, "jitter": "none"}
    for name in names[:3]:
        policy = file["policies"][name]
        policy["timeouts"] = {"attempt": "900ms", "request": "9s"}
        policy["retry"]["backoff"] = short
        del policy["circuit_breaker"]
    breaker = file["policies"]["default"]["circuit_breaker"]
    breaker |= {"mode": "enforce", "open_for": {"initial": f"{int(OPEN_FOR * 1000)}ms"}}
    del breaker["slow_call"]
    for step in file["sagas"]["place-order"]["steps"]:
        step["backoff"] = short
        step["attempts"] = 3
    file["sagas"]["place-order"]["undo"] = {"backoff": short}
    return {key: file[key] for key in ("store", "upstreams", "policies", "sagas", "routes")}


class Orders:
    """Places orders at one proxy, in front of one shop."""

    def __init__(self, shop: Shop, proxy: RunningProxy) -> None:
        self.shop = shop
        self.proxy = proxy
        self.number = 0

    def place(self, name: str = "", **more: Any) -> tuple[str, str]:
        """A new order's id, and its place."""
        self.number += 1
        order = name or f"o-{self.number}"
        response = self.post(order, **more)
        assert response.status == 202, response
        assert json.loads(response.body) == {"orderId": order, "status": "PENDING"}
        return order, response.header("location") or ""

    def post(self, order: str, total: float = 199.8) -> Response:
        document = {"orderId": order, "sku": "SKU001", "quantity": 2, "total": total}
        fields = {"Content-Type": "application/json", "X-Idempotency-Key": order}
        body = json.dumps(document).encode()
        return self.proxy.call("POST", "/api/orders", fields, body, listener="inbound")

    def state(self, place: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.proxy.call("GET", place, listener="inbound").body)
        return found

    def until(self, place: str, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            found = self.state(place)
            if holds(found):
                return found
            time.sleep(0.01)
        raise AssertionError(found)

    def ends(self, place: str, state: str = "done") -> dict[str, Any]:
        return self.until(place, lambda found: found["state"] == state)

    def steps(self, place: str) -> dict[str, Any]:
        return {one["name"]: one for one in self.state(place)["steps"]}

    def breaker(self, step: str) -> dict[str, Any]:
        return self.proxy.breaker(BREAKERS[step])

    def of(self, order: str, path: str) -> list[str]:
        """The keys of this order's requests for `path`."""
        return [key for key in self.shop.keys(path) if key.startswith(f"{order}/")]

    def heal(self) -> None:
        """Breakers closed, services healthy."""
        self.shop.script.clear()
        for name in BREAKERS.values():
            self.proxy.ask("POST", f"/circuit-breakers/{name}/reset")

    def settle(self) -> None:
        """Until every order has ended."""
        self.shop.slow.set()
        self.heal()
        end = time.monotonic() + 10
        while time.monotonic() < end:
            counts = json.loads(self.proxy.ask("GET", "/sagas?limit=1")[1])["counts"]
            if not any(one["state"] in ("running", "undoing") for one in counts):
                return
            time.sleep(0.01)
        raise AssertionError(counts)

    def open_breaker_of_payment(self) -> str:
        """Its payment fails until the breaker is open; the place of an order that waits for it."""
        self.shop.script[PAY] = [503] * 5
        _, place = self.place()
        self.until(place, lambda _: self.breaker("pay")["state"] == "open")
        return place


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orders]:
    with open_shop() as shop:
        folder = tmp_path_factory.mktemp("orders")
        proxy = RunningProxy(folder, settings(shop, folder / "store.db"))
        orders = Orders(shop, proxy)
        orders.ends(orders.place("first")[1])
        yield orders
        shop.slow.set()
        proxy.stop()


@pytest.fixture
def orders(running: Orders) -> Iterator[Orders]:
    running.heal()
    running.shop.slow.clear()
    yield running
    running.settle()


# --- retry ------------------------------------------------------------------------------------


def test_should_retry_and_succeed_on_transient_failure(orders: Orders) -> None:
    orders.shop.script[RESERVE] = [503, 503]
    order, place = orders.place()
    orders.ends(place)
    assert orders.of(order, RESERVE) == [f"{order}/reserve/do"] * 3
    assert orders.steps(place)["reserve"]["attempts"] == 1, "the policy's retries are one try"


def test_should_not_retry_on_4xx_business_error(orders: Orders) -> None:
    orders.shop.script[PAY] = [402]
    order, place = orders.place()
    orders.ends(place, "undone")
    assert len(orders.of(order, PAY)) == 1
    assert orders.of(order, RELEASE) == [f"{order}/reserve/undo"]


def test_should_not_retry_on_409_insufficient_stock(orders: Orders) -> None:
    orders.shop.script[RESERVE] = [409]
    order, place = orders.place()
    orders.ends(place, "undone")
    assert len(orders.of(order, RESERVE)) == 1
    assert orders.of(order, PAY) == orders.of(order, RELEASE) == []


def test_should_return_error_when_retry_exhausted(orders: Orders) -> None:
    orders.shop.script[RESERVE] = [429] * 9
    order, place = orders.place()
    orders.ends(place, "undone")
    reserve = orders.steps(place)["reserve"]
    assert (reserve["state"], reserve["attempts"], reserve["last"]["status"]) == ("failed", 3, 429)
    assert len(orders.of(order, RESERVE)) == 3


def test_should_use_exponential_backoff(orders: Orders) -> None:
    orders.shop.script[RESERVE] = [429, 429]
    order, place = orders.place()
    orders.ends(place)
    story = json.loads(orders.proxy.ask("GET", f"/sagas/{order}")[1])
    tries = story["steps"][0]["tries"]
    began = [time_of(one["began"]) for one in tries]
    waits = [later - before for before, later in pairwise(began)]
    assert waits[0] >= 0.019
    assert waits[1] >= 0.039


def time_of(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# --- circuit breaker --------------------------------------------------------------------------


def test_should_open_when_failure_rate_exceeds_threshold(orders: Orders) -> None:
    orders.open_breaker_of_payment()
    assert orders.breaker("pay")["failures"] == 5


def test_should_fast_fail_when_open(orders: Orders) -> None:
    orders.open_breaker_of_payment()
    orders.proxy.ask("POST", f"/circuit-breakers/{BREAKERS['pay']}/force-open")
    began = time.monotonic()
    order, place = orders.place()
    assert time.monotonic() - began < 1.0
    orders.until(place, lambda found: found["steps"][1]["state"] == "waiting")
    assert orders.of(order, PAY) == []


def test_should_return_proper_error_message(orders: Orders) -> None:
    place = orders.open_breaker_of_payment()
    orders.proxy.ask("POST", f"/circuit-breakers/{BREAKERS['pay']}/force-open")

    def refused(found: dict[str, Any]) -> bool:
        last = found["steps"][1]["last"]
        return last is not None and last["reason"] == "circuit-open"

    found = orders.until(place, refused)
    assert found["state"] == "running"


def test_should_transition_to_half_open(orders: Orders) -> None:
    place = orders.open_breaker_of_payment()
    orders.ends(place)
    assert orders.breaker("pay")["state"] == "half_open", "one of three probes has succeeded"


def test_should_close_when_probe_succeeds(orders: Orders) -> None:
    places = [orders.open_breaker_of_payment(), *(orders.place()[1] for _ in range(2))]
    for place in places:
        orders.ends(place)
    assert orders.breaker("pay")["state"] == "closed"


def test_should_succeed_when_healthy(orders: Orders) -> None:
    order, place = orders.place()
    orders.ends(place)
    for path in (RESERVE, PAY, SHIP):
        assert len(orders.of(order, path)) == 1


# --- time limiter -----------------------------------------------------------------------------


def waits_for_its_parcel(orders: Orders) -> tuple[str, str]:
    """An order whose parcel cannot be booked in time."""
    orders.shop.script[SHIP] = [SLOW] * 2
    order, place = orders.place()
    orders.shop.wait_for(SHIP, len(orders.shop.keys(SHIP)) + 1)
    return order, place


def test_should_timeout_and_fallback_on_slow_response(orders: Orders) -> None:
    order, place = waits_for_its_parcel(orders)
    orders.ends(place)
    ship = orders.steps(place)["ship"]
    assert ship["attempts"] == 2, "the try after the one that took too long"
    assert len(orders.of(order, SHIP)) == 3


def test_should_return_deferred_message(orders: Orders) -> None:
    orders.shop.script[SHIP] = [503] * 1000
    order, place = orders.place()
    found = orders.until(place, lambda found: found["steps"][2]["state"] == "waiting")
    assert (found["state"], found["finished_at"]) == ("running", None)
    orders.shop.script.clear()
    orders.ends(place)
    assert orders.shop.effects[f"{order}/ship/do"] == 1


def test_should_record_timeout_as_failure(orders: Orders) -> None:
    _, place = waits_for_its_parcel(orders)
    orders.ends(place)
    assert orders.breaker("ship")["failures"] == 2


def test_should_succeed_when_quick_response(orders: Orders) -> None:
    _, place = orders.place()
    orders.ends(place)
    assert orders.breaker("ship")["failures"] == 0


def test_should_cancel_running_future(orders: Orders) -> None:
    before = orders.shop.cut
    _, place = waits_for_its_parcel(orders)
    orders.ends(place)
    assert orders.shop.cut == before + 2, "the proxy has closed the connections of both attempts"


# --- combined ---------------------------------------------------------------------------------


def test_should_operate_independently(orders: Orders) -> None:
    orders.open_breaker_of_payment()
    assert orders.breaker("reserve")["state"] == orders.breaker("ship")["state"] == "closed"


def test_should_skip_retry_when_cb_open(orders: Orders) -> None:
    orders.proxy.ask("POST", f"/circuit-breakers/{BREAKERS['pay']}/force-open")
    order, place = orders.place()
    orders.until(place, lambda found: found["steps"][1]["last"])
    assert orders.steps(place)["pay"]["attempts"] == 0, "a refusal spends no attempt"
    assert orders.of(order, PAY) == []
    orders.proxy.ask("POST", f"/circuit-breakers/{BREAKERS['pay']}/reset")
    orders.ends(place)


def test_should_preserve_idempotency_key(orders: Orders) -> None:
    orders.shop.script[PAY] = [503, LOST, 429]
    order, place = orders.place()
    orders.ends(place)
    assert orders.of(order, PAY) == [f"{order}/pay/do"] * 4
    assert orders.shop.effects[f"{order}/pay/do"] == 1


def test_should_handle_combined_failures(orders: Orders) -> None:
    orders.shop.script = {RESERVE: [503], PAY: [LOST, 429], SHIP: [SLOW]}
    order, place = orders.place()
    orders.ends(place)
    for step in ("reserve", "pay", "ship"):
        assert orders.shop.effects[f"{order}/{step}/do"] == 1


def test_should_record_metrics(orders: Orders) -> None:
    orders.shop.script[RESERVE] = [503, 429]
    orders.ends(orders.place()[1])
    metrics = orders.proxy.ask("GET", "/metrics")[1]
    for name in (
        'proxy_sagas{saga="place-order",state="done"}',
        'proxy_retries_total{condition="gateway-error",route="place-order:reserve"}',
        'proxy_circuit_breaker_state{name="place-order:pay",state="closed"}',
    ):
        assert name in metrics
    assert 'outcome="retried",phase="do",saga="place-order",step="reserve"' in metrics


# --- idempotency ------------------------------------------------------------------------------


def test_should_return_cached_result_for_duplicate_request(orders: Orders) -> None:
    order, place = orders.place()
    orders.ends(place)
    again = orders.post(order)
    assert (again.status, again.header("location")) == (202, place)
    assert json.loads(again.body) == {"orderId": order, "status": "PENDING"}
    assert orders.post(order, total=1.0).status == 422
    for path in (RESERVE, PAY, SHIP):
        assert len(orders.of(order, path)) == 1


# --- outbox and saga --------------------------------------------------------------------------


@pytest.fixture
def service(postgres_url: str) -> ServiceTable:
    """The service's own database, with the table that the example's comments make."""
    table = ServiceTable(postgres_url, "CREATE TABLE orders (id text PRIMARY KEY, total numeric)")
    table.sql(made_by(TABLE_EXAMPLE))
    return table


def made_by(example: Path) -> str:
    """The statements in its comments that make the table, without roles."""
    lines = [line.removeprefix("#").strip() for line in example.read_text().splitlines()]
    begin = next(at for at, line in enumerate(lines) if line.startswith("CREATE TABLE"))
    end = next(at for at, line in enumerate(lines) if line.startswith("CREATE ROLE"))
    return "\n".join(lines[begin:end])


def with_table(shop: Shop, store: Path, service: ServiceTable) -> dict[str, Any]:
    """Both examples, one over the other, with shorter times."""
    given = settings(shop, store)
    tables: dict[str, Any] = yaml.safe_load(TABLE_EXAMPLE.read_text())["outbox_tables"]
    tables["orders"] |= {"url": service.url, "poll": "20ms", "reclaim": "900ms"}
    tables["orders"]["outbox"]["backoff"] = {"initial": "20ms", "jitter": "none"}
    return given | {"outbox_tables": tables}


def transaction(order: str, end: str = "COMMIT") -> str:
    """What the service does for an order."""
    document = json.dumps({"orderId": order, "sku": "SKU001", "quantity": 2, "total": 199.8})
    return f"""
    BEGIN;
    INSERT INTO orders (id, total) VALUES ('{order}', 199.8);
    INSERT INTO outbox_events (aggregate_id, event_type, payload)
        VALUES ('{order}', 'OrderPlaced', '{document}');
    NOTIFY outbox_events;
    {end};"""


def test_should_create_order_and_outbox_in_single_transaction(
    tmp_path: Path, service: ServiceTable
) -> None:
    """The service's order and its event are one transaction of its own database: an order that is
    not committed is never placed, and one that is committed is placed once, whatever is killed."""
    with open_shop() as shop:
        given = with_table(shop, tmp_path / "store.db", service)
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        first = RunningProxy(tmp_path / "a", given)
        service.sql(transaction("never", "ROLLBACK"))
        with service.session() as dying:
            dying.run(transaction("lost", "SELECT 1"))
            dying.kill()
        shop.script[PAY] = [503] * 1000
        service.sql(transaction("o-1") + transaction("o-2"))
        shop.wait_for(RESERVE, 2)
        first.kill()
        shop.script.clear()
        second = Orders(shop, RunningProxy(tmp_path / "b", given))
        second.settle()
        eventually(lambda: service.states() == ["PROCESSED"] * 2)
        second.proxy.stop()
        assert service.sql("SELECT id FROM orders ORDER BY id").split() == ["o-1", "o-2"]
        for step in ("reserve", "pay", "ship"):
            assert [shop.effects[f"{order}/{step}/do"] for order in ("o-1", "o-2")] == [1, 1]
        assert not [key for key in shop.effects if key.startswith(("never", "lost"))]


def test_should_process_outbox_events_via_saga(tmp_path: Path, service: ServiceTable) -> None:
    """Each row starts the saga, in any number of deliveries once; the service is told the end."""
    with open_shop() as shop:
        orders = Orders(
            shop, RunningProxy(tmp_path, with_table(shop, tmp_path / "store.db", service))
        )
        try:
            shop.script[SHIP] = [503]
            for order in ("o-1", "o-2", "o-3"):
                service.sql(transaction(order))
            eventually(lambda: service.states() == ["PROCESSED"] * 3, 5)
            shop.wait_for(TOLD, 3)
            service.sql("UPDATE outbox_events SET status = 'PENDING', processed_at = NULL")
            eventually(lambda: service.states() == ["PROCESSED"] * 3, 5)
            assert service.sql("SELECT DISTINCT retry_count FROM outbox_events") == "2"
            orders.settle()
            told = [body for path, _, body in shop.requests if path == TOLD]
            assert sorted((one["id"], one["state"]) for one in told) == [
                ("o-1", "done"),
                ("o-2", "done"),
                ("o-3", "done"),
            ]
            for step in ("reserve", "pay", "ship"):
                assert [shop.effects[f"o-{n}/{step}/do"] for n in (1, 2, 3)] == [1, 1, 1]
        finally:
            orders.proxy.stop()


def test_the_end_of_an_order_and_the_entry_that_tells_it_are_one_commit(tmp_path: Path) -> None:
    """Killed at any time, the order is told exactly as often as it ends."""
    with open_shop() as shop:
        shop.script[TOLD] = [503] * 1000
        given = settings(shop, tmp_path / "store.db")
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        first = Orders(shop, RunningProxy(tmp_path / "a", given))
        order, place = first.place()
        first.ends(place)
        first.proxy.kill()
        second = Orders(shop, RunningProxy(tmp_path / "b", given))
        (entry,) = json.loads(second.proxy.ask("GET", "/outbox")[1])["entries"]
        assert entry["id"] == place.rpartition("/")[2]
        shop.script.clear()
        told = len(shop.keys(TOLD))
        shop.wait_for(TOLD, told + 1)
        second.proxy.stop()
        documents = [body for path, _, body in shop.requests if path == TOLD]
        assert {one["id"] for one in documents} == {order}
        assert documents[-1]["state"] == "done"


def test_should_handle_saga_failure_with_compensation(orders: Orders) -> None:
    orders.shop.script[PAY] = [LOST, 422]
    order, place = orders.place()
    orders.ends(place, "undone")
    assert orders.of(order, REFUND) == [f"{order}/pay/undo"], "it may have been paid"
    assert orders.of(order, RELEASE) == [f"{order}/reserve/undo"]
    assert orders.of(order, SHIP) == []
