"""config/examples/traffic-rules.yaml: every number of it, at the real command or in its meaning."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession, TCPConnector, web
from chaos.upstream import ChaosUpstream
from documents.blocks import ROOT
from integration.conftest import LoadProxy, StartChaos
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, merged

from proxy.config import load
from proxy.config.model import LoadBalancing
from proxy.policies.bulkhead import BULKHEAD

EXAMPLE = ROOT / "config" / "examples" / "traffic-rules.yaml"

Run = Callable[..., RunningProxy]


@pytest.fixture
def run(reload_proxy: LoadProxy) -> Run:
    """The example in front of these endpoints; its fault is left to its own test."""

    def start(*endpoints: str, **route: Any) -> RunningProxy:
        file: Settings = yaml.safe_load(EXAMPLE.read_text())
        file["upstreams"]["users"]["endpoints"] = list(endpoints)
        (users,) = file["routes"]
        file["routes"] = [merged(users, {"faults": [], **route})]
        return reload_proxy({key: file[key] for key in ("upstreams", "routes")})

    return start


@pytest.fixture
def pair(start_chaos: StartChaos) -> list[ChaosUpstream]:
    return [start_chaos(), start_chaos()]


def test_the_numbers() -> None:
    loaded = load(EXAMPLE, {})
    assert loaded.warnings == ()
    users = loaded.config.upstreams["users"]
    assert (users.connections.max, users.connections.max_requests) == (100, 10)
    assert users.load_balancing is LoadBalancing.CONSISTENT_HASH
    outliers = users.outlier_detection
    assert outliers is not None
    assert (outliers.consecutive_failures, outliers.max_ejected) == (5, 0.5)
    assert outliers.failure_rate is not None
    assert (outliers.failure_rate.minimum_calls, outliers.failure_rate.window) == (5, 30.0)
    assert outliers.eject_for.initial == 30.0
    (route,) = loaded.config.routes
    policies = route.policies
    (fault,) = policies.faults
    assert (fault.share, fault.delay, fault.abort, fault.reset) == (0.001, 5.0, 0, False)
    assert (policies.retry.attempts - 1, policies.timeouts.attempt) == (3, 1.0)
    bulkhead = policies.settings(BULKHEAD)
    assert (bulkhead.max_concurrent, bulkhead.max_queue) == (100, 50)
    longest = policies.retry.attempts * policies.timeouts.attempt
    assert policies.timeouts.request > longest + 0.025 + 0.05 + 0.1, "the last attempt has its time"


def test_ten_requests_on_a_connection(run: Run, start_chaos: StartChaos) -> None:
    upstream = start_chaos()
    proxy = run(upstream.url)
    for _ in range(25):
        assert proxy.call("GET", "/users/1").status == 200
    assert upstream.connections_opened == 3


def test_three_retries(run: Run, start_chaos: StartChaos) -> None:
    proxy = run(start_chaos().url)
    response = proxy.call("GET", "/users/1", chaos="503 | 502 | 504 | 200")
    assert (response.status, response.header("proxy-status")) == (200, "orders; attempts=4")
    assert proxy.call("GET", "/users/1", chaos="503 | 503 | 503 | 503 | 200").status == 503


@pytest.mark.long
def test_an_attempt_has_a_second(run: Run, start_chaos: StartChaos) -> None:
    proxy = run(start_chaos().url, retry={"attempts": 1})
    response = proxy.call("GET", "/users/1", chaos="hang")
    assert (response.status, response.why) == (504, "attempt-timeout")
    assert 1.0 <= response.elapsed < 5


@pytest.mark.long
async def test_one_of_a_thousand_attempts_is_delayed_and_retries_hide_it(
    reload_proxy: LoadProxy, start_chaos: StartChaos
) -> None:
    file: Settings = yaml.safe_load(EXAMPLE.read_text())
    file["upstreams"]["users"]["endpoints"] = [start_chaos().url]
    proxy = await asyncio.to_thread(
        reload_proxy, {key: file[key] for key in ("upstreams", "routes")}
    )
    url = f"http://127.0.0.1:{proxy.outbound}/users/1"

    async def ask(session: ClientSession, times: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        for _ in range(times):
            async with session.get(url) as response:
                await response.read()
                statuses[response.status] += 1
        return statuses

    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        found = await asyncio.gather(*(ask(session, 1000) for _ in range(12)))
    assert sum(found, Counter()) == {200: 12_000}
    delayed = proxy.metric("proxy_faults_total", route="users", kind="delay")
    assert 1 <= delayed <= 40, "12 on average"
    assert proxy.metric("proxy_retries_total", route="users", condition="timeout") >= delayed

    def lines() -> list[dict[str, Any]]:
        return [line for line in proxy.log_lines() if line.get("fault") == "delay"]

    def told() -> int:
        return sum("fault" in attempt for line in lines() for attempt in line["attempts"])

    eventually(lambda: told() == delayed)
    first, second = lines()[0]["attempts"][:2]
    assert (first["failure"], first["fault"]) == ("attempt-timeout", "delay")
    assert 1000 <= first["duration_ms"] < 5000, "timeouts.attempt, before the delay of 5 s ends"
    assert second["status"] == 200


def test_a_user_stays_at_an_endpoint(run: Run, pair: list[ChaosUpstream]) -> None:
    proxy = run(*(one.url for one in pair))
    places = {}
    for user in range(24):
        headers = {"User-Id": f"u{user}"}
        ids = [proxy.call("GET", "/users/1", headers).id for _ in range(3)]
        seen = [[len(one.seen(id)) for one in pair] for id in ids]
        assert seen in ([[1, 0]] * 3, [[0, 1]] * 3), "always the same one"
        places[user] = seen[0].index(1)
    assert min(Counter(places.values()).values()) >= 3, "both have users"


def _ejected(proxy: RunningProxy) -> dict[str, Any]:
    """What `/upstreams` says of the ejected endpoints, by address."""
    (users,) = [one for one in proxy.state("/upstreams")["upstreams"] if one["name"] == "users"]
    return {one["address"]: one for one in users["endpoints"] if one["ejected"]}


def _user_of(proxy: RunningProxy, upstream: ChaosUpstream) -> dict[str, str]:
    """The header of a user whose endpoint this is."""
    for number in range(100):
        headers = {"User-Id": f"u{number}"}
        if upstream.seen(proxy.call("GET", "/users/1", headers).id):
            return headers
    raise AssertionError("no user's endpoint")


def test_five_gateway_errors_eject_one_of_two_for_thirty_seconds(
    run: Run, pair: list[ChaosUpstream]
) -> None:
    proxy = run(*(one.url for one in pair), retry={"attempts": 1})
    bad, good = pair
    user = _user_of(proxy, bad)
    for error in ("502", "503", "504", "503"):
        assert proxy.call("GET", "/users/1", user, chaos=error).status == int(error)
    assert _ejected(proxy) == {}
    proxy.call("GET", "/users/1", user, chaos="502")
    told = _ejected(proxy)
    assert list(told) == [bad.authority]
    assert 22 <= told[bad.authority]["ejected_for_s"] <= 33, "30 s, 10 % more or less"
    response = proxy.call("GET", "/users/1", user)
    assert (response.status, len(good.seen(response.id))) == (200, 1)
    # 50 % of two is one: the other one stays, whatever it answers.
    for _ in range(6):
        assert proxy.call("GET", "/users/1", user, chaos="503").status == 503
    assert list(_ejected(proxy)) == [bad.authority]


def test_other_errors_do_not_eject(run: Run, pair: list[ChaosUpstream]) -> None:
    proxy = run(*(one.url for one in pair), retry={"attempts": 1})
    user = _user_of(proxy, pair[0])
    for status in ("500", "429", "404") * 3:
        assert proxy.call("GET", "/users/1", user, chaos=status).status == int(status)
    assert _ejected(proxy) == {}


@pytest.mark.long
async def test_a_hundred_connections_fifty_pending_and_no_more(run: Run) -> None:
    doors = asyncio.Event()
    connections: set[Any] = set()

    async def answer(request: web.BaseRequest) -> web.Response:
        connections.add(request.transport)
        await doors.wait()
        return web.Response(text="ok")

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    # Its own numbers are held elsewhere: here a busy machine may take its time.
    slow = {"timeouts": {"attempt": "20s", "request": "30s"}, "bulkhead": {"queue_timeout": "20s"}}
    proxy = await asyncio.to_thread(run, f"http://127.0.0.1:{port}", **slow)
    url = f"http://127.0.0.1:{proxy.outbound}/users/1"

    async def ask(session: ClientSession) -> tuple[int, str]:
        async with session.get(url) as response:
            document = await response.json() if response.status != 200 else {}
            return response.status, document.get("reason", "")

    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        admitted = [asyncio.create_task(ask(session)) for _ in range(150)]
        async with asyncio.timeout(15):
            while True:
                found = (await asyncio.to_thread(proxy.state, "/bulkheads"))["bulkheads"]
                if [(one["in_use"], one["queued"]) for one in found] == [(100, 50)]:
                    break
                await asyncio.sleep(0.02)
            assert await ask(session) == (503, "bulkhead-full")
            while len(connections) < 100:
                await asyncio.sleep(0.02)
            doors.set()
            assert Counter(await asyncio.gather(*admitted)) == {(200, ""): 150}
    await runner.cleanup()
    assert len(connections) <= 100 + 50, "later ones only after ten requests, or as the first end"
