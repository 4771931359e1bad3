"""What outbound calls inherit from the inbound request that they are made for."""

import pytest
from exchange.calls import Caller, accept
from exchange.wires import request

from proxy.config.model import Listener
from proxy.exchange.lineage import MOST_PARENTS

TEXT = """
service: stage
upstreams:
  app: {endpoints: ["http://10.0.0.8:80"]}
  shop: {endpoints: ["http://10.0.0.1:80"]}
policies:
  default:
    timeouts: {attempt: 4s, request: 10s}
    retry: {attempts: 3, backoff: {initial: 100ms, jitter: none}}
routes:
  - {name: shop, upstream: shop}
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "5bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def stage(make_stage):
    return make_stage(TEXT)


def trace(number=TRACE):
    return f"traceparent: 00-{number}-00f067aa0ba902b7-01"


def inbound(stage, *fields, number=TRACE):
    """An inbound request that its service works on: its client and the service's connection."""
    line = "GET /in HTTP/1.1"
    client = stage.ask(request(line, trace(number), *fields), listener=Listener.INBOUND)
    return client, stage.accept()


def outbound(stage, *fields, number=TRACE, line="GET /out HTTP/1.1"):
    """A call that the service makes: its client, and the upstream's connection if it got there."""
    client = stage.ask(request(line, trace(number), *fields))
    return client, stage.accept() if stage.connects else None


def finish(*pairs):
    for client, server in pairs:
        server.answer()
        client.answer()


def left(server):
    return int(server.request().get("x-request-timeout-ms"))


# --- deadlines ------------------------------------------------------------------------------------


def test_the_callers_deadline_goes_on(stage):
    parent = inbound(stage, "X-Request-Timeout-Ms: 3000", "X-Request-Id: in-1")
    stage.pass_time(1)
    call = outbound(stage)
    assert left(call[1]) == 2000
    stage.pass_time(2.01)
    answer = call[0].answer()
    assert (answer.status, answer.reason) == (504, "request-timeout")
    assert b"inbound request" in answer.body
    assert stage.snapshot().failures == 0, "it says nothing about the upstream"
    assert parent[0].answer().status == 504
    assert [one.inherited_from for one in stage.records] in (["in-1", ""], ["", "in-1"])


def test_a_shorter_deadline_of_its_own_or_of_the_policy_stays(stage):
    parent = inbound(stage, "X-Request-Timeout-Ms: 30000")
    call = outbound(stage)
    assert left(call[1]) == 10000
    finish(call)
    own = stage.ask(request("GET /o HTTP/1.1", trace(), "X-Request-Timeout-Ms: 500"))
    assert left(call[1]) == 500
    call[1].answer()
    own.answer()
    finish(parent)


def test_the_policys_own_deadline_is_not_handed_on(stage):
    parent = inbound(stage)
    call = outbound(stage)
    assert left(call[1]) == 10000
    finish(call, parent)
    assert [bool(one.inherited_from) for one in stage.records] == [True, False]


def test_another_trace_inherits_nothing(stage):
    parent = inbound(stage, "X-Request-Timeout-Ms: 3000", "X-Retry-Attempt: 1")
    call = outbound(stage, number=OTHER)
    assert left(call[1]) == 10000
    finish(call, parent)
    assert [one.inherited_from for one in stage.records] == ["", ""]


def test_what_begins_after_the_response_has_no_deadline(stage):
    client, server = inbound(stage, "X-Request-Timeout-Ms: 3000")
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
    call = outbound(stage)
    assert left(call[1]) == 10000
    finish(call)
    assert stage.records[-1].inherited_from, "it is still made for it"
    server.send(b"bc")
    client.answer()
    again = stage.ask(request("GET /o HTTP/1.1", trace()))
    call[1].answer()
    again.answer()
    assert stage.records[-1].inherited_from == ""


def test_the_answer_to_another_request_of_the_trace_leaves_the_deadline(stage):
    client = inbound(stage, "X-Request-Timeout-Ms: 3000")[0]
    call = outbound(stage)
    other = stage.ask(request("GET /in HTTP/1.1", trace()), listener=Listener.INBOUND)
    second = stage.accept()
    finish((other, second))
    stage.pass_time(3.01)
    assert call[0].answer().reason == "request-timeout"
    assert client.answer().status == 504


