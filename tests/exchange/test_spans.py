"""What the spans of an exchange say: who is whose parent, when, how it ended, and what happened."""

import pytest
from exchange.http2 import GET, POST, Http2Client
from exchange.wires import request, response
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanKind, StatusCode

from proxy.config.model import Listener
from proxy.delivery.stored_request import StoredRequest
from proxy.delivery.tries import Tries
from proxy.errors import BadRequest
from proxy.exchange.record import refusal_record
from proxy.telemetry.spans import SpanMaker
from proxy.telemetry.transitions import Transitions

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
SAMPLED = f"traceparent: 00-{TRACE}-{CALLER}-01"
BEGAN = 1_700_000_000_000_000_000
OWN = "resilience_proxy."

ROUTE = """
service: stage
tracing: {{exporter: otlp}}
upstreams:
  shop: {{endpoints: ["http://10.0.0.1:80"]}}
  spare: {{endpoints: ["http://10.0.9.9:8080"]}}
policies:
  default:
    timeouts: {{attempt: 5s, request: 15s}}
    retry: {{backoff: {{initial: 100ms, jitter: none}}, attempts: 2}}
    circuit_breaker: {{minimum_calls: 2, window: {{size: 2}}}}
    {more}
routes: [{{name: stock, upstream: shop, match: {{prefix: /api}}, rewrite: {{prefix: /v1}}}}]
"""


class Traced:
    """A stage, and the spans of what is settled on it. `spans` are of all exchanges, in order."""

    def __init__(self, stage):
        self.stage = stage
        self.began = stage.loop.now
        self.changes = Transitions(lambda: 0.0, lambda: 0.0)
        self.maker = SpanMaker(
            Resource({"service.name": "stage"}),
            self.changes,
            (),
            lambda: stage.loop.now,
            lambda: BEGAN + int((stage.loop.now - self.began) * 1e9),
        )
        self.spans = []
        stage.gateway.observers.append(self._settled)

    def _settled(self, exchange):
        self.spans += self.maker.spans_of(exchange)

    def ask(self, line="GET /api/7?q=secret HTTP/1.1", *fields, **options):
        return self.stage.ask(request(line, SAMPLED, *fields, **options))

    def at(self, span):
        """When it began and ended, seconds since the test began."""
        return tuple(round((one - BEGAN) / 1e9, 6) for one in (span.start_time, span.end_time))

    def events(self, span):
        """Name, seconds since the test began, and attributes, without our own prefix."""
        return [
            (
                one.name.removeprefix(OWN),
                round((one.timestamp - BEGAN) / 1e9, 6),
                {key.removeprefix(OWN): value for key, value in one.attributes.items()},
            )
            for one in span.events
        ]


@pytest.fixture
def traced(make_stage):
    return lambda more="": Traced(make_stage(ROUTE.format(more=more)))


def test_a_retried_request(traced):
    """The exchange is the caller's child, an attempt the exchange's, with the id that was sent."""
    it = traced()
    it.ask()
    server = it.stage.accept()
    first = server.request()
    it.stage.pass_time(0.5)
    server.answer(503)
    it.stage.pass_time(0.1)
    second = server.request()
    it.stage.pass_time(0.2)
    server.answer(200, b"hello")
    whole, one, two = it.spans

    assert [span.kind for span in it.spans] == [SpanKind.SERVER, SpanKind.CLIENT, SpanKind.CLIENT]
    assert {f"{span.context.trace_id:032x}" for span in it.spans} == {TRACE}
    assert (f"{whole.parent.span_id:016x}", whole.parent.is_remote) == (CALLER, True)
    for span, sent in ((one, first), (two, second)):
        assert span.parent == whole.context
        assert f"{span.context.span_id:016x}" == sent.get("traceparent").split("-")[2]
    assert len({span.context.span_id for span in it.spans}) == 3
    assert all(span.context.trace_flags.sampled for span in it.spans)

    assert [it.at(span) for span in it.spans] == [(0, 0.8), (0, 0.5), (0.6, 0.8)]
    assert it.events(whole) == [
        ("retry.wait", 0.5, {"condition": "gateway-error", "wait_ms": 100.0}),
    ]
    assert [span.status.status_code for span in it.spans] == [
        StatusCode.UNSET, StatusCode.ERROR, StatusCode.UNSET,
    ]  # fmt: skip
    assert whole.instrumentation_scope.name == "resilience-proxy"
    assert whole.resource.attributes["service.name"] == "stage"


