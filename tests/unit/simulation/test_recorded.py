"""Access logs as they are found: with foreign lines, prefixes, and in any order."""

import pytest
from unit.simulation.lines import attempt, line

from proxy.simulation.recorded import read_log


def test_requests_come_in_the_order_of_their_beginning():
    recording = read_log([line(2.0), line(0.0), line(1.0, attempt(500.0))])
    began = [one.at - recording.requests[0].at for one in recording.requests]
    assert began == pytest.approx([0.0, 1.0, 2.0])
    assert recording.seconds == pytest.approx(2.01)


def test_attempts_follow_each_other():
    first = attempt(10.0, 503)
    second = attempt(20.0, 200, wait=100.0, endpoint="10.0.0.2:80")
    (request,) = read_log([line(0.0, first, second, duration_ms=170.0)]).requests
    one, two = request.attempts
    assert (one.status, one.head, one.body) == (503, pytest.approx(0.01), 0.0)
    assert two.at - one.at == pytest.approx(0.11, abs=0.002)
    assert two.body == pytest.approx(0.04, abs=0.002)
    assert two.size == 5


def test_a_hedge_begins_beside_the_attempt_before_it():
    hedge = attempt(5.0, 200, wait=0.0, hedge=True)
    (request,) = read_log([line(0.0, attempt(40.0, 0, "hedge-lost"), hedge)]).requests
    assert request.attempts[0].censored
    assert not request.attempts[1].censored


def test_a_collectors_prefix_does_not_matter():
    prefixed = f"2026-05-04T03:02:01.000Z stdout F {line()}"
    assert len(read_log([prefixed, f"pod-1 | {line()}"]).requests) == 2


@pytest.mark.parametrize("foreign", ["started", '{"level":"info"}', "{", "[]", '"attempts"'])
def test_foreign_lines_are_counted(foreign):
    recording = read_log([foreign, "", line()])
    assert (len(recording.requests), recording.foreign, recording.unreadable) == (1, 1, 0)


@pytest.mark.parametrize(
    "broken",
    [
        line()[:-10],
        line(time="yesterday"),
        line(duration_ms=None),
        line(attempts=[1]),
        line(attempts=[{}]),
        line(attempts=None),
    ],
)
def test_broken_lines_are_counted(broken):
    recording = read_log([broken, line()])
    assert (len(recording.requests), recording.unreadable) == (1, 1)


def test_input_that_was_no_request_is_counted():
    recording = read_log([line(0.0, method="", attempts=[], status=400, reason="bad-request")])
    assert (len(recording.requests), recording.unroutable) == (0, 1)


def test_what_a_fault_did_says_nothing_of_an_endpoint():
    (request,) = read_log([line(0.0, attempt(fault="abort"))]).requests
    assert not request.attempts[0].tells


def test_neither_does_a_refusal():
    (request,) = read_log([line(0.0, attempt(0.1, 0, "circuit-open", endpoint=""))]).requests
    assert not request.attempts[0].tells


def only(*attempts, **more):
    (request,) = read_log([line(0.0, *attempts, **more)]).requests
    return request


BAD = attempt(10.0, 503)


@pytest.mark.parametrize(
    ("keyed", "attempts", "more"),
    [
        (True, [BAD, attempt(5.0, wait=10.0)], {}),
        (True, [attempt(40.0, 0, "hedge-lost"), attempt(5.0, hedge=True)], {}),
        (True, [attempt()], {"idempotency": "remembered"}),
        (False, [BAD], {"retry_refused": "not-repeatable"}),
        (None, [attempt(1.0, 0, "connect-refused"), attempt(5.0, wait=10.0)], {}),
        (None, [attempt(1.0, 0, "upstream-reset"), attempt(5.0)], {}),
        (None, [BAD, attempt(5.0, upstream="spare")], {}),
        (None, [attempt()], {"idempotency": "minted"}),
        (None, [attempt()], {}),
        (None, [BAD, attempt(5.0, wait=10.0)], {"method": "GET"}),
    ],
)
def test_retries_tell_of_an_idempotency_key(keyed, attempts, more):
    assert only(*attempts, **({"method": "POST"} | more)).keyed is keyed


@pytest.mark.parametrize(
    ("detail", "deadline"),
    [
        ("The caller's deadline for this request has expired.", 0.03),
        ("The deadline of the inbound request that this call is made for has expired (…).", 0.03),
        ("No response within 0.03 s (timeouts.request).", float("inf")),
        ("The exchange took longer than 0.03 s (timeouts.max_duration).", float("inf")),
    ],
)
def test_a_callers_deadline_is_known_where_it_expired(detail, deadline):
    late = attempt(30.7, 0, "request-timeout")
    assert only(late, detail=detail).deadline == deadline


