"""A gRPC service without generated code: its messages are bytes, its methods what tests need."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc

SERVICE = "shop.v1.Stock"
MOST = 16 * 1024 * 1024
OPTIONS = [("grpc.max_receive_message_length", MOST), ("grpc.max_send_message_length", MOST)]


@dataclass
class Heard:
    """What the service heard. `cancelled`: a call ended before it was answered."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    news: threading.Event = field(default_factory=threading.Event)
    failures_left: int = 0

    def named(self, method: str) -> list[dict[str, Any]]:
        return [metadata for name, metadata in self.calls if name == method]


class StockService:
    """Listens on `port`. `stop` cuts what is in flight, as a process that dies."""

    def __init__(self, port: int = 0) -> None:
        self.heard = Heard()
        self._server = grpc.server(futures.ThreadPoolExecutor(32), options=OPTIONS)
        self._server.add_generic_rpc_handlers((self._handlers(),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        stopped = self._server.stop(None)
        self.heard.news.set()  # no thread waits on
        stopped.wait()

    def _handlers(self) -> grpc.GenericRpcHandler:
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        methods: dict[str, grpc.RpcMethodHandler] = {
            "Echo": unary(self._heard("Echo", self._echo)),
            "Fail": unary(self._heard("Fail", self._fail)),
            "FailLate": unary(self._heard("FailLate", self._fail_late)),
            "FailOften": unary(self._heard("FailOften", self._fail_often)),
            "Remaining": unary(self._heard("Remaining", self._remaining)),
            "Sleep": unary(self._heard("Sleep", self._sleep)),
            "Download": stream(self._heard("Download", self._download)),
            "Watch": stream(self._heard("Watch", self._watch)),
            "BreakOff": stream(self._heard("BreakOff", self._break_off)),
            "Upload": grpc.stream_unary_rpc_method_handler(self._heard("Upload", self._upload)),
            "Chat": grpc.stream_stream_rpc_method_handler(self._heard("Chat", self._chat)),
        }
        handler: grpc.GenericRpcHandler = grpc.method_handlers_generic_handler(SERVICE, methods)
        return handler

    def _heard(self, name: str, act: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def handle(request: Any, context: Any) -> Any:
            self.heard.calls.append((name, dict(context.invocation_metadata())))
            return act(request, context)

        return handle

    def _echo(self, request: bytes, context: Any) -> bytes:
        """Returns its metadata in its trailers."""
        own = [one for one in context.invocation_metadata() if one.key.startswith("x-own")]
        context.set_trailing_metadata([(key, value) for key, value in own])
        return request

    def _fail(self, request: bytes, context: Any) -> bytes:
        """``14:message``: before anything was sent, so Trailers-Only."""
        code, _, message = request.decode().partition(":")
        context.abort(_code(int(code)), message)
        raise AssertionError

    def _fail_late(self, request: bytes, context: Any) -> bytes:
        context.send_initial_metadata([("x-began", "1")])
        return self._fail(request, context)

    def _fail_often(self, request: bytes, context: Any) -> bytes:
        if self.heard.failures_left:
            self.heard.failures_left -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return request

    def _remaining(self, request: bytes, context: Any) -> bytes:
        left = context.time_remaining()
        return b"none" if left is None else b"%.3f" % left

    def _tell_of_the_end(self, context: Any) -> None:
        if not context.add_callback(self.heard.cancelled.set):  # it has ended already
            self.heard.cancelled.set()

    def _sleep(self, request: bytes, context: Any) -> bytes:
        self._tell_of_the_end(context)
        end = time.monotonic() + float(request)
        while time.monotonic() < end and context.is_active():
            time.sleep(0.005)
        return request

    def _download(self, request: bytes, context: Any) -> Iterator[bytes]:
        for number in range(int(request)):
            yield b"message %d" % number

    def _watch(self, request: bytes, context: Any) -> Iterator[bytes]:
        """Its head at once; a message when there is news; then on until the client leaves."""
        self._tell_of_the_end(context)
        context.send_initial_metadata([("x-watching", "1")])
        while not self.heard.news.wait(0.05):
            if not context.is_active():
                return
        yield b"news"

    def _break_off(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield b"one"
        self.heard.news.wait(10)

    def _upload(self, pieces: Iterator[bytes], context: Any) -> bytes:
        return b"%d" % sum(len(piece) for piece in pieces)

    def _chat(self, pieces: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for piece in pieces:
            yield b"re: " + piece


def _code(number: int) -> grpc.StatusCode:
    return next(code for code in grpc.StatusCode if code.value[0] == number)


class Caller:
    """A channel to `port`, in the name of the service's authority."""

    def __init__(self, port: int, authority: str = "stock", **options: Any) -> None:
        given = [*OPTIONS, ("grpc.default_authority", authority), *options.items()]
        # Each caller has a connection of its own.
        given.append(("grpc.use_local_subchannel_pool", 1))
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=given)

    def unary(self, method: str, request: bytes = b"", **options: Any) -> Any:
        options.setdefault("timeout", 10)
        return self.channel.unary_unary(f"/{SERVICE}/{method}").with_call(request, **options)

    def call(self, method: str, request: bytes = b"", **options: Any) -> bytes:
        reply: bytes = self.unary(method, request, **options)[0]
        return reply

    def failing(self, method: str, request: bytes = b"", **options: Any) -> grpc.RpcError:
        """The failure of a call that must fail."""
        try:
            self.unary(method, request, **options)
        except grpc.RpcError as error:
            return error
        raise AssertionError(f"{method} did not fail")

    def download(self, method: str, request: bytes = b"", **options: Any) -> Any:
        return self.channel.unary_stream(f"/{SERVICE}/{method}")(request, **options)

    def upload(self, pieces: Iterator[bytes], **options: Any) -> bytes:
        reply: bytes = self.channel.stream_unary(f"/{SERVICE}/Upload")(pieces, **options)
        return reply

    def chat(self, pieces: Iterator[bytes], **options: Any) -> Any:
        return self.channel.stream_stream(f"/{SERVICE}/Chat")(pieces, **options)

    def close(self) -> None:
        self.channel.close()


def metadata_of(given: Any) -> dict[str, Any]:
    return dict(given or ())
