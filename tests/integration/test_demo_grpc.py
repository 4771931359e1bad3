"""The demo's own gRPC: beside the real library on either side, and through the real command."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
import yaml
from integration.grpc_service import SERVICE, StockService
from integration.running_proxy import RunningProxy
from integration.settings import Settings, more_time

from proxy.demo.configuration import Ports, render
from proxy.demo.dependencies import DependencyServer, make_server
from proxy.demo.grpc_calls import GrpcChannel, GrpcError
from proxy.demo.pricing import Quote, price_of, request_for
from proxy.demo.scene import Dependency, Scene, Tempo, Trouble

QUOTE = Dependency.PRICING.path
StartProxy = Callable[..., RunningProxy]


class TroubledScene(Scene):
    """The first requests meet these troubles, one each; later ones none."""

    def __init__(self) -> None:
        super().__init__(300)  # a slow answer comes after seconds: no test waits for one
        self.troubles: list[Trouble] = []

    def trouble(self, dependency: Dependency, now: float, replica: int = 0) -> Trouble:
        return self.troubles.pop(0) if self.troubles else Trouble.NONE


@pytest.fixture
def scene() -> TroubledScene:
    return TroubledScene()


@pytest.fixture
async def pricing(scene: TroubledScene) -> AsyncIterator[DependencyServer]:
    server = make_server(Dependency.PRICING, scene, lambda: 0.0)
    await server.open()
    yield server
    await server.shut_down()


@pytest.fixture
def stock() -> Any:
    service = StockService()
    yield service
    service.stop()


async def _ask(channel: GrpcChannel, order: str = "with-1", seconds: float = 5) -> Quote:
    return Quote.decoded((await channel.unary(QUOTE, request_for(order), seconds)).message)


# --- beside the real library ----------------------------------------------------------------------


async def _real_call(port: int, path: str, seconds: float = 5) -> bytes:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        reply: bytes = await channel.unary_unary(path)(request_for("with-1"), timeout=seconds)
        return reply


async def test_a_real_client_gets_a_quote(pricing: DependencyServer) -> None:
    reply = await _real_call(pricing.port, QUOTE)
    assert Quote.decoded(reply) == Quote(price_of("with-1"), "EUR")


@pytest.mark.parametrize(
    ("trouble", "path", "code"),
    [
        (Trouble.UNAVAILABLE, QUOTE, grpc.StatusCode.UNAVAILABLE),
        (Trouble.SLOW, QUOTE, grpc.StatusCode.DEADLINE_EXCEEDED),
        (Trouble.NONE, "/shop.v1.Pricing/Guess", grpc.StatusCode.UNIMPLEMENTED),
    ],
)
async def test_a_real_client_understands_its_failures(
    pricing: DependencyServer,
    scene: TroubledScene,
    trouble: Trouble,
    path: str,
    code: grpc.StatusCode,
) -> None:
    scene.troubles = [trouble]
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await _real_call(pricing.port, path, seconds=0.3)
    assert failed.value.code() is code
    assert not pricing.ledger.work, "a caller that has left leaves no work behind"


async def test_it_asks_a_real_server(stock: StockService) -> None:
    async with GrpcChannel("127.0.0.1", stock.port, "stock") as channel:
        reply = await channel.unary(f"/{SERVICE}/Echo", b"x" * 5000, 5)
        assert reply.message == b"x" * 5000
        with pytest.raises(GrpcError, match="sold out: 100%") as failed:
            await channel.unary(f"/{SERVICE}/Fail", b"8:sold out: 100%", 5)
        assert failed.value.name == "RESOURCE_EXHAUSTED"
        left = float((await channel.unary(f"/{SERVICE}/Remaining", b"", 3)).message)
        assert 2 < left <= 3


async def test_more_than_a_window_passes_in_both_directions(stock: StockService) -> None:
    async with GrpcChannel("127.0.0.1", stock.port, "stock") as channel:
        message = b"x" * 10_000
        for _ in range(20):
            assert (await channel.unary(f"/{SERVICE}/Echo", message, 5)).message == message


async def test_many_calls_at_once_share_a_connection(pricing: DependencyServer) -> None:
    async with GrpcChannel("127.0.0.1", pricing.port, "pricing") as channel:
        orders = [f"with-{number}" for number in range(50)]
        quotes = await asyncio.gather(*(_ask(channel, order) for order in orders))
        assert [quote.cents for quote in quotes] == [price_of(order) for order in orders]


async def test_a_server_that_dies_fails_the_call_and_the_next_one_connects_again(
    pricing: DependencyServer, scene: TroubledScene
) -> None:
    async with GrpcChannel("127.0.0.1", pricing.port, "pricing") as channel:
        scene.troubles = [Trouble.SLOW]
        asking = asyncio.create_task(_ask(channel))
        async with asyncio.timeout(3):
            while not pricing.ledger.requests:
                await asyncio.sleep(0.005)
        await pricing.close()
        for attempt in (asking, _ask(channel)):
            with pytest.raises(GrpcError) as failed:
                await attempt
            assert failed.value.name == "UNAVAILABLE"
        await pricing.open()
        assert (await _ask(channel)).currency == "EUR"


# --- through the real command -----------------------------------------------------------------


def _settings(pricing: DependencyServer, attempt: float = 20) -> Settings:
    """The demo's file, whose attempts may last longer by this factor."""
    endpoints = {dependency: [pricing.port] for dependency in Dependency}
    file: Settings = yaml.safe_load(render(Tempo(8), Ports(0, 0, 0), endpoints))
    file["policies"]["dependency"]["circuit_breaker"]["mode"] = "enforce"
    more_time(file["routes"], attempt=attempt, request=20)
    return {key: file[key] for key in ("upstreams", "policies", "routes")}


