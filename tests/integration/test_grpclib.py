"""Another implementation of gRPC on both sides: grpclib, which is asyncio and pure Python."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpclib.const
import grpclib.server
import pytest
from grpclib.client import (
    Channel,
    StreamStreamMethod,
    StreamUnaryMethod,
    UnaryStreamMethod,
    UnaryUnaryMethod,
)
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
    """The same service as `StockService`, the methods that are needed here, and two more."""

    def __mapping__(self) -> dict[str, grpclib.const.Handler]:
        kinds = grpclib.const.Cardinality
        methods = {
            "Echo": (self._echo, kinds.UNARY_UNARY),
            "Fail": (self._fail, kinds.UNARY_UNARY),
            "Chat": (self._chat, kinds.STREAM_STREAM),
            "Many": (self._many, kinds.UNARY_STREAM),
            "Count": (self._count, kinds.STREAM_UNARY),
        }
        return {
            f"/{SERVICE}/{name}": grpclib.const.Handler(method, kind, bytes, bytes)
            for name, (method, kind) in methods.items()
        }

    async def _echo(self, stream: Any) -> None:
        message = await stream.recv_message()
        told = stream.metadata.get("x-told-bin")
        if told:
            await stream.send_initial_metadata(metadata={"x-told-bin": told})
        if message == b"sleep":
            await asyncio.sleep(30)
        await stream.send_message(message)

    async def _many(self, stream: Any) -> None:
        await stream.recv_message()
        for number in range(50):
            await stream.send_message(b"%d" % number)

    async def _count(self, stream: Any) -> None:
        await stream.send_message(b"%d" % sum([len(piece) async for piece in stream]))

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


async def talk_more(port: int) -> dict[str, Any]:
    """The other kinds of streams, a large message, metadata, a deadline, a cancelled call."""
    heard: dict[str, Any] = {}
    async with Channel("127.0.0.1", port, codec=Bytes()) as channel:
        echo = UnaryUnaryMethod(channel, f"/{SERVICE}/Echo", bytes, bytes)
        heard["large"] = len(await echo((3 << 20) * b"m", timeout=20))
        async with echo.open(timeout=10, metadata={"x-told-bin": b"\0\xff"}) as stream:
            await stream.send_message(b"x", end=True)
            await stream.recv_message()
            heard["metadata"] = stream.initial_metadata["x-told-bin"]
        many = UnaryStreamMethod(channel, f"/{SERVICE}/Many", bytes, bytes)
        heard["many"] = [int(one) for one in await many(b"", timeout=10)]
        count = StreamUnaryMethod(channel, f"/{SERVICE}/Count", bytes, bytes)
        heard["count"] = await count([b"x" * 1000] * 20, timeout=10)
        # Its own timer, or the answer of whoever's timer was first.
        with pytest.raises((asyncio.TimeoutError, GRPCError)) as too_late:
            await echo(b"sleep", timeout=0.1)
        if isinstance(too_late.value, GRPCError):
            assert too_late.value.status is Status.DEADLINE_EXCEEDED
        async with echo.open() as stream:
            await stream.send_message(b"sleep", end=True)
            await stream.cancel()
        heard["afterwards"] = await echo(b"x", timeout=10)
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

    async def go() -> list[dict[str, Any]]:
        server = grpclib.server.Server([Stock()], codec=Bytes())
        await server.start("127.0.0.1", port)
        ports = (port, proxy.outbound)
        try:
            return [await talk(one) for one in ports] + [await talk_more(one) for one in ports]
        finally:
            await asyncio.to_thread(proxy.stop)  # its idle connections would outlive this loop
            server.close()
            await server.wait_closed()

    direct, proxied, more_direct, more_proxied = asyncio.run(go())
    assert proxied == direct == EXPECTED
    assert more_proxied == more_direct
    assert more_direct["large"] == 3 << 20
