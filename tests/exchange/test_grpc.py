"""gRPC calls: their outcome, the peek, deadlines, answers, streams; over scripted streams."""

import pytest
from exchange.calls import Caller, accept

from proxy.config.model import Listener
from proxy.errors import UpstreamReset
from proxy.exchange.grpc_attempt import PEEK
from proxy.grpc_status import of_reset
from proxy.http.grpc import parse_timeout

pytestmark = pytest.mark.interpreted

CONFIG = """
service: stage
upstreams:
  shop: {{endpoints: ["http://10.0.0.1:80"]}}
policies:
  default:
    timeouts: {{attempt: 5s, request: 15s, idle: 60s, {timeouts}}}
    retry: {{backoff: {{initial: 100ms, jitter: none}}, {retry}}}
    circuit_breaker: {{minimum_calls: 1, {breaker}}}
    {more}
routes:
  - {{name: shop, upstream: shop}}
"""
RETRIED = "methods: any, on: [connect-failure, reset, timeout, grpc-unavailable]"
NO_BREAKER = "mode: observe"


@pytest.fixture
def make(make_stage):
    def made(retry="attempts: 3", timeouts="connect: 1s", breaker=NO_BREAKER, more=""):
        return make_stage(CONFIG.format(retry=retry, timeouts=timeouts, breaker=breaker, more=more))

    return made


def call_at(stage, *fields, **given):
    """A caller, and the one call that its request became."""
    caller = Caller(stage, *fields, **given)
    (call,) = accept(stage)
    return caller, call


def next_call(stage, calls, wait=0.11):
    """The call of the attempt that comes after the wait."""
    before = len(calls)
    stage.pass_time(wait)
    assert len(calls) == before + 1
    return calls[-1]


def only(stage):
    (record,) = stage.kept
    return record


@pytest.fixture(autouse=True)
def keep_records(monkeypatch):
    """`stage.kept`: the records themselves, with what only gRPC has."""
    from exchange.stage import Stage

    plain = Stage._record

    def record(self, exchange):
        self.__dict__.setdefault("kept", []).append(exchange)
        plain(self, exchange)

    monkeypatch.setattr(Stage, "_record", record)


# --- outcomes -----------------------------------------------------------------------------------


def test_a_unary_call(make):
    stage = make()
    caller, call = call_at(stage)
    assert (call.data, call.ended) == (b"message", True)
    call.answer(data=b"reply", trailers=(("grpc-status", "0"), ("x-more", "1")))
    assert (caller.status, caller.data) == (200, b"reply")
    assert caller.trailers == [("grpc-status", "0"), ("x-more", "1")]
    assert call.released == "whole"
    assert caller.finished
    assert stage.stats().requests == {(200, "", "POST", 0): 1}
    assert stage.stats().attempts == {("shop", "2xx"): 1}
    assert only(stage).grpc_status == "OK"


def test_trailers_only_stays_trailers_only(make):
    stage = make()
    caller, call = call_at(stage)
    call.fail(5, ("grpc-message", "no such thing"))
    assert (caller.status, caller.code, caller.trailers) == (200, 5, [])
    assert caller.get("grpc-message") == "no such thing"
    assert stage.stats().requests == {(200, "", "POST", 5): 1}
    assert stage.stats().attempts == {("shop", "grpc-not-found"): 1}
    assert stage.stats().results_by_kind["successful_without_retry"] == 1


@pytest.mark.parametrize(
    ("answer", "code", "failures"),
    [
        (lambda call: call.fail(14), 14, 1),
        (lambda call: call.fail(2), 2, 1),
        (lambda call: call.fail(4), 4, 1),
        (lambda call: call.fail(13), 13, 1),
        (lambda call: call.fail(15), 15, 1),
        (lambda call: call.fail(5), 5, 0),
        (lambda call: call.fail(8), 8, 0),
        (lambda call: call.fail(0), 0, 0),
        (lambda call: call.fail(99), 2, 1),
        (lambda call: call.answer(status=503, data=b"<html>", trailers=()), 14, 1),
        (lambda call: call.answer(status=404, trailers=()), 12, 0),
        (lambda call: (call.answer(), call.send(b"x"), call.end_with(14)), 14, 1),
        (lambda call: (call.answer(), call.send(b"x"), call.end_with(0)), 0, 0),
        (lambda call: (call.answer(), call.send(b"x"), call.end_with(None)), 2, 1),
        (lambda call: (call.answer(), call.send(b"x"), call.lose()), 14, 1),
        (lambda call: call.lose(), 14, 1),
    ],
)
def test_the_breaker_sees_the_status(make, answer, code, failures):
    stage = make(retry="attempts: 1")
    _, call = call_at(stage)
    answer(call)
    snapshot = stage.snapshot()
    assert (snapshot.calls, snapshot.failures) == (1, failures)
    assert only(stage).grpc == code


