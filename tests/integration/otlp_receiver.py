"""A collector: takes OTLP over HTTP, decodes it, and keeps the spans.

In threads of its own on the standard library's server, so that it shares no code with what it
tests but the protocol's messages.
"""

import gzip
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

ERROR = Status.STATUS_CODE_ERROR
SERVER, CLIENT = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT


@dataclass(frozen=True)
class Event:
    """`at` in seconds since the Unix epoch."""

    name: str
    at: float
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Received:
    """A span as it came in; ids in hex, `begin` and `end` in seconds since the Unix epoch."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    begin: float
    end: float
    error: bool
    attributes: dict[str, Any]
    events: tuple[Event, ...]
    resource: dict[str, Any]


class OtlpReceiver:
    """Answers with `status`, after `delay` seconds or when it stops."""

    def __init__(self, *, status: int = 200, delay: float = 0.0) -> None:
        self.status = status
        self.delay = delay
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.spans: list[Received] = []
        self._stopped = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(receiver.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing on standard error."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        message = ExportTraceServiceRequest.FromString(body)
        self.requests.append((path, headers))
        self._stopped.wait(self.delay)
        if self.status != 200:
            return
        for group in message.resource_spans:
            resource = _plain(group.resource.attributes)
            for scope in group.scope_spans:
                assert scope.scope.name == "resilience-proxy"
                self.spans += [_received(span, resource) for span in scope.spans]

    def wait(self, condition: Callable[[], object], timeout: float = 5.0) -> None:
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, f"not within {timeout} s: {self.spans}"
            time.sleep(0.01)


def _received(span: Span, resource: dict[str, Any]) -> Received:
    return Received(
        span.name,
        span.kind,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano / 1e9,
        span.end_time_unix_nano / 1e9,
        span.status.code == ERROR,
        _plain(span.attributes),
        tuple(
            Event(event.name, event.time_unix_nano / 1e9, _plain(event.attributes))
            for event in span.events
        ),
        resource,
    )


def _plain(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
