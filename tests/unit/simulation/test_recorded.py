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
    assert two.at - one.at == pytest.approx(0.11, abs=1e-5)
    assert two.body == pytest.approx(0.04, abs=1e-5)
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