def test_an_http_error_passes_as_it_came(make):
    stage = make(retry="attempts: 1")
    caller, call = call_at(stage)
    call.answer(("content-type", "text/html"), status=503)
    call.send(b"<html>")
    call.end_with(None)
    assert (caller.status, caller.code, caller.data) == (503, None, b"<html>")
    assert stage.stats().requests == {(503, "", "POST", 14): 1}
    assert caller.trailers == []


def test_a_call_that_ends_without_a_status_before_anything_was_sent_is_repeated(make):
    stage = make(retry="attempts: 2, methods: any, on: [reset]")
    caller = Caller(stage)
    calls = accept(stage)
    calls[0].answer(trailers=())
    assert caller.status == 0
    again = next_call(stage, calls)
    again.answer(trailers=())
    assert (caller.status, caller.code) == (200, 13)
    assert "without a grpc-status" in caller.get("grpc-message")
    assert only(stage).reason == "upstream-malformed"
    assert stage.stats().retries == {"reset": 1}


def test_a_call_that_ends_without_a_status_later_is_told_so(make):
    stage = make()
    caller, call = call_at(stage)
    call.answer(data=b"half")
    call.end_with(None, ("x-more", "1"))
    assert (caller.data, caller.code) == (b"half", 2)
    assert "without a grpc-status" in caller.get("grpc-message")
    assert only(stage).reason == "upstream-malformed"


def test_a_reset_streams_code(make):
    stage = make(retry="attempts: 1")
    caller, call = call_at(stage)
    error = UpstreamReset("The upstream reset the stream (CANCEL).")
    error.grpc = of_reset(8)
    call.lose(error)
    assert (caller.status, caller.code) == (200, 1)
    assert only(stage).reason == "upstream-reset"


# --- retries and the peek -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "fail",
    [
        lambda call: call.fail(14),
        lambda call: (call.answer(), call.end_with(14)),
        lambda call: call.answer(data=b"whole", trailers=(("grpc-status", "14"),)),
    ],
    ids=["trailers-only", "head-then-trailers", "known-whole"],
)
def test_unavailable_is_repeated_where_it_is_listed(make, fail):
    stage = make(RETRIED)
    caller = Caller(stage)
    calls = accept(stage)
    fail(calls[0])
    assert caller.status == 0
    assert calls[0].released == "whole"
    again = next_call(stage, calls)
    assert again.data == b"message"
    assert again.fields["grpc-previous-rpc-attempts"] == "1"
    assert again.fields["x-retry-attempt"] == "1"
    again.answer(data=b"reply", trailers=(("grpc-status", "0"),))
    assert (caller.data, caller.code) == (b"reply", 0)
    assert stage.stats().retries == {"grpc-unavailable": 1}
    assert stage.stats().attempts == {("shop", "grpc-unavailable"): 1, ("shop", "2xx"): 1}


def test_a_callers_own_attempts_are_added(make):
    stage = make(RETRIED)
    Caller(stage, "grpc-previous-rpc-attempts: 2")
    calls = accept(stage)
    assert calls[0].fields["grpc-previous-rpc-attempts"] == "2"
    calls[0].fail(14)
    assert next_call(stage, calls).fields["grpc-previous-rpc-attempts"] == "3"


@pytest.mark.parametrize(
    ("retry", "refused"),
    [
        ("on: [grpc-unavailable]", "not-repeatable"),
        ("methods: any, on: [grpc-internal]", "condition"),
        ("methods: any, on: [grpc-unavailable], attempts: 1", "attempts"),
    ],
)
def test_what_is_not_repeated(make, retry, refused):
    stage = make(retry)
    caller, call = call_at(stage)
    call.fail(14)
    assert caller.code == 14
    assert stage.stats().refused == {refused: 1}


