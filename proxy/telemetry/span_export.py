"""Exports spans: a bounded queue, a thread, an exporter.

    record ──▶ spans ──▶ queue (OTEL_BSP_MAX_QUEUE_SIZE) ──▶ SDK's thread: batch ──▶ exporter

Queue, thread and exporters are the OpenTelemetry SDK's. This file adds: spans that do not fit into
the queue are counted (the SDK would drop the oldest uncounted), and so are spans that the collector
did not accept; a failure is logged once until it is over, instead of once a batch; exports connect
directly even if HTTP_PROXY is set, because HTTP_PROXY points to this proxy.

This file imports the SDK: import it only if spans are exported.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from proxy.config.model import Config, Listener
from proxy.config.server_model import TraceExporter
from proxy.exchange.record import Record
from proxy.telemetry.span_counts import CannotExport, SpanCounts
from proxy.telemetry.spans import SpanMaker
from proxy.telemetry.transitions import Transitions

SWITCH_SECONDS = 0.0005
"""Seconds after which a thread must yield the interpreter. The exporting thread computes for tens
of milliseconds at a time; with the default the event loop would wait 5 ms for each of its turns.
"""

_SDK = "opentelemetry"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP, _GRPC = "http/protobuf", "grpc"

_log = logging.getLogger("proxy.tracing")

WriteLine = Callable[[bytes], None]
Heard = Callable[[str], None]


class Exporter(Protocol):
    """Receives batches from the SDK's thread."""

    def export(self, spans: Sequence[ReadableSpan], /) -> SpanExportResult: ...
    def shutdown(self) -> None: ...


def make_exporter(kind: TraceExporter, write_line: WriteLine, heard: Heard) -> Exporter:
    """The exporter of ``tracing.exporter``. Does not connect yet. Raises CannotExport.

    `write_line` is for console, `heard` gets failures.
    """
    if kind is TraceExporter.CONSOLE:
        return ConsoleExporter(write_line)
    variable = next((name for name in _PROTOCOLS if os.environ.get(name)), "")
    protocol = os.environ.get(variable, _HTTP).strip().lower()
    try:
        if protocol == _HTTP:
            return _over_http(heard)
        if protocol == _GRPC:
            return _over_grpc(variable)
    except CannotExport:
        raise
    except Exception as error:  # the SDK may raise anything for a bad variable
        raise CannotExport(f"the OTLP exporter cannot be used: {error}") from error
    raise CannotExport(f"{variable} is {protocol!r}: this proxy exports over {_HTTP} and {_GRPC}")


def _over_http(heard: Heard) -> Exporter:
    sessions = import_module("proxy.telemetry.direct_session")
    exporters: Any = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    exporter: Exporter = exporters.OTLPSpanExporter(session=sessions.DirectSession(heard))
    return exporter


