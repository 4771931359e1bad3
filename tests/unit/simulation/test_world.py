"""Recorded requests through the real policies, in virtual time."""

from collections import Counter

import pytest
from unit.simulation.lines import attempt, line

from proxy.config.loading import load_text
from proxy.simulation.playable import Keys
from proxy.simulation.recorded import read_log
from proxy.simulation.tally import tally, told_by
from proxy.simulation.world import play

FILE = """
service: simulated
upstreams:
  shop: {endpoints: ["http://10.0.0.1:80"%s]}
policies:
  default:
    timeouts: {attempt: 1s, request: 10s}
    retry: {attempts: 3, backoff: {initial: 100ms, jitter: none}, budget: {min_per_second: 1000}}
    circuit_breaker: {mode: off}
    %s
routes:
  - {name: shop, upstream: shop%s}
"""
BAD = attempt(10.0, 503)


def played(lines, policy="", route="", endpoints="", seed=1):
    text = FILE % (endpoints, policy, route)
    return play(load_text(text, "simulated.yaml", {}).config, read_log(lines), seed)


def reasons(world):
    return Counter(told.reason or str(told.status) for told in world.told)


def test_the_same_file_does_the_same_again():
    lines = [
        line(0.0, attempt(20.0), duration_ms=50.0),
        line(1.0, BAD, attempt(5.0, wait=100.0)),
        line(2.0, BAD, attempt(7.0, 503, wait=100.0), attempt(9.0, 503, wait=200.0)),
        line(3.0, attempt(30.0, 404)),
        line(4.0, attempt(12.0, 0, "upstream-reset"), attempt(1.0, wait=100.0)),
        line(9.0, attempt(12.0, 200, "upstream-truncated"), status=200, duration_ms=40.0),
        line(10.0, attempt(300.0, 0, "client-gone"), status=499),
    ]
    recording = read_log(lines)
    world = played(lines)
    assert [one.status for one in world.told] == [one.status for one in recording.requests]
    assert [one.reason for one in world.told] == [one.reason for one in recording.requests]
    for told, request in zip(world.told, recording.requests, strict=True):
        assert told.duration == pytest.approx(request.duration, abs=0.003), request
        assert len(told.endpoints) == len(request.attempts)
    assert world.drawing.drawn == 0


def test_without_retries_the_first_failure_counts():
    lines = [line(n, BAD, attempt(5.0, wait=100.0)) for n in range(10)]
    assert reasons(played(lines)) == {"200": 10}
    assert reasons(played(lines, "", ", retry: {attempts: 1}")) == {"503": 10}


def test_an_attempt_that_the_log_does_not_have_is_drawn():
    lines = [line(n, attempt(5.0) if n % 2 else BAD) for n in range(100)]
    world = played(lines)
    assert world.drawing.drawn > 50
    assert reasons(world)["200"] > 80


def test_the_same_seed_draws_the_same():
    lines = [line(n / 10, attempt(5.0) if n % 3 else BAD) for n in range(100)]
    assert played(lines).told == played(lines).told
    assert played(lines, seed=2).told != played(lines).told


def test_a_shorter_timeout_cuts():
    lines = [line(n, attempt(50.0 if n % 2 else 500.0), method="POST") for n in range(10)]
    world = played(lines, "", ", timeouts: {attempt: 100ms}")
    assert reasons(world) == {"200": 5, "attempt-timeout": 5}


def test_a_longer_timeout_waits_for_what_took_longer():
    slow = [line(n, attempt(400.0), method="POST") for n in range(10)]
    cut = [line(n + 0.5, attempt(100.0, 0, "attempt-timeout"), method="POST") for n in range(10)]
    world = played([*slow, *cut])
    assert reasons(world) == {"200": 20}
    assert {round(told.duration, 1) for told in world.told} == {0.4}


def test_what_never_answered_still_does_not():
    lines = [line(n, attempt(100.0, 0, "attempt-timeout"), method="POST") for n in range(5)]
    assert reasons(played(lines)) == {"attempt-timeout": 5}