def test_an_idempotency_key_lets_a_call_be_repeated(make):
    stage = make("on: [grpc-unavailable]")
    Caller(stage, "idempotency-key: k")
    calls = accept(stage)
    calls[0].fail(14)
    next_call(stage, calls)


def test_the_head_is_held_back_for_one_frame(make):
    stage = make(RETRIED)
    caller, call = call_at(stage)
    call.answer()
    assert caller.status == 0, "it waits for the next frame"
    call.send(b"message")
    assert (caller.status, caller.data) == (200, b"message")
    call.end_with(14)
    assert caller.code == 14
    assert stage.stats().retries == {}, "a message was sent: it is committed"


def test_the_head_is_held_back_for_50_ms(make):
    stage = make(RETRIED)
    caller, call = call_at(stage)
    call.answer()
    stage.pass_time(PEEK - 0.005)
    assert caller.status == 0
    stage.pass_time(0.01)
    assert caller.status == 200
    call.end_with(14)
    assert caller.code == 14
    assert stage.stats().retries == {}


def test_trailers_59_ms_after_the_head_come_too_late(make):
    stage = make(RETRIED)
    caller, call = call_at(stage)
    call.answer()
    stage.pass_time(0.059)
    call.end_with(14, ("grpc-message", "late"))
    assert (caller.status, caller.code, caller.get("grpc-message")) == (200, 14, "late")


def test_a_good_end_after_the_peek_keeps_its_trailers(make):
    """END_STREAM after the peek: nothing of the trailers may be lost."""
    stage = make(RETRIED)
    caller, call = call_at(stage)
    call.answer(("x-head", "1"))
    call.end_with(0, ("x-trailer", "2"))
    assert (caller.status, caller.get("x-head"), caller.get("x-trailer")) == (200, "1", "2")
    assert caller.code == 0


@pytest.mark.parametrize(
    ("retry", "sends_on"),
    [
        ("on: [grpc-unavailable], methods: any", True),
        ("on: [grpc-unavailable]", False),
        ("on: [reset], methods: any", False),
        ("on: [grpc-unavailable], methods: any, attempts: 1", False),
        ("on: [grpc-unavailable], methods: any, body_limit: 3B", False),
    ],
    ids=["still-sending", "not-repeatable", "not-listed", "last-attempt", "body-gone"],
)
def test_the_head_goes_at_once(make, retry, sends_on):
    stage = make(retry)
    caller, call = call_at(stage, ended=not sends_on)
    call.answer()
    assert caller.status == 200
    call.end_with(0)
    assert caller.code == 0


def test_a_connection_lost_while_peeking_is_repeated(make):
    stage = make(RETRIED)
    caller = Caller(stage)
    calls = accept(stage)
    calls[0].answer()
    calls[0].lose()
    assert caller.status == 0
    next_call(stage, calls).fail(0)
    assert caller.code == 0
    assert stage.stats().retries == {"reset": 1}


def test_a_client_that_leaves_while_peeking(make):
    stage = make(RETRIED)
    caller, call = call_at(stage)
    call.answer()
    caller.leave()
    assert call.released == "reset"
    assert (only(stage).status, only(stage).grpc_status) == (499, "CANCELLED")
    assert stage.snapshot().calls == 0


def test_the_last_status_is_the_callers(make):
    stage = make(RETRIED + ", attempts: 2")
    caller = Caller(stage)
    calls = accept(stage)
    calls[0].fail(14, ("grpc-message", "one"))
    next_call(stage, calls).fail(14, ("grpc-message", "two"))
    assert (caller.code, caller.get("grpc-message")) == (14, "two")
    assert caller.get("proxy-status") == "stage; attempts=2"
    assert stage.stats().refused == {"attempts": 1}
    assert stage.stats().results_by_kind["failed_with_retry"] == 1


