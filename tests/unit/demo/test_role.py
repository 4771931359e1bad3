"""The parts of the order service, each as the process that the example chart runs."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from integration.ports import free_port

from proxy.demo.grpc_calls import GrpcServer
from proxy.demo.pricing import price_of
from proxy.demo.role import Pricing, dependency_app, main, orders_app
from proxy.demo.scene import OVER_HTTP, Dependency

Start = Callable[[web.Application], Awaitable[TestClient]]
KEY = {"X-Idempotency-Key": "order-1"}


@pytest.fixture
def start(aiohttp_client: Start) -> Start:
    return aiohttp_client


def url_of(client: TestClient) -> str:
    assert isinstance(client.server, TestServer)
    return str(client.server.make_url("/"))


async def test_a_dependency_does_its_work_once_for_a_key(start: Start) -> None:
    client = await start(dependency_app(Dependency.PAYMENT, 0.0, Random(1)))
    path = Dependency.PAYMENT.path
    first = await (await client.post(path, headers=KEY, json={})).json()
    again = await (await client.post(path, headers=KEY, json={})).json()
    other = await (await client.post(path, json={})).json()
    assert first == again == {"status": "CHARGED", "charge": "C1"}
    assert other["charge"] == "C2"


async def test_a_share_of_the_requests_is_refused(start: Start) -> None:
    client = await start(dependency_app(Dependency.INVENTORY, 0.3, Random(1)))
    path = Dependency.INVENTORY.path
    statuses = [(await client.post(path, json={})).status for _ in range(200)]
    assert set(statuses) == {200, 503}
    assert 40 <= statuses.count(503) <= 80


async def test_an_order_is_what_its_three_calls_are(start: Start) -> None:
    clients = {d: await start(dependency_app(d, 0.0, Random(1))) for d in OVER_HTTP}
    orders = await start(orders_app({d: url_of(client) for d, client in clients.items()}))
    response = await orders.post("/orders", headers=KEY)
    assert response.status == 201
    assert await response.json() == {
        "order": "order-1",
        "inventory": {"status": "DEDUCTED", "reservation": "R1"},
        "payment": {"status": "CHARGED", "charge": "C1"},
        "shipping": {"status": "CREATED", "trackingNumber": "T1"},
    }


async def test_the_first_failure_fails_the_order(start: Start) -> None:
    refusing = await start(dependency_app(Dependency.PAYMENT, 1.0, Random(1)))
    inventory = await start(dependency_app(Dependency.INVENTORY, 0.0, Random(1)))
    urls = {Dependency.INVENTORY: url_of(inventory), Dependency.PAYMENT: url_of(refusing)}
    orders = await start(orders_app({**urls, Dependency.SHIPPING: "http://127.0.0.1:9"}))
    response = await orders.post("/orders", headers=KEY)
    assert response.status == 502
    told = await response.json()
    assert told["failed"] == {"payment": "503"}
    assert told["inventory"]["status"] == "DEDUCTED"
    assert "shipping" not in told


async def test_health(start: Start) -> None:
    for app in (orders_app({}), dependency_app(Dependency.SHIPPING, 1.0, Random(1))):
        response = await (await start(app)).get("/health")
        assert response.status == 200


@pytest.mark.parametrize(
    "arguments",
    [["cook"], ["orders", "--address", "8080"], ["payment", "--failures", "2"], []],
)
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m proxy.demo.role" in capsys.readouterr().err


def test_it_is_started_as_a_module() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "proxy.demo.role", "-h"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert run.returncode == 0
    assert "{orders,pricing,inventory,payment,shipping}" in run.stdout


@pytest.fixture
async def pricing() -> AsyncIterator[Callable[[float], Awaitable[str]]]:
    """Starts pricing with a share of failures; returns its URL."""
    servers = []

    async def start(failures: float) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        servers.append(GrpcServer(listening, Pricing(failures, Random(1)).answer))
        await servers[-1].begin()
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for server in servers:
        await server.end()


async def test_with_a_url_of_pricing_an_order_has_a_price(
    start: Start, pricing: Callable[[float], Awaitable[str]]
) -> None:
    clients = {d: await start(dependency_app(d, 0.0, Random(1))) for d in OVER_HTTP}
    urls = {d: url_of(client) for d, client in clients.items()}
    orders = await start(orders_app({**urls, Dependency.PRICING: await pricing(0.0)}))
    response = await orders.post("/orders", headers=KEY)
    assert response.status == 201
    told = await response.json()
    assert told["pricing"] == {"cents": price_of("order-1"), "currency": "EUR"}
    assert told["shipping"]["status"] == "CREATED"


async def test_an_order_without_its_price_fails_with_the_status_of_the_call(
    start: Start, pricing: Callable[[float], Awaitable[str]]
) -> None:
    urls = dict.fromkeys(OVER_HTTP, "http://127.0.0.1:9")
    orders = await start(orders_app({**urls, Dependency.PRICING: await pricing(1.0)}))
    response = await orders.post("/orders", headers=KEY)
    assert response.status == 502
    assert await response.json() == {"order": "order-1", "failed": {"pricing": "UNAVAILABLE"}}


def test_pricing_ends_at_sigterm() -> None:
    port = free_port()
    command = [sys.executable, "-m", "proxy.demo.role", "pricing", "--address", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command)
    try:
        end = time.monotonic() + 15
        while time.monotonic() < end:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.05)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