def test_a_rate_limit():
    lines = [line(n / 100) for n in range(100)]
    limit = "rate_limits: [{name: all, key: route, rate: 10/s, burst: 10}]"
    found = reasons(played(lines, limit))
    assert found["rate-limited"] == pytest.approx(80, abs=2)


def test_a_bulkhead_sees_who_is_there_at_once():
    lines = [line(n / 1000, attempt(500.0)) for n in range(10)]
    found = reasons(played(lines, "bulkhead: {max_concurrent: 4}"))
    assert found == {"200": 4, "bulkhead-full": 6}


def test_a_breaker_opens():
    lines = [line(n / 10, attempt(5.0, 500), method="POST") for n in range(100)]
    route = ", circuit_breaker: {mode: enforce, minimum_calls: 10, open_for: {initial: 1m}}"
    assert reasons(played(lines, "", route)) == {"500": 10, "circuit-open": 90}


def test_connects_fail_when_they_failed():
    refused = attempt(1.0, 0, "connect-refused")
    lines = [line(n, refused if 10 <= n < 20 else attempt(5.0)) for n in range(30)]
    world = played(lines, "", ", retry: {attempts: 1}")
    assert reasons(world) == {"200": 20, "connect-refused": 10}


def test_a_hedge_answers_for_the_slow():
    slow = [line(n, attempt(900.0 if n % 10 == 0 else 10.0)) for n in range(100)]
    without = max(told.duration for told in played(slow).told)
    two = ', "http://10.0.0.2:80"'
    world = played(slow, "hedge: {delay: 50ms}", endpoints=two)
    assert without == pytest.approx(0.9, abs=0.01)
    assert sum(told.duration > 0.2 for told in world.told) <= 3
    assert sum(told.hedged for told in world.told) >= 8


def test_a_new_endpoint_does_what_its_upstream_did():
    lines = [line(n / 10) for n in range(200)]
    world = played(lines, endpoints=', "http://10.0.0.9:80"')
    load = Counter(endpoint for told in world.told for endpoint in told.endpoints)
    assert set(load) == {"shop 10.0.0.1:80", "shop 10.0.0.9:80"}
    assert reasons(world) == {"200": 200}


def test_grpc_statuses_decide():
    fields = {"method": "POST", "path": "/shop.Stock/Deduct", "status": 200}
    failing = attempt(5.0, 200, grpc_status="UNAVAILABLE")
    lines = [line(n, failing, grpc_status="UNAVAILABLE", **fields) for n in range(5)]
    once = played(lines)
    retried = played(lines, "", ", retry: {on: [grpc-unavailable], methods: any}")
    assert [len(told.endpoints) for told in once.told] == [1] * 5
    assert [len(told.endpoints) for told in retried.told] == [3] * 5


def test_calls_with_a_failing_status_are_counted_as_failed():
    failing = attempt(5.0, 200, grpc_status="UNAVAILABLE")
    fields = {"method": "POST", "path": "/shop.Stock/Deduct", "grpc_status": "UNAVAILABLE"}
    missing = {**fields, "grpc_status": "NOT_FOUND"}
    recording = read_log([line(0.0, failing, **fields), line(1.0, attempt(), **missing)])
    once = load_text(FILE % ("", "", ", retry: {attempts: 1}"), "g.yaml", {}).config
    log = tally("log", 1.0, (told_by(one, 0.0) for one in recording.requests))
    then = tally("played", 1.0, play(once, recording, 1).told)
    for counted in (log, then):
        route = counted.routes["shop"]
        assert (route.answered, route.failed) == (1, 1)
        assert route.reasons == {"upstream's UNAVAILABLE": 1}


def test_a_body_beyond_the_limit_is_sent_once():
    reset = attempt(5.0, 503)
    lines = [line(n, reset, method="PUT", bytes_in=size) for n, size in enumerate([10, 1_000_000])]
    assert [len(told.endpoints) for told in played(lines).told] == [3, 1]