@pytest.mark.parametrize("where", ["head", "trailers"])
def test_a_pushback_replaces_the_backoff(make, where):
    stage = make(RETRIED)
    Caller(stage)
    calls = accept(stage)
    pushback = ("grpc-retry-pushback-ms", "700")
    if where == "head":
        calls[0].fail(14, pushback)
    else:
        calls[0].answer()
        calls[0].end_with(14, pushback)
    stage.pass_time(0.69)
    assert len(calls) == 1
    next_call(stage, calls, 0.02)


@pytest.mark.parametrize(
    ("value", "why"), [("-1", "pushback"), ("soon", "pushback"), ("60000", "retry-after")]
)
def test_a_pushback_against_a_retry(make, value, why):
    stage = make(RETRIED)
    caller, call = call_at(stage)
    call.fail(14, ("grpc-retry-pushback-ms", value))
    assert (caller.code, caller.get("grpc-retry-pushback-ms")) == (14, value)
    assert stage.stats().refused == {why: 1}


def test_timeouts_are_repeated_as_for_all_requests(make):
    stage = make(RETRIED)
    caller = Caller(stage)
    calls = accept(stage)
    stage.pass_time(5.01)
    next_call(stage, calls).fail(0)
    assert caller.code == 0
    assert stage.stats().retries == {"timeout": 1}


# --- a breaker and streams ----------------------------------------------------------------------


def test_an_open_stream_is_a_success_after_the_attempts_time(make):
    stage = make()
    caller, call = call_at(stage)
    call.answer()
    assert stage.snapshot().calls == 0
    stage.pass_time(4.9)
    assert stage.snapshot().calls == 0
    stage.pass_time(0.2)
    snapshot = stage.snapshot()
    assert (snapshot.calls, snapshot.failures) == (1, 0)
    call.send(b"late news")
    call.end_with(14)
    snapshot = stage.snapshot()
    assert (snapshot.calls, snapshot.failures) == (1, 0)
    assert caller.code == 14
    assert stage.stats().requests == {(200, "", "POST", 14): 1}


def test_a_watch_does_not_hold_a_half_open_breaker(make):
    stage = make(
        retry="attempts: 1",
        breaker="open_for: {initial: 1s}, half_open: {calls: 1, max_wait: 1h}",
    )
    _, call = call_at(stage)
    call.fail(14)
    assert stage.breaker().snapshot(stage.loop.now).state.value == "open"
    stage.pass_time(1.1)
    watcher = Caller(stage)
    watch = call.session.calls[-1]
    watch.answer()
    stage.pass_time(5.1)
    assert stage.snapshot().state.value == "closed"
    stage.pass_time(600)
    watch.send(b"news")
    assert watcher.data == b"news"
    watcher.leave()


def test_slow_is_measured_to_the_head(make):
    stage = make(breaker=NO_BREAKER + ", slow_call: {duration: 1s}")
    _, call = call_at(stage)
    stage.pass_time(0.5)
    call.answer()
    stage.pass_time(3)
    call.end_with(0)
    assert stage.snapshot().slow_calls == 0


@pytest.mark.parametrize("end", ["status", "loss", "time", "client"])
def test_a_breaker_around_all_attempts_waits_for_the_status_too(make, end):
    stage = make(retry="attempts: 1", breaker=NO_BREAKER + ", counts: requests")
    caller, call = call_at(stage)
    call.answer()
    call.send(b"x")
    assert stage.snapshot().calls == 0
    if end == "status":
        call.end_with(14)
    elif end == "loss":
        call.lose()
    elif end == "time":
        stage.pass_time(5.1)
    else:
        caller.leave()
    snapshot = stage.snapshot()
    expected = {"status": (1, 1), "loss": (1, 1), "time": (1, 0), "client": (0, 0)}
    assert (snapshot.calls, snapshot.failures) == expected[end]


def test_a_client_that_cancels_says_nothing_about_the_upstream(make):
    stage = make()
    caller, call = call_at(stage)
    call.answer(data=b"x")
    caller.leave()
    assert call.released == "reset"
    assert stage.snapshot().calls == 0
    assert only(stage).grpc_status == "CANCELLED"


# --- deadlines ----------------------------------------------------------------------------------