def test_a_call_under_way_loses_the_deadline_with_the_response(stage):
    client, server = inbound(stage, "X-Request-Timeout-Ms: 3000")
    call = outbound(stage, "X-Request-Timeout-Ms: 3900")
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
    stage.pass_time(3.5)
    assert not call[0].received(), "the inbound deadline is over, and does not matter any more"
    stage.pass_time(0.5)
    assert b"request-timeout" in call[0].received(), "its own one does"
    server.send(b"bc")
    client.answer()


def test_a_connect_under_way_loses_it_too(make_stage):
    stage = make_stage(TEXT.replace("attempt: 4s", "attempt: 4s, connect: 3s"))
    client, server = inbound(stage, "X-Request-Timeout-Ms: 1000")
    call = stage.ask(request("GET /out HTTP/1.1", trace()))
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
    stage.pass_time(1.5)
    assert not call.received()
    shop = stage.accept()
    shop.answer()
    assert call.answer().status == 200
    server.send(b"bc")
    client.answer()


def test_nothing_is_begun_for_a_caller_that_has_left(stage):
    client = stage.ask(
        request("POST /in HTTP/1.1", trace(), "X-Request-Timeout-Ms: 0", body=b"a"),
        listener=Listener.INBOUND,
    )
    assert client.answer().status == 504
    parent = inbound(stage, "X-Request-Timeout-Ms: 300")
    stage.pass_time(0.25)
    call = stage.ask(request("GET /out HTTP/1.1", trace()))
    stage.refuse()
    stage.pass_time(0.04)
    assert call.answer().reason == "connect-refused", "another attempt could not end in time"
    assert stage.stats().refused == {"deadline": 1}
    assert not stage.connects
    finish(parent)


def test_of_several_the_longest_counts_and_one_without_means_none(stage):
    parents = [inbound(stage, f"X-Request-Timeout-Ms: {one}000") for one in (2, 5, 3)]
    call = outbound(stage)
    assert left(call[1]) == 5000
    finish(call)
    parents.append(inbound(stage))
    again = stage.ask(request("GET /o HTTP/1.1", trace()))
    assert left(call[1]) == 10000
    call[1].answer()
    again.answer()
    parents[3][1].answer()
    parents[1][1].answer()
    more = stage.ask(request("GET /o HTTP/1.1", trace()))
    assert left(call[1]) == 3000
    call[1].answer()
    more.answer()
    finish(parents[0], parents[2])
    assert len(stage.gateway.lineage) == 0


@pytest.mark.parametrize(
    ("count", "milliseconds"), [(MOST_PARENTS, 3000), (MOST_PARENTS + 1, 10000)]
)
def test_too_many_parents_hand_nothing_on(stage, count, milliseconds):
    parents = [
        stage.ask(
            request("GET /in HTTP/1.1", trace(), "X-Request-Timeout-Ms: 3000"),
            listener=Listener.INBOUND,
        )
        for _ in range(count)
    ]
    stage.connector.pending.clear()
    call = outbound(stage)
    assert left(call[1]) == milliseconds
    finish(call)
    for parent in parents:
        parent.reset()
    assert len(stage.gateway.lineage) == 0


# --- repeats --------------------------------------------------------------------------------------


def test_a_call_for_a_repeat_is_not_retried(stage):
    parent = inbound(stage, "X-Retry-Attempt: 2")
    call = outbound(stage)
    assert call[1].request().get("x-retry-attempt") == "2", "the next one must not retry either"
    call[1].answer(503)
    assert call[0].answer().status == 503
    assert stage.stats().refused == {"nested": 1}
    assert stage.records[-1].retry_refused == "nested"
    finish(parent)


def test_connects_are_repeated_nevertheless(stage):
    parent = inbound(stage, "X-Retry-Attempt: 1")
    client = stage.ask(request("GET /out HTTP/1.1", trace()))
    stage.refuse()
    stage.pass_time(0.2)
    finish((client, stage.accept()), parent)
    assert stage.stats().retries == {"connect-failure": 1}


