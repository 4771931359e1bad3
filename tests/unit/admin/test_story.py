"""What happened to a request, as text."""

import pytest
from unit.top.documents import attempt, troubled

from proxy.admin.story import _WHY, OBSERVED, story
from proxy.errors import ProxyError, subclasses
from proxy.exchange import marks
from proxy.policies.retry import StopReason

RETRIED = attempt(
    status=503, retry={"allowed": True, "condition": "gateway-error", "wait_ms": 37.2}
)
TIMED_OUT = attempt(
    "10.0.0.8:8080",
    failure="attempt-timeout",
    detail="10.0.0.8:8080 sent no response head within 1 s (timeouts.attempt).",
    started_ms=40.5,
    duration_ms=1000.0,
    retry={"allowed": False, "why": "budget"},
)


def test_a_request_that_was_retried_and_failed():
    told = troubled(
        status=504,
        reason="attempt-timeout",
        detail=TIMED_OUT["detail"],
        trouble=["error", "retried"],
        duration_ms=1040.6,
        attempts_made=2,
        attempts=[RETRIED, TIMED_OUT],
    )
    assert story(told) == [
        "GET /api/inventory/7 of shop at the outbound listener",
        "request id r-1, trace t-1",
        "began 2026-03-01T12:34:56.000Z, from 127.0.0.1",
        "route stock, upstream inventory",
        "",
        "    0.1 ms  attempt 1 to 10.0.0.7:8080",
        "    3.1 ms    got 503 after 3.0 ms",
        "              retry after a wait of 37.2 ms, because gateway-error is in retry.on",
        "   40.5 ms  attempt 2 to 10.0.0.8:8080",
        " 1040.5 ms    failed after 1000.0 ms, attempt-timeout: "
        "10.0.0.8:8080 sent no response head within 1 s (timeouts.attempt).",
        "              no other attempt: the retry budget was used up (retry.budget)",
        " 1040.6 ms  the client got the proxy's own answer: 504 attempt-timeout",
        "",
        "decided by: retry, the retry budget was used up (retry.budget)",
        "circuit breaker stock: closed at the end",
        "look next: docs/runbook.md#attempt-timeout",
    ]


def test_hedges_and_injected_faults():
    delayed = attempt("a:1", fault="delay", failure="hedge-lost")
    hedge = attempt("b:1", status=200, hedge=True)
    told = story(troubled(attempts=[delayed, hedge], attempts_made=2))
    assert "    0.1 ms  attempt 1 to a:1, with an injected fault (delay)" in told
    assert "    0.1 ms  attempt 2 (a hedge) to b:1" in told


def test_endpoints_that_were_out():
    out = [
        {"endpoint": "b:1", "why": "ejected: failure-rate"},
        {"endpoint": "c:1", "why": "unhealthy"},
    ]
    told = story(troubled(attempts=[attempt("a:1", left_out=out, status=503)]))
    line = "out at that time: b:1 (ejected: failure-rate), c:1 (unhealthy)"
    assert f"{'':>14}{line}" in told
    told = story(troubled(attempts=[attempt("c:1", left_out=out, status=503)]))
    assert any(one.strip().startswith(f"{line}; this attempt was to find out") for one in told)


def test_a_request_that_came_through_at_last():
    told = story(troubled(attempts=[RETRIED, attempt("b:1", status=200)], attempts_made=2))
    assert "   41.0 ms  the client got the upstream's 200" in told
    assert not [line for line in told if line.startswith(("decided", "look next"))]


def test_a_refusal_by_the_breaker():
    told = story(
        troubled(
            status=503,
            reason="circuit-open",
            detail="The circuit breaker 'stock' is open.",
            attempts=[],
            attempts_made=0,
            circuit_breaker={"name": "stock", "state": "half_open"},
        )
    )
    assert "            The circuit breaker 'stock' is open." in told
    assert told[-3:] == [
        "decided by: circuit breaker 'stock' (circuit_breaker)",
        "circuit breaker stock: half-open at the end",
        "look next: docs/runbook.md#circuit-open",
    ]


def line(prefix: str, told: list[str]) -> str:
    (found,) = [one for one in told if prefix in one]
    return found.strip()


@pytest.mark.parametrize(
    ("over", "end"),
    [
        ({"reason": "client-gone", "status": 499}, "no response was sent, the log has 499"),
        ({"reason": "client-gone"}, "left during the response (200, 2 bytes sent)"),
        (
            {"reason": "upstream-truncated"},
            "the client got 200 and 2 bytes, then its connection was closed: upstream-truncated",
        ),
        (
            {"reason": "attempt-timeout", "fallback": True},
            "got 200 from the fallback, instead of attempt-timeout",
        ),
        ({"fallback": True}, "got 200 from the fallback, instead of the upstream's response"),
        ({"under_way": True, "status": 0}, "still in flight"),
        ({"under_way": True}, "still in flight: 200 and 2 bytes were sent to the client"),
    ],
)
def test_ends(over, end):
    told = story(troubled(**over))
    assert end in line("41.0 ms", told)


