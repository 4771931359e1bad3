"""grpcio's asyncio side as client and as service: everything is as without the proxy."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from integration.running_proxy import RunningProxy

SERVICE = "shop.v1.Async"
MOST = [("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", 16 << 20)]
LARGE = 3 << 20


class Service:
    """`gone`: calls that ended before they were answered."""

    def __init__(self) -> None:
        self.gone = asyncio.Semaphore(0)

    def handlers(self) -> grpc.GenericRpcHandler:
        methods = {
            "Echo": grpc.unary_unary_rpc_method_handler(self._echo),
            "Sleep": grpc.unary_unary_rpc_method_handler(self._sleep),
            "Fail": grpc.unary_unary_rpc_method_handler(self._fail),
            "Count": grpc.stream_unary_rpc_method_handler(self._count),
            "Many": grpc.unary_stream_rpc_method_handler(self._many),
            "Chat": grpc.stream_stream_rpc_method_handler(self._chat),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def _echo(self, request: bytes, context: Any) -> bytes:
        given = dict(context.invocation_metadata())
        await context.send_initial_metadata([("x-told", given.get("x-told", ""))])
        context.set_trailing_metadata([("x-told-bin", given.get("x-told-bin", b""))])
        return request

    async def _sleep(self, request: bytes, context: Any) -> bytes:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.gone.release()
            raise
        return b""

    async def _fail(self, request: bytes, context: Any) -> None:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "out of stock: ☃ 100%")

    async def _count(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"%d" % sum([len(one) async for one in requests])

    async def _many(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(50):
            yield b"%d" % number

    async def _chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for one in requests:
            yield b"re: " + one


async def talk(port: int, service: Service) -> dict[str, Any]:
    """What a client hears of all of that."""
    heard: dict[str, Any] = {}
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.default_authority", "stock"), *MOST]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:

        async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            return caught.value.code(), caught.value.details() or ""

        told = (("x-told", "a value"), ("x-told-bin", b"\0\xff"))
        echo = channel.unary_unary(f"/{SERVICE}/Echo")(LARGE * b"m", timeout=20, metadata=told)
        heard["large"] = len(await echo)
        heard["initial"] = dict(await echo.initial_metadata())["x-told"]
        heard["trailing"] = dict(await echo.trailing_metadata())["x-told-bin"]
        heard["fail"] = await code_of(channel.unary_unary(f"/{SERVICE}/Fail")(b"", timeout=10))
        count = channel.stream_unary(f"/{SERVICE}/Count")
        heard["count"] = await count(iter([b"x" * 1000] * 20), timeout=10)
        many = channel.unary_stream(f"/{SERVICE}/Many")(b"", timeout=10)
        heard["many"] = [int(one) async for one in many]
        chat = channel.stream_stream(f"/{SERVICE}/Chat")(timeout=10)
        heard["chat"] = []
        for number in range(5):
            await chat.write(b"%d" % number)
            heard["chat"].append(await chat.read())
        await chat.done_writing()
        heard["chat end"] = await chat.code()
        sleep = channel.unary_unary(f"/{SERVICE}/Sleep")
        code, _ = await code_of(sleep(b"", timeout=0.2))
        heard["deadline"] = code
        await asyncio.wait_for(service.gone.acquire(), 5)
        call = sleep(b"", timeout=20)
        asyncio.get_running_loop().call_later(0.1, call.cancel)
        with pytest.raises(asyncio.CancelledError):
            await call
        heard["cancelled"] = await call.code()
        await asyncio.wait_for(service.gone.acquire(), 5)
    return heard


@pytest.mark.long
def test_its_client_and_its_service(start_proxy: Callable[..., RunningProxy]) -> None:
    async def go() -> list[dict[str, Any]]:
        server = grpc.aio.server(options=MOST)
        service = Service()
        server.add_generic_rpc_handlers((service.handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        upstream = {"endpoints": [f"http://127.0.0.1:{port}"]}
        settings = {
            "upstreams": {"stock": upstream, "app": upstream},
            "routes": [{"name": "stock", "upstream": "stock"}],
        }
        proxy = await asyncio.to_thread(start_proxy, settings)
        ports = (port, proxy.outbound, proxy.inbound)
        heard = [await talk(one, service) for one in ports]
        await server.stop(None)
        return heard

    direct, *proxied = asyncio.run(go())
    assert direct["large"] == LARGE
    assert direct["chat"] == [b"re: %d" % number for number in range(5)]
    assert direct["fail"] == (grpc.StatusCode.FAILED_PRECONDITION, "out of stock: ☃ 100%")
    assert proxied == [direct, direct]