def test_a_callers_deadline_goes_on_as_what_is_left(make):
    stage = make(RETRIED)
    Caller(stage, "grpc-timeout: 2S")
    calls = accept(stage)
    assert calls[0].fields["grpc-timeout"] == "2000000u"
    assert calls[0].fields["x-request-timeout-ms"] == "2000"
    stage.pass_time(0.5)
    calls[0].fail(14)
    left = parse_timeout(next_call(stage, calls).fields["grpc-timeout"].encode())
    assert left == pytest.approx(1.4, abs=0.011)


def test_the_policys_deadline_does_not_end_the_upstreams_stream(make):
    """`request` ends with the head; a server would end the whole stream."""
    stage = make()
    _, call = call_at(stage)
    assert "grpc-timeout" not in call.fields
    assert call.fields["x-request-timeout-ms"] == "15000"
    stage = make()
    _, call = call_at(stage, "grpc-timeout: 1H")
    assert call.fields["grpc-timeout"] == "3600000m"
    assert call.fields["x-request-timeout-ms"] == "15000"


def test_a_deadline_goes_on_where_the_proxys_own_does_not(make):
    stage = make(timeouts="propagate: false")
    _, call = call_at(stage, "grpc-timeout: 2S")
    assert call.fields["grpc-timeout"] == "2000000u"
    assert "x-request-timeout-ms" not in call.fields


@pytest.mark.parametrize("sends_on", [False, True])
def test_a_deadline_that_expires_before_the_head(make, sends_on):
    stage = make()
    caller, call = call_at(stage, "grpc-timeout: 300m", ended=not sends_on)
    stage.pass_time(0.29)
    assert caller.status == 0
    stage.pass_time(0.02)
    assert (caller.status, caller.code) == (200, 4)
    assert call.released == "reset"
    assert stage.snapshot().calls == 0, "the caller's own deadline says nothing"


def test_a_deadline_that_is_over_already(make):
    stage = make()
    caller = Caller(stage, "grpc-timeout: 0n")
    assert caller.code == 4
    assert stage.connects == 0


def test_no_deadline_cuts_after_the_head(make):
    stage = make()
    caller, call = call_at(stage, "grpc-timeout: 1S")
    call.answer(data=b"x")
    stage.pass_time(100)
    call.send(b"y")
    call.end_with(0)
    assert (caller.data, caller.code) == (b"xy", 0)


def test_no_peek_outlives_the_deadline(make):
    stage = make(RETRIED)
    caller, call = call_at(stage, "grpc-timeout: 1S")
    stage.pass_time(0.98)
    call.answer()
    stage.pass_time(0.025)
    assert caller.status == 200
    call.end_with(0)


# --- silence ------------------------------------------------------------------------------------


def test_silence_ends_no_stream(make):
    stage = make()
    caller, call = call_at(stage, ended=False)
    call.answer()
    stage.pass_time(3600)
    call.send(b"news")
    assert caller.data == b"news"
    caller.send(b"more")
    assert call.data == b"messagemore"
    caller.leave()


def test_a_client_that_waits_for_the_first_answer_is_not_a_slow_sender(make):
    stage = make()
    caller, call = call_at(stage, ended=False)
    stage.pass_time(3600)
    assert caller.status == 0
    call.answer(data=b"x")
    caller.end_sending()
    call.end_with(0)
    assert caller.code == 0


def test_silence_in_both_directions_where_it_is_limited(make):
    stage = make(timeouts="stream_idle: 10s")
    caller, call = call_at(stage, ended=False)
    call.answer()
    for _ in range(3):
        stage.pass_time(6)
        call.send(b"x")
        stage.pass_time(6)
        caller.send(b"y")
    stage.pass_time(10.1)
    assert (caller.code, caller.broken) == (14, "")
    assert "timeouts.stream_idle" in caller.get("grpc-message")
    assert call.released == "reset"


def test_a_client_that_takes_nothing_is_ended(make):
    stage = make()
    caller, call = call_at(stage)
    call.answer(data=b"x")
    caller.stop_reading()
    stage.pass_time(59)
    assert not call.reading
    caller.read_on()
    caller.stop_reading()
    stage.pass_time(59)
    assert not caller.finished
    stage.pass_time(2)
    assert caller.broken == "hard"
    assert only(stage).reason == "client-gone"


