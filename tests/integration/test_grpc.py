"""Real gRPC clients and services, through the proxy and beside it. docs/grpc.md says what holds."""

import asyncio
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from integration.grpc_service import SERVICE, Caller, StockService, metadata_of
from integration.ports import free_port
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings

StatusCode = grpc.StatusCode


@pytest.fixture(scope="module")
def service() -> Iterator[StockService]:
    made = StockService()
    yield made
    made.stop()


def settings(url: str, **more: Any) -> Settings:
    repeated = {"methods": "any", "on": ["connect-failure", "reset", "grpc-unavailable"]}
    return {
        "upstreams": {
            "stock": {"endpoints": [url]},
            "app": {"endpoints": [url]},
            "nowhere": {"endpoints": [f"http://127.0.0.1:{free_port()}"]},
        },
        "routes": [
            {
                "name": "often",
                "match": {"hosts": ["stock"], "grpc": {"service": SERVICE, "method": "FailOften"}},
                "upstream": "stock",
                "retry": repeated,
            },
            {
                "name": "late",
                "match": {"hosts": ["stock"], "grpc": {"service": SERVICE, "method": "FailLate"}},
                "upstream": "stock",
                "retry": repeated | {"attempts": 2},
            },
            {"name": "stock", "match": {"hosts": ["stock"], "grpc": {}}, "upstream": "stock"},
            {
                "name": "quick",
                "match": {"hosts": ["quick"]},
                "upstream": "stock",
                "timeouts": {"attempt": "1s"},
                "retry": {"attempts": 1},
            },
            {
                "name": "small",
                "match": {"hosts": ["small"]},
                "upstream": "stock",
                "bulkhead": {"max_concurrent": 1},
            },
            {
                "name": "broken",
                "match": {"hosts": ["broken"]},
                "upstream": "stock",
                "retry": {"attempts": 1},
                "circuit_breaker": {
                    "mode": "enforce",
                    "minimum_calls": 1,
                    "window": {"size": 1},
                    "open_for": {"initial": "20s"},
                },
            },
            {"name": "nowhere", "match": {"hosts": ["nowhere"]}, "upstream": "nowhere"},
            {
                "name": "deferred",
                "match": {"hosts": ["deferred"]},
                "upstream": "nowhere",
                "fallback": {
                    "when": ["connect-failure"],
                    "response": {"grpc": {"status": "ok"}, "headers": {"x-fallback": "yes"}},
                },
            },
        ],
        "egress": {"allow": ["stock"]},
    } | more


@pytest.fixture(scope="module")
def proxy(module_proxy: Callable[[Settings], RunningProxy], service: StockService) -> RunningProxy:
    return module_proxy(settings(service.url))


WAYS = ["direct", "outbound", "inbound"]


@pytest.fixture(params=WAYS)
def caller(
    request: pytest.FixtureRequest, proxy: RunningProxy, service: StockService
) -> Iterator[Caller]:
    """To the service itself, and through each listener: the answers must be the same."""
    ports = {"direct": service.port, "outbound": proxy.outbound, "inbound": proxy.inbound}
    made = Caller(ports[request.param])
    yield made
    made.close()


@pytest.fixture
def call(proxy: RunningProxy) -> Iterator[Callable[[str], Caller]]:
    """Makes callers of the outbound listener, by authority."""
    made: list[Caller] = []

    def to(authority: str = "stock", **options: Any) -> Caller:
        made.append(Caller(proxy.outbound, authority, **options))
        return made[-1]

    yield to
    for one in made:
        one.close()


def pushback_of(error: Any) -> str | None:
    found = metadata_of(error.trailing_metadata()).get("grpc-retry-pushback-ms")
    return None if found is None else str(found)


# --- the same as direct -------------------------------------------------------------------------


def test_a_unary_call(caller: Caller) -> None:
    assert caller.call("Echo", b"hello") == b"hello"


def test_metadata(caller: Caller) -> None:
    sent = [("x-own-text", "a b"), ("x-own-data-bin", bytes(range(256))), ("x-own-text", "c")]
    _, done = caller.unary("Echo", b"", metadata=sent)
    own = [(key, value) for key, value in done.trailing_metadata() if key.startswith("x-own")]
    assert sorted(own, key=repr) == sorted(sent, key=repr)


def test_a_large_message(caller: Caller) -> None:
    message = bytes(range(256)) * 12 * 1024  # 3 MiB
    assert caller.call("Echo", message) == message


def test_messages_from_the_service(caller: Caller) -> None:
    assert list(caller.download("Download", b"200")) == [b"message %d" % n for n in range(200)]
    assert list(caller.download("Download", b"0")) == []


def test_messages_to_the_service(caller: Caller) -> None:
    assert caller.upload(iter([b"x" * 1000] * 300)) == b"300000"
    assert caller.upload(iter([])) == b"0"


def test_a_conversation(caller: Caller) -> None:
    """Each message is answered before the next one is sent: nothing may be held back."""
    said: queue.Queue[bytes | None] = queue.Queue()
    answers = caller.chat(iter(said.get, None), timeout=10)
    for number in range(20):
        said.put(b"%d" % number)
        assert next(answers) == b"re: %d" % number
    said.put(None)
    assert list(answers) == []


