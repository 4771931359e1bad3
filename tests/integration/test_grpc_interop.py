"""gRPC's own interoperability tests, played with grpcio through each listener.

The fourteen cases that need no cloud, as gRPC's doc/interop-test-descriptions.md names them: with
the service itself, through both listeners, under TLS, and while the proxy drains. Then the six of
doc/negative-http2-interop-test-descriptions.md, in which the service ends streams and connections
in unusual ways.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from integration.hostile_grpc_service import HostileService
from integration.interop_service import INITIAL, SERVICE, TRAILING, InteropService, message
from integration.pki import Pki
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings

StatusCode = grpc.StatusCode
WAYS = ["direct", "outbound", "inbound", "tls", "draining"]
SIZES = ((31415, 27182), (9, 8), (2653, 1828), (58979, 45904))
"""Bytes of a reply, and of the request that asks for it."""
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"


class Calls:
    """The service's methods, on a connection of its own."""

    def __init__(
        self,
        port: int,
        credentials: grpc.ChannelCredentials | None = None,
        *,
        authority: str = "interop",
    ) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        address = f"127.0.0.1:{port}"
        if credentials is None:
            options.append(("grpc.default_authority", authority))
            self.channel = grpc.insecure_channel(address, options=options)
        else:
            self.channel = grpc.secure_channel(address, credentials, options=options)

    def unary(self, name: str = "UnaryCall", service: str = SERVICE) -> Any:
        return self.channel.unary_unary(f"/{service}/{name}")

    def input(self) -> Any:
        return self.channel.stream_unary(f"/{SERVICE}/StreamingInputCall")

    def output(self) -> Any:
        return self.channel.unary_stream(f"/{SERVICE}/StreamingOutputCall")

    def duplex(self) -> Any:
        return self.channel.stream_stream(f"/{SERVICE}/FullDuplexCall")


def _settings(url: str, **more: Any) -> Settings:
    return {
        "upstreams": {"app": {"endpoints": [url], "protocol": "http2"}},
        "routes": [{"name": "all", "upstream": "app"}],
    } | more


