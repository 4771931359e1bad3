"""Answers made by the proxy: their fields and their Proxy-Status. Contract, section 4."""

from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.ports import free_port
from integration.running_proxy import RunningProxy
from integration.settings import ONCE, Settings, breaker, route

CASES = [
    # route, script, status, reason, RFC 9209 error, attempts
    ("refused", "", 502, "connect-refused", "connection_refused", 1),
    ("no-name", "", 502, "dns-failure", "dns_error", 1),
    ("not-tls", "", 502, "tls-failure", "tls_protocol_error", 1),
    ("plain", "reset-before-head", 502, "upstream-reset", "connection_terminated", 1),
    ("plain", "reset-in-head rst", 502, "upstream-reset", "connection_terminated", 1),
    ("plain", "malformed", 502, "upstream-malformed", "http_protocol_error", 1),
    ("plain", "hang", 504, "attempt-timeout", "http_response_timeout", 1),
    ("late", "hang", 504, "request-timeout", "http_response_timeout", 1),
    ("open", "", 503, "circuit-open", "destination_unavailable", 0),
]


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    proxy = module_proxy(
        {
            "upstreams": {
                "chaos": {"endpoints": [shared_chaos.url]},
                "refused": {"endpoints": [f"http://127.0.0.1:{free_port()}"]},
                "no-name": {"endpoints": ["http://nowhere.invalid:80"]},
                "not-tls": {"endpoints": [f"https://127.0.0.1:{shared_chaos.port}"]},
            },
            "policies": {"default": {"retry": ONCE}},
            "routes": [
                route("plain", timeouts={"attempt": "400ms"}),
                route("late", timeouts={"request": "200ms"}),
                route("refused", "refused"),
                route("no-name", "no-name"),
                route("not-tls", "not-tls"),
                route("open", circuit_breaker=breaker(calls=1, open_for="30s")),
            ],
        }
    )
    assert proxy.call("GET", "/open", chaos="500").status == 500
    return proxy


@pytest.mark.parametrize(("name", "script", "status", "reason", "error", "attempts"), CASES)
def test_an_answer_says_what_happened(
    proxy: RunningProxy,
    name: str,
    script: str,
    status: int,
    reason: str,
    error: str,
    attempts: int,
) -> None:
    response = proxy.call("POST", f"/{name}?secret=1", {"X-Secret": "2"}, b"", chaos=script)
    assert (response.status, response.why) == (status, reason)
    problem = response.problem
    assert problem["status"] == status
    assert problem["route"] == name
    assert problem["upstream"] == ("chaos" if name in ("plain", "late", "open") else name)
    assert len(problem["attempts"]) == attempts
    assert problem["request_id"] == response.id
    assert len(problem["trace_id"]) == 32
    assert isinstance(problem["type"], str)
    assert problem["type"]
    assert problem["title"]
    assert len(problem["detail"].split()) >= 3, "a sentence that says what to look at"
    assert "secret" not in problem["detail"].lower()
    status_field = [part.strip() for part in (response.header("proxy-status") or "").split(";")]
    assert status_field[0] == "orders"
    assert f"error={error}" in status_field
    assert f'details="{reason}"' in status_field
    assert (response.header("retry-after") is not None) == (status == 503)
    line = proxy.logged(response.id)
    assert (line["status"], line["reason"], line["route"]) == (status, reason, name)
    assert len(line["attempts"]) == attempts
    labels = {"route": name, "code": str(status), "reason": reason, "listener": "outbound"}
    assert proxy.metric("proxy_requests_total", **labels) >= 1


@pytest.mark.parametrize(("name", "script", "status"), [(c[0], c[1], c[2]) for c in CASES])
def test_head_gets_no_body(proxy: RunningProxy, name: str, script: str, status: int) -> None:
    with proxy.client() as client:
        response = client.request("HEAD", f"/{name}", chaos=script)
        assert response.status == status
        assert response.header("content-type") == "application/problem+json"
        # a body would be taken for the next response
        assert client.request("GET", "/plain").body == b"ok"


def test_the_connection_serves_on_after_an_answer(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        for name, script, status, *_ in CASES:
            body = b"x" * 1000
            assert client.request("POST", f"/{name}", body=body, chaos=script).status == status


def test_an_answer_of_the_upstream_is_not_marked(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/plain", chaos="502")
    assert (response.status, response.why, response.header("proxy-status")) == (502, None, None)
    assert proxy.logged(response.id).get("reason") in (None, "")


def test_an_upstreams_proxy_status_is_kept(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/plain", chaos="200 header=Proxy-Status:cdn;_received-status=200")
    assert response.values("proxy-status")[0].startswith("cdn;")