def test_a_repeat_counts_only_if_all_are(stage):
    first = inbound(stage)
    second = inbound(stage, "X-Retry-Attempt: 1")
    client, server = outbound(stage)
    assert server.request().get("x-retry-attempt") is None
    server.answer(503)
    stage.pass_time(0.2)
    server.answer()
    assert client.answer().status == 200
    first[1].answer()
    third = stage.ask(request("GET /o HTTP/1.1", trace()))
    server.answer(503)
    assert third.answer().status == 503
    finish(second)


@pytest.mark.parametrize("value", ["0", "x", "", "1" * 20, "-1"])
def test_what_is_no_repeat(stage, value):
    parent = inbound(stage, f"X-Retry-Attempt: {value}")
    client, server = outbound(stage)
    server.answer(503)
    stage.pass_time(0.2)
    server.answer()
    assert client.answer().status == 200
    finish(parent)


def test_no_hedge_for_a_repeat(make_stage):
    stage = make_stage(TEXT.replace("retry: {", "hedge: {delay: 50ms}\n    retry: {"))
    parent = inbound(stage, "X-Retry-Attempt: 1")
    call = outbound(stage)
    stage.pass_time(0.2)
    assert not stage.connects
    finish(call, parent)


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "milliseconds", "refused"),
    [
        ("{deadline: false}", 10000, {"nested": 1}),
        ("{retries: false}", 3000, {"attempts": 1}),
        ("{deadline: false, retries: false}", 10000, {"attempts": 1}),
    ],
)
def test_each_can_be_switched_off(make_stage, settings, milliseconds, refused):
    text = TEXT.replace("request: 10s", f"request: 10s, inherit: {settings}")
    stage = make_stage(text.replace("attempts: 3", "attempts: 2"))
    parent = inbound(stage, "X-Request-Timeout-Ms: 3000", "X-Retry-Attempt: 1")
    client, server = outbound(stage)
    assert left(server) == milliseconds
    server.answer(503)
    stage.pass_time(0.2)
    if refused == {"attempts": 1}:
        server.answer(503)
    assert client.answer().status == 503
    assert stage.stats().refused == refused
    finish(parent)


def test_over_a_reload(stage):
    parent = inbound(stage, "X-Request-Timeout-Ms: 3000")
    stage.reload(TEXT.replace("request: 10s", "request: 9s"))
    call = outbound(stage)
    assert left(call[1]) == 3000
    finish(call, parent)
    assert len(stage.gateway.lineage) == 0


def test_everything_is_forgotten(stage):
    parent = inbound(stage, "X-Request-Timeout-Ms: 3000")
    call = outbound(stage)
    assert len(stage.gateway.lineage) == 2
    call[0].reset()
    assert len(stage.gateway.lineage) == 1
    parent[0].reset()
    assert len(stage.gateway.lineage) == 0


# --- gRPC -----------------------------------------------------------------------------------------


@pytest.mark.interpreted
def test_a_grpc_deadline_lasts_to_the_end_of_the_stream(stage):
    parent = Caller(
        stage, trace(), "grpc-timeout: 2S", listener=Listener.INBOUND, path="/shop.Cart/Add"
    )
    (served,) = accept(stage)
    served.answer(("content-type", "application/grpc"), data=b"m")
    stage.pass_time(0.5)
    call = Caller(stage, trace(), path="/shop.Stock/Watch")
    (watched,) = accept(stage)
    assert watched.fields["grpc-timeout"] == "1500000u"
    watched.answer(("content-type", "application/grpc"), data=b"m")
    watched.end_with(4)
    silent = Caller(stage, trace(), path="/shop.Stock/Watch")
    stage.pass_time(1.51)
    assert call.code == silent.code == 4
    served.end_with(0)
    assert parent.code == 0


@pytest.mark.interpreted
def test_a_grpc_deadline_does_not_wait_for_the_callers_messages(stage):
    parent = Caller(
        stage,
        trace(),
        "grpc-timeout: 2S",
        listener=Listener.INBOUND,
        path="/shop.Cart/Add",
        ended=False,
    )
    accept(stage)
    for _ in range(5):
        stage.pass_time(0.2)
        parent.send(b"m")
    Caller(stage, trace(), path="/shop.Stock/Watch")
    (watched,) = accept(stage)
    assert int(watched.fields["grpc-timeout"].removesuffix("u")) == pytest.approx(1e6, abs=10)