def test_max_duration_ends_streams_too(make):
    stage = make(timeouts="max_duration: 30s")
    caller, call = call_at(stage)
    call.answer(data=b"x")
    stage.pass_time(30.1)
    assert (caller.data, caller.code, caller.broken) == (b"x", 14, "")
    assert "timeouts.max_duration" in caller.get("grpc-message")


# --- answers of the proxy -----------------------------------------------------------------------


def test_an_answer_of_the_proxy(make):
    stage = make(retry="attempts: 1")
    caller = Caller(stage, "x-request-id: one")
    stage.refuse()
    assert (caller.status, caller.code, caller.data, caller.trailers) == (200, 14, b"", [])
    assert caller.get("content-type") == "application/grpc"
    assert caller.get("grpc-message") == "10.0.0.1:80 refused."
    status = 'stage; error=connection_refused; details="connect-refused"'
    assert caller.get("proxy-status") == status
    assert caller.get("x-request-id") == "one"
    assert caller.get("content-length") is None
    assert stage.stats().requests == {(200, "connect-refused", "POST", 14): 1}
    assert stage.stats().errors == 1


def test_an_open_breaker_says_when_to_come_back(make):
    stage = make(retry="attempts: 1", breaker="open_for: {initial: 2500ms}")
    _, call = call_at(stage)
    call.fail(14)
    stage.pass_time(0.2)
    caller = Caller(stage)
    assert (caller.code, caller.get("grpc-retry-pushback-ms")) == (14, "2300")


def test_a_full_bulkhead_says_when_to_come_back(make):
    stage = make(more="bulkhead: {max_concurrent: 1}")
    first, call = call_at(stage)
    caller = Caller(stage)
    assert (caller.code, caller.get("grpc-retry-pushback-ms")) == (8, "1000")
    call.fail(0)
    assert first.code == 0


def test_after_the_head_a_lost_upstream_is_told_by_trailers(make):
    stage = make()
    caller, call = call_at(stage)
    call.answer(data=b"half")
    call.lose()
    assert (caller.data, caller.code, caller.broken) == (b"half", 14, "")
    assert caller.get("grpc-message") == "The upstream closed the connection."
    assert caller.finished
    assert stage.stats().requests == {(200, "upstream-reset", "POST", 14): 1}


def test_the_end_of_a_drain_is_told_by_trailers(make):
    stage = make()
    caller, call = call_at(stage, ended=False)
    call.answer(data=b"x")
    waiting = Caller(stage)
    for exchange in list(stage.gate().exchanges):
        exchange.cut()
    stage.loop.run()
    assert (caller.code, caller.broken, waiting.code) == (14, "", 14)
    assert stage.snapshot().calls == 0, "a drain says nothing about the upstream"
    assert {one.reason for one in stage.kept} == {"drain-cut", "draining"}


def test_a_route_that_is_not_allowed(make_stage):
    stage = make_stage("service: stage\negress: {allow: []}")
    caller = Caller(stage)
    assert (caller.code, caller.status) == (7, 200)


# --- fallbacks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "code", "message"),
    [
        ("{grpc: {status: failed-precondition, message: later}}", 9, "later"),
        ("{grpc: {status: ok}}", 0, None),
        ("{status: 503, headers: {x-a: b}}", 14, "The configured answer is HTTP 503."),
        ("{status: 200, json: {a: 1}}", 13, "The configured answer is HTTP 200."),
    ],
)
@pytest.mark.parametrize("fails", ["trailers-only", "peek", "refused"])
def test_a_fallback_for_a_grpc_caller(make, response, code, message, fails):
    more = f"fallback: {{when: [connect-failure, grpc-unavailable], response: {response}}}"
    stage = make(retry="attempts: 1", more=more)
    caller = Caller(stage)
    if fails == "refused":
        stage.refuse()
    else:
        (call,) = accept(stage)
        if fails == "peek":
            call.answer()
            call.end_with(14)
        else:
            call.fail(14)
        assert call.released == "whole"
    assert (caller.status, caller.code, caller.data) == (200, code, b"")
    assert caller.get("grpc-message") == message
    assert caller.get("content-type") == "application/grpc"
    assert only(stage).fallback
    assert only(stage).grpc == code


