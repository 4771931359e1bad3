"""Exporters that can be had or not, from variables; and the end, which nothing may hold."""

import asyncio
import builtins
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult
from unit.telemetry.fakes import FakeExchange

from proxy import app
from proxy.config.loading import load_text
from proxy.config.model import Config, Listener
from proxy.errors import BadRequest
from proxy.exchange.record import refusal_record
from proxy.telemetry import span_export
from proxy.telemetry.direct_session import DirectSession
from proxy.telemetry.span_counts import CannotExport, SpanCounts
from proxy.telemetry.tracing import Tracing, check_exporter
from proxy.telemetry.transitions import Transitions

PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"


@pytest.fixture(autouse=True)
def _what_is_the_processs() -> Iterator[None]:
    """The SDK's logger and the switching between threads: as they were afterwards."""
    logger = logging.getLogger("opentelemetry")
    before, interval = (logger.propagate, list(logger.handlers)), sys.getswitchinterval()
    yield
    logger.propagate, logger.handlers = before
    sys.setswitchinterval(interval)


def config_of(exporter: str, service: str = "orders") -> Config:
    text = f"service: {service}\ntracing: {{exporter: {exporter}}}\n"
    return load_text(text, "f.yaml", {}).config


def quiet() -> Tracing:
    return Tracing(lambda line: None, Transitions())


# --- which exporter -----------------------------------------------------------------------------


@pytest.mark.parametrize("exporter", ["none", "console", "otlp"])
def test_each_can_be_had(exporter: str) -> None:
    check_exporter(config_of(exporter))


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (PROTOCOL, "http/json", f"{PROTOCOL} is 'http/json': this proxy exports over http/prot"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "x", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is 'x'"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "OTEL_BSP_MAX_QUEUE_SIZE is '-1'"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s", "OTEL_BSP_SCHEDULE_DELAY is '5s'"),
    ],
)
def test_what_is_in_the_way_is_said(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(CannotExport, match=r"^tracing\.exporter: ") as caught:
        check_exporter(config_of("otlp"))
    assert message in str(caught.value)
    check_exporter(config_of("none"))


def test_nor_does_an_sdk_that_stumbles_end_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(**options: Any) -> None:
        raise ValueError("odd")

    module = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setattr(f"{module}.OTLPSpanExporter", stumble)
    with pytest.raises(CannotExport, match="the OTLP exporter cannot be used: odd"):
        check_exporter(config_of("otlp"))


def test_a_batch_is_never_larger_than_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    assert span_export._Batching.of_environment() == (10, 10, 5000)


def test_over_grpc_it_takes_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROTOCOL, "grpc")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    with pytest.raises(CannotExport, match=r"pip install 'resilience-proxy\[otlp-grpc\]'"):
        check_exporter(config_of("otlp"))


def test_over_grpc() -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc", reason="the extra otlp-grpc")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(PROTOCOL, "grpc")
        check_exporter(config_of("otlp"))


def test_starting_with_one_that_cannot_be_had_is_bad_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROTOCOL, "http/json")
    loaded = load_text("tracing: {exporter: otlp}", "f.yaml", {})
    assert app.run(loaded) == 2
    assert capsys.readouterr().err.startswith("resilience-proxy: tracing.exporter: OTEL_EXPORTER_")


def test_without_the_sdk_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "proxy.telemetry.span_export":
            raise ImportError("No module named 'opentelemetry'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(CannotExport, match="No module named 'opentelemetry'"):
        check_exporter(config_of("otlp"))


def test_whoever_exports_nothing_does_not_import_it() -> None:
    wanted = "('opentelemetry', 'requests')"
    code = f"import proxy.app, sys; print([one for one in {wanted} if one in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


# --- which observers ----------------------------------------------------------------------------


async def test_an_exporter_goes_on_where_nothing_about_it_changes() -> None:
    tracing = quiet()
    assert len(tracing.observers(config_of("none"))) == 1
    first = tracing.observers(config_of("console"))
    again = tracing.observers(config_of("console"))
    other = tracing.observers(config_of("console", "renamed"))
    assert first == again
    assert other[0] == first[0], "exemplars live as long as the process"
    assert other[1] != first[1]
    assert len(tracing.observers(config_of("none"))) == 1
    await tracing.close(5.0)
    assert not [thread for thread in threading.enumerate() if thread.name == "spans"]


async def test_the_loop_gets_its_turn_soon_while_spans_are_exported() -> None:
    tracing = quiet()
    tracing.observers(config_of("none"))
    before = sys.getswitchinterval()
    assert before > span_export.SWITCH_SECONDS
    tracing.observers(config_of("console"))
    assert sys.getswitchinterval() == pytest.approx(span_export.SWITCH_SECONDS)
    await tracing.close(5.0)


def test_unsampled_ones_and_refusals_cost_no_span() -> None:
    tracing = quiet()
    _, record = tracing.observers(config_of("console"))
    record(FakeExchange(sampled=False))
    record(refusal_record(Listener.INBOUND, "10.1.2.3", BadRequest(), b"r", 1.0))
    assert tracing._export is not None
    assert tracing._export.queued == 0


def test_a_bug_in_making_spans_takes_no_room_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(exchange: Any) -> list[Any]:
        raise ZeroDivisionError

    tracing = quiet()
    _, record = tracing.observers(config_of("console"))
    assert tracing._export is not None
    monkeypatch.setattr(tracing._export._maker, "spans_of", stumble)
    with pytest.raises(ZeroDivisionError):
        record(FakeExchange(sampled=True))
    assert tracing._export.queued == 0


# --- the way out --------------------------------------------------------------------------------


class Collector:
    """An exporter: its answers one after the other, the last one for ever."""

    def __init__(self, *answers: SpanExportResult | Exception) -> None:
        self.answers = list(answers)

    def export(self, spans: Any) -> SpanExportResult:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        logging.getLogger("opentelemetry.x").warning("refused it")
        logging.getLogger("opentelemetry.x").error("gave up")
        return answer

    def shutdown(self) -> None:
        pass


def test_failures_are_counted_and_told_once_until_they_are_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    good, bad = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
    counts = SpanCounts()
    collector = Collector(good, bad, bad, RuntimeError("boo"), good, good, RuntimeError("boo"))
    counting = span_export._Counting(collector, counts, span_export._listen_to_sdk())
    for _ in range(7):
        counting.export([SimpleNamespace()] * 3)
    assert counts.by_result == {"exported": 9, "failed": 12, "dropped": 0}
    assert counting.taken == 21
    told = [
        (record.getMessage()[:24], getattr(record, "fields", {}).get("why"))
        for record in caplog.records
    ]
    assert told == [
        ("spans cannot be exported", "refused it"),
        ("spans are exported again", None),
        ("spans cannot be exported", "RuntimeError('boo')"),
    ]


async def test_the_end_is_not_held_by_a_collector_that_never_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracing = quiet()
    tracing.observers(config_of("console"))
    released = threading.Event()
    assert tracing._export is not None
    monkeypatch.setattr(tracing._export, "finish", lambda: released.wait(10))
    began = asyncio.get_running_loop().time()
    await tracing.close(0.05)
    assert asyncio.get_running_loop().time() - began < 2
    assert "not all spans were exported" in caplog.text
    released.set()


def test_the_session_takes_no_notice_of_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:7070")
    heard: list[str] = []
    with DirectSession(heard.append) as session:
        settings = session.merge_environment_settings("http://127.0.0.1:9", {}, None, None, None)
        assert not settings["proxies"]
        with pytest.raises(OSError, match="refused"):
            session.get("http://127.0.0.1:9", timeout=1)
    assert "refused" in heard[0]
