"""The access log: one JSON object a line, and never what is nobody's business."""

import time
from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import ONCE, Settings, route


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    chaos = {"endpoints": [shared_chaos.url]}
    return module_proxy({"upstreams": {"chaos": chaos, "app": chaos}, "routes": [route("l")]})


def test_a_line_has_all_its_fields(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = proxy.call("POST", "/l/x?token=s3cr3t", body=b"12345", chaos="201 size=7")
    line = proxy.logged(response.id)
    assert line == line | {
        "listener": "outbound",
        "method": "POST",
        "host": "service.test",
        "path": "/l/x",
        "route": "l",
        "upstream": "chaos",
        "status": 201,
        "bytes_in": 5,
        "bytes_out": 7,
        "request_id": response.id,
    }
    assert line["client"].startswith("127.0.0.1")
    assert "time" in line
    assert len(line["trace_id"]) == 32
    assert 0 < line["duration_ms"] < 3000
    (attempt,) = line["attempts"]
    assert shared_chaos.authority in attempt["endpoint"]
    assert attempt["status"] == 201
    assert 0 < attempt["duration_ms"] <= line["duration_ms"]


def test_no_header_values_and_no_query_values(proxy: RunningProxy) -> None:
    headers = {"Authorization": "Bearer h1dden", "Cookie": "c=h1dden"}
    response = proxy.call("GET", "/l?token=h1dden&x", headers, chaos="503 | 200")
    proxy.logged(response.id)
    assert "h1dden" not in proxy.output + proxy.errors


def test_a_name_with_control_characters_does_not_break_the_line(proxy: RunningProxy) -> None:
    response = proxy.call("GET", '/l/%0a{"status":1}/"quoted"\\', chaos="200")
    line = proxy.logged(response.id)
    assert line["status"] == 200


def test_duration_is_to_the_end_of_the_body(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/l", chaos="size=4 pieces=2 interval=0.2")
    assert proxy.logged(response.id)["duration_ms"] >= 200


@pytest.mark.parametrize(
    ("setting", "logged"),
    [
        ("none", []),
        ("errors", ["retried", "status", "made"]),
        ("all", ["fine", "retried", "status", "made"]),
    ],
)
def test_what_is_logged(
    start_proxy: Callable[..., RunningProxy],
    shared_chaos: ChaosUpstream,
    setting: str,
    logged: list[str],
) -> None:
    proxy = start_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [route("l"), route("once", retry=ONCE)],
            "access_log": {"requests": setting},
        }
    )
    name = f"{setting}-{time.monotonic_ns()}-"
    proxy.call("GET", "/l", request_id=name + "fine")
    proxy.call("GET", "/l", chaos="503 | 200", request_id=name + "retried")
    proxy.call("GET", "/once", chaos="500", request_id=name + "status")
    proxy.call("GET", "/once", chaos="reset-before-head", request_id=name + "made")
    proxy.signal()
    assert proxy.wait() == 0
    found = [str(line.get("request_id")) for line in proxy.log_lines() if "request_id" in line]
    assert [one.removeprefix(name) for one in found] == logged