def test_names_have_the_addresses_of_the_log():
    text = FILE.replace("10.0.0.1:80", "shop.svc:80") % ("", "", "")
    world = play(load_text(text, "n.yaml", {}).config, read_log([line(0.0), line(1.0)]), 1)
    assert {told.endpoints for told in world.told} == {("shop 10.0.0.1:80",)}


def test_an_authority_that_callers_name():
    text = "service: s\nroutes: [{name: any}]\n"
    lines = [line(n, host="a.example", upstream="a.example:80", route="any") for n in range(3)]
    world = play(load_text(text, "n.yaml", {}).config, read_log(lines), 1)
    assert {told.endpoints for told in world.told} == {("a.example:80 10.0.0.1:80",)}


def test_what_cannot_be_played_is_said():
    lines = [line(0.0), line(1.0, method="CONNECT"), line(2.0, attempt(5.0, 101), status=101)]
    world = played([*lines, line(3.0, path="no path")])
    assert len(world.told) == 1
    assert sum(world.skipped.values()) == 3


def test_inbound_requests_meet_the_inbound_policy():
    lines = [line(n, BAD, listener="inbound", upstream="app", route="inbound") for n in range(4)]
    world = played(lines)
    assert reasons(world) == {"503": 4}
    assert {len(told.endpoints) for told in world.told} == {1}


def test_an_ejected_endpoint_gets_nothing_for_a_while():
    bad, good = "10.0.0.1:80", "10.0.0.2:80"
    lines = [
        line(n / 10, attempt(5.0, 502 if n % 2 else 200, endpoint=bad if n % 2 else good))
        for n in range(200)
    ]
    text = FILE % (f', "http://{good}"', "", ", retry: {attempts: 1}")
    kept = play(load_text(text, "n.yaml", {}).config, read_log(lines), 1)
    ejecting = text.replace(f'"http://{good}"]', f'"http://{good}"], outlier_detection: {{}}')
    world = play(load_text(ejecting, "n.yaml", {}).config, read_log(lines), 1)
    assert reasons(kept) == {"200": 100, "502": 100}
    assert world.ejections()["shop"] >= 1
    assert reasons(world)["502"] < 20


def spread(world):
    return Counter(endpoint for told in world.told for endpoint in told.endpoints)


POST = {"method": "POST"}
TRIED = [line(n, BAD, attempt(5.0, wait=50.0), **POST) for n in range(10)]


def test_requests_with_an_idempotency_key_are_retried_again():
    plain = [line(20.0 + n, BAD, **POST, retry_refused="not-repeatable") for n in range(3)]
    assert reasons(played([*TRIED, *plain])) == {"200": 10, "503": 3}


def test_a_retry_under_a_file_that_repeats_all_methods_tells_of_no_key():
    recording = read_log(TRIED)
    configs = [
        load_text(FILE % ("", "", f", retry: {{methods: {methods}}}"), "m.yaml", {}).config
        for methods in ("any", "idempotent")
    ]
    keys = Keys(recording.requests, configs)
    assert [reasons(play(one, recording, 1, keys)) for one in configs] == [
        {"200": 10},
        {"503": 10},
    ]


def test_a_limit_by_a_header_refuses_what_it_refused():
    detail = "Rate limit 'user' of route 'shop' admits 1/s for each header:x-user, 1 at once."
    refused = {"status": 429, "reason": "rate-limited", "attempts": [], "detail": detail}
    lines = [line(n / 100, **(refused if n % 4 == 0 else {})) for n in range(100)]
    limit = "rate_limits: [{name: user, key: 'header:x-user', rate: 1/s, burst: 1}]"
    assert reasons(played(lines, limit)) == {"200": 75, "rate-limited": 25}
    assert reasons(played(lines)) == {"200": 100}