def _over_grpc(variable: str) -> Exporter:
    try:
        exporters: Any = import_module("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
    except ImportError as error:
        raise CannotExport(
            f"{variable} is {_GRPC}, which needs: pip install 'resilience-proxy[otlp-grpc]'"
        ) from error
    options = (("grpc.enable_http_proxy", 0),)
    exporter: Exporter = exporters.OTLPSpanExporter(channel_options=options)
    return exporter


class ConsoleExporter:
    """Writes a JSON object per line, for setting up."""

    def __init__(self, write_line: WriteLine) -> None:
        self._write_line = write_line

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            self._write_line(span.to_json(indent=None).encode() + b"\n")
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


class _Counting:
    """Counts spans by result, and logs the first failure and the end of failures.

    `taken`: the number of spans received so far.
    """

    def __init__(self, inner: Exporter, counts: SpanCounts, complaints: "_Complaints") -> None:
        self._inner = inner
        self._counts = counts
        self._complaints = complaints
        self._failing = False
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        self._complaints.forget()
        try:
            result = self._inner.export(spans)
        except Exception as error:  # noqa: BLE001 - no exporter may end the thread, or fill the log
            result, why = SpanExportResult.FAILURE, repr(error)
        else:
            why = self._complaints.first
        exported = result is SpanExportResult.SUCCESS
        self._counts.ended(len(spans), exported=exported)
        if exported and self._failing:
            _log.info("spans are exported again")
        elif not exported and not self._failing:
            _log.warning(
                "spans cannot be exported; traffic goes on, and proxy_spans_total counts them",
                extra={"fields": {"why": why}},
            )
        self._failing = not exported
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


class _Complaints(logging.Handler):
    """Receives the SDK's log lines, several per batch; the first one has the cause."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""

    def forget(self) -> None:
        self.first = ""

    def hear(self, text: str) -> None:
        self.first = self.first or text

    def emit(self, record: logging.LogRecord) -> None:
        self.hear(record.getMessage())


def _listen_to_sdk() -> _Complaints:
    """Keeps the SDK's lines out of the proxy's own log."""
    logger = logging.getLogger(_SDK)
    for handler in logger.handlers:
        if isinstance(handler, _Complaints):
            return handler
    heard = _Complaints()
    logger.addHandler(heard)
    logger.propagate = False
    return heard


class _OwnResource(Resource):
    """The resource of all spans, with a cached hash: the encoder needs it for each span, and the
    SDK computes it from a new JSON text each time, a tenth of all encoding."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


class SpanExport:
    """One running exporter. `record` is the observer of settled exchanges."""

    def __init__(
        self,
        config: Config,
        counts: SpanCounts,
        changes: Transitions,
        write_line: WriteLine,
    ) -> None:
        """Raises CannotExport."""
        complaints = _listen_to_sdk()
        resource = _OwnResource(Resource.create({"service.name": config.service}))
        tls = {each for each in Listener if config.listeners.of(each).tls is not None}
        self._maker = SpanMaker(resource, changes, tls)
        self._counts = counts
        inner = make_exporter(config.tracing.exporter, write_line, complaints.hear)
        self._exporter = _Counting(inner, counts, complaints)
        sys.setswitchinterval(SWITCH_SECONDS)
        batching = _Batching.of_environment()
        self._room = batching.queue
        self._given = 0
        exporter: Any = self._exporter  # the SDK accepts any object with these methods
        self._processor: Any = BatchSpanProcessor(
            exporter,
            max_queue_size=batching.queue,
            max_export_batch_size=batching.batch,
            schedule_delay_millis=batching.delay_ms,
        )

    def record(self, exchange: Record) -> None:
        """Queue the exchange's spans if it is sampled. Never blocks."""
        if not exchange.sampled:
            return
        count = 1 + len(exchange.attempts)
        if self.queued + count > self._room:
            self._counts.dropped += count
            return
        spans = self._maker.spans_of(exchange)
        self._given += len(spans)
        for span in spans:
            self._processor.on_end(span)

    @property
    def queued(self) -> int:
        """Spans that the exporter has not received yet."""
        return self._given - self._exporter.taken

    def finish(self) -> None:
        """Export the queue, then end. Blocks while the collector does."""
        self._processor.shutdown()


def check(kind: TraceExporter) -> None:
    """Raise CannotExport for a configuration that `SpanExport` cannot use."""
    _Batching.of_environment()
    make_exporter(kind, lambda line: None, lambda text: None).shutdown()


class _Batching(NamedTuple):
    """Queue and batch sizes. A batch is never larger than the queue."""

    queue: int
    batch: int
    delay_ms: int

    @classmethod
    def of_environment(cls) -> "_Batching":
        queue = _number("OTEL_BSP_MAX_QUEUE_SIZE", 2048)
        batch = _number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)
        return cls(queue, min(batch, queue), _number("OTEL_BSP_SCHEDULE_DELAY", 5000))


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and int(text)):
        raise CannotExport(f"{variable} is {text!r}, which is not a whole number above 0")
    return int(text)