@pytest.mark.interpreted
def test_a_call_under_way_keeps_the_deadline_of_a_grpc_stream_that_answers(stage):
    parent = Caller(
        stage, trace(), "grpc-timeout: 2S", listener=Listener.INBOUND, path="/shop.Cart/Add"
    )
    (served,) = accept(stage)
    call = stage.ask(request("GET /out HTTP/1.1", trace()))
    assert stage.connects
    served.answer(("content-type", "application/grpc"), data=b"m")
    stage.pass_time(1.9)
    assert not call.received()
    stage.pass_time(0.11)
    assert call.answer().reason == "request-timeout"
    served.end_with(0)
    assert parent.code == 0


@pytest.mark.interpreted
def test_an_http_deadline_does_not_cut_a_stream(stage):
    parent = inbound(stage, "X-Request-Timeout-Ms: 2000")
    call = Caller(stage, trace(), path="/shop.Stock/Watch")
    (watched,) = accept(stage)
    assert "grpc-timeout" not in watched.fields
    watched.answer(("content-type", "application/grpc"), data=b"m")
    finish(parent)
    stage.pass_time(3)
    assert call.code is None
    watched.end_with(0)
    assert call.code == 0


# --- what the caller's proxy hears of retries below -----------------------------------------------

RETRIED = "Proxy-Status: shop; retried-below"


def fail(stage, call, times=1):
    """The call's attempts get a 503, with the waits between them."""
    client, server = call
    for number in range(times):
        if number:
            stage.pass_time(0.5)
        server.request()
        server.answer(503)
    return client.answer()


def test_a_failed_response_says_that_the_calls_below_were_retried(stage):
    parent = inbound(stage)
    assert fail(stage, outbound(stage), 3).status == 503
    parent[1].answer(503)
    assert parent[0].answer().get("proxy-status") == "stage; retried-below"


def test_a_response_that_did_not_fail_says_nothing_of_it(stage):
    parent = inbound(stage)
    fail(stage, outbound(stage), 3)
    parent[1].answer(200)
    assert parent[0].answer().get("proxy-status") is None


@pytest.mark.parametrize(
    "policy",
    [
        "retry: {attempts: 1}",
        "retry: {attempts: 3, on: [reset]}",
        "timeouts: {inherit: {retries: false}}",
    ],
)
def test_without_retries_below_the_caller_retries(make_stage, policy):
    stage = make_stage(
        TEXT.replace("routes:\n  - {name: shop,", f"routes:\n  - {{name: shop, {policy},")
    )
    parent = inbound(stage)
    fail(stage, outbound(stage), 3 if "inherit" in policy else 1)
    parent[1].answer(503)
    assert parent[0].answer().get("proxy-status") is None


def test_a_spent_budget_below_counts_as_retried(make_stage):
    stage = make_stage(
        TEXT.replace("jitter: none}}", "jitter: none}, budget: {ratio: 0%, min_per_second: 0}}")
    )
    parent = inbound(stage)
    fail(stage, outbound(stage))
    parent[1].answer(503)
    assert parent[0].answer().get("proxy-status") == "stage; retried-below"


def test_what_was_retried_below_is_not_retried_here_and_goes_on(stage):
    parent = inbound(stage)
    client, server = outbound(stage)
    server.request()
    server.answer(503, b"", RETRIED)
    assert client.answer().status == 503
    assert stage.records[-1].retry_refused == "nested"
    parent[1].answer(503)
    assert parent[0].answer().get("proxy-status") == "stage; retried-below"


def test_retries_below_matter_to_calls_without_a_parent_too(stage):
    client, server = outbound(stage)
    server.request()
    server.answer(503, b"", RETRIED)
    assert (client.answer().status, stage.records[-1].retry_refused) == (503, "nested")


def test_a_caller_that_does_not_inherit_retries_retries(make_stage):
    stage = make_stage(TEXT.replace("request: 10s}", "request: 10s, inherit: {retries: false}}"))
    client, server = outbound(stage)
    server.request()
    server.answer(503, b"", RETRIED)
    stage.pass_time(0.5)
    server.request()
    server.answer(200)
    assert client.answer().status == 200