def test_who_waited_in_the_queue_takes_no_longer():
    lines = [line(0.0, attempt(50.0)), line(0.01, attempt(50.0), queued_ms=40.0, duration_ms=90.0)]
    world = played(lines, "bulkhead: {max_concurrent: 1, max_queue: 1, queue_timeout: 1s}")
    assert [round(told.duration, 3) for told in world.told] == [0.05, 0.09]


def test_a_body_that_the_upstream_cut_is_cut_again():
    cut = {"reason": "upstream-truncated", "detail": "It closed the connection."}
    lines = [line(n, **(cut if n % 2 else {}), duration_ms=30.0) for n in range(10)]
    assert reasons(played(lines)) == {"200": 5, "upstream-truncated": 5}


def test_without_the_longest_duration_bodies_end_as_others_did():
    detail = "The exchange took longer than 1 s (timeouts.max_duration)."
    cut = {"reason": "upstream-truncated", "detail": detail, "duration_ms": 1000.0}
    lines = [line(n, **(cut if n % 2 else {"duration_ms": 3000.0})) for n in range(10)]
    world = played(lines, "", ", timeouts: {request: 10s}")
    assert reasons(world) == {"200": 10}
    assert reasons(played(lines, "", ", timeouts: {max_duration: 1s}")) == {
        "upstream-truncated": 10
    }


def test_a_callers_deadline_comes_again():
    detail = "The caller's deadline for this request has expired."
    late = attempt(200.0, 0, "request-timeout")
    world = played([line(n, late, detail=detail) for n in range(3)])
    assert reasons(world) == {"request-timeout": 3}
    assert {round(told.duration, 3) for told in world.told} == {0.2}


def test_faults_are_drawn_as_the_log_has_them():
    lines = [
        line(n / 10, attempt(0.1, 418, fault="abort"), status=418, reason="fault-injected")
        if n % 20 == 7
        else line(n / 10)
        for n in range(400)
    ]
    found = played(lines, "faults: [{share: 5%, abort: 418}]")
    assert reasons(found) == {"200": 380, "fault-injected": 20}
    assert found.drawing.drawn == 0
    more = reasons(played(lines, "faults: [{share: 20%, abort: 418}]"))
    assert more["fault-injected"] == pytest.approx(80, abs=16)


def test_a_fault_that_throttles_takes_time():
    lines = [line(n, bytes_out=10_000, duration_ms=11.0) for n in range(3)]
    world = played(lines, "faults: [{share: 100%, throttle: 10KiB}]")
    assert reasons(world) == {"200": 3}
    assert all(told.duration == pytest.approx(0.98, abs=0.15) for told in world.told)


def test_a_fault_that_delays_comes_before_what_the_upstream_did():
    world = played([line(0.0, attempt(20.0))], "faults: [{share: 100%, delay: 500ms}]")
    assert world.told[0].duration == pytest.approx(0.52, abs=0.005)


def test_a_mirror_makes_no_attempts():
    route = ", mirror: {upstream: shop}"
    world = played([line(n, **POST) for n in range(5)], "", route)
    assert (world.drawing.known, world.drawing.drawn) == (5, 0)
    assert spread(world) == {"shop 10.0.0.1:80": 5}


TWO = """
upstreams:
  old: {endpoints: ["http://10.0.0.1:80"]}
  new: {endpoints: ["http://10.0.0.2:80"]}
policies: {default: {circuit_breaker: {mode: off}}}
routes: [{name: shop, upstream: {old: %d, new: %d}}]
"""


@pytest.mark.parametrize("new", [10, 50])
def test_a_split_follows_the_log_as_far_as_its_weights(new):
    lines = [
        line(n / 10, attempt(endpoint=f"10.0.0.{2 if n % 10 == 3 else 1}:80"), upstream=upstream)
        for n in range(400)
        for upstream in ["new" if n % 10 == 3 else "old"]
    ]
    config = load_text(TWO % (100 - new, new), "n.yaml", {}).config
    world = play(config, read_log(lines), 1)
    assert spread(world)["new 10.0.0.2:80"] == pytest.approx(4 * new, abs=0 if new == 10 else 24)


