"""The real command with its store on PostgreSQL: a server that is away, and two proxies on one."""

import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from chaos.upstream import ChaosUpstream
from integration.ports import free_port
from integration.raw_client import BrokenOff, Response, request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.shop import LOST, Shop, open_shop
from integration.test_sagas import order, place_of, state
from integration.test_sagas import settings as saga_settings
from postgres import Server

Start = Callable[..., RunningProxy]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a proxy in a folder of its own; what still runs at the end must stop well."""
    started: list[RunningProxy] = []

    def start_one(settings: dict[str, Any], **environment: str) -> RunningProxy:
        folder = tmp_path / f"proxy{len(started)}"
        folder.mkdir()
        proxy = RunningProxy(folder, settings, **environment)
        started.append(proxy)
        return proxy

    yield start_one
    for proxy in started:
        if proxy.process.returncode is None:
            proxy.stop()


# --- idempotency ------------------------------------------------------------------------------


def keyed(chaos: ChaosUpstream, url: str, **idempotency: Any) -> dict[str, Any]:
    return {
        "store": {"url": url, "timeout": "2s"},
        "upstreams": {"shop": {"endpoints": [chaos.url]}},
        "routes": [
            {
                "name": "keyed",
                "match": {"path": "/keyed"},
                "upstream": "shop",
                "idempotency": {"mode": "required", **idempotency},
            },
            {"name": "plain", "upstream": "shop"},
        ],
    }


def pay(proxy: RunningProxy, key: str, **more: Any) -> Response:
    return proxy.call("POST", "/keyed", {"Idempotency-Key": key}, b"{}", **more)


def test_a_repeat_at_another_replica_gets_the_first_answer(
    shared_chaos: ChaosUpstream, start: Start, postgres_url: str
) -> None:
    one, other = [start(keyed(shared_chaos, postgres_url, wait="5s")) for _ in range(2)]
    with one.client() as client:
        asked = request_bytes(
            "POST", "/keyed", {"Idempotency-Key": "pg-1"}, b"{}", chaos="delay=0.3",
            request_id="pg-first",
        )  # fmt: skip
        client.send(asked)
        shared_chaos.wait_seen("pg-first")
        waited = pay(other, "pg-1", request_id="pg-repeat")
        first = client.read_response()
    assert (waited.status, waited.body) == (first.status, first.body) == (200, first.body)
    assert waited.header("idempotent-replayed") == "true"
    assert shared_chaos.seen("pg-repeat") == []
    shown = one.state("/store")["store"]
    assert (shown["engine"], shown["state"], shown["shared"]) == ("postgresql", "open", True)


def test_a_replica_that_dies_leaves_its_requests_unknown(
    shared_chaos: ChaosUpstream, start: Start, postgres_url: str
) -> None:
    settings = keyed(shared_chaos, postgres_url, lease="1s", keep="1h")
    one, other = start(settings), start(settings)
    with one.client() as client:
        asked = {"Idempotency-Key": "pg-died"}
        client.send(
            request_bytes("POST", "/keyed", asked, b"{}", chaos="hang", request_id="pg-died")
        )
        shared_chaos.wait_seen("pg-died")
        one.kill()
    assert pay(other, "pg-died").status == 409
    eventually(lambda: b"idempotency-unknown" in pay(other, "pg-died").body, 5)
    assert len(shared_chaos.seen("pg-died")) == 1


def test_without_its_server_plain_routes_go_on_and_the_rest_is_refused(
    shared_chaos: ChaosUpstream, start: Start, own_postgres: Server
) -> None:
    own_postgres.stop()
    url = own_postgres.url().replace("@", ":${PASSWORD}@")
    proxy = start(keyed(shared_chaos, url), PASSWORD="hidden-one")
    assert proxy.call("POST", "/plain", {}, b"{}").status == 200
    refused = pay(proxy, "away-1")
    assert (refused.status, b"store-failed" in refused.body) == (503, True)
    assert json.loads(proxy.ask("GET", "/health/ready")[1]) == {
        "status": "ready",
        "store": "failed",
    }
    assert proxy.metric("proxy_store_failed") == 1
    assert "cannot be reached" in proxy.state("/store")["store"]["failure"]
    own_postgres.start()
    eventually(lambda: proxy.metric("proxy_store_failed") == 0, 10)
    assert pay(proxy, "away-1").status == 200
    own_postgres.stop(immediate=True)
    eventually(lambda: pay(proxy, "away-1").status == 503, 5)
    assert proxy.call("POST", "/plain", {}, b"{}").status == 200
    own_postgres.start()
    eventually(lambda: pay(proxy, "away-1").header("idempotent-replayed") == "true", 10)
    for path in ("/status", "/store", "/config", "/metrics"):
        assert "hidden-one" not in proxy.ask("GET", path)[1], path
    proxy.stop()
    assert "hidden-one" not in proxy.errors + proxy.output
    assert "can be reached again" in proxy.errors + proxy.output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: url + "_none", "does not exist (3D000)"),
        (lambda url: url.replace("postgres@", "nobody:secret-word@"), "(28000)"),
    ],
    ids=["database", "role"],
)
def test_a_server_that_refuses_the_proxy_ends_the_start(
    tmp_path: Path, postgres_url: str, change: Callable[[str], str], said: str
) -> None:
    file = tmp_path / "proxy.yaml"
    settings = {
        "listeners": {
            name: {"address": f"127.0.0.1:{free_port()}"} for name in ("inbound", "outbound")
        },
        "admin": {"address": f"127.0.0.1:{free_port()}"},
        "store": {"url": change(postgres_url)},
    }
    file.write_text(json.dumps(settings))
    ran = subprocess.run(
        [sys.executable, "-m", "proxy", "run", "--config", str(file)],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "secret-word" not in ran.stderr


# --- outbox -----------------------------------------------------------------------------------


class Lanes:
    """An upstream that takes a while for each entry, and notes what it got in which lane."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.got: dict[str, list[int]] = defaultdict(list)
        self.at_once: list[str] = []
        running: set[str] = set()
        lock = threading.Lock()
        lanes = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                lane, _, number = self.headers["idempotency-key"].partition("-")
                with lock:
                    if lane in running:
                        lanes.at_once.append(lane)
                    running.add(lane)
                    lanes.got[lane].append(int(number))
                time.sleep(seconds)
                with lock:
                    running.discard(lane)
                with suppress(ConnectionError):  # of a proxy that was killed
                    self.send_response(200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Lanes":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def distinct(self, lane: str) -> list[int]:
        """In the order of their first arrival; a repeat must follow its first at once."""
        found: list[int] = []
        for number in self.got[lane]:
            if found[-1:] != [number]:
                found.append(number)
        assert len(found) == len(set(found)), (lane, self.got[lane])
        return found


def accepting(lanes: Lanes, url: str) -> dict[str, Any]:
    return {
        "store": {"url": url, "timeout": "1s"},
        "upstreams": {"shop": {"endpoints": [lanes.url]}},
        "routes": [
            {
                "name": "shop",
                "match": {"hosts": ["shop"]},
                "upstream": "shop",
                "outbox": {
                    "mode": "always",
                    "order_by": "header:x-lane",
                    "backoff": {"initial": "20ms", "multiplier": 1, "jitter": "none"},
                },
            }
        ],
    }


class Clients:
    """One thread for each lane, which POSTs to the proxies in turn, each after the last 202."""

    def __init__(self, proxies: list[RunningProxy], lanes: int = 6) -> None:
        self.accepted: dict[str, list[int]] = defaultdict(list)
        self.unknown: dict[str, list[int]] = defaultdict(list)
        self._proxies = proxies
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._post, args=(f"l{number}",)) for number in range(lanes)
        ]
        for thread in self._threads:
            thread.start()

    def _post(self, lane: str) -> None:
        number = 0
        while not self._stopped.is_set():
            proxy = self._proxies[number % len(self._proxies)]
            fields = [("Host", "shop"), ("X-Lane", lane), ("Idempotency-Key", f"{lane}-{number}")]
            try:
                status = proxy.call("POST", "/o", fields, b"{}").status
            except (OSError, EOFError, AssertionError, BrokenOff):
                status = 0
            (self.accepted if status == 202 else self.unknown)[lane].append(number)
            number += 1
            time.sleep(0.02)

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def total(self) -> int:
        return sum(map(len, self.accepted.values()))