@pytest.mark.parametrize(
    ("troubles", "attempt", "seconds"),
    [([Trouble.UNAVAILABLE, Trouble.UNAVAILABLE], 20, 0.24), ([Trouble.SLOW], 5, 0.68)],
)
async def test_the_proxy_hides_a_burst_of_trouble(
    start_proxy: StartProxy,
    pricing: DependencyServer,
    scene: TroubledScene,
    troubles: list[Trouble],
    attempt: float,
    seconds: float,
) -> None:
    """Two waits of 0.1 and 0.2 s, or an attempt of 0.6 s and a wait, a fifth less at the least."""
    proxy = await asyncio.to_thread(start_proxy, _settings(pricing, attempt))
    scene.troubles = list(troubles)
    async with GrpcChannel("127.0.0.1", proxy.outbound, "pricing") as channel:
        began = time.monotonic()
        reply = await channel.unary(QUOTE, request_for("with-1"), 5)
        assert time.monotonic() - began >= seconds
        assert Quote.decoded(reply.message).cents == price_of("with-1")
        attempts = 1 + len(troubles)
        assert f"attempts={attempts}".encode() in reply.head[b"proxy-status"]
        assert pricing.ledger.requests == attempts


async def test_an_open_breaker_answers_a_grpc_caller_in_its_own_terms(
    start_proxy: StartProxy, pricing: DependencyServer, scene: TroubledScene
) -> None:
    proxy = await asyncio.to_thread(start_proxy, _settings(pricing))
    scene.troubles = [Trouble.UNAVAILABLE] * 6
    async with GrpcChannel("127.0.0.1", proxy.outbound, "pricing") as channel:
        for _ in range(3):
            with pytest.raises(GrpcError) as failed:
                await _ask(channel)
            assert failed.value.name == "UNAVAILABLE"
        requests = pricing.ledger.requests
        assert requests == 5, "five failures open the breaker, in the middle of the second call"
        assert "circuit breaker" in str(failed.value)