def test_the_attributes_of_the_conventions(traced):
    it = traced()
    watched(it)
    it.ask("POST http://shop.test:8443/api/7?q=secret HTTP/1.1", "Idempotency-Key: k")
    server = it.stage.accept()
    server.answer(503)
    it.stage.pass_time(0.1)
    server.answer(404)
    whole, one, two = it.spans
    record = it.stage.records[0]
    assert whole.name == "POST stock"
    assert whole.attributes == {
        "http.request.method": "POST",
        "url.path": "/api/7",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "shop.test",
        "server.port": 8443,
        "client.address": "10.9.8.7",
        "http.response.status_code": 404,
        f"{OWN}listener": "outbound",
        f"{OWN}route": "stock",
        f"{OWN}upstream": "shop",
        f"{OWN}request_id": record.request_id,
        f"{OWN}attempts": 2,
    }
    assert whole.status.status_code is StatusCode.UNSET, "4xx is no error of the server"
    assert one.name == two.name == "POST shop"
    common = {
        "http.request.method": "POST",
        "url.full": "http://10.0.0.1:80/v1/7",
        "network.protocol.version": "1.1",
        "server.address": "10.0.0.1",
        "server.port": 80,
        "network.peer.address": "10.0.0.1",
        "network.peer.port": 80,
        f"{OWN}upstream": "shop",
        f"{OWN}circuit_breaker.name": "stock",
        f"{OWN}circuit_breaker.state": "closed",
    }
    assert one.attributes == common | {
        "http.response.status_code": 503, "error.type": "503", f"{OWN}attempt": 1,
    }  # fmt: skip
    assert two.attributes == common | {
        "http.response.status_code": 404,
        "error.type": "404",
        "http.request.resend_count": 1,
        f"{OWN}attempt": 2,
        f"{OWN}wait_ms": 100.0,
    }
    assert two.status.status_code is StatusCode.ERROR, "but one of the client's"


@pytest.mark.parametrize(
    ("code", "bad"), [("0", ""), ("5", ""), ("14", "UNAVAILABLE"), ("12", "UNIMPLEMENTED")]
)
def test_a_grpc_call_over_http2(make_stage, code, bad):
    """The conventions for gRPC: some statuses are the server's fault, all but OK the client's."""
    it = Traced(make_stage(ROUTE.format(more="").replace("shop: {", "shop: {protocol: http2, ")))
    client = Http2Client(it.stage.loop, it.stage.gate())
    it.stage.clients.append(client)
    path = "/api/shop.v1.Stock/Deduct"
    fields = [(name, path if name == ":path" else value) for name, value in POST]
    call = [*fields, ("content-type", "application/grpc"), ("traceparent", SAMPLED[13:])]
    client.ask(1, call, bytes(5))
    it.stage.accept_http2().answer(200, b"", trailers=[("grpc-status", code)])
    whole, one = it.spans
    for span in (whole, one):
        assert span.attributes["network.protocol.version"] == "2"
        assert span.attributes["http.response.status_code"] == 200
        assert span.attributes["rpc.grpc.status_code"] == int(code)
        assert span.attributes["rpc.system"] == "grpc"
        assert span.attributes["rpc.service"].endswith("shop.v1.Stock")
        assert span.attributes["rpc.method"] == "Deduct"
    assert whole.attributes.get("error.type", "") == bad
    assert (whole.status.status_code is StatusCode.ERROR) == bool(bad)
    assert (one.attributes.get("error.type") is None) == (code == "0")


def test_a_request_over_http2_to_an_http1_upstream(traced):
    it = traced()
    client = Http2Client(it.stage.loop, it.stage.gate())
    it.stage.clients.append(client)
    fields = [(name, "/api/7" if name == ":path" else value) for name, value in GET]
    client.ask(1, [*fields, ("traceparent", SAMPLED[13:])])
    it.stage.accept().answer()
    versions = [span.attributes["network.protocol.version"] for span in it.spans]
    assert versions == ["2", "1.1"]
    assert "rpc.system" not in it.spans[0].attributes