def check(clients: Clients, lanes: Lanes, seconds: float) -> None:
    """All that was accepted arrives, in order; what was not told may arrive, in order too."""

    def all_there() -> bool:
        return all(set(clients.accepted[lane]) <= set(lanes.got[lane]) for lane in clients.accepted)

    eventually(all_there, seconds)
    for lane in list(lanes.got):
        found = lanes.distinct(lane)
        assert found == sorted(found), lane
    assert lanes.at_once == []


@pytest.mark.long
def test_another_replica_goes_on_with_the_work_of_one_that_was_killed(
    start: Start, postgres_url: str
) -> None:
    with Lanes() as lanes:
        settings = accepting(lanes, postgres_url)
        one, other = start(settings), start(settings)
        clients = Clients([one, other])
        try:
            eventually(lambda: clients.total() > 100, 30)
            one.kill()
            time.sleep(0.5)
        finally:
            clients.stop()
        # Lanes whose heads the dead one had claimed wait for the end of the lease (30 s).
        check(clients, lanes, 45)

        def undelivered() -> tuple[int, int]:
            counts = other.state("/outbox")["queues"][0]
            return counts["pending"], counts["dead"]

        # One that nobody was told of may wait for its lease; counted every five seconds.
        eventually(lambda: undelivered() == (0, 0), 45)


@pytest.mark.long
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_server_that_restarts_under_load_loses_nothing(
    start: Start, own_postgres: Server, how: str
) -> None:
    with Lanes() as lanes:
        proxies = [start(accepting(lanes, own_postgres.url())) for _ in range(2)]
        clients = Clients(proxies)
        try:
            eventually(lambda: clients.total() > 60, 30)
            for _ in range(2):
                if how == "kill":
                    own_postgres.kill()
                    own_postgres.start()
                else:
                    own_postgres.restart()
                before = clients.total()
                eventually(lambda: clients.total() > before + 30, 20)  # noqa: B023
        finally:
            clients.stop()
        check(clients, lanes, 45)
        for proxy in proxies:
            proxy.stop()
        # A claim whose commit was told to nobody is free at the end of its lease.
        left = own_postgres.sql(
            "SELECT count(*) FROM resilience_proxy.entries WHERE state NOT IN (1, 3)"
        )
        assert left == "0"


# --- sagas ------------------------------------------------------------------------------------


@pytest.fixture
def shop() -> Iterator[Shop]:
    with open_shop() as shop:
        yield shop


@pytest.mark.long
def test_sagas_of_a_replica_that_was_killed_are_ended_by_another(
    start: Start, shop: Shop, postgres_url: str
) -> None:
    settings = saga_settings(shop, Path("unused"))
    settings["store"] = {"url": postgres_url}
    one, other = start(settings), start(settings)
    shop.script["/pay"] = [LOST] * 3
    places = []
    for number in range(20):
        places.append(place_of(order(one, {"id": f"o-{number}", "total": 1})))
    one.kill()

    def done() -> bool:
        return all(state(other, place)["state"] in ("done", "undone") for place in places)

    eventually(done, 45)
    assert set(shop.effects.values()) == {1}
