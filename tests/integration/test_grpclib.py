"""Another implementation of gRPC on both sides: grpclib, which is asyncio and pure Python."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpclib.const
import grpclib.server
import pytest
from grpclib.client import Channel, StreamStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError
from integration.grpc_service import SERVICE, StockService
from integration.ports import free_port
from integration.running_proxy import RunningProxy
from integration.settings import Settings


class Bytes(CodecBase):
    """Messages as they are."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class Stock:
    """The same service as `StockService`, the methods that are needed here."""

    def __mapping__(self) -> dict[str, grpclib.const.Handler]:
        unary, both = grpclib.const.Cardinality.UNARY_UNARY, grpclib.const.Cardinality.STREAM_STREAM
        return {
            f"/{SERVICE}/Echo": grpclib.const.Handler(self._echo, unary, bytes, bytes),
            f"/{SERVICE}/Fail": grpclib.const.Handler(self._fail, unary, bytes, bytes),
            f"/{SERVICE}/Chat": grpclib.const.Handler(self._chat, both, bytes, bytes),
        }

    async def _echo(self, stream: Any) -> None:
        await stream.send_message(await stream.recv_message())

    async def _fail(self, stream: Any) -> None:
        code, _, message = (await stream.recv_message()).decode().partition(":")
        raise GRPCError(Status(int(code)), message)

    async def _chat(self, stream: Any) -> None:
        async for piece in stream:
            await stream.send_message(b"re: " + piece)


async def talk(port: int) -> dict[str, Any]:
    """What a client hears of all of that."""
    heard: dict[str, Any] = {}
    async with Channel("127.0.0.1", port, codec=Bytes()) as channel:
        echo = UnaryUnaryMethod(channel, f"/{SERVICE}/Echo", bytes, bytes)
        heard["echo"] = await echo(b"x" * 300_000, timeout=10)
        fail = UnaryUnaryMethod(channel, f"/{SERVICE}/Fail", bytes, bytes)
        try:
            await fail(b"14:down for a moment", timeout=10)
        except GRPCError as error:
            heard["fail"] = (error.status.value, error.message)
        chat = StreamStreamMethod(channel, f"/{SERVICE}/Chat", bytes, bytes)
        async with chat.open(timeout=10) as stream:
            heard["chat"] = []
            for number in range(5):
                await stream.send_message(b"%d" % number)
                heard["chat"].append(await stream.recv_message())
            await stream.end()
    return heard


EXPECTED = {
    "echo": b"x" * 300_000,
    "fail": (14, "down for a moment"),
    "chat": [b"re: %d" % number for number in range(5)],
}


def settings(port: int) -> Settings:
    url = f"http://127.0.0.1:{port}"
    return {
        "upstreams": {"stock": {"endpoints": [url]}, "app": {"endpoints": [url]}},
        "routes": [{"name": "stock", "upstream": "stock"}],
    }


@pytest.mark.parametrize("listener", ["outbound", "inbound"])
def test_its_client_before_grpcios_service(
    start_proxy: Callable[..., RunningProxy], listener: str
) -> None:
    service = StockService()
    proxy = start_proxy(settings(service.port))
    assert asyncio.run(talk(getattr(proxy, listener))) == EXPECTED
    service.stop()


def test_its_client_and_its_service(start_proxy: Callable[..., RunningProxy]) -> None:
    port = free_port()
    proxy = start_proxy(settings(port))

    async def go() -> tuple[dict[str, Any], dict[str, Any]]:
        server = grpclib.server.Server([Stock()], codec=Bytes())
        await server.start("127.0.0.1", port)
        direct, proxied = await talk(port), await talk(proxy.outbound)
        await asyncio.to_thread(proxy.stop)  # its idle connections would outlive this loop
        server.close()
        await server.wait_closed()
        return direct, proxied

    direct, proxied = asyncio.run(go())
    assert proxied == direct == EXPECTED