ENDPOINTS = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]


@pytest.mark.parametrize("kind", ["least_request", "round_robin", "random", "ewma"])
def test_endpoints_are_those_of_the_log_where_they_can_be(kind):
    lines = [line(n / 10, attempt(endpoint=ENDPOINTS[n * n % 7 % 3])) for n in range(300)]
    known = Counter(f"shop {ENDPOINTS[n * n % 7 % 3]}" for n in range(300))
    more = "".join(f', "http://{endpoint}"' for endpoint in ENDPOINTS[1:])
    text = (FILE % (more, "", "")).replace('80"]}', f'80"], load_balancing: {kind}}}')
    world = play(load_text(text, "n.yaml", {}).config, read_log(lines), 1)
    if kind == "least_request":
        assert spread(world) == known
    for endpoint in ENDPOINTS:  # else each has about its share
        assert spread(world)[f"shop {endpoint}"] == pytest.approx(100, abs=80)


def test_other_weights_are_obeyed():
    lines = [line(n / 10, attempt(endpoint=ENDPOINTS[n % 2])) for n in range(400)]
    text = FILE.replace('"http://10.0.0.1:80"%s', "{url: 'http://10.0.0.1:80', weight: 3}%s")
    text = text % (f', "http://{ENDPOINTS[1]}"', "", "")
    world = play(load_text(text, "n.yaml", {}).config, read_log(lines), 1)
    assert spread(world)[f"shop {ENDPOINTS[1]}"] == pytest.approx(100, abs=25)


def test_the_attempt_of_a_fallback_is_found_at_its_upstream():
    text = """
upstreams:
  shop: {endpoints: ["http://10.0.0.1:80"]}
  spare: {endpoints: ["http://10.0.0.2:80"]}
policies: {default: {circuit_breaker: {mode: off}, retry: {attempts: 1}}}
routes: [{name: shop, upstream: shop, fallback: {when: [503], upstream: spare}}]
"""
    spare = attempt(30.0, 200, endpoint="10.0.0.2:80", upstream="spare")
    lines = [line(n, BAD, spare, fallback=True) for n in range(5)]
    world = play(load_text(text, "n.yaml", {}).config, read_log(lines), 1)
    assert spread(world) == {"shop 10.0.0.1:80": 5, "spare 10.0.0.2:80": 5}
    assert reasons(world) == {"200": 5}
    assert world.drawing.drawn == 0


def test_what_a_promise_answered_is_counted_as_the_log_has_it():
    accepted = {"status": 202, "attempts": [], "outbox_id": "5f0c", "duration_ms": 3.0}
    world = played([line(0.0), line(1.0, **POST, **accepted)])
    assert [told.status for told in world.told] == [200, 202]
    assert world.as_logged == 1


@pytest.mark.parametrize("reason", ["loop", "body-timeout", "draining"])
def test_what_no_policy_decides_happens_again(reason):
    world = played([line(0.0, attempts=[], status=508, reason=reason, route="")])
    assert [(told.route, told.reason) for told in world.told] == [("", reason)]


def test_an_upgrade_is_no_answer_for_others():
    upgrades = [line(n, attempt(5.0, 101), status=101) for n in range(10)]
    once = [line(n + 0.5, BAD, attempt(5.0, 503), method="POST") for n in range(10)]
    world = played([*upgrades, *once], "", ", retry: {methods: any}")
    assert reasons(world) == {"503": 10}
    assert world.skipped == {"upgrades": 10}


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
NESTED = {"retry_refused": "nested", "inherited_from": "in", "trace_id": TRACE}