@pytest.mark.parametrize(("more", "deadline"), [({}, 0.03), ({"duration_ms": 44.0}, 0.03)])
def test_a_callers_deadline_expired_with_the_attempt(more, deadline):
    """Its answer may have been sent later: the process had much to do."""
    late = attempt(30.7, 0, "request-timeout")
    detail = "The caller's deadline for this request has expired."
    assert only(late, detail=detail, **more).deadline == deadline


def test_the_wait_in_a_queue_is_not_the_bodys():
    request = only(attempt(10.0), queued_ms=30.0, duration_ms=45.0)
    assert request.attempts[0].at - request.at == pytest.approx(0.03, abs=1e-5)
    assert request.attempts[0].body == pytest.approx(0.005, abs=1e-5)


@pytest.mark.parametrize(
    ("reason", "detail", "failure", "cut"),
    [
        ("upstream-truncated", "It closed the connection.", "upstream-truncated", False),
        ("upstream-truncated", "… took longer than 1 s (timeouts.max_duration).", "", True),
        ("upstream-truncated", "The upstream sent none of the response's body for 1 s.", "", True),
        ("client-gone", "The client closed the connection.", "", True),
    ],
)
def test_who_ended_a_body(reason, detail, failure, cut):
    (one,) = only(attempt(), reason=reason, detail=detail, duration_ms=40.0).attempts
    assert (one.failure, one.cut) == (failure, cut)


def test_the_attempt_that_decided_began_before_its_hedge():
    lost = attempt(15.0, 0, "hedge-lost", endpoint="10.0.0.2:80", hedge=True)
    first, hedge = only(lost, attempt(40.0)).attempts
    assert (first.endpoint, first.status) == ("10.0.0.1:80", 200)
    assert hedge.censored


def test_a_refused_stream_is_known_by_the_retry_at_once():
    refused, _ = only(attempt(1.0, 0, "upstream-reset"), attempt(5.0)).attempts
    reset, _ = only(attempt(1.0, 0, "upstream-reset"), attempt(5.0, wait=0.1)).attempts
    fallen, _ = only(attempt(1.0, 0, "upstream-reset"), attempt(5.0, upstream="spare")).attempts
    assert (refused.refused, reset.refused, fallen.refused) == (True, False, False)


@pytest.mark.parametrize(
    ("detail", "took", "late"),
    [
        ("10.0.0.1:80 sent no response head within 1 s (timeouts.attempt).", 1004.0, 4.0),
        ("10.0.0.1:80 sent no response head within 1 s (timeouts.attempt).", 1300.0, 0.0),
        ("10.0.0.1:80 sent no response head within 1 s (timeouts.attempt).", 998.0, 0.0),
        ("It answered badly.", 1004.0, 4.0),
    ],
)
def test_an_answer_a_little_after_its_deadline_came_in_time(detail, took, late):
    failed = line(0.0, attempt(1000.8, 0, "attempt-timeout"), detail=detail)
    _, answered = read_log([failed, line(5.0, attempt(took))]).requests
    (one,) = answered.attempts
    assert (one.head * 1000, one.late * 1000) == pytest.approx((took, late), abs=0.01)


def test_unreadable_lines_are_named():
    recording = read_log([line(), "noise", line()[:-10], line(time="yesterday")])
    assert (recording.unreadable, recording.first_unreadable) == (2, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        line(duration_ms="nan"),
        line(duration_ms="inf"),
        line(duration_ms=-5),
        line(queued_ms=-1),
        line(status=70),
        line(0.0, attempt(5.0, 1200)),
        line(bytes_in=-1),
        line(monotonic_s="nan"),
        line(monotonic_s=-1.0),
        line(0.0, attempt(started_ms=-1.0)),
        line(bytes_out=10**30),
        '{"attempts":' + "[" * 100_000,
    ],
)
def test_values_that_no_line_has_are_unreadable(wrong):
    assert read_log([wrong]).unreadable == 1


def test_an_attempt_began_when_the_log_says():
    first = attempt(10.0, 503)
    second = attempt(20.0, 200, wait=25.0, started_ms=37.25)
    request = only(first, second, duration_ms=60.0)
    one, two = request.attempts
    assert two.at - request.at == pytest.approx(0.03725, abs=1e-5)
    assert (two.wait, two.body) == (0.025, pytest.approx(0.00275, abs=1e-5))
    assert one.at == request.at


NO_HEAD = "10.0.0.1:80 sent no response head within 0.05 s (timeouts.attempt)."
NO_RESPONSE = "No response within 0.05 s (timeouts.request)."
NO_PERMIT = "No permit of bulkhead 'shop' became free within 0.05 s (bulkhead.queue_timeout)."
TOO_LONG = "The exchange took longer than 0.05 s (timeouts.max_duration)."
CUT = {"reason": "upstream-truncated", "duration_ms": 53.0}
HEDGED = [attempt(30.0, 0, "hedge-lost"), attempt(9.4, hedge=True, started_ms=20.6)]
WAITED = {"queued_ms": 51.0, "duration_ms": 60.0}
OPEN = {"reason": "circuit-open", "status": 503, "duration_ms": 47.0}


