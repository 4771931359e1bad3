"""What observers are told of an exchange beside its outcome: why, its queueing, its spans."""

import json

import pytest
from exchange.wires import request

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"

ROUTE = """
service: stage
tracing: {{exporter: {exporter}, propagate: [tracecontext, b3]}}
upstreams: {{shop: {{endpoints: ["http://10.0.0.1:80"]}}}}
policies:
  default:
    timeouts: {{attempt: 5s, request: 15s}}
    retry: {{backoff: {{initial: 100ms, jitter: none}}, attempts: 2}}
    circuit_breaker: {{minimum_calls: 3, window: {{size: 3}}}}
    bulkhead: {{max_concurrent: 1, max_queue: 1, queue_timeout: 2s}}
routes: [{{name: shop, upstream: shop}}]
"""


@pytest.fixture
def stage(make_stage):
    return make_stage(ROUTE.format(exporter="otlp"))


def traced(flags, *lines):
    return request("GET /x HTTP/1.1", f"traceparent: 00-{TRACE}-{CALLER}-{flags}", *lines)


# --- why ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status", "why"),
    [
        ("POST", 503, "not-repeatable"),
        ("GET", 500, "condition"),
        ("GET", 200, ""),
        ("GET", 404, ""),
    ],
)
def test_why_an_answer_was_not_retried(stage, method, status, why):
    stage.ask(request(f"{method} /x HTTP/1.1"))
    stage.accept().answer(status)
    (record,) = stage.records
    assert (record.retry_refused, record.detail) == (why, "")


def test_a_success_after_a_retry_was_refused_nothing(stage):
    stage.ask(request())
    stage.accept().answer(503)
    stage.pass_time(0.11)
    stage.servers[0].answer(200)
    assert stage.records[0].retry_refused == ""


def test_an_answer_of_the_proxy_says_in_the_log_what_it_says_to_the_client(stage):
    client = stage.ask(request())
    for _ in range(2):
        stage.refuse()
        stage.pass_time(0.11)
    problem = json.loads(client.answer().body)
    (record,) = stage.records
    assert problem["retry_refused"] == record.retry_refused == "attempts"
    assert problem["detail"] == record.detail
    assert record.detail.startswith("10.0.0.1:80 refused")


def test_the_breaker_that_refused_is_named(stage):
    stage.bindings.of_route(stage.gateway.table.of(stage.gate().listener)[0])
    stage.breaker().force_open(stage.loop.now)
    stage.ask(request())
    (record,) = stage.records
    assert record.attempts == []
    assert "circuit breaker 'shop'" in record.detail


# --- how long in the queue ----------------------------------------------------------------------


def two_one_after_the_other(stage):
    """The second one waits 0.5 s for the place of the first one."""
    stage.ask(request())
    stage.ask(request())
    stage.pass_time(0.5)
    server = stage.accept()
    server.answer(200)
    server.answer(200)


def test_the_wait_for_a_place(stage):
    two_one_after_the_other(stage)
    assert [record.queued for record in stage.records] == [0.0, pytest.approx(0.5)]


class Slow(list):
    """Observers that take 0.2 s for each record."""

    def __init__(self, loop):
        super().__init__()
        self.loop = loop

    def append(self, record):
        super().append(record)
        self.loop.stand_still(0.2)


def test_the_wait_ends_with_the_permit_although_the_loop_is_busy(stage):
    """Else a log would not tell which request's end freed the place."""
    stage.records = Slow(stage.loop)
    two_one_after_the_other(stage)
    assert stage.records[1].queued == pytest.approx(0.5)


def test_a_wait_in_vain(stage):
    stage.ask(request())
    stage.ask(request())
    stage.pass_time(2)
    (record,) = stage.records
    assert (record.reason, record.queued) == ("queue-timeout", pytest.approx(2))


# --- spans --------------------------------------------------------------------------------------


def spans_sent(stage, headers):
    """The span that each attempt named as its own, the parent that B3 names for it; the record."""
    client = stage.ask(headers)
    server = stage.accept()
    first = server.request()
    server.answer(503)
    stage.pass_time(0.11)
    second = server.request()
    server.answer(200)
    assert client.answer().status == 200
    ids = [one.get("traceparent").split("-")[2] for one in (first, second)]
    parents = [one.get("b3").split("-")[3] for one in (first, second)]
    return ids, parents, stage.records[-1]


def test_of_a_sampled_trace_the_ids_that_were_sent_are_kept(stage):
    ids, parents, record = spans_sent(stage, traced("01"))
    assert record.sampled
    assert record.span_ids == ids
    assert parents == [record.span_id] * 2
    assert len({CALLER, record.span_id, *ids}) == 4


def test_of_a_trace_that_is_not_sampled_nothing_is_kept(stage):
    ids, parents, record = spans_sent(stage, traced("00"))
    assert len(set(ids)) == 2
    assert parents == [CALLER] * 2
    assert (record.sampled, record.span_id, record.span_ids) == (False, "", ["", ""])


def test_without_an_exporter_no_span_stands_between(make_stage):
    stage = make_stage(ROUTE.format(exporter="none"))
    _, parents, record = spans_sent(stage, traced("01"))
    assert parents == [CALLER] * 2
    assert (record.sampled, record.span_id, record.span_ids) == (True, "", ["", ""])
