"""Sagas of the real command: started, shown, undone, stuck, gone on with after a kill."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.raw_client import Response
from integration.running_proxy import RunningProxy, eventually
from integration.shop import LOST, SLOW, Shop, open_shop

StartProxy = Callable[..., RunningProxy]
PLACE = "/.well-known/resilience-proxy/sagas/"
FAST = {"initial": "5ms", "max": "10ms"}


def settings(shop: Shop, store: Path, **saga: Any) -> dict[str, Any]:
    def step(name: str, **more: Any) -> dict[str, Any]:
        document = {"order": "${id}", "total": "${input./total}"}
        request = {"upstream": "shop", "path": f"/{name}", "json": document}
        undo = {"upstream": "shop", "path": f"/un{name}", "json": {"of": f"${{steps.{name}.key}}"}}
        return {"name": name, "request": request, "undo": undo, "backoff": FAST, "policy": "once",
                "attempts": 3} | more  # fmt: skip

    definition = {
        "id": "body:/id",
        "steps": [step("reserve"), step("pay"), step("ship")],
        "undo": {"attempts": 3, "backoff": FAST},
    }
    return {
        "store": {"url": f"sqlite:{store}"},
        "upstreams": {"shop": {"endpoints": [shop.url]}},
        "policies": {"once": {"retry": {"attempts": 1}, "timeouts": {"attempt": "2s"}}},
        "sagas": {"order": definition | saga},
        "routes": [
            {"name": "orders", "listener": "inbound", "match": {"path": "/orders"}, "saga": "order"}
        ],
    }


@pytest.fixture
def shop() -> Iterator[Shop]:
    with open_shop() as shop:
        yield shop


@pytest.fixture
def run(start_proxy: StartProxy, shop: Shop, tmp_path: Path) -> Callable[..., RunningProxy]:
    def start(**saga: Any) -> RunningProxy:
        return start_proxy(settings(shop, tmp_path / "store.db", **saga))

    return start


def order(proxy: RunningProxy, document: Any = None, **headers: str) -> Response:
    body = json.dumps(document or {"id": "o-1", "total": 5}).encode()
    fields = {"Content-Type": "application/json", **headers}
    return proxy.call("POST", "/orders", fields, body, listener="inbound")


def state(proxy: RunningProxy, place: str) -> dict[str, Any]:
    response = proxy.call("GET", place, listener="inbound")
    assert response.status == 200, response
    document: dict[str, Any] = json.loads(response.body)
    return document


def ended(proxy: RunningProxy, place: str, *states: str) -> dict[str, Any]:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        document = state(proxy, place)
        if document["state"] in states:
            return document
        time.sleep(0.01)
    raise AssertionError(document)


def place_of(response: Response) -> str:
    assert response.status == 202, response
    place = response.header("location") or ""
    assert place.startswith(PLACE)
    return place


def command(proxy: RunningProxy, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "proxy", "sagas", *words, "--admin", f"127.0.0.1:{proxy.admin}"],
        capture_output=True,
        text=True,
        timeout=15,
    )


def test_a_saga_is_started_done_and_shown(run: Callable[..., RunningProxy], shop: Shop) -> None:
    proxy = run()
    response = order(proxy)
    told = json.loads(response.body)
    assert (told["id"], told["state"]) == ("o-1", "running")
    document = ended(proxy, place_of(response), "done")
    assert [(one["name"], one["state"]) for one in document["steps"]] == [
        ("reserve", "done"), ("pay", "done"), ("ship", "done"),
    ]  # fmt: skip
    assert document["steps"][0]["last"]["status"] == 200
    assert shop.requests == [
        (f"/{name}", f"o-1/{name}/do", {"order": "o-1", "total": 5})
        for name in ("reserve", "pay", "ship")
    ]
    eventually(lambda: any(one["path"] == "/pay" for one in proxy.log_lines()))
    (line,) = [one for one in proxy.log_lines() if one["path"] == "/pay"]
    assert line["saga"] == place_of(response).removeprefix(PLACE)
    assert line["route"] == "order:pay"
    sample = 'proxy_sagas{saga="order",state="done"} 1.0'  # counted once a second
    eventually(lambda: sample in proxy.ask("GET", "/metrics")[1], timeout=10)


def test_the_same_id_is_the_same_saga(run: Callable[..., RunningProxy], shop: Shop) -> None:
    proxy = run()
    first = place_of(order(proxy, {"id": "o-1", "total": 5}))
    assert place_of(order(proxy, {"total": 5, "id": "o-1"})) == first
    other = order(proxy, {"id": "o-1", "total": 6})
    assert (other.status, other.why) == (422, "saga-conflict")
    ended(proxy, first, "done")
    assert shop.paths() == ["/reserve", "/pay", "/ship"]


def test_what_is_no_input(run: Callable[..., RunningProxy], shop: Shop) -> None:
    proxy = run()
    for body in (b"no json", b"{}", b'{"id": "a b"}', b'{"id": ["x"]}'):
        response = proxy.call("POST", "/orders", {}, body, listener="inbound")
        assert (response.status, response.why) == (400, "saga-invalid"), body
    assert shop.requests == []


def test_the_id_is_the_idempotency_key_else_new(run: Callable[..., RunningProxy]) -> None:
    proxy = run(id=None)
    first = order(proxy, {"total": 1}, **{"X-Idempotency-Key": "k-1"})
    assert json.loads(first.body)["id"] == "k-1"
    quoted = order(proxy, {"total": 1}, **{"Idempotency-Key": '"k-1"'})
    assert place_of(quoted) == place_of(first)
    one, two = (json.loads(order(proxy, {"total": 1}).body)["id"] for _ in range(2))
    assert one != two


def test_an_idempotency_key_is_kept_in_the_same_commit(
    start_proxy: StartProxy, shop: Shop, tmp_path: Path
) -> None:
    given = settings(shop, tmp_path / "store.db")
    given["routes"][0]["idempotency"] = {"mode": "required"}
    proxy = start_proxy(given)
    assert order(proxy).why == "idempotency-key-missing"
    first = order(proxy, **{"Idempotency-Key": "k-1"})
    place = place_of(first)
    again = order(proxy, **{"Idempotency-Key": "k-1"})
    assert (place_of(again), again.body) == (place, first.body)
    assert again.header("idempotent-replayed") == "true"
    assert order(proxy, {"id": "o-2"}, **{"Idempotency-Key": "k-1"}).why == "idempotency-key-reused"
    other_key = order(proxy, **{"Idempotency-Key": "k-2"})
    assert place_of(other_key) == place
    other_input = order(proxy, {"id": "o-1", "total": 9}, **{"Idempotency-Key": "k-3"})
    assert other_input.why == "saga-conflict"
    ended(proxy, place, "done")
    assert shop.paths() == ["/reserve", "/pay", "/ship"]


@pytest.mark.long
def test_a_key_is_not_for_another_long_input(
    start_proxy: StartProxy, shop: Shop, tmp_path: Path
) -> None:
    """Of an input beyond `retry.body_limit` the whole is compared, too."""
    given = settings(shop, tmp_path / "store.db")
    given["routes"][0] |= {"idempotency": {"mode": "required"}, "retry": {"body_limit": "1KiB"}}
    proxy = start_proxy(given)
    long = {"id": "o-1", "total": 5, "note": "n" * 2000}
    place = place_of(order(proxy, long, **{"Idempotency-Key": "k-1"}))
    again = order(proxy, long, **{"Idempotency-Key": "k-1"})
    assert (place_of(again), again.header("idempotent-replayed")) == (place, "true")
    other = order(proxy, long | {"id": "o-2"}, **{"Idempotency-Key": "k-1"})
    assert (other.status, other.why) == (422, "idempotency-key-reused")


def test_an_unknown_place_is_an_ordinary_request(run: Callable[..., RunningProxy]) -> None:
    proxy = run()
    place = place_of(order(proxy))
    assert proxy.call("GET", PLACE + "0" * 32, listener="inbound").status == 502  # there is no app
    assert proxy.call("GET", place).status != 200  # another listener
    assert proxy.call("DELETE", place, listener="inbound").status == 405


def test_a_failed_step_is_compensated(run: Callable[..., RunningProxy], shop: Shop) -> None:
    shop.script["/ship"] = [422]
    proxy = run()
    document = ended(proxy, place_of(order(proxy)), "undone")
    assert shop.paths() == ["/reserve", "/pay", "/ship", "/unpay", "/unreserve"]
    assert shop.requests[3][1:] == ("o-1/pay/undo", {"of": "o-1/pay/do"})
    assert [one["phase"] for one in document["steps"]] == ["undo", "undo", "do"]


@pytest.mark.long
def test_an_undo_that_finds_nothing_is_done(run: Callable[..., RunningProxy], shop: Shop) -> None:
    shop.script = {"/pay": [LOST] * 3, "/unpay": [404]}
    proxy = run()
    document = ended(proxy, place_of(order(proxy)), "undone")
    assert document["steps"][1]["last"]["reason"] == "nothing-to-undo"
    assert shop.effects["o-1/pay/do"] == 1
    assert shop.keys("/pay") == ["o-1/pay/do"] * 3


@pytest.mark.long
def test_a_stuck_saga_takes_orders(run: Callable[..., RunningProxy], shop: Shop) -> None:
    shop.script = {"/ship": [422], "/unpay": [400], "/unreserve": [400, 400]}
    proxy = run()
    place = place_of(order(proxy))
    ended(proxy, place, "stuck")
    assert 'proxy_sagas{saga="order",state="stuck"} 1.0' in proxy.ask("GET", "/metrics")[1]
    listed = command(proxy, "list", "--state", "stuck")
    assert "o-1" in listed.stdout
    assert "pay (undo)" in listed.stdout
    resumed = command(proxy, "resume", "o-1")
    assert (resumed.returncode, resumed.stderr) == (0, "")
    ended(proxy, place, "stuck")
    assert shop.paths()[-2:] == ["/unpay", "/unreserve"]
    assert "o-1: undoing" in command(proxy, "skip", "o-1").stdout
    assert ended(proxy, place, "undone")["steps"][0]["state"] == "skipped"
    refused = command(proxy, "abort", "o-1")
    assert refused.returncode == 1
    assert "Only a stuck saga takes an order" in refused.stderr
    assert "no saga 'o-2'" in command(proxy, "show", "o-2").stderr


@pytest.mark.long
def test_an_aborted_saga_ends_as_it_is(run: Callable[..., RunningProxy], shop: Shop) -> None:
    shop.script = {"/pay": [422], "/unreserve": [400]}
    proxy = run()
    place = place_of(order(proxy))
    ended(proxy, place, "stuck")
    assert "aborted" in command(proxy, "abort", "o-1").stdout
    document = ended(proxy, place, "undone")
    assert document["aborted"]
    assert shop.paths().count("/unreserve") == 1


@pytest.mark.long
def test_the_timeout_undoes_it(run: Callable[..., RunningProxy], shop: Shop) -> None:
    shop.script["/pay"] = [503] * 1000
    proxy = run(timeout="300ms", steps=_tireless(settings(shop, Path("x"))))
    document = ended(proxy, place_of(order(proxy)), "undone")
    assert shop.paths()[-1] == "/unreserve"
    assert document["steps"][1]["state"] == "failed"


def _tireless(given: dict[str, Any]) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = given["sagas"]["order"]["steps"]
    return [step | {"attempts": 0} for step in steps]


@pytest.mark.long
def test_the_result_is_told(run: Callable[..., RunningProxy], shop: Shop) -> None:
    proxy = run(result={"upstream": "shop", "path": "/told"})
    place_of(order(proxy))
    shop.wait_for("/told")
    document = shop.requests[-1][2]
    assert (document["id"], document["state"], document["attempts"]) == ("o-1", "done", 3)


def test_after_a_kill_it_goes_on_with_the_same_key(shop: Shop, tmp_path: Path) -> None:
    shop.script["/pay"] = [SLOW]
    given = settings(shop, tmp_path / "store.db")
    first = RunningProxy(_folder(tmp_path, "a"), given)
    place = place_of(order(first))
    shop.wait_for("/pay")
    first.kill()
    second = RunningProxy(_folder(tmp_path, "b"), given)
    document = ended(second, place, "done")
    second.stop()
    assert shop.keys("/pay") == ["o-1/pay/do"] * 2
    assert shop.keys("/reserve") == ["o-1/reserve/do"]
    assert max(shop.effects.values()) == 1
    assert document["steps"][1]["attempts"] == 2


@pytest.mark.long
def test_a_reload_changes_no_running_saga(run: Callable[..., RunningProxy], shop: Shop) -> None:
    shop.script["/pay"] = [503, 503]
    proxy = run()
    place = place_of(order(proxy))
    shop.wait_for("/pay")
    del proxy.config["sagas"], proxy.config["routes"]
    proxy.write()
    assert proxy.ask("POST", "/reload")[0] == 200
    ended(proxy, place, "done")
    assert shop.paths()[-1] == "/ship"


@pytest.mark.long
def test_a_drain_ends_the_try_and_keeps_the_saga(shop: Shop, tmp_path: Path) -> None:
    shop.script["/pay"] = [SLOW]
    given = settings(shop, tmp_path / "store.db")
    given["store"]["persistent"] = True
    given["drain"] = {"delay": "0s", "timeout": "5s"}
    first = RunningProxy(_folder(tmp_path, "a"), given)
    place = place_of(order(first))
    shop.wait_for("/pay")
    first.signal()
    shop.slow.set()
    assert first.wait() == 0
    assert shop.paths() == ["/reserve", "/pay"]
    second = RunningProxy(_folder(tmp_path, "b"), given)
    ended(second, place, "done")
    second.stop()
    assert shop.paths() == ["/reserve", "/pay", "/ship"]


@pytest.mark.long
def test_what_is_lost_with_the_pod_is_named(shop: Shop, tmp_path: Path) -> None:
    shop.script["/pay"] = [503] * 1000
    given = settings(shop, tmp_path / "store.db")
    given["sagas"]["order"]["steps"] = _tireless(given)
    proxy = RunningProxy(_folder(tmp_path, "a"), given)
    place_of(order(proxy))
    shop.wait_for("/pay")
    proxy.signal()
    assert proxy.wait() == 3
    assert "sagas are left in a store that is lost with the pod" in proxy.errors
    proxy.assert_sound()


def _folder(above: Path, name: str) -> Path:
    folder = above / name
    folder.mkdir()
    return folder