@pytest.mark.parametrize("inherits", [True, False])
def test_a_call_for_a_repeat_is_not_retried_again(inherits):
    reset = attempt(10.0, 0, "upstream-reset")
    lines = [
        line(0.1, reset, **NESTED),
        line(0.0, attempt(500.0), listener="inbound", trace_id=TRACE, request_id="in"),
        line(1.0, reset, attempt(5.0, wait=100.0), trace_id=TRACE),
    ]
    world = played(lines, "", f", timeouts: {{inherit: {{retries: {str(inherits).lower()}}}}}")
    made = {round(told.at, 1): len(told.endpoints) for told in world.told}
    assert (made[0.1] == 1) == inherits
    assert (made[0.0], made[1.0]) == (1, 2)


@pytest.mark.parametrize("inherits", [True, False])
def test_what_was_retried_below_is_not_retried_again(inherits):
    lines = [line(0.0, BAD, retry_refused="nested")]
    world = played(lines, "", f", timeouts: {{inherit: {{retries: {str(inherits).lower()}}}}}")
    assert [len(told.endpoints) for told in world.told] == ([1] if inherits else [3])


ALONE = "bulkhead: {max_concurrent: 1}"
FULL = {"status": 503, "reason": "bulkhead-full", "attempts": [], "duration_ms": 0.1}


def test_a_timeout_cuts_as_late_as_it_did():
    detail = "10.0.0.1:80 sent no response head within 0.05 s (timeouts.attempt)."
    cut = line(0.0, attempt(53.0, 0, "attempt-timeout"), detail=detail, method="POST")
    lines = [cut, line(0.052, **FULL)]
    route = ", timeouts: {attempt: %s}"
    assert reasons(played(lines, ALONE, route % "50ms")) == {
        "attempt-timeout": 1,
        "bulkhead-full": 1,
    }
    sooner = played(lines, ALONE, route % "45ms")  # another file's timers are exact
    assert sooner.told[0].duration == pytest.approx(0.045)


def test_a_retry_begins_as_late_as_it_did():
    retried = line(0.0, BAD, attempt(10.0, wait=100.0, started_ms=114.0), duration_ms=124.0)
    world = played([retried, line(0.122, **FULL)], ALONE)
    assert reasons(world) == {"200": 1, "bulkhead-full": 1}
    assert world.told[1].duration == pytest.approx(0.124)


@pytest.mark.parametrize(("monotonic", "refused"), [(5.95, 0), (5.55, 1)])
def test_a_time_window_counts_the_seconds_of_the_recorded_clock(monotonic, refused):
    """Of which it forgets the oldest: failures of two seconds do not open it."""
    bad = attempt(5.0, 500)
    lines = [line(at, bad, method="POST", monotonic_s=monotonic + at) for at in (0.0, 0.2)]
    breaker = "mode: enforce, window: {type: time, size: 1s}, minimum_calls: 2"
    world = played([*lines, line(0.3, method="POST")], "", f", circuit_breaker: {{{breaker}}}")
    assert reasons(world)["circuit-open"] == refused


def test_an_answer_a_little_after_its_deadline_is_an_answer_again():
    detail = "10.0.0.1:80 sent no response head within 1 s (timeouts.attempt)."
    cut = line(0.0, attempt(1000.8, 0, "attempt-timeout"), detail=detail, method="POST")
    lines = [cut, line(2.0, attempt(1004.0), method="POST")]
    world = played(lines)
    assert [told.status for told in world.told] == [504, 200]
    assert world.told[1].duration == pytest.approx(1.004)
    assert reasons(played(lines, "", ", timeouts: {attempt: 900ms}")) == {"attempt-timeout": 2}


def test_a_permit_reaches_its_request_as_late_as_it_did():
    waited = line(0.01, attempt(10.0, started_ms=35.0), queued_ms=30.0, duration_ms=45.0)
    queue = "bulkhead: {max_concurrent: 1, max_queue: 1, queue_timeout: 1s}"
    world = played([line(0.0, attempt(40.0)), waited], queue)
    assert [round(told.duration, 4) for told in world.told] == [0.04, 0.045]