def test_a_method_that_nobody_knows_makes_no_new_name(traced):
    it = traced()
    it.ask("PROPFIND /api HTTP/1.1")
    it.stage.accept().answer()
    whole, one = it.spans
    assert (whole.name, one.name) == ("HTTP stock", "HTTP shop")
    assert whole.attributes["http.request.method"] == "_OTHER"
    assert whole.attributes["http.request.method_original"] == "PROPFIND"


def test_no_answer_at_all(traced):
    it = traced()
    it.ask("POST /api HTTP/1.1")
    it.stage.accept()
    it.stage.pass_time(5)
    whole, one = it.spans
    assert whole.attributes["error.type"] == one.attributes["error.type"] == "attempt-timeout"
    assert whole.attributes["http.response.status_code"] == 504
    assert "http.response.status_code" not in one.attributes
    assert whole.attributes[f"{OWN}retry_refused"] == "not-repeatable"
    assert whole.status.status_code is StatusCode.ERROR
    assert whole.status.description == it.stage.records[0].detail
    assert it.events(whole) == [("retry.refused", 5.0, {"why": "not-repeatable"})]
    assert it.at(one) == (0, 5)


def test_a_response_that_breaks_off(traced):
    it = traced()
    it.ask()
    server = it.stage.accept()
    server.send(response(200, b"12", "Content-Length: 5"))
    it.stage.pass_time(1)
    server.close()
    whole, one = it.spans
    assert whole.attributes["http.response.status_code"] == 200
    assert whole.attributes["error.type"] == "upstream-truncated"
    assert whole.status.status_code is StatusCode.ERROR
    assert (it.at(whole), it.at(one)) == ((0, 1), (0, 0)), "an attempt ends with its head"


def test_a_client_that_goes_is_no_error_of_the_proxy(traced):
    it = traced()
    client = it.ask()
    it.stage.accept()
    client.close()
    whole, one = it.spans
    assert "http.response.status_code" not in whole.attributes, "499 was never sent"
    assert whole.attributes[f"{OWN}reason"] == "client-gone"
    assert whole.status.status_code is StatusCode.UNSET
    assert one.attributes["error.type"] == "client-gone"


def test_a_bulkhead_that_lets_wait_and_refuses(traced):
    it = traced("bulkhead: {max_concurrent: 1, max_queue: 2, queue_timeout: 1s}")
    it.ask()
    it.ask()
    it.ask()
    server = it.stage.accept()
    it.stage.pass_time(0.25)
    server.answer()
    it.stage.pass_time(0.75)
    server.answer()
    it.ask()
    server.answer()
    served, in_vain = [span for span in it.spans if span.kind is SpanKind.SERVER][1:3]
    served, in_vain = sorted((served, in_vain), key=lambda span: "error.type" in span.attributes)
    assert it.events(served) == [("bulkhead.wait", 0.0, {"name": "stock", "wait_ms": 250.0})]
    assert it.events(in_vain) == [
        ("bulkhead.wait", 0.0, {"name": "stock", "wait_ms": 1000.0}),
        ("bulkhead.refused", 1.0, {"name": "stock", "reason": "queue-timeout"}),
    ]


def test_a_full_bulkhead(traced):
    it = traced("bulkhead: {max_concurrent: 1}")
    it.ask()
    it.ask()
    it.stage.accept().answer()
    refused = it.spans[0]
    assert it.events(refused) == [
        ("bulkhead.refused", 0.0, {"name": "stock", "reason": "bulkhead-full"})
    ]
    assert refused.attributes[f"{OWN}attempts"] == 0


def watched(it):
    breaker = it.stage.bindings.of_route(it.stage.gateway.table.of(Listener.OUTBOUND)[0]).breaker
    breaker.on_transition = it.changes.record
    return breaker


def test_a_breaker_that_opens_refuses_and_probes(traced):
    it = traced()
    watched(it)
    it.ask()
    server = it.stage.accept()
    server.answer(500)
    it.stage.pass_time(1)
    it.ask()
    it.stage.pass_time(1)
    server.answer(500)
    opening = it.spans[2]
    assert it.events(opening) == [
        ("retry.refused", 2.0, {"why": "condition"}),
        ("circuit_breaker.changed", 2.0, {"name": "stock", "from": "closed", "to": "open"}),
    ]
    assert it.spans[3].attributes[f"{OWN}circuit_breaker.state"] == "closed", "when it was asked"
    it.stage.pass_time(1)
    it.ask()
    refused = it.spans[4]
    assert it.events(refused) == [("circuit_breaker.refused", 3.0, {"name": "stock"})]
    assert refused.attributes["error.type"] == "circuit-open"
    it.stage.pass_time(30)
    it.ask()
    it.stage.pass_time(0.5)
    server = it.stage.accept() if it.stage.connects else server
    server.answer(200)
    probing, probe = it.spans[5:]
    assert probe.attributes[f"{OWN}circuit_breaker.state"] == "half_open"
    assert it.events(probing) == [
        ("circuit_breaker.changed", 33.0, {"name": "stock", "from": "open", "to": "half_open"})
    ]


