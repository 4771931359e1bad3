"""A table of the service's own, and the real command: to an upstream and to a saga, through kills,
a drain, a reload, and a database that goes and comes."""

import json
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import postgres
import pytest
from integration.running_proxy import RunningProxy, eventually
from integration.shop import LOST, SLOW, Shop, open_shop
from service_table import ALL_COLUMNS, COLUMNS, COUNTED, MORE, TABLE, ServiceTable

SENT = "/events"
Start: TypeAlias = Callable[..., RunningProxy]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts proxies; whatever still runs afterwards is killed."""
    started: list[RunningProxy] = []

    def start(given: dict[str, Any]) -> RunningProxy:
        folder = tmp_path / f"proxy{len(started)}"
        folder.mkdir()
        started.append(RunningProxy(folder, given))
        return started[-1]

    yield start
    for proxy in started:
        if proxy.process.poll() is None:
            proxy.kill()
        else:
            proxy.assert_sound()


@pytest.fixture
def shop() -> Iterator[Shop]:
    with open_shop() as shop:
        yield shop


@pytest.fixture
def table(postgres_url: str) -> ServiceTable:
    return ServiceTable(postgres_url, TABLE + MORE)


def settings(table: ServiceTable, shop: Shop, **changes: Any) -> dict[str, Any]:
    return {
        "upstreams": {"shop": {"endpoints": [shop.url]}},
        "outbox_tables": {
            "orders": {
                "url": table.url,
                "table": "outbox_events",
                "columns": ALL_COLUMNS,
                "poll": "20ms",
                "reclaim": "900ms",
                "to": {"upstream": "shop", "path": SENT},
                "outbox": {
                    "attempts": 3,
                    "backoff": {"initial": "20ms", "multiplier": 1, "jitter": "none"},
                    "order_by": "key",
                },
                **changes,
            }
        },
    }


def shown(proxy: RunningProxy) -> dict[str, Any]:
    (found,) = proxy.state("/status")["outbox_tables"]
    return dict(found)


def key(table: ServiceTable, row: int) -> str:
    return f"{table.url.rpartition('/')[2]}.public.outbox_events:{row}"


def test_rows_are_delivered_once_and_seen(start: Start, table: ServiceTable, shop: Shop) -> None:
    shop.script[SENT] = [503, 200, 400]
    given = settings(table, shop)
    given["policies"] = {"default": {"retry": {"attempts": 1}}}
    proxy = start(given)
    try:
        table.insert("o-1", '{"n": 1}', event_type="OrderPlaced")
        eventually(lambda: table.states() == ["PROCESSED"], 5)
        table.insert("o-2", '{"n": 2}')
        eventually(lambda: table.states() == ["PROCESSED", "DEAD_LETTER"], 5)
        assert shop.keys(SENT) == [key(table, 1), key(table, 1), key(table, 2)]
        assert [body for _, _, body in shop.requests] == [{"n": 1}, {"n": 1}, {"n": 2}]

        def tries() -> list[dict[str, Any]]:
            return [line for line in proxy.log_lines() if line.get("outbox_id")]

        eventually(lambda: len(tries()) == 3)
        lines = tries()
        assert [line["outbox_id"] for line in lines] == ["orders/1", "orders/1", "orders/2"]
        assert lines[0]["request_id"] == lines[1]["request_id"] != lines[2]["request_id"]
        eventually(lambda: shown(proxy)["dead"] == 1, COUNTED)
        assert shown(proxy)["outcomes"] == {"again": 1, "delivered": 1, "dead": 1}
        assert proxy.metric("proxy_outbox_dead", route="table:orders") == 1
        assert proxy.metric("proxy_outbox_table_ready", table="orders") == 1
        delivered = proxy.metric(
            "proxy_outbox_deliveries_total", route="table:orders", outcome="delivered"
        )
        assert delivered == 1
        assert proxy.metric("proxy_attempts_total", route="table:orders") == 3
    finally:
        proxy.stop()


def test_killed_with_a_claim_that_was_not_sent(
    start: Start, table: ServiceTable, shop: Shop
) -> None:
    """The claim is committed, and nothing was sent: concurrency keeps the row in the queue."""
    given = settings(table, shop)
    given["outbox_tables"]["orders"]["outbox"]["concurrency"] = 1
    shop.script[SENT] = [SLOW]
    first = start(given)
    table.sql("INSERT INTO outbox_events (payload) VALUES ('{}'), ('{}')")
    shop.wait_for(SENT)
    eventually(lambda: table.states() == ["PROCESSING"] * 2)
    first.kill()
    shop.slow.set()
    second = start(given)
    try:
        eventually(lambda: table.states() == ["PROCESSED"] * 2, 5)
    finally:
        second.stop()
    assert shop.effects == {key(table, 1): 1, key(table, 2): 1}
    assert shop.keys(SENT).count(key(table, 2)) == 1


def test_killed_after_the_delivery_before_it_was_written(
    start: Start, table: ServiceTable, shop: Shop
) -> None:
    """Whoever has the row locked keeps the result from being written."""
    given = settings(table, shop)
    shop.script[SENT] = [SLOW]
    first = start(given)
    table.insert("a")
    table.insert("a")
    shop.wait_for(SENT)
    with table.session() as session:
        session.run("BEGIN; SELECT id FROM outbox_events WHERE id = 1 FOR UPDATE;")
        shop.slow.set()
        eventually(lambda: any(one.get("status") == 200 for one in first.log_lines()))
        first.kill()
        session.run("ROLLBACK;")
    assert table.states() == ["PROCESSING", "PENDING"]
    second = start(given)
    try:
        eventually(lambda: table.states() == ["PROCESSED"] * 2, 5)
    finally:
        second.stop()
    assert shop.keys(SENT) == [key(table, 1), key(table, 1), key(table, 2)]
    assert shop.effects == {key(table, 1): 1, key(table, 2): 1}


@pytest.mark.long
@pytest.mark.parametrize("columns", [COLUMNS, ALL_COLUMNS], ids=["few", "all"])
def test_ten_kills_at_any_time(
    start: Start, table: ServiceTable, shop: Shop, columns: dict[str, str]
) -> None:
    chance = random.Random(7)
    given = settings(table, shop, columns=columns)
    given["outbox_tables"]["orders"]["outbox"]["attempts"] = 0
    rows = 0
    for _ in range(10):
        proxy = start(given)
        for _ in range(6):
            shop.script[SENT] = [LOST] if chance.random() < 0.3 else []
            table.insert("abc"[rows % 3])
            rows += 1
        time.sleep(chance.random() * 0.1)
        proxy.kill()
    last = start(given)
    eventually(lambda: set(table.states()) == {"PROCESSED"}, 20)
    last.stop()
    assert set(shop.effects.values()) == {1}
    assert len(shop.effects) == rows
    first_seen = list(dict.fromkeys(shop.keys(SENT)))
    numbers = [int(one.rpartition(":")[2]) for one in first_seen]
    for lane in range(3):
        own = [number for number in numbers if (number - 1) % 3 == lane]
        assert own == sorted(own)


def test_two_proxies_and_one_is_killed(start: Start, table: ServiceTable, shop: Shop) -> None:
    given = settings(table, shop)
    given["outbox_tables"]["orders"]["outbox"]["attempts"] = 0
    first, second = start(given), start(given)
    table.sql(
        "INSERT INTO outbox_events (aggregate_id, payload)"
        " SELECT 'k' || n % 20, '{}' FROM generate_series(1, 400) AS n"
    )
    shop.wait_for(SENT, 60)
    first.kill()
    eventually(lambda: set(table.states()) == {"PROCESSED"}, 20)
    second.stop()
    assert set(shop.effects.values()) == {1}
    assert len(shop.effects) == 400
    seen = [int(one.rpartition(":")[2]) for one in dict.fromkeys(shop.keys(SENT))]
    for lane in range(20):
        own = [number for number in seen if number % 20 == lane]
        assert own == sorted(own)


def test_a_drain_claims_nothing_and_finishes_what_is_tried(
    start: Start, table: ServiceTable, shop: Shop
) -> None:
    shop.script[SENT] = [SLOW]
    given = settings(table, shop) | {"drain": {"delay": "0s", "timeout": "5s"}}
    proxy = start(given)
    table.insert("a")
    shop.wait_for(SENT)
    proxy.signal()
    eventually(lambda: "draining" in proxy.errors)
    table.insert("b")
    shop.slow.set()
    assert proxy.wait() == 0
    assert table.states() == ["PROCESSED", "PENDING"]


def test_a_drain_that_cuts_gives_the_row_back(
    start: Start, table: ServiceTable, shop: Shop
) -> None:
    shop.script[SENT] = [SLOW]
    proxy = start(settings(table, shop))
    table.insert("a")
    shop.wait_for(SENT)
    proxy.signal()
    assert proxy.wait() in (0, 3)
    assert table.states() == ["PENDING"]
    assert table.column("retry_count") == "0"


def test_the_database_goes_and_comes(
    start: Start, own_postgres: postgres.Server, shop: Shop
) -> None:
    table = ServiceTable(own_postgres.url(), TABLE + MORE)
    given = settings(table, shop)
    given["routes"] = [{"name": "plain", "match": {"hosts": ["shop"]}, "upstream": "shop"}]
    proxy = start(given)
    try:
        table.insert("a")
        eventually(lambda: table.states() == ["PROCESSED"], 5)
        own_postgres.stop(immediate=True)
        eventually(lambda: shown(proxy)["state"] == "unreachable", 5)
        assert proxy.metric("proxy_outbox_table_ready", table="orders") == 0
        assert proxy.ask("GET", "/health/ready")[0] == 200
        answer = proxy.call("POST", "/plain", [("Host", "shop")], b"{}")
        assert answer.status == 200, "plain routes go on"
        own_postgres.start()
        table.insert("b")
        eventually(lambda: table.states() == ["PROCESSED"] * 2, 10)
        assert "no row of the outbox table is delivered" in proxy.errors
        eventually(lambda: "delivered again" in proxy.errors)
    finally:
        proxy.stop()


def test_a_reload_adds_changes_and_removes_a_table(
    start: Start, table: ServiceTable, shop: Shop
) -> None:
    given = settings(table, shop)
    tables = given.pop("outbox_tables")
    proxy = start(given)
    try:
        assert "outbox_tables" not in proxy.state("/status")
        table.insert("a")
        proxy.config["outbox_tables"] = tables
        reload(proxy)
        eventually(lambda: table.states() == ["PROCESSED"], 5)
        proxy.config["outbox_tables"]["orders"]["to"]["path"] = "/other"
        reload(proxy)
        table.insert("a")
        eventually(lambda: table.states() == ["PROCESSED"] * 2, 5)
        assert shop.paths() == [SENT, "/other"]
        del proxy.config["outbox_tables"]
        reload(proxy)
        table.insert("a")
        eventually(lambda: proxy.state("/status")["outbox_tables"] == [])
        assert table.states()[2] == "PENDING"
    finally:
        proxy.stop()


def reload(proxy: RunningProxy) -> None:
    proxy.write()
    assert proxy.ask("POST", "/reload")[0] == 200


def saga_settings(table: ServiceTable, shop: Shop, store: Path) -> dict[str, Any]:
    request = {"upstream": "shop", "path": "/reserve", "json": {"order": "${id}"}}
    return settings(table, shop, to={"saga": "place"}) | {
        "store": {"url": f"sqlite:{store}"},
        "sagas": {"place": {"steps": [{"name": "reserve", "request": request}]}},
    }


def test_a_row_starts_a_saga_once(
    tmp_path: Path, start: Start, table: ServiceTable, shop: Shop
) -> None:
    """Its id is the row's key: a row that is delivered twice is the same saga."""
    proxy = start(saga_settings(table, shop, tmp_path / "store.db"))
    try:
        table.insert("a", '{"n": 1}')
        eventually(lambda: table.states() == ["PROCESSED"], 5)
        eventually(lambda: shop.keys("/reserve"), 5)
        table.sql("UPDATE outbox_events SET status = 'PENDING'")
        eventually(lambda: table.states() == ["PROCESSED"], 5)
        assert table.column("retry_count") == "2"
        (saga,) = proxy.state("/sagas")["sagas"]
        assert saga["id"] == key(table, 1)
        assert shop.keys("/reserve") == [f"{key(table, 1)}/reserve/do"]
        table.sql("""UPDATE outbox_events SET status = 'PENDING', payload = '{"n": 2}'""")
        eventually(lambda: table.states() == ["DEAD_LETTER"], 5)
        assert "saga-conflict" in table.column("error_message")
    finally:
        proxy.stop()


