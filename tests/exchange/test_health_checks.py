"""Health checks over scripted connections: what passes, what fails, and what they do not touch."""

import pytest
from exchange.wires import request

from proxy.errors import ConnectError

TEXT = """
service: stage
upstreams:
  shop:
    endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80"]
    health_check: {path: "/health?deep=1", interval: 10s, timeout: 1s, healthy: 2, unhealthy: 3}
policies:
  default: {retry: {attempts: 1}}
routes:
  - {name: shop, upstream: shop}
"""
FIRST, SECOND = "10.0.0.1:80", "10.0.0.2:80"
INTERVAL = 9.0
"""Seconds: the jitter's draw is 0.0."""
EJECTING = "    outlier_detection: {consecutive_failures: 1}\n"
ONE = TEXT.replace(', "http://10.0.0.2:80"', "")


@pytest.fixture
def shop(make_stage):
    """The first checks have begun."""
    stage = make_stage(TEXT)
    stage.pass_time(0.0)
    return stage


@pytest.fixture
def one(make_stage):
    stage = make_stage(ONE)
    stage.pass_time(0.0)
    return stage


def endpoint(stage, index=0):
    return stage.gateway.upstreams["shop"].endpoints[index]


def health(stage, index=0):
    member = endpoint(stage, index).member
    return ("unhealthy" if member.unhealthy else "healthy") if member.checked else "unknown"


def checks(stage):
    return stage.gateway.upstreams["shop"].choice.standings.counts.checks


def checked(stage, status=200, body=b"fine"):
    """The check that waits for a connection gets this answer; the time of the next one has come."""
    server = stage.accept()
    server.received()
    server.answer(status, body)
    stage.pass_time(INTERVAL)
    return server


def test_the_request_of_a_check(one):
    server = one.accept()
    asked = server.request()
    assert asked.line == "GET /health?deep=1 HTTP/1.1"
    assert asked.get("host") == "10.0.0.1"
    assert asked.get("user-agent") == "resilience-proxy health-check"
    server.answer(200, b"fine")
    assert not server.closed
    assert checks(one) == {"passed": 1, "failed": 0}
    assert endpoint(one).check == "200"


def test_a_check_is_no_traffic(one):
    checked(one, 503)
    checked(one)
    one.accept()
    assert one.records == []
    assert endpoint(one).active == 0
    assert one.counts()._asdict() == dict.fromkeys(one.counts()._fields, 0)
    assert sum(len(gate.in_flight) for gate in one.gateway.gates.values()) == 0


def test_an_endpoint_is_used_until_so_many_checks_fail(shop):
    for number in range(3):
        assert health(shop) == "unknown"
        assert not endpoint(shop).member.unhealthy, number
        first, second = shop.accept(), shop.accept()
        first.answer(503)
        second.answer(200)
        shop.pass_time(INTERVAL if number < 2 else 0.1)
    assert (health(shop), health(shop, 1)) == ("unhealthy", "healthy")
    assert endpoint(shop).check == "503"
    client = shop.ask(request())
    server = shop.accept()
    assert server.endpoint.label == SECOND
    server.answer()
    assert client.answer().status == 200


def test_only_checks_in_a_row_count(one):
    for status in (500, 500, 200, 500, 500):
        checked(one, status)
    assert health(one) != "unhealthy", "three in a row are needed"
    checked(one, 500)
    assert health(one) == "unhealthy"
    for status in (200, 500, 200):
        checked(one, status)
    assert health(one) == "unhealthy", "two in a row are needed"
    checked(one)
    assert health(one) == "healthy"


def test_it_is_healthy_again_after_so_many_passes(one):
    for _ in range(3):
        checked(one, 500)
    assert health(one) == "unhealthy"
    checked(one)
    assert health(one) == "unhealthy"
    checked(one)
    assert health(one) == "healthy"
    checked(one, 500)
    checked(one, 500)
    checked(one)
    checked(one, 500)
    assert health(one) == "healthy"


@pytest.mark.parametrize(
    ("expect", "status", "passes"),
    [("[200-299]", 204, 1), ("[200-299]", 301, 0), ("[200, 404]", 404, 1), ("[200, 404]", 201, 0)],
)
def test_which_statuses_pass(make_stage, expect, status, passes):
    stage = make_stage(ONE.replace("unhealthy: 3", f"unhealthy: 3, expect: {expect}"))
    stage.pass_time(0.0)
    checked(stage, status, b"")
    assert checks(stage)["passed"] == passes