@pytest.mark.parametrize(
    ("what", "due", "rang", "told"),
    [
        (line(0.0, BAD, attempt(5.0, wait=25.0, started_ms=36.2)), 35.0, 36.2, ""),
        (line(0.0, attempt(50.8, 0, "attempt-timeout")), 50.0, 50.8, NO_HEAD),
        (line(0.0, attempt(50.8, 0, "attempt-timeout")), 50.0, 50.8, ""),
        (line(0.0, attempt(50.8, 0, "connect-timeout")), 50.0, 50.8, NO_HEAD),
        (line(0.0, attempt(52.0, 0, "request-timeout")), 50.0, 52.0, NO_RESPONSE),
        (line(0.0, attempt(52.0, 0, "request-timeout"), duration_ms=55.0), 50.0, 52.0, NO_RESPONSE),
        (line(0.0, attempt(90.0, 0, "request-timeout")), 50.0, 90.0, NO_HEAD),
        (line(0.0, attempt(2.0), **CUT), 50.0, 53.0, TOO_LONG),
        (line(0.0, *HEDGED), 20.0, 20.6, ""),
        (f"{line(0.0, attempt(22.0))}\n{line(5.0, *HEDGED)}", 20.0, 22.001, ""),
        (line(0.0, attempt(52.0)), 50.0, 52.001, NO_HEAD),
        (line(0.0, attempt(52.0)), 50.0, 52.001, NO_RESPONSE),
        (line(0.0, attempt(2.0), duration_ms=52.0), 50.0, 52.001, TOO_LONG),
        (line(0.0, reason="queue-timeout", attempts=[], **WAITED), 50.0, 60.0, NO_PERMIT),
        (line(0.0, attempt(5.0, started_ms=52.0), **WAITED), 50.0, 52.0, NO_PERMIT),
        (line(0.0, attempt(5.0, started_ms=52.0), **WAITED), 51.0, 52.0, ""),
        (line(0.0, BAD, **OPEN), 20.0, 47.0, ""),
        (line(0.0, BAD, retry_refused="attempts", **OPEN), 20.0, None, ""),
        (line(0.0, attempt(52.0)), 50.0, None, ""),
        (line(0.0, attempt(50.0)), 49.9, None, NO_HEAD),
    ],
)
def test_a_timer_rings_when_the_one_that_was_due_then_rang(what, due, rang, told):
    teller = line(9.0, attempt(50.6, 0, "attempt-timeout"), reason="", detail=told)
    if not told:
        teller = line(9.0)
    request = read_log([*what.split("\n"), teller]).requests[0]
    found = [one.at for one in request.rings if one.first <= request.at + due / 1000 <= one.last]
    assert [1000 * (at - request.at) for at in found[:1]] == (
        [] if rang is None else [pytest.approx(rang, abs=0.0005)]
    )


def test_a_permit_came_from_what_had_ended_before():
    """Also where the process stood still in between."""
    ended = line(0.0, attempt(40.0))
    waited = line(0.01, attempt(5.0, started_ms=90.0), queued_ms=88.0, duration_ms=95.0)
    request = read_log([ended, waited]).requests[1]
    assert request.rings[0].first - request.at == pytest.approx(0.03, abs=5e-5)
    assert request.rings[0].at - request.at == pytest.approx(0.09, abs=5e-6)


def test_what_kept_the_proxy_busy_before_an_attempt_counts_as_the_attempts():
    """A fallback begins at once, but not in no time."""
    spare = attempt(5.0, upstream="spare", started_ms=13.0)
    one, other = only(BAD, spare, duration_ms=19.0, fallback=True).attempts
    assert other.at - one.at == pytest.approx(0.01, abs=1e-6)
    assert (other.head, other.body) == pytest.approx((0.008, 0.001), abs=1e-6)


def test_a_fallback_after_a_refused_retry_began_when_it_was_refused():
    spare = attempt(5.0, upstream="spare", started_ms=33.0)
    more = {"duration_ms": 38.5, "fallback": True, "reason": "circuit-open", "status": 200}
    request = only(BAD, spare, **more)
    assert request.refused - request.at == pytest.approx(0.033, abs=1e-6)
    assert request.attempts[1].head == pytest.approx(0.005)


def test_windows_count_by_the_monotonic_clock():
    recording = read_log([line(), line(2.0, monotonic_s=777.25), line(3.0, monotonic_s=1.0)])
    assert recording.requests[0].at + recording.offset == pytest.approx(775.25)


def test_without_trouble_the_monotonic_clock_is_unknown():
    assert read_log([line()]).offset is None