def test_a_head_long_before_the_first_message(caller: Caller) -> None:
    watch = caller.download("Watch", timeout=10)
    assert metadata_of(watch.initial_metadata())["x-watching"] == "1"
    watch.cancel()


@pytest.mark.parametrize("method", ["Fail", "FailLate"])
@pytest.mark.parametrize("code", [1, 5, 7, 14])
def test_a_status(caller: Caller, method: str, code: int) -> None:
    """Trailers-Only, and after the initial metadata."""
    error: Any = caller.failing(method, b"%d:100%% Wrong: \xc3\xa4" % code)
    assert (error.code().value[0], error.details()) == (code, "100% Wrong: ä")
    began = metadata_of(error.initial_metadata()).get("x-began")
    assert began == ("1" if method == "FailLate" else None)


def test_a_client_cancels(caller: Caller, service: StockService) -> None:
    service.heard.cancelled.clear()
    before = len(service.heard.named("Sleep"))
    sleeping = caller.channel.unary_unary(f"/{SERVICE}/Sleep").future(b"8")
    eventually(lambda: len(service.heard.named("Sleep")) > before)
    sleeping.cancel()
    assert service.heard.cancelled.wait(5)
    assert sleeping.cancelled()


def test_a_deadline_ends_the_call_everywhere(caller: Caller, service: StockService) -> None:
    service.heard.cancelled.clear()
    error: Any = caller.failing("Sleep", b"8", timeout=1)
    assert error.code() is StatusCode.DEADLINE_EXCEEDED
    assert service.heard.cancelled.wait(5)


def test_the_service_knows_what_is_left(caller: Caller) -> None:
    assert 7 < float(caller.call("Remaining", timeout=8)) <= 8.1
    # grpcio itself rounds long ones up.
    assert 3500 < float(caller.call("Remaining", timeout=3600)) <= 3620
    left = caller.call("Remaining", timeout=None)
    assert left == b"none" or float(left) > 1e9, "the caller has no deadline"


def test_many_calls_at_once(caller: Caller) -> None:
    calls = [
        caller.channel.unary_unary(f"/{SERVICE}/Echo").future(b"%d" % n, timeout=20)
        for n in range(300)
    ]
    assert [one.result() for one in calls] == [b"%d" % n for n in range(300)]


# --- what the proxy adds ------------------------------------------------------------------------


def test_unavailable_is_repeated(
    call: Callable[..., Caller], service: StockService, proxy: RunningProxy
) -> None:
    service.heard.calls.clear()
    service.heard.failures_left = 2
    assert call().call("FailOften", b"x") == b"x"
    seen = service.heard.named("FailOften")
    attempts = [one.get("grpc-previous-rpc-attempts") for one in seen]
    assert attempts == [None, "1", "2"]
    retries = proxy.metric("proxy_retries_total", route="often", condition="grpc-unavailable")
    assert retries == 2


def test_unavailable_after_the_initial_metadata_is_repeated_too(
    call: Callable[..., Caller], service: StockService
) -> None:
    service.heard.calls.clear()
    error: Any = call().failing("FailLate", b"14:late")
    assert (error.code(), error.details()) == (StatusCode.UNAVAILABLE, "late")
    assert len(service.heard.named("FailLate")) == 2


def test_unavailable_is_not_repeated_where_it_is_not_listed(
    call: Callable[..., Caller], service: StockService
) -> None:
    service.heard.calls.clear()
    call().failing("Fail", b"14:down")
    assert len(service.heard.named("Fail")) == 1


@pytest.mark.parametrize(
    ("authority", "code", "reason"),
    [
        ("nowhere", StatusCode.UNAVAILABLE, "connect-refused"),
        ("forbidden", StatusCode.PERMISSION_DENIED, "egress-denied"),
    ],
)
def test_an_answer_of_the_proxy(
    call: Callable[..., Caller], authority: str, code: StatusCode, reason: str
) -> None:
    error: Any = call(authority).failing("Echo")
    assert error.code() is code
    assert error.details()
    told = metadata_of(error.trailing_metadata())
    assert f'details="{reason}"' in told["proxy-status"]
    assert told["x-request-id"]


def test_the_attempts_time(call: Callable[..., Caller]) -> None:
    error: Any = call("quick").failing("Sleep", b"3")
    assert error.code() is StatusCode.DEADLINE_EXCEEDED
    assert "timeouts.attempt" in error.details()


def test_a_full_bulkhead(call: Callable[..., Caller]) -> None:
    watch = call("small").download("Watch", timeout=10)
    watch.initial_metadata()
    error: Any = call("small").failing("Echo")
    assert (error.code(), pushback_of(error)) == (StatusCode.RESOURCE_EXHAUSTED, "1000")
    watch.cancel()