def failing_connects(stage):
    stage.refuse()


def silent_connects(stage):
    stage.pass_time(1.01)
    stage.connector.pending.clear()


def silence(stage):
    stage.accept()
    stage.pass_time(1.01)


def half_a_response(stage):
    stage.accept().send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    stage.pass_time(1.01)


def a_close(stage):
    stage.accept().close()


def a_reset(stage):
    stage.accept().reset()


def a_banner(stage):
    stage.accept().send(b"220 ftp ready\r\n")


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (failing_connects, "connect-refused"),
        (silent_connects, "timeout"),
        (silence, "timeout"),
        (half_a_response, "timeout"),
        (a_close, "upstream-reset"),
        (a_reset, "upstream-reset"),
        (a_banner, "upstream-malformed"),
    ],
)
def test_what_fails(one, trouble, said):
    trouble(one)
    assert checks(one) == {"passed": 0, "failed": 1}
    assert endpoint(one).check == said
    one.pass_time(INTERVAL + 0.01)
    checked(one)
    assert checks(one) == {"passed": 1, "failed": 1}


def test_the_log_says_what_is_wrong(one, caplog):
    for _ in range(3):
        one.accept().send(b"220 ftp ready\r\n")
        one.pass_time(INTERVAL + 0.01)
    (message,) = caplog.messages
    assert "the last one: upstream-malformed: " in message
    assert "looks like an SMTP or FTP server" in message


def test_a_long_response_is_judged_by_its_status(one):
    server = one.accept()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x" * 70_000)
    assert checks(one)["passed"] == 1
    assert server.closed


def test_what_this_process_lacks_says_nothing_about_the_endpoint(one):
    class Shortage(ConnectError):
        reason, title = "connect-failed", "No descriptors"
        condition = None

    one.refuse(Shortage("none left"))
    assert checks(one) == {"passed": 0, "failed": 0}
    one.pass_time(INTERVAL)
    checked(one)
    assert checks(one)["passed"] == 1


def test_a_process_that_stood_still_says_nothing_about_the_endpoint(one):
    server = one.accept()
    one.loop.now += 3.0  # no timer rang meanwhile
    one.pass_time(0.0)
    one.pass_time(0.01)
    assert checks(one) == {"passed": 0, "failed": 0}
    assert server.closed


def test_an_answer_that_had_come_while_the_process_stood_still_counts(one):
    server = one.accept()
    one.loop.now += 3.0
    one.pass_time(0.0)
    server.answer(200)
    assert checks(one) == {"passed": 1, "failed": 0}


def test_a_passing_check_brings_an_ejected_endpoint_back(make_stage):
    stage = make_stage(TEXT.replace("    health_check", EJECTING + "    health_check"))
    stage.pass_time(0.0)
    for _ in range(2):
        stage.accept().answer()
    client = stage.ask(request())
    server = stage.accept()
    server.answer(503)
    assert client.answer().status == 503
    assert endpoint(stage).member.ejected
    server.close()
    for ejected in (True, False):
        stage.pass_time(INTERVAL)
        for _ in range(2):
            stage.accept().answer()
        assert endpoint(stage).member.ejected is ejected


def test_an_endpoint_that_is_gone_is_not_checked_any_more(make_stage):
    stage = make_stage(TEXT.replace('"http://10.0.0.1:80", "http://10.0.0.2:80"', '"http://shop"'))
    stage.pass_time(0.0)
    stage.resolve(["10.0.0.1", "10.0.0.2"])
    stage.pass_time(0.0)
    assert stage.connects == 2
    first, second = stage.accept(), stage.accept()
    second.answer()
    stage.pass_time(5.0)
    stage.resolve(["10.0.0.2"])
    assert first.closed
    stage.pass_time(INTERVAL)
    assert stage.connects == 1
    assert stage.accept().endpoint.label == SECOND


def test_names_are_looked_up_without_traffic(make_stage):
    stage = make_stage(ONE.replace("http://10.0.0.1:80", "http://shop"))
    stage.pass_time(0.0)
    for _ in range(20):
        assert stage.lookups.pending
        stage.resolve(["10.0.0.1"])
        stage.pass_time(5.0)