@pytest.fixture(scope="module")
def service() -> Iterator[InteropService]:
    made = InteropService()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def start(service: InteropService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Starts each way once: the port, and the credentials of a client."""
    running: list[RunningProxy] = []

    def run(way: str) -> tuple[int, grpc.ChannelCredentials | None]:
        if way == "direct":
            return service.port, None
        directory = tmp_path_factory.mktemp(way)
        more: dict[str, Any] = {}
        credentials = None
        if way == "tls":
            pki = Pki(directory)
            cert, key = pki.files("127.0.0.1")
            more["listeners"] = {"inbound": {"tls": {"cert": cert, "key": key}}}
            credentials = grpc.ssl_channel_credentials(Path(pki.ca).read_bytes())
        if way == "draining":
            more["drain"] = {"delay": "60s", "timeout": "61s"}
        proxy = RunningProxy(directory, _settings(service.url, **more))
        running.append(proxy)
        if way == "draining":
            assert proxy.ask("POST", "/drain")[0] == 202
        return (proxy.outbound if way == "outbound" else proxy.inbound), credentials

    made: dict[str, tuple[int, grpc.ChannelCredentials | None]] = {}
    yield lambda way: made.setdefault(way, run(way)) if way not in made else made[way]
    for proxy in running:
        proxy.kill()
        proxy.assert_sound()


@pytest.fixture(params=WAYS)
def calls(request: pytest.FixtureRequest, start: Callable[[str], Any]) -> Iterator[Calls]:
    made = Calls(*start(request.param))
    yield made
    made.channel.close()


def code_of(call: Callable[[], Any]) -> tuple[StatusCode, str]:
    """Of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    return error.code(), error.details()


# --- the fourteen ---------------------------------------------------------------------------------


def test_empty_unary(calls: Calls) -> None:
    assert calls.unary("EmptyCall")(b"", timeout=10) == b""


def test_large_unary(calls: Calls) -> None:
    assert calls.unary()(message(314159, body=271828), timeout=10) == bytes(314159)


def test_client_streaming(calls: Calls) -> None:
    sent = [message(body=size) for size in (27182, 8, 1828, 45904)]
    assert calls.input()(iter(sent), timeout=10) == b"74922"


def test_server_streaming(calls: Calls) -> None:
    sizes = [31415, 9, 2653, 58979]
    assert [len(one) for one in calls.output()(message(*sizes), timeout=10)] == sizes


def test_ping_pong(calls: Calls) -> None:
    asked: queue.Queue[bytes | None] = queue.Queue()
    replies = calls.duplex()(iter(asked.get, None), timeout=10)
    for size, body in SIZES:
        asked.put(message(size, body=body))
        assert len(next(replies)) == size
    asked.put(None)
    assert list(replies) == []
    assert replies.code() is StatusCode.OK


def test_empty_stream(calls: Calls) -> None:
    replies = calls.duplex()(iter(()), timeout=10)
    assert list(replies) == []
    assert replies.code() is StatusCode.OK


def test_cancel_after_begin(calls: Calls) -> None:
    never = threading.Event()

    def requests() -> Iterator[bytes]:
        never.wait(10)
        yield from ()

    call = calls.input().future(requests())
    call.cancel()
    never.set()
    assert call.cancelled()
    assert call.code() is StatusCode.CANCELLED


def test_cancel_after_first_response(calls: Calls) -> None:
    asked: queue.Queue[bytes | None] = queue.Queue()
    replies = calls.duplex()(iter(asked.get, None))
    asked.put(message(31415, body=27182))
    assert len(next(replies)) == 31415
    replies.cancel()
    asked.put(None)
    assert replies.code() is StatusCode.CANCELLED


def test_timeout_on_sleeping_server(calls: Calls) -> None:
    asked: queue.Queue[bytes | None] = queue.Queue()
    asked.put(message(body=27182))
    replies = calls.duplex()(iter(asked.get, None), timeout=0.001)
    assert code_of(lambda: list(replies))[0] is StatusCode.DEADLINE_EXCEEDED
    asked.put(None)


def test_custom_metadata(calls: Calls) -> None:
    sent = [(INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab")]
    reply, call = calls.unary().with_call(message(314159, body=271828), metadata=sent, timeout=10)
    replies = calls.duplex()(iter([message(314159, body=271828)]), metadata=sent, timeout=10)
    assert [len(one) for one in (reply, *replies)] == [314159, 314159]
    for one in (call, replies):
        assert sent[0] in [(key, value) for key, value in one.initial_metadata()]
        assert sent[1] in [(key, value) for key, value in one.trailing_metadata()]


@pytest.mark.parametrize("text", ["test status message", SPECIAL], ids=["plain", "special"])
def test_status_code_and_message(calls: Calls, text: str) -> None:
    """And special_status_message."""
    asked = message(status=2, text=text)
    assert code_of(lambda: calls.unary()(asked, timeout=10)) == (StatusCode.UNKNOWN, text)
    replies = calls.duplex()(iter([asked]), timeout=10)
    assert code_of(lambda: list(replies)) == (StatusCode.UNKNOWN, text)


def test_unimplemented_method(calls: Calls) -> None:
    call = calls.unary("UnimplementedCall")
    assert code_of(lambda: call(b"", timeout=10))[0] is StatusCode.UNIMPLEMENTED


def test_unimplemented_service(calls: Calls) -> None:
    call = calls.unary("UnimplementedCall", "grpc.testing.UnimplementedService")
    assert code_of(lambda: call(b"", timeout=10))[0] is StatusCode.UNIMPLEMENTED


def test_compressed_messages(calls: Calls) -> None:
    """The proxy does not look into messages: compressed ones pass, each way."""
    asked = message(314159, body=271828)
    compression = grpc.Compression.Gzip
    assert len(calls.unary()(asked, compression=compression, timeout=10)) == 314159


# --- the six --------------------------------------------------------------------------------------


HOWS = ("goaway", "rst_after_header", "rst_during_data", "rst_after_data", "ping", "max_streams")
Hostile = tuple[HostileService, Calls]


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, HostileService]]:
    made = {how: HostileService(how) for how in HOWS}
    yield made
    for one in made.values():
        one.stop()


@pytest.fixture(scope="module")
def in_front(
    module_proxy: Callable[[Settings], RunningProxy], services: dict[str, HostileService]
) -> RunningProxy:
    upstreams = {
        how: {"endpoints": [one.url], "protocol": "http2"} for how, one in services.items()
    }
    routes = [{"name": how, "match": {"hosts": [how]}, "upstream": how} for how in HOWS]
    return module_proxy({"upstreams": upstreams, "routes": routes})


@pytest.fixture
def hostile(
    request: pytest.FixtureRequest, in_front: RunningProxy, services: dict[str, HostileService]
) -> Iterator[Hostile]:
    calls = Calls(in_front.outbound, authority=request.param)
    yield services[request.param], calls
    calls.channel.close()


def _ask(calls: Calls) -> bytes:
    reply: bytes = calls.unary()(message(1024, body=271828), timeout=10)
    return reply


@pytest.mark.parametrize("hostile", ["goaway"], indirect=True)
def test_goaway(hostile: Hostile) -> None:
    """The next call goes on a connection of its own."""
    service, calls = hostile
    assert len(_ask(calls)) == 1024
    assert len(_ask(calls)) == 1024
    assert service.connections == 2


@pytest.mark.parametrize(
    "hostile", ["rst_after_header", "rst_during_data", "rst_after_data"], indirect=True
)
def test_resets(hostile: Hostile) -> None:
    service, calls = hostile
    started = time.monotonic()
    code_of(lambda: _ask(calls))
    assert time.monotonic() - started < 5
    assert service.requests


@pytest.mark.parametrize("hostile", ["ping"], indirect=True)
def test_ping(hostile: Hostile) -> None:
    service, calls = hostile
    assert len(_ask(calls)) == 1024
    eventually(lambda: service.pings == service.pongs == 4)


@pytest.mark.parametrize("hostile", ["max_streams"], indirect=True)
def test_max_streams(hostile: Hostile) -> None:
    """No connection ever has two streams at once."""
    service, calls = hostile
    assert len(_ask(calls)) == 1024
    asked = [calls.unary().future(message(1024, body=271828), timeout=10) for _ in range(10)]
    assert [len(one.result()) for one in asked] == [1024] * 10
    assert service.most_streams == 1
