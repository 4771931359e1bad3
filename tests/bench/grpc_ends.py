"""grpcio as both ends of a benchmark: ``serve PORT``, or ``call PORT COUNT CONNECTIONS STREAMS``.

A unary method that takes any message and answers with 1 KiB. `call` ends with status 1 if a call
fails or its reply is not right. ``--ids``: each call has ids of its own in its metadata.
"""

import argparse
import asyncio
import signal

import grpc

METHOD = "/bench.v1.Echo/Unary"
REQUEST, REPLY = b"q" * 128, b"r" * 1024


async def serve(port: int) -> None:
    """Until SIGTERM."""

    async def answer(request: bytes, context: object) -> bytes:
        return REPLY

    server = grpc.aio.server()
    _, service, method = METHOD.split("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await server.stop(None)


async def call(port: int, count: int, connections: int, streams: int, *, ids: bool) -> None:
    """`count` calls over `connections`, with `streams` at once on each."""
    numbers = iter(range(count))
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) for _ in range(connections)
    ]

    async def work(channel: grpc.aio.Channel) -> None:
        unary = channel.unary_unary(METHOD)
        for number in numbers:
            reply = await unary(REQUEST, timeout=30, metadata=_ids(number) if ids else None)
            if reply != REPLY:
                raise SystemExit(f"call {number}: another reply")

    await asyncio.gather(*(work(channel) for channel in channels for _ in range(streams)))
    for channel in channels:
        await channel.close()


def _ids(number: int) -> list[tuple[str, str]]:
    return [
        ("x-request-id", f"{number:032x}"),
        ("traceparent", f"00-{number + 1:032x}-{number + 1:016x}-01"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["serve", "call"])
    parser.add_argument("port", type=int)
    parser.add_argument("numbers", type=int, nargs="*", help="count, connections, streams")
    parser.add_argument("--ids", action="store_true")
    options = parser.parse_args()
    if options.role == "serve":
        asyncio.run(serve(options.port))
    else:
        asyncio.run(call(options.port, *options.numbers, ids=options.ids))


if __name__ == "__main__":
    main()
