"""The service of gRPC's interoperability tests, with messages that need no generated code.

A request is the size of each reply that it asks for, or a status, and bytes besides; a reply is
zeros. Metadata that carries the two names below comes back in the head and in the trailers.
"""

import json
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc

SERVICE = "grpc.testing.TestService"
INITIAL = "x-grpc-test-echo-initial"
TRAILING = "x-grpc-test-echo-trailing-bin"


def message(*sizes: int, body: int = 0, status: int = 0, text: str = "") -> bytes:
    """A request: `sizes` of the replies, `body` bytes of its own, or the status to end with."""
    asked = {"sizes": sizes, "status": status, "text": text}
    return json.dumps(asked).encode() + b"\n" + bytes(body)


class InteropService:
    def __init__(self) -> None:
        self._server = grpc.server(futures.ThreadPoolExecutor(32))
        unary = grpc.unary_unary_rpc_method_handler
        methods: dict[str, grpc.RpcMethodHandler] = {
            "EmptyCall": unary(lambda request, context: b""),
            "UnaryCall": unary(self._unary),
            "StreamingInputCall": grpc.stream_unary_rpc_method_handler(self._input),
            "StreamingOutputCall": grpc.unary_stream_rpc_method_handler(self._output),
            "FullDuplexCall": grpc.stream_stream_rpc_method_handler(self._duplex),
        }
        handlers = grpc.method_handlers_generic_handler(SERVICE, methods)
        self._server.add_generic_rpc_handlers((handlers,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.stop(None).wait()

    def _unary(self, request: bytes, context: Any) -> bytes:
        _echo(context)
        (size,) = _read(request, context)
        return bytes(size)

    def _input(self, requests: Iterator[bytes], context: Any) -> bytes:
        return b"%d" % sum(len(request.partition(b"\n")[2]) for request in requests)

    def _output(self, request: bytes, context: Any) -> Iterator[bytes]:
        for size in _read(request, context):
            yield bytes(size)

    def _duplex(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        _echo(context)
        for request in requests:
            for size in _read(request, context):
                yield bytes(size)


def _read(request: bytes, context: Any) -> list[int]:
    asked = json.loads(request.partition(b"\n")[0])
    if asked["status"]:
        code = next(code for code in grpc.StatusCode if code.value[0] == asked["status"])
        context.abort(code, asked["text"])
    sizes: list[int] = asked["sizes"]
    return sizes


def _echo(context: Any) -> None:
    came = dict(context.invocation_metadata())
    if INITIAL in came:
        context.send_initial_metadata([(INITIAL, came[INITIAL])])
    if TRAILING in came:
        context.set_trailing_metadata([(TRAILING, came[TRAILING])])