def test_an_attempt_under_way_and_one_that_broke_off():
    told = story(
        troubled(
            attempts=[
                attempt(status=200, failure="upstream-truncated", detail="It closed."),
                attempt(retry=None),
            ]
        )
    )
    assert "got 200 after 3.0 ms" in "\n".join(told)
    assert "failed after 3.0 ms, upstream-truncated: It closed." in "\n".join(told)
    assert "no response head yet, after 3.0 ms" in "\n".join(told)


def test_a_grpc_call_is_told_by_its_status():
    told = "\n".join(
        story(
            troubled(
                method="POST",
                path="/shop.v1.Stock/Deduct",
                grpc_status="UNAVAILABLE",
                trouble=["error", "retried"],
                attempts_made=2,
                attempts=[
                    attempt(
                        status=200,
                        grpc_status="UNAVAILABLE",
                        retry={"allowed": True, "condition": "grpc-unavailable", "wait_ms": 5.0},
                    ),
                    attempt(
                        status=200,
                        grpc_status="UNAVAILABLE",
                        retry={"allowed": False, "why": "pushback"},
                    ),
                ],
            )
        )
    )
    assert told.count("got 200 (gRPC UNAVAILABLE) after 3.0 ms") == 2
    assert "because grpc-unavailable is in retry.on" in told
    assert "no other attempt: the service forbade it (grpc-retry-pushback-ms)" in told
    assert "the client got the upstream's 200 (gRPC UNAVAILABLE)" in told


def test_waiting_for_a_place_and_attempts_that_are_not_kept():
    told = story(troubled(attempts=[attempt(status=200, started_ms=20.0)]))
    assert line("bulkhead", told) == "0.0 ms  waited 20.0 ms in the bulkhead's queue"
    told = story(troubled(attempts=[attempt(status=200)], attempts_made=24))
    assert line("earlier", told) == "(23 earlier attempts are not kept)"
    assert line("attempt 24", told)


def test_the_fallbacks_upstream_is_named():
    told = story(troubled(attempts=[attempt(status=200, upstream="spare")]))
    assert line("attempt 1", told).endswith("to 10.0.0.7:8080, the fallback's upstream spare")


def test_what_never_became_a_request():
    nothing = dict.fromkeys(("method", "path", "host", "route", "upstream", "trace_id"), "")
    told = story(
        troubled(
            **nothing,
            status=400,
            reason="bad-request",
            detail="No.",
            attempts=[],
            circuit_breaker=None,
        )
    )
    assert told[0] == "input that was not a request, at the outbound listener"
    assert told[1] == "request id r-1"
    assert told[-1] == "look next: docs/runbook.md#bad-request"


@pytest.mark.parametrize(
    ("over", "anchor"),
    [
        ({"trouble": ["slow"]}, "latency-went-up"),
        ({"under_way": True, "trouble": []}, "latency-went-up"),
        (
            {"status": 503, "attempts": [attempt(retry={"allowed": False, "why": "attempts"})]},
            "retries-do-not-help",
        ),
        (
            {"status": 503, "attempts": [attempt(retry={"allowed": False, "why": "circuit-open"})]},
            "circuit-open",
        ),
        ({"attempts": [attempt(failure="upstream-reset")]}, "upstream-reset"),
    ],
)
def test_where_to_look_next(over, anchor):
    assert story(troubled(**over))[-1] == f"look next: docs/runbook.md#{anchor}"


def test_every_why_has_a_sentence():
    assert _WHY.keys() == {why.value for why in StopReason}
    for why in StopReason:
        refused = attempt(retry={"allowed": False, "why": why.value})
        sentence = line("decided by", story(troubled(attempts=[refused])))
        assert "{" not in sentence


@pytest.mark.parametrize("reason", [failure.reason for failure in subclasses(ProxyError)])
def test_every_reason_has_a_story(reason):
    told = story(troubled(reason=reason, status=503, detail="So."))
    assert told[-1] == f"look next: docs/runbook.md#{reason}"
    assert not [line for line in told if "{" in line]


def test_what_the_client_sent_cannot_drive_the_terminal():
    assert "/?[2J?" in story(troubled(path="/\x1b[2J\n"))[0]


def test_what_a_policy_in_mode_observe_would_have_done():
    told = story(
        troubled(
            trouble=["observed"],
            observed=["bulkhead.refused", "retry.gateway-error", "timeouts.attempt"],
            attempts=[attempt(retry={"allowed": False, "why": "observe"})],
        )
    )
    assert line("bulkhead.mode", told).endswith("else it would have been refused (bulkhead-full)")
    assert line("timeouts.mode", told).endswith("else the attempt would have been cut")
    assert "no other attempt: retry.mode is observe" in line("no other attempt", told)
    assert told[-1] == "look next: docs/runbook.md#a-policy-only-observes"


def test_every_mark_of_a_policy_in_mode_observe_has_a_sentence():
    own = {value for name, value in vars(marks).items() if name.isupper() and type(value) is str}
    assert own | {"bulkhead.queued", "bulkhead.refused", "rate_limits.limited"} == OBSERVED.keys()