def test_an_open_circuit_breaker(call: Callable[..., Caller]) -> None:
    caller = call("broken")
    assert caller.failing("Fail", b"14:down").code() is StatusCode.UNAVAILABLE
    error: Any = caller.failing("Echo")
    assert error.code() is StatusCode.UNAVAILABLE
    assert "circuit breaker" in error.details()
    assert 15000 < int(pushback_of(error) or 0) <= 20000


def test_an_ordinary_status_opens_no_circuit_breaker(
    call: Callable[..., Caller], proxy: RunningProxy
) -> None:
    call().failing("Fail", b"5:none")
    assert proxy.metric("proxy_requests_total", route="stock", grpc="NOT_FOUND") >= 1


def test_a_fallback(call: Callable[..., Caller]) -> None:
    answers = call("deferred").download("Download", b"5", timeout=5)
    assert list(answers) == []
    assert metadata_of(answers.trailing_metadata())["x-fallback"] == "yes"


def test_the_log_names_the_status(call: Callable[..., Caller], proxy: RunningProxy) -> None:
    caller = call()
    caller.failing("Fail", b"13:x", metadata=[("x-request-id", "logged")])
    line = proxy.logged("logged")
    assert (line["status"], line["grpc_status"], line["route"]) == (200, "INTERNAL", "stock")


# --- streams ------------------------------------------------------------------------------------


def test_a_watch_that_is_silent(call: Callable[..., Caller], service: StockService) -> None:
    """Longer than `timeouts.attempt` of its route."""
    service.heard.news.clear()
    watch = call("quick").download("Watch", timeout=20)
    watch.initial_metadata()
    time.sleep(1.2)
    service.heard.news.set()
    assert list(watch) == [b"news"]
    service.heard.news.clear()


@pytest.mark.long
def test_a_watch_that_is_silent_for_three_minutes(
    call: Callable[..., Caller], service: StockService
) -> None:
    service.heard.news.clear()
    watch = call().download("Watch")
    watch.initial_metadata()
    time.sleep(180)
    service.heard.news.set()
    assert list(watch) == [b"news"]
    service.heard.news.clear()


def test_a_service_that_dies_in_the_middle(start_proxy: Callable[..., RunningProxy]) -> None:
    dying = StockService()
    caller = Caller(start_proxy(settings(dying.url)).outbound)
    answers = caller.download("BreakOff", timeout=10)
    assert next(answers) == b"one"
    dying.stop()
    with pytest.raises(grpc.RpcError) as broken:
        next(answers)
    error: Any = broken.value
    assert error.code() in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED)
    caller.close()


def test_a_drain_ends_no_stream_before_its_time(
    start_proxy: Callable[..., RunningProxy], service: StockService
) -> None:
    service.heard.news.clear()
    proxy = start_proxy(settings(service.url, drain={"delay": "0s", "timeout": "8s"}))
    caller = Caller(proxy.inbound)
    watch = caller.download("Watch", timeout=10)
    watch.initial_metadata()
    said: queue.Queue[bytes | None] = queue.Queue()
    chat = caller.chat(iter(said.get, None), timeout=10)
    said.put(b"1")
    assert next(chat) == b"re: 1"
    proxy.signal()
    time.sleep(0.3)
    said.put(b"2")
    assert next(chat) == b"re: 2"
    service.heard.news.set()
    assert list(watch) == [b"news"]
    said.put(None)
    assert list(chat) == []
    assert proxy.wait() == 0
    service.heard.news.clear()
    caller.close()


def test_what_the_drain_cuts_is_told_so(
    start_proxy: Callable[..., RunningProxy], service: StockService
) -> None:
    service.heard.news.clear()
    proxy = start_proxy(settings(service.url, drain={"delay": "0s", "timeout": "500ms"}))
    caller = Caller(proxy.inbound)
    watch = caller.download("Watch", timeout=10)
    watch.initial_metadata()
    proxy.signal()
    with pytest.raises(grpc.RpcError) as cut:
        next(watch)
    error: Any = cut.value
    assert error.code() is StatusCode.UNAVAILABLE
    assert "drain.timeout" in error.details()
    assert proxy.wait() == 3
    caller.close()


# --- another client and another kind of client --------------------------------------------------


def test_an_asyncio_client(proxy: RunningProxy) -> None:
    async def go() -> tuple[bytes, list[bytes], Any]:
        options = [("grpc.default_authority", "stock")]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{proxy.outbound}", options) as channel:
            echo = await channel.unary_unary(f"/{SERVICE}/Echo")(b"x")
            chat = channel.stream_stream(f"/{SERVICE}/Chat")(timeout=5)
            answers = []
            for number in range(5):
                await chat.write(b"%d" % number)
                answers.append(await chat.read())
            await chat.done_writing()
            try:
                await channel.unary_unary(f"/{SERVICE}/Fail")(b"9:no")
            except grpc.aio.AioRpcError as error:
                return echo, answers, error.code()
            raise AssertionError

    echo, answers, code = asyncio.run(go())
    assert (echo, code) == (b"x", StatusCode.FAILED_PRECONDITION)
    assert answers == [b"re: %d" % n for n in range(5)]