def test_a_reload_keeps_what_the_checks_said(shop):
    for _ in range(3):
        shop.accept().answer(503)
        shop.accept().answer(200)
        shop.pass_time(INTERVAL)
    assert health(shop) == "unhealthy"
    with_ejection = TEXT.replace("    health_check", EJECTING + "    health_check")
    shop.reload(with_ejection)
    assert health(shop) == "unhealthy"
    assert checks(shop) == {"passed": 3, "failed": 3}
    assert shop.connects == 2, "checks under way go on"
    shop.reload(TEXT.replace("interval: 10s", "interval: 5s"))
    assert health(shop) == "unhealthy"
    shop.reload(TEXT.replace("    health_check", "    connections: {max: 7}\n    health_check"))
    assert health(shop) == "unhealthy", "connections that are made otherwise change nothing"
    lines = [line for line in TEXT.splitlines() if "health_check" not in line]
    shop.reload("\n".join(lines))
    shop.connector.pending.clear()
    shop.pass_time(60.0)
    assert shop.connects == 0
    assert endpoint(shop).member is None


def test_a_closed_upstream_checks_nothing(one):
    server = one.accept()
    one.gateway.upstreams.close()
    one.loop.run()
    assert server.closed
    one.pass_time(60.0)
    assert one.connects == 0


def test_over_http2_where_the_upstream_speaks_it(make_stage):
    stage = make_stage(ONE.replace("    health_check", "    protocol: http2\n    health_check"))
    stage.pass_time(0.0)
    server = stage.accept_http2()
    asked = server.request()
    assert (asked.get(":method"), asked.get(":path")) == ("GET", "/health?deep=1")
    assert asked.get(":authority") == "10.0.0.1"
    server.answer(200, b"fine")
    assert checks(stage) == {"passed": 1, "failed": 0}
    stage.pass_time(INTERVAL)
    again = stage.accept_http2()
    again.request()
    again.reset_stream(again.latest, 2)
    assert endpoint(stage).check == "upstream-reset"
    assert checks(stage) == {"passed": 1, "failed": 1}


# --- gRPC ---------------------------------------------------------------------------------------

GRPC = ONE.replace('path: "/health?deep=1"', "grpc: shop.v1.Inventory")
SERVING = b"\0\0\0\0\2\x08\x01"


@pytest.fixture
def grpc(make_stage):
    stage = make_stage(GRPC)
    stage.pass_time(0.0)
    return stage


def test_the_call_of_a_grpc_check(grpc):
    server = grpc.accept_http2()
    one = server.request()
    assert one.get(":path") == "/grpc.health.v1.Health/Check"
    assert one.get(":method") == "POST"
    assert one.get("content-type") == "application/grpc"
    assert one.get("te") == "trailers"
    assert bytes(one.body) == b"\0\0\0\0\x13\x0a\x11shop.v1.Inventory"
    server.answer(200, SERVING, trailers=[("grpc-status", "0")])
    assert checks(grpc) == {"passed": 1, "failed": 0}
    assert endpoint(grpc).check == "SERVING"


@pytest.mark.parametrize(
    ("body", "trailers", "said"),
    [
        (b"\0\0\0\0\2\x08\x02", [("grpc-status", "0")], "NOT_SERVING"),
        (b"\0\0\0\0\0", [("grpc-status", "0")], "UNKNOWN"),
        (b"", [("grpc-status", "12")], "UNIMPLEMENTED"),
        (b"", [("grpc-status", "5")], "NOT_FOUND"),
        (SERVING, [("grpc-status", "1")], "CANCELLED"),
        (b"", [("grpc-status", "0")], "malformed"),
        (SERVING, [], "no grpc-status"),
    ],
)
def test_which_grpc_answers_fail(grpc, body, trailers, said):
    server = grpc.accept_http2()
    server.request()
    server.answer(200, body, trailers=trailers)
    assert checks(grpc) == {"passed": 0, "failed": 1}
    assert endpoint(grpc).check == said


def test_a_grpc_failure_in_one_head_says_its_name(grpc):
    server = grpc.accept_http2()
    server.request()
    server.answer(200, b"", ("grpc-status", "14"))
    assert checks(grpc) == {"passed": 0, "failed": 1}
    assert endpoint(grpc).check == "UNAVAILABLE"
