"""The demonstration: its dependencies and order service on real sockets, and the whole command."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession

from proxy.demo.dependencies import DependencyServer, make_server
from proxy.demo.grpc_calls import GrpcChannel
from proxy.demo.orders import Fate, Order, OrderService, OrderStream, World
from proxy.demo.pricing import price_of
from proxy.demo.proxy_process import ProxyDied, running_proxy
from proxy.demo.scene import OVER_HTTP, Dependency, Scene, Trouble

PATIENT = dict.fromkeys(Dependency, 10.0)
"""Seconds that no call reaches whose dependency answers."""
SHORT = 0.3


class FixedScene(Scene):
    """Each dependency in the trouble that the test sets, whatever the time."""

    def __init__(self) -> None:
        super().__init__(300)  # a slow answer comes after seconds: no test waits for one
        self.troubles = dict.fromkeys(Dependency, Trouble.NONE)

    def trouble(self, dependency: Dependency, now: float, replica: int = 0) -> Trouble:
        return self.troubles[dependency]


@asynccontextmanager
async def _dependencies(scene: Scene) -> AsyncIterator[dict[Dependency, DependencyServer]]:
    servers = {d: make_server(d, scene, lambda: 0.0) for d in Dependency}
    try:
        for server in servers.values():
            await server.open()
        yield servers
    finally:
        for server in servers.values():
            await server.shut_down()


@pytest.fixture
def scene() -> FixedScene:
    return FixedScene()


@pytest.fixture
async def servers(scene: FixedScene) -> AsyncIterator[dict[Dependency, DependencyServer]]:
    async with _dependencies(scene) as servers:
        yield servers


Service = Callable[..., OrderService]


@pytest.fixture
async def make_service(
    servers: dict[Dependency, DependencyServer],
) -> AsyncIterator[Service]:
    """Makes an order service whose timeouts are PATIENT but for those that are named."""
    urls = {d: f"http://127.0.0.1:{servers[d].port}" for d in OVER_HTTP}
    port = servers[Dependency.PRICING].port
    async with ClientSession() as session, GrpcChannel("127.0.0.1", port, "pricing") as pricing:

        def make(timeouts: Mapping[Dependency, float] | None = None) -> OrderService:
            return OrderService(session, urls, pricing, PATIENT | dict(timeouts or {}))

        yield make


@pytest.fixture
def service(make_service: Service) -> OrderService:
    return make_service()


async def _place(service: OrderService, number: int = 1) -> Order:
    order = Order(World.WITHOUT, number)
    await service.place(order)
    return order


async def test_an_order_is_priced_reserved_paid_and_shipped_under_one_key(
    service: OrderService, servers: dict[Dependency, DependencyServer]
) -> None:
    order = await _place(service)
    assert order.fate is Fate.OK
    assert order.seconds >= order.step_seconds > 0
    assert order.cents == price_of(order.key)
    assert service.quotes == {"OK": 1}
    assert all(server.ledger.work == {order.key: 1} for server in servers.values())


async def test_an_answer_of_503_fails_the_order_and_nothing_is_paid(
    service: OrderService, servers: dict[Dependency, DependencyServer], scene: FixedScene
) -> None:
    scene.troubles[Dependency.INVENTORY] = Trouble.UNAVAILABLE
    order = await _place(service)
    assert (order.fate, order.step, order.why) == (Fate.FAILED, Dependency.INVENTORY, "503")
    assert not servers[Dependency.INVENTORY].ledger.work
    assert not servers[Dependency.PAYMENT].ledger.requests


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        (Trouble.UNAVAILABLE, "UNAVAILABLE"),
        (Trouble.SLOW, "DEADLINE_EXCEEDED"),
        (Trouble.DOWN, "UNAVAILABLE"),
    ],
)
async def test_an_order_without_a_price_fails_with_the_status_of_its_call(
    make_service: Service,
    servers: dict[Dependency, DependencyServer],
    scene: FixedScene,
    trouble: Trouble,
    status: str,
) -> None:
    service = make_service({Dependency.PRICING: SHORT} if trouble is Trouble.SLOW else None)
    scene.troubles[Dependency.PRICING] = trouble
    if trouble is Trouble.DOWN:
        await servers[Dependency.PRICING].close()
    order = await _place(service)
    assert (order.fate, order.step, order.why) == (Fate.FAILED, Dependency.PRICING, status)
    assert service.quotes == {status: 1}
    assert not servers[Dependency.PRICING].ledger.work
    assert not servers[Dependency.INVENTORY].ledger.requests


async def test_a_lost_answer_leaves_a_charge_that_a_repeat_does_not_double(
    service: OrderService, servers: dict[Dependency, DependencyServer], scene: FixedScene
) -> None:
    scene.troubles[Dependency.PAYMENT] = Trouble.LOSES_ANSWERS
    order = await _place(service)
    assert (order.fate, order.step) == (Fate.FAILED, Dependency.PAYMENT)
    assert servers[Dependency.PAYMENT].ledger.work == {order.key: 1}
    scene.troubles[Dependency.PAYMENT] = Trouble.NONE
    assert (await _place(service)).fate is Fate.OK
    ledger = servers[Dependency.PAYMENT].ledger
    assert (ledger.work, ledger.repeats) == ({order.key: 1}, 1)


async def test_a_slow_dependency_runs_into_the_client_timeout(
    make_service: Service, scene: FixedScene
) -> None:
    scene.troubles[Dependency.SHIPPING] = Trouble.SLOW
    order = await _place(make_service({Dependency.SHIPPING: SHORT}))
    assert (order.fate, order.step, order.why) == (Fate.FAILED, Dependency.SHIPPING, "timeout")
    assert order.step_seconds >= 0.9 * SHORT


async def test_who_is_down_refuses_connections_and_comes_back_on_the_same_port(
    service: OrderService, servers: dict[Dependency, DependencyServer], scene: FixedScene
) -> None:
    payment = servers[Dependency.PAYMENT]
    port = payment.port
    following = asyncio.create_task(payment.follow_scene())
    try:
        assert (await _place(service)).fate is Fate.OK
        scene.troubles[Dependency.PAYMENT] = Trouble.DOWN
        await _until(lambda: not payment.listening)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert (await _place(service, 2)).step is Dependency.PAYMENT
        scene.troubles[Dependency.PAYMENT] = Trouble.NONE
        await _until(lambda: payment.listening)
        assert payment.port == port
        assert (await _place(service, 3)).fate is Fate.OK
    finally:
        following.cancel()


async def test_who_dies_leaves_its_work_undone_and_says_nothing(
    service: OrderService,
    servers: dict[Dependency, DependencyServer],
    scene: FixedScene,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene.troubles[Dependency.INVENTORY] = Trouble.SLOW
    orders = [Order(World.WITHOUT, number) for number in range(10)]
    placing = [asyncio.create_task(service.place(order)) for order in orders]
    inventory = servers[Dependency.INVENTORY]
    await _until(lambda: inventory.ledger.requests == len(orders))
    await inventory.close()
    await asyncio.gather(*placing)
    assert {order.why for order in orders} == {"connection lost or refused"}
    assert not inventory.ledger.work
    assert not caplog.records


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(3):
        while not condition():
            await asyncio.sleep(0.005)


async def test_both_twins_get_the_same_orders(service: OrderService) -> None:
    stream = OrderStream(dict.fromkeys(World, service), [0.01 * n for n in range(10)])
    await stream.run()
    await stream.settle(2)
    for world in World:
        assert [order.number for order in stream.orders[world]] == list(range(10))
        assert {order.fate for order in stream.orders[world]} == {Fate.OK}


async def test_who_waits_too_long_stays_under_way(service: OrderService, scene: FixedScene) -> None:
    scene.troubles[Dependency.INVENTORY] = Trouble.SLOW
    stream = OrderStream({World.WITHOUT: service}, [0.0, 0.02])
    await stream.run()
    await stream.settle(0)
    assert [order.fate for order in stream.orders[World.WITHOUT]] == [Fate.UNDER_WAY] * 2


# --- the command --------------------------------------------------------------------------------


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "proxy", "demo", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "80"},
    )


def _row(out: str, name: str) -> list[float]:
    (line,) = [line for line in out.splitlines() if f" {name} " in line and "│" in line]
    cells = line.strip("│").split("│")[1:]
    return [float(re.sub(r"[^\d.]", "", cell) or "nan") for cell in cells]


@pytest.mark.long
def test_a_run_shows_every_state_and_ends_with_what_the_proxy_saved() -> None:
    began = time.monotonic()
    demo = _start("--duration", "8s")
    try:
        out, err = demo.communicate(timeout=60)
    finally:
        demo.kill()
        demo.wait()
    assert (demo.returncode, err) == (0, ""), out
    assert time.monotonic() - began >= 8
    # By its own clock, which the start of two interpreters is no part of.
    told = [float(line) for line in re.findall(r"^ +(\d+\.\d) s  ", out, re.MULTILINE)]
    assert 7 <= max(told) < 12
    _check_table(out)
    _check_breakers(out)
    assert "\x1b" not in out, "this is no terminal"
    for told in ("pricing answers UNAVAILABLE by gRPC", "inventory answers 503"):
        assert re.search(rf"^ +\d\.\d s  {told}", out, re.MULTILINE)
    got, without = (
        [_row(out, f"gRPC calls to pricing: {status}")[side] for status in ("OK", "UNAVAILABLE")]
        for side in (0, 1)
    )
    assert got[0] > without[0], out
    assert got[1] < without[1], out
    assert "resilience-proxy run" in out.splitlines()[-1]


@pytest.mark.long
def test_with_faults_policies_keep_the_orders_that_others_lose() -> None:
    demo = _start("--duration", "8s", "--faults")
    try:
        out, err = demo.communicate(timeout=40)
    finally:
        demo.kill()
        demo.wait()
    assert (demo.returncode, err) == (0, ""), out
    assert re.search(r"status page: http://127\.0\.0\.1:\d+/", out)
    succeeded, placed = _row(out, "orders succeeded"), _row(out, "orders placed")
    assert succeeded[0] > succeeded[1] + 5, out
    assert succeeded[0] >= 0.8 * placed[0], out
    for kind in ("delays", "aborts"):
        assert min(_row(out, f"injected {kind}")) > 0, out
    for name in (
        *("retries made", "fallbacks served", "calls hedged", "calls beyond a rate limit"),
        "ejections of an endpoint",
    ):
        assert _row(out, name)[0] > 0, out
    assert "shipping's rate limit" in out
    assert "it was ejected" in out
    assert _row(out, "orders charged twice") == [0, 0]


@pytest.mark.long
def test_with_a_saga_nothing_accepted_is_lost_though_the_proxy_is_killed() -> None:
    demo = _start("--duration", "8s", "--saga")
    try:
        out, err = demo.communicate(timeout=60)
    finally:
        demo.kill()
        demo.wait()
    assert (demo.returncode, err) == (0, ""), out
    assert _row(out, "orders placed")[0] > 30, out
    assert _row(out, "accepted with 202") == _row(out, "orders placed"), out
    assert _row(out, "kills of the proxy (kill -9)") == [2], out
    done, undone = (
        _row(out, "reserved, paid and shipped"),
        _row(out, "compensated: nothing paid, nothing reserved"),
    )
    assert done[0] + undone[0] == _row(out, "accepted with 202")[0], out
    assert undone[0] > 0, out
    assert _row(out, "posts repeated with the same key")[0] > 5, out
    nothing = ("of these with another answer", "not ended yet", "accepted and lost",
               "placed by halves", "done twice at a service")  # fmt: skip
    assert [_row(out, name)[0] for name in nothing] == [0] * len(nothing), out
    for told in ("202 PENDING", "kill -9", "Shipping refuses connections", "stock is released"):
        assert told in out


def _check_table(out: str) -> None:
    placed, succeeded, failed = (
        _row(out, f"orders {what}") for what in ("placed", "succeeded", "failed")
    )
    assert placed[0] >= 0.9 * 96, out
    assert succeeded[0] > succeeded[1] + 5, out
    for side in (0, 1):
        assert succeeded[side] + failed[side] == placed[side]
    assert _row(out, "orders charged twice") == [0, 0]
    for name in (
        "of these after a retry",
        "of these with shipping deferred",
        "retries made",
        "calls saved by open breakers",
    ):
        assert _row(out, name)[0] >= 1, out


def _check_breakers(out: str) -> None:
    payment, shipping = (
        re.findall(r"(open|half-open|closed) [\d.]+", line + "".join(more))
        for line, more in re.findall(r"^  (?:payment|shipping): (.*)((?:\n    .*)*)", out, re.M)
    )
    assert payment[:2] == ["open", "half-open"], out
    assert payment[-1] == "closed", out
    assert shipping[:2] == ["open", "half-open"], out


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.long
def test_leaving_early_ends_cleanly_with_what_there_was(number: signal.Signals) -> None:
    demo = _start("--duration", "30s")
    try:
        assert demo.stdout is not None
        assert "status page" in demo.stdout.readline()
        assert "All is well" in demo.stdout.readline()
        (child,) = _children(demo.pid)
        while " ok" not in demo.stdout.readline():
            pass
        demo.send_signal(number)
        out, err = demo.communicate(timeout=10)
    finally:
        demo.kill()
        demo.wait()
    assert (demo.returncode, err) == (0, "")
    assert _row(out, "orders placed")[0] > 0
    assert not Path(f"/proc/{child}").exists(), "the proxy is gone with it"


async def test_a_proxy_that_cannot_start_says_why() -> None:
    async with ClientSession() as session:
        with pytest.raises(ProxyDied, match=r"status 2 and wrote:\n.*colour: unknown key"):
            async with running_proxy("colour: red\n", "http://127.0.0.1:9", session):
                pytest.fail("it is not ready")


@pytest.mark.long
def test_a_proxy_that_dies_ends_the_demo_and_says_so() -> None:
    demo = _start("--duration", "30s")
    try:
        assert demo.stdout is not None
        assert "status page" in demo.stdout.readline()
        (child,) = _children(demo.pid)
        os.kill(child, signal.SIGKILL)
        _, err = demo.communicate(timeout=10)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 1
    assert err.startswith("the proxy ended with status -9")


def test_a_run_too_short_to_show_anything_is_refused() -> None:
    demo = _start("--duration", "1s")
    out, err = demo.communicate(timeout=10)
    assert (demo.returncode, out) == (2, "")
    assert "at least 5 s" in err