def test_connects_that_failed_do_so_again():
    """Although others at that endpoint, at that moment, did not."""
    late = attempt(30.0, 0, "connect-timeout")
    more = {"method": "POST", "attempts": [late], "status": 504, "reason": "connect-timeout"}
    lines = [
        line(n / 100 + k / 1000, method="POST") if (n + k) % 3 else line(n / 100 + k / 1000, **more)
        for n in range(20)
        for k in range(5)
    ]
    world = played(lines, "", ", retry: {attempts: 1}, timeouts: {connect: 30ms}")
    assert reasons(world) == {"200": 67, "connect-timeout": 33}
    assert world.drawing.drawn == 0


OUTLIERS = """
upstreams:
  shop:
    endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80"]
    outlier_detection: {consecutive_failures: 2, eject_for: {initial: %s}}
policies: {default: {circuit_breaker: {mode: off}, retry: {attempts: 1}}}
routes: [{name: shop, upstream: shop}]
"""


@pytest.mark.parametrize("back", [9.1, 9.8, 10.7])
@pytest.mark.parametrize("seed", [1, 2])
def test_an_endpoint_comes_back_when_it_did(back, seed):
    """An ejection lasts about a tenth more or less, by chance."""
    one, other = ENDPOINTS[:2]
    lines = [line(0.1 * n, attempt(5.0, 503, endpoint=one)) for n in range(2)]
    lines += [line(0.3 + n / 10, attempt(endpoint=other)) for n in range(200) if n / 10 < back]
    lines += [line(0.301 + back + n / 10, attempt(endpoint=one)) for n in range(50)]
    world = play(load_text(OUTLIERS % "10s", "n.yaml", {}).config, read_log(lines), seed)
    assert spread(world)[f"shop {other}"] == sum(n / 10 < back for n in range(200))
    assert world.drawing.drawn == 0
    assert world.ejections() == {"shop": 1}


def test_with_another_ejection_it_comes_back_when_that_is_over():
    one, other = ENDPOINTS[:2]
    lines = [line(0.1 * n, attempt(5.0, 503, endpoint=one)) for n in range(2)]
    lines += [line(0.3 + n / 10, attempt(endpoint=other)) for n in range(100)]
    lines += [line(10.301 + n / 10, attempt(endpoint=one)) for n in range(50)]
    world = play(load_text(OUTLIERS % "2s", "n.yaml", {}).config, read_log(lines), 1)
    back = next(told.at for told in world.told[2:] if told.endpoints == (f"shop {one}",))
    assert back == pytest.approx(2.1, abs=0.35)


def test_a_body_that_was_silent_too_long_is_so_again():
    """However long others took: only idle counts."""
    detail = "The upstream sent none of the response's body for 1 s."
    cut = {"reason": "upstream-truncated", "detail": detail, "duration_ms": 1500.0}
    lines = [line(n, **(cut if n % 2 else {"duration_ms": 3000.0})) for n in range(10)]
    idle = ", timeouts: {request: 10s, idle: %s}"
    again = played(lines, "", idle % "1s")
    assert reasons(again) == {"200": 5, "upstream-truncated": 5}
    assert {round(told.duration, 2) for told in again.told} == {1.5, 3.0}
    assert reasons(played(lines, "", idle % "2s")) == {"200": 10}


def test_a_hedge_that_came_too_late_does_not_begin():
    hedged = [attempt(60.0, 0, "hedge-lost"), attempt(9.6, hedge=True, started_ms=50.4)]
    two = ', "http://10.0.0.2:80"'
    lines = [line(n, attempt(54.0)) for n in range(5)]
    lines.append(line(9.0, *hedged, hedged=1, duration_ms=60.0))
    world = played(lines, "hedge: {delay: 50ms}", endpoints=two)
    assert [told.hedged for told in world.told] == [0, 0, 0, 0, 0, 1]
    sooner = played(lines, "hedge: {delay: 40ms}", endpoints=two)
    assert [told.hedged for told in sooner.told] == [1] * 6
