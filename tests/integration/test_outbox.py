"""The outbox of the real command: through a kill, a drain, a reload, and operators' orders."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from delivery.counting import CountingUpstream
from integration.raw_client import Response
from integration.running_proxy import RunningProxy, eventually


@pytest.fixture
def upstream() -> Iterator[CountingUpstream]:
    with CountingUpstream() as upstream:
        yield upstream


def settings(upstream: CountingUpstream, file: Path, **store: Any) -> dict[str, Any]:
    return {
        "store": {"url": f"sqlite:{file}", **store},
        "upstreams": {"shop": {"endpoints": [f"http://127.0.0.1:{upstream.port}"]}},
        "routes": [
            {
                "name": "shop",
                "match": {"hosts": ["shop"]},
                "upstream": "shop",
                "outbox": {
                    "mode": "always",
                    "backoff": {"initial": "20ms", "multiplier": 1, "jitter": "none"},
                },
            }
        ],
    }


def post(proxy: RunningProxy, key: str, *more: tuple[str, str]) -> Response:
    fields = [("Host", "shop"), ("Idempotency-Key", key), *more]
    return proxy.call("POST", "/o", fields, b"{}")


def stopped(proxy: RunningProxy) -> int:
    proxy.stop()
    return int(proxy.process.returncode)


def outbox(proxy: RunningProxy, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "proxy", "outbox", *words]
    return subprocess.run(
        [*command, "--admin", f"127.0.0.1:{proxy.admin}"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip


def test_accepted_delivered_shown_and_ordered(tmp_path: Path, upstream: CountingUpstream) -> None:
    proxy = RunningProxy(tmp_path, settings(upstream, tmp_path / "s.db"))
    try:
        answer = post(proxy, "k1")
        assert answer.status == 202
        eventually(lambda: upstream.keys == ["k1"], 5)
        upstream.status = 400
        dead = json.loads(post(proxy, "k2").body)["id"]

        def document(path: str = "/outbox") -> Any:
            return proxy.state(path)

        eventually(lambda: document()["queues"][0]["dead"] == 1, 5)
        listed = outbox(proxy, "--state", "dead")
        assert dead in listed.stdout
        shown = outbox(proxy, dead, "--format", "json")
        assert json.loads(shown.stdout)["outcomes"][0]["status"] == 400
        upstream.status = 200
        redriven = outbox(proxy, dead, "redrive")
        assert redriven.stdout == f"{dead} is pending\n"
        eventually(lambda: document(f"/outbox/{dead}")["state"] == "delivered", 5)
        assert upstream.keys == ["k1", "k2", "k2"]
        refused = outbox(proxy, dead, "cancel")
        assert (refused.returncode, "is delivered" in refused.stderr) == (1, True)
        assert outbox(proxy, dead, "replay").stdout.startswith("sent again as ")
        eventually(lambda: len(upstream.keys) == 4, 5)
        eventually(
            lambda: proxy.metric("proxy_outbox_deliveries_total", outcome="delivered") == 3, 5
        )
        eventually(lambda: proxy.metric("proxy_outbox_pending", route="shop") == 0, 5)
        lines = [line for line in proxy.log_lines() if line.get("outbox_id") == dead]
        assert [line["status"] for line in lines] == [202, 400, 200]
    finally:
        assert stopped(proxy) == 0


def test_an_order_that_is_none_is_refused(tmp_path: Path, upstream: CountingUpstream) -> None:
    proxy = RunningProxy(tmp_path, settings(upstream, tmp_path / "s.db"))
    orders = ['{"rate": NaN}', '{"rate": -1}', '{"limit": 1e400}', "[7]", '{"route": "shop"}']
    filters = ['{"route": ["a"]}', '{"rout": "a"}', '{"state": "pending"}', '{"since": "now"}', "7"]
    try:
        for order in [*orders, *(f'{{"filter": {one}}}' for one in filters)]:
            url = f"http://127.0.0.1:{proxy.admin}/outbox/redrive"
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url, order.encode(), timeout=5)
            with refused.value as answer:
                assert (answer.code, b"must be JSON" in answer.read()) == (400, True)
        assert proxy.ask("GET", f"/outbox?before={10**30}")[0] == 200
    finally:
        assert stopped(proxy) == 0


def test_an_order_for_many_takes_those_of_its_filter(
    tmp_path: Path, upstream: CountingUpstream
) -> None:
    """By state, and by a time as the documents show it."""
    upstream.status = 400
    proxy = RunningProxy(tmp_path, settings(upstream, tmp_path / "s.db"))

    def redriven(order: str) -> Any:
        url = f"http://127.0.0.1:{proxy.admin}/outbox/redrive"
        with urllib.request.urlopen(url, order.encode(), timeout=5) as answer:
            return json.load(answer)["redriven"]

    try:
        for key in "abc":
            post(proxy, key)
        eventually(lambda: proxy.state("/outbox")["queues"][0]["dead"] == 3, 5)
        times = [one["accepted_at"] for one in proxy.state("/outbox?state=dead")["entries"]]
        assert len(proxy.state(f"/outbox?since={times[0]}")["entries"]) < 3
        assert redriven('{"filter": {"state": "parked"}}') == 0
        assert redriven('{"filter": {"since": "2999-01-01T00:00:00Z"}}') == 0
        assert redriven('{"filter": {"state": "dead"}, "limit": 2}') == 2
    finally:
        assert stopped(proxy) == 0


def test_a_killed_process_loses_nothing(tmp_path: Path, upstream: CountingUpstream) -> None:
    kill_and_restart(tmp_path, upstream, entries=20)


@pytest.mark.long
@pytest.mark.parametrize("_", range(10))
def test_a_killed_process_loses_nothing_ten_times(
    tmp_path: Path, upstream: CountingUpstream, _: int
) -> None:
    kill_and_restart(tmp_path, upstream, entries=200)


def kill_and_restart(tmp_path: Path, upstream: CountingUpstream, entries: int) -> None:
    """kill -9 while entries are accepted and delivered: each acknowledged one is delivered, and
    what was tried at that moment once more at most."""
    file = tmp_path / "s.db"
    config = settings(upstream, file, persistent=True)
    config["routes"][0]["outbox"]["concurrency"] = 4
    proxy = RunningProxy(tmp_path, config)
    acknowledged = []
    for number in range(entries):
        assert post(proxy, f"k{number}").status == 202
        acknowledged.append(f"k{number}")
    os.kill(proxy.process.pid, signal.SIGKILL)
    proxy.process.wait()
    second = tmp_path / "second"
    second.mkdir()
    again = RunningProxy(second, config)
    try:
        eventually(lambda: set(acknowledged) <= set(upstream.keys), 20)
        repeated = [key for key in acknowledged if upstream.keys.count(key) > 1]
        assert len(repeated) <= 4
        assert all(upstream.keys.count(key) <= 2 for key in acknowledged)
    finally:
        again.stop()


@pytest.mark.long
def test_the_drain_of_a_store_that_dies_names_what_is_left(
    tmp_path: Path, upstream: CountingUpstream
) -> None:
    proxy = RunningProxy(tmp_path, settings(upstream, tmp_path / "s.db"))
    post(proxy, "later", ("X-Not-Before", "60"))
    assert stopped(proxy) == 3
    assert "left in a store that is lost with the pod" in proxy.errors
    assert '"entries":1' in proxy.errors


@pytest.mark.long
def test_what_a_persistent_store_keeps_is_no_loss(
    tmp_path: Path, upstream: CountingUpstream
) -> None:
    config = settings(upstream, tmp_path / "s.db", persistent=True)
    proxy = RunningProxy(tmp_path, config)
    post(proxy, "later", ("X-Not-Before", "1"))
    assert stopped(proxy) == 0
    assert not upstream.keys
    second = tmp_path / "second"
    second.mkdir()
    again = RunningProxy(second, config)
    try:
        eventually(lambda: upstream.keys == ["later"], 5)
    finally:
        assert stopped(again) == 0


def test_a_reload_turns_an_outbox_on(tmp_path: Path, upstream: CountingUpstream) -> None:
    config = settings(upstream, tmp_path / "s.db")
    accepting = config["routes"][0].pop("outbox")
    proxy = RunningProxy(tmp_path, config)
    try:
        assert post(proxy, "k1").status == 200
        proxy.config["routes"][0]["outbox"] = accepting
        proxy.write()
        assert proxy.ask("POST", "/reload")[0] == 200
        assert post(proxy, "k2").status == 202
        eventually(lambda: upstream.keys == ["k1", "k2"], 5)
    finally:
        proxy.stop()


def test_a_reload_says_whose_entries_wait(tmp_path: Path, upstream: CountingUpstream) -> None:
    proxy = RunningProxy(tmp_path, settings(upstream, tmp_path / "s.db"))
    try:
        assert post(proxy, "k1", ("X-Not-Before", "100")).status == 202
        proxy.config["routes"][0]["name"] = "other"
        proxy.write()
        assert proxy.ask("POST", "/reload")[0] == 200
        eventually(lambda: "has 1 entries of route 'shop'" in proxy.errors, 5)
    finally:
        proxy.stop()
