"""Each part of traffic, active: a reload and a drain lose no request, and nothing stays behind."""

import pytest
from exchange.wires import request

TEXT = """
service: stage
upstreams:
  shop:
    endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80"]
    UPSTREAM
  copy: {endpoints: ["http://10.0.0.3:80"]}
policies:
  default: {timeouts: {attempt: 2s, request: 10s}}
routes:
  - {name: shop, ROUTE}
"""
ONE = "upstream: shop"
PARTS = {
    "weights": ("load_balancing: round_robin", ONE),
    "ewma": ("load_balancing: ewma", ONE),
    "consistent hash": ("load_balancing: consistent_hash\n    hash: {header: user-id}", ONE),
    "slow start": ("slow_start: 10s", ONE),
    "ejection": ("outlier_detection: {consecutive_failures: 1}", ONE),
    "rate limit": ("", f"{ONE}, rate_limits: [{{rate: 100/s}}]"),
    "rate limit by header": ("", f"{ONE}, rate_limits: [{{key: 'header:user-id', rate: 9/s}}]"),
    "learned limit": ("", f"{ONE}, bulkhead: {{limit: gradient}}"),
    "hedge": ("", f"{ONE}, hedge: {{delay: 1s}}"),
    "learned hedge": ("", f"{ONE}, hedge: {{delay: p95}}"),
    "split": ("", "upstream: {shop: 50, copy: 50}, split_by: {header: user-id}"),
    "mirror": ("", f"{ONE}, mirror: {{upstream: copy}}"),
    "delay": ("", f"{ONE}, faults: [{{share: 100%, delay: 100ms}}]"),
    "throttle": ("", f"{ONE}, faults: [{{share: 100%, throttle: 1KiB}}]"),
}


def text(part, attempt="2s"):
    upstream, route = PARTS[part]
    made = TEXT.replace("UPSTREAM", upstream).replace("ROUTE", route)
    return made.replace("attempt: 2s", f"attempt: {attempt}")


def begin(stage):
    """A request in flight, and where its attempt and its copy are."""
    client = stage.ask(request("GET /x HTTP/1.1", "User-Id: u1"))
    stage.pass_time(0.15)
    reached = list(stage.servers)
    while stage.connects:
        stage.accept()
    return client, [one for one in stage.servers if one not in reached]


def end(stage, client, servers):
    for server in servers:
        server.answer(200, b"whole", "Connection: close")
    stage.pass_time(0.5)
    answer = client.answer()
    assert (answer.status, answer.body) == (200, b"whole")
    return answer


@pytest.mark.parametrize("part", PARTS)
def test_requests_before_and_after_a_reload_get_their_answers(make_stage, part):
    stage = make_stage(text(part))
    before = begin(stage)
    stage.reload(text(part, "3s"))
    after = begin(stage)
    assert before[1], "no attempt was made"
    assert after[1], "no attempt was made"
    end(stage, *after)
    end(stage, *before)
    assert [record.status for record in stage.records] == [200, 200]
    end(stage, *begin(stage))


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_a_reload_removes_or_adds_loses_nothing(make_stage, part):
    plain = TEXT.replace("UPSTREAM", "").replace("ROUTE", ONE)
    stage = make_stage(text(part))
    first = begin(stage)
    stage.reload(plain)
    second = begin(stage)
    stage.reload(text(part))
    third = begin(stage)
    for call in (second, first, third):
        end(stage, *call)
    assert [record.status for record in stage.records] == [200] * 3


@pytest.mark.parametrize("part", PARTS)
def test_a_drain_lets_a_request_end(make_stage, part):
    stage = make_stage(text(part))
    call = begin(stage)
    stage.gate().closing = True
    assert end(stage, *call).get("connection") == "close"
    assert stage.records[0].status == 200