def test_no_fallback_for_another_status(make):
    stage = make(more="fallback: {when: [grpc-unavailable], response: {grpc: {status: ok}}}")
    caller, call = call_at(stage)
    call.fail(13)
    assert caller.code == 13


# --- answers and faults of the configuration ----------------------------------------------------


@pytest.mark.parametrize(
    ("respond", "code", "message"),
    [
        ("{status: 404, json: {error: unknown}}", 5, "The configured answer is HTTP 404."),
        ("{grpc: {status: unimplemented, message: gone}}", 12, "gone"),
    ],
)
def test_a_route_that_answers_itself(make_stage, respond, code, message):
    stage = make_stage(f"service: stage\nroutes: [{{name: gone, respond: {respond}}}]")
    caller = Caller(stage)
    assert (caller.status, caller.code, caller.data) == (200, code, b"")
    assert caller.get("grpc-message") == message
    assert only(stage).grpc == code


@pytest.mark.parametrize(("status", "code"), [(503, 14), (429, 8), (500, 13), (404, 5)])
def test_a_fault_aborts_a_call(make, status, code):
    stage = make(more=f"faults: [{{share: 100%, abort: {status}}}]")
    caller = Caller(stage)
    while stage.connects:
        accept(stage)
    assert (caller.status, caller.code) == (200, code)
    assert only(stage).reason == "fault-injected"


def test_all_policies_see_the_code_that_a_fault_tells(make):
    stage = make(more="faults: [{share: 100%, abort: 400}]")
    assert Caller(stage).code == 3
    assert (stage.snapshot().calls, stage.snapshot().failures) == (1, 0), "a caller's mistake"
    retry = "methods: any, on: [grpc-resource-exhausted], attempts: 2"
    stage = make(retry, more="faults: [{share: 100%, abort: 429}]")
    caller = Caller(stage)
    stage.pass_time(0.11)
    assert caller.code == 8
    assert len(stage.records[-1].attempts) == 2
    stage = make(more="faults: [{share: 100%, abort: 200}]")
    assert Caller(stage).code == 13
    assert only(stage).reason == "fault-injected"


def test_a_bad_status_in_trailers_does_not_win_while_another_attempt_runs(make):
    stage = make(f"{RETRIED}, attempts: 2", more="hedge: {delay: 100ms}")
    caller = Caller(stage)
    calls = accept(stage)
    stage.pass_time(0.11)
    calls[1].answer()
    calls[1].end_with(14)
    assert caller.code is None, "the first attempt may still answer"
    calls[0].answer(data=b"first", trailers=(("grpc-status", "0"),))
    assert (caller.data, caller.code) == (b"first", 0)


def test_header_rules_leave_a_status_a_status(make_stage):
    rules = "{set: {x-team: shop, content-type: text/html}, remove: [grpc-status, grpc-message]}"
    route = f"{{name: gone, respond: {{status: 404}}, headers: {{response: {rules}}}}}"
    caller = Caller(make_stage(f"service: stage\nroutes: [{route}]"))
    assert (caller.code, caller.get("x-team")) == (5, "shop")
    assert caller.get("content-type") == "application/grpc"


def test_a_hedge_that_wins(make):
    stage = make(RETRIED, more="hedge: {delay: 100ms}")
    caller = Caller(stage)
    calls = accept(stage)
    stage.pass_time(0.11)
    assert len(calls) == 2
    calls[1].answer(data=b"second", trailers=(("grpc-status", "0"),))
    assert (caller.data, caller.code) == (b"second", 0)
    assert calls[0].released == "reset"
    assert stage.snapshot().calls == 1


# --- what is no call ----------------------------------------------------------------------------


def test_other_requests_over_http2_are_none(make):
    stage = make()
    caller, call = call_at(stage, "content-type: application/json")
    call.answer(data=b"{}")
    call.lose()
    assert caller.broken == "soft"
    assert only(stage).grpc_status == ""


def test_grpc_web_is_none(make):
    stage = make(retry="attempts: 1")
    caller = Caller(stage, "content-type: application/grpc-web+proto")
    stage.refuse()
    assert caller.status == 502
    assert stage.gate(Listener.OUTBOUND).in_flight == []