def test_a_store_that_is_full_postpones_rows(
    tmp_path: Path, start: Start, table: ServiceTable, shop: Shop
) -> None:
    given = saga_settings(table, shop, tmp_path / "store.db")
    given["store"] |= {"max_bytes": "1MiB", "record_bytes": "64KiB"}
    shop.script["/reserve"] = [503] * 100000
    proxy = start(given)
    try:
        table.sql(
            "INSERT INTO outbox_events (payload)"
            " SELECT to_jsonb(repeat('x', 30000)) FROM generate_series(1, 60)"
        )
        eventually(lambda: shown(proxy)["outcomes"].get("postponed"), 10)
        assert shown(proxy)["dead"] == 0
        eventually(lambda: "PROCESSED" in table.states())
        assert table.sql("SELECT max(retry_count) FROM outbox_events WHERE status = 'PENDING'") in (
            "", "0",
        )  # fmt: skip
    finally:
        proxy.stop()


def asked(proxy: RunningProxy, method: str, path: str) -> tuple[int, Any]:
    status, text = proxy.ask(method, path)
    return status, json.loads(text)


def test_rows_are_shown_and_take_orders(start: Start, table: ServiceTable, shop: Shop) -> None:
    shop.script[SENT] = [400, 400, 503, 503, 503]
    given = settings(table, shop)
    given["policies"] = {"default": {"retry": {"attempts": 1}}}
    given["outbox_tables"]["orders"]["outbox"]["backoff"]["initial"] = "1h"
    given["outbox_tables"]["orders"]["outbox"]["backoff"]["max"] = "1h"
    proxy = start(given)
    for name in ("a", "b", "c"):
        table.insert(name, event_type="Placed")
        eventually(lambda: not {"PENDING", "PROCESSING"} & set(table.states()), 5)
    assert table.states() == ["DEAD_LETTER", "DEAD_LETTER", "FAILED"]
    eventually(lambda: shown(proxy)["failed"] == 1, COUNTED)
    _, overview = asked(proxy, "GET", "/outbox")
    assert overview["queues"] == []
    assert [one["dead"] for one in overview["tables"]] == [2]
    _, listed = asked(proxy, "GET", "/outbox?route=table:orders&state=dead")
    assert [row["id"] for row in listed["rows"]] == ["orders/2", "orders/1"]
    status, row = asked(proxy, "GET", "/outbox/orders%2F3")
    assert status == 200
    assert row["created_at"] < row["due_at"]
    assert {
        name: row[name] for name in ("state", "status", "key", "type", "attempts", "error")
    } == {
        "state": "failed",
        "status": "FAILED",
        "key": "c",
        "type": "Placed",
        "attempts": 1,
        "error": "status 503",
    }
    status, refused = asked(proxy, "POST", "/outbox/orders%2F3/redrive")
    assert (status, refused["detail"]) == (
        409,
        "Row orders/3 is failed; only dead ones can be put back.",
    )
    status, row = asked(proxy, "POST", "/outbox/orders%2F3/cancel")
    assert (status, row["state"], row["error"]) == (200, "dead", "cancelled by an operator")
    assert asked(proxy, "POST", "/outbox/orders%2F1/replay")[0] == 409
    assert asked(proxy, "GET", "/outbox/orders%2F77")[0] == 404
    assert asked(proxy, "GET", "/outbox/orders%2Fx")[0] == 503, "bigint has no value x"
    assert asked(proxy, "GET", "/outbox?route=table:other")[0] == 404
    shop.script.clear()
    told = outbox(proxy, "orders/1", "redrive").stdout
    assert told.startswith("orders/1 is ")
    eventually(lambda: table.states()[0] == "PROCESSED", 5)
    assert table.column("retry_count") == "1"
    body = json.dumps({"filter": {"route": "table:orders"}})
    with proxy_post(proxy, "/outbox/redrive", body) as answer:
        assert json.load(answer) == {"redriven": 2}
    eventually(lambda: set(table.states()) == {"PROCESSED"}, 5)
    assert "orders " in outbox(proxy).stdout
    assert "orders/3" in outbox(proxy, "--route", "table:orders").stdout
    assert "status: PROCESSED" in outbox(proxy, "orders/3").stdout


def proxy_post(proxy: RunningProxy, path: str, body: str) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{proxy.admin}{path}", body.encode(), method="POST"
    )
    return urllib.request.urlopen(request, timeout=5)


def outbox(proxy: RunningProxy, *words: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "outbox", *words, "--admin", f"127.0.0.1:{proxy.admin}"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done