def test_a_fallback_by_another_upstream(traced):
    it = traced("fallback: {when: [503], upstream: spare}")
    it.ask("POST /api HTTP/1.1")
    it.stage.accept().answer(503)
    it.stage.pass_time(0.3)
    it.stage.accept().answer(200)
    whole, one, spare = it.spans
    assert (one.name, spare.name) == ("POST shop", "POST spare")
    assert spare.attributes[f"{OWN}fallback"] is True
    assert spare.attributes["server.port"] == 8080
    assert whole.attributes[f"{OWN}fallback"] is True
    assert whole.status.status_code is StatusCode.UNSET, "its caller was served"
    assert it.events(whole) == [
        ("retry.refused", 0.0, {"why": "not-repeatable"}),
        ("fallback", 0.0, {}),
    ]


def test_a_fixed_fallback_for_an_open_breaker(traced):
    it = traced("fallback: {when: [circuit-open], response: {status: 200}}")
    watched(it).force_open(it.stage.loop.now)
    it.stage.pass_time(1)
    it.ask()
    (whole,) = it.spans
    assert whole.status.status_code is StatusCode.UNSET
    assert whole.attributes[f"{OWN}reason"] == "circuit-open"
    assert [name for name, *_ in it.events(whole)] == ["circuit_breaker.refused", "fallback"]


def test_a_new_trace_has_no_parent_and_a_state_goes_along(traced):
    it = traced()
    it.stage.gate().terms.propagator._sample = 1.0
    it.stage.ask(request("GET /api HTTP/1.1"))
    server = it.stage.accept()
    server.answer()
    it.ask("GET /api HTTP/1.1", "tracestate: foo=1,bar=2")
    server.answer()
    begun, _, continued, attempt = it.spans
    assert begun.parent is None
    assert not begun.context.trace_state
    for span in (continued, attempt, continued.parent):
        context = getattr(span, "context", span)
        assert context.trace_state.to_header() == "foo=1,bar=2"


def test_a_tunnel(traced):
    it = traced()
    lines = ("CONNECT db.test:443 HTTP/1.1", "Host: db.test:443", SAMPLED, "", "")
    client = it.stage.ask("\r\n".join(lines).encode())
    it.stage.resolve(["10.0.0.7"])
    it.stage.accept().close()
    client.close()
    whole, one = it.spans
    assert (whole.name, one.name) == ("CONNECT default-outbound", "CONNECT db.test:443")
    assert "url.full" not in one.attributes
    assert one.attributes["server.address"] == "db.test"
    assert one.attributes["network.peer.address"] == "10.0.0.7"
    assert one.parent == whole.context


def test_what_was_refused_before_it_had_a_trace_has_no_span():
    refusal = refusal_record(Listener.INBOUND, "10.1.2.3", BadRequest(), b"r", 1.0)
    assert refusal.sampled is False


def test_a_delivery_is_linked_to_the_request_that_was_accepted(traced):
    it = traced()
    gateway = it.stage.gateway
    held = {b"traceparent": [f"00-{TRACE}-{CALLER}-01".encode()]}
    Tries(Listener.OUTBOUND, it._settled).begin_try(
        gateway.gates[Listener.OUTBOUND].terms,
        gateway.table.named("stock"),
        StoredRequest("POST", "/api/7", [], b"x", host="shop", held=held, entry="e1"),
        lambda result: None,
    )
    it.stage.loop.run()
    it.stage.accept().answer(200)
    it.stage.loop.run()
    whole, attempt = it.spans
    (link,) = whole.links
    assert f"{link.context.trace_id:032x}" == TRACE
    assert f"{link.context.span_id:016x}" == CALLER
    assert whole.parent.span_id == link.context.span_id
    assert attempt.links == ()
