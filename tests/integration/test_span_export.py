"""Spans from the real command to a real receiver; and a receiver that is slow, down, or away."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from chaos.upstream import ChaosUpstream
from integration.otlp_receiver import CLIENT, SERVER, OtlpReceiver
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, route

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
OWN = "resilience_proxy."
NEVER_BY_ITSELF = "600000"
"""Of OTEL_BSP_SCHEDULE_DELAY: only the end of the process exports anything."""

StartReceiver = Callable[..., OtlpReceiver]
StartProxy = Callable[..., RunningProxy]


@pytest.fixture
def start_receiver() -> Iterator[StartReceiver]:
    started: list[OtlpReceiver] = []

    def start(**options: float) -> OtlpReceiver:
        started.append(OtlpReceiver(**options))
        return started[-1]

    yield start
    for receiver in started:
        receiver.stop()


def settings(chaos: ChaosUpstream, exporter: str = "otlp", sample: str = "0%") -> Settings:
    return {
        "upstreams": {"chaos": {"endpoints": [chaos.url]}, "app": {"endpoints": [chaos.url]}},
        "routes": [
            route("t", retry={"backoff": {"initial": "50ms", "max": "50ms", "jitter": "none"}}),
            route("narrow", bulkhead={"max_concurrent": 1, "max_queue": 1, "queue_timeout": "5s"}),
        ],
        "tracing": {"exporter": exporter, "sample": sample},
    }


def ended(proxy: RunningProxy) -> float:
    """Seconds that it took to end."""
    began = time.monotonic()
    proxy.signal()
    assert proxy.wait() == 0
    return time.monotonic() - began


def test_a_retried_request(
    start_proxy: StartProxy, start_receiver: StartReceiver, shared_chaos: ChaosUpstream
) -> None:
    """All that the variables ask for holds, and nothing goes by way of HTTP_PROXY."""
    receiver = start_receiver()
    proxy = start_proxy(
        settings(shared_chaos),
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_EXPORTER_OTLP_HEADERS="x-tenant=gold",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test,service.name=not-this",
        OTEL_BSP_SCHEDULE_DELAY=NEVER_BY_ITSELF,
        HTTP_PROXY="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
    )
    began = time.time()
    response = proxy.call("GET", "/t?key=h1dden", SAMPLED, chaos="503 delay=0.1 | 200")
    took = time.time() - began
    assert response.status == 200
    first, second = shared_chaos.seen(response.id)
    proxy.call("GET", "/t", {"traceparent": f"00-{TRACE}-{CALLER}-00"})
    assert receiver.requests == []
    ended(proxy)

    ((path, headers),) = receiver.requests
    assert path == "/v1/traces"
    assert (headers["x-tenant"], headers["content-encoding"]) == ("gold", "gzip")
    whole, one, two = receiver.spans
    assert whole.resource["service.name"] == "orders"
    assert whole.resource["deployment.environment.name"] == "test"
    assert {span.trace for span in receiver.spans} == {TRACE}
    assert (whole.kind, one.kind, two.kind) == (SERVER, CLIENT, CLIENT)
    assert (whole.parent, one.parent, two.parent) == (CALLER, whole.id, whole.id)
    for span, seen in ((one, first), (two, second)):
        assert seen.header("traceparent") == f"00-{TRACE}-{span.id}-01"

    (wait,) = whole.events
    assert wait.name == f"{OWN}retry.wait"
    assert wait.attributes == {f"{OWN}condition": "gateway-error", f"{OWN}wait_ms": 50.0}
    moments = [began, whole.begin, one.begin, one.end, wait.at, two.begin, two.end, whole.end]
    assert moments == sorted(moments)
    assert whole.end - whole.begin <= took
    assert one.end - one.begin >= 0.1
    assert two.begin - one.end >= 0.05
    assert [span.error for span in receiver.spans] == [False, True, False]
    assert one.attributes["error.type"] == "503"
    assert two.attributes["http.request.resend_count"] == 1
    assert whole.attributes[f"{OWN}request_id"] == response.id
    assert "h1dden" not in str(receiver.spans)


def test_switched_on_elsewhere_and_off_by_reloads(
    start_proxy: StartProxy, start_receiver: StartReceiver, shared_chaos: ChaosUpstream
) -> None:
    receiver = start_receiver()
    proxy = start_proxy(
        settings(shared_chaos, exporter="none", sample="100%"),
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{receiver.url}/custom",
        OTEL_BSP_SCHEDULE_DELAY=NEVER_BY_ITSELF,
    )

    def reload(exporter: str) -> None:
        proxy.config["tracing"]["exporter"] = exporter
        proxy.write()
        assert proxy.ask("POST", "/reload")[0] == 200

    before = proxy.memory
    assert proxy.call("GET", "/t").status == 200
    reload("otlp")
    assert proxy.call("GET", "/t/seen").status == 200
    reload("none")
    receiver.wait(lambda: len(receiver.spans) == 2)  # what it had is exported, and no more
    assert proxy.call("GET", "/t").status == 200
    eventually(lambda: proxy.metric("proxy_spans_total", result="exported") == 2)
    assert proxy.memory - before < 16 * 2**20
    reload("console")
    shown = proxy.call("GET", "/t/shown")
    reload("otlp")
    assert proxy.call("GET", "/t/again").status == 200
    eventually(lambda: proxy.metric("proxy_spans_total", result="exported") == 4)
    ended(proxy)
    lines = [json.loads(line) for line in proxy.errors.splitlines() if line.startswith("{")]
    whole, attempt = [line for line in lines if "context" in line]
    assert attempt["parent_id"] == whole["context"]["span_id"]
    assert whole["attributes"][f"{OWN}request_id"] == shown.id
    paths = [span.attributes["url.path"] for span in receiver.spans if span.kind == SERVER]
    assert paths == ["/t/seen", "/t/again"]
    assert {path for path, _ in receiver.requests} == {"/custom"}
    assert "span_id" not in proxy.output, "standard output is the access log's"


def test_a_collector_that_is_down(
    start_proxy: StartProxy, refusing_port: int, shared_chaos: ChaosUpstream
) -> None:
    """Counted, logged once, and no answer is any different for it."""
    proxy = start_proxy(
        settings(shared_chaos, sample="100%"),
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{refusing_port}",
        OTEL_EXPORTER_OTLP_TIMEOUT="0.05",
        OTEL_BSP_SCHEDULE_DELAY="20",
    )
    for number in (2, 4, 6):
        assert proxy.call("GET", "/t").status == 200
        eventually(partial(_has_failed, proxy, number))
    eventually(lambda: "cannot be exported" in proxy.errors)
    assert ended(proxy) < 4
    (line,) = [line for line in proxy.errors.splitlines() if "exported" in line]
    event = json.loads(line)
    assert (event["level"], event["logger"]) == ("warning", "proxy.tracing")
    assert "refused" in event["why"]
    assert "opentelemetry" not in proxy.errors.replace("proxy.tracing", "")


def _has_failed(proxy: RunningProxy, spans: int) -> bool:
    return proxy.metric("proxy_spans_total", result="failed") == spans


def test_a_collector_that_never_answers(
    start_proxy: StartProxy, start_receiver: StartReceiver, shared_chaos: ChaosUpstream
) -> None:
    """The queue stays as small as it should, what does not fit is counted, and the end is near."""
    receiver = start_receiver(delay=60.0)
    proxy = start_proxy(
        settings(shared_chaos, sample="100%"),
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_BSP_MAX_QUEUE_SIZE="8",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4",
        OTEL_BSP_SCHEDULE_DELAY="20",
    )
    with proxy.client() as client:
        for _ in range(2):
            assert client.request("GET", "/t").status == 200
        receiver.wait(lambda: receiver.requests)
        for _ in range(20):
            assert client.request("GET", "/t").status == 200
    dropped = proxy.metric("proxy_spans_total", result="dropped")
    assert 44 - 4 - 8 <= dropped <= 44 - 2 - 8, "a batch under way, a queue full, the rest"
    assert 0.9 < ended(proxy) < 5
    assert "not all spans were exported before the end" in proxy.errors
