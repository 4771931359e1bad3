"""Another attempt while the request's body is still on its way, or was never asked for."""

import time
from collections.abc import Callable

import pytest
from chaos.script import pattern
from chaos.upstream import ChaosUpstream
from integration.raw_client import request_bytes
from integration.running_proxy import RunningProxy
from integration.settings import Settings, route


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    return module_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [route("b", retry={"body_limit": "1KiB"})],
        }
    )


@pytest.mark.parametrize("fault", ["503 early", "503 early close", "reset-before-body"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_that_is_still_coming_goes_whole_to_the_next_attempt(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, framing: str, fault: str
) -> None:
    chunked = framing == "chunked"
    headers = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": "20"}
    request_id = f"coming-{framing}-{fault}".replace(" ", "-")
    script = f"{fault} | 200 echo"
    parts = [b"a\r\n0123456789\r\n", b"a\r\nabcdefghij\r\n0\r\n\r\n"]
    if not chunked:
        parts = [b"0123456789", b"abcdefghij"]
    with proxy.client() as client:
        client.send(request_bytes("PUT", "/b", headers, chaos=script, request_id=request_id))
        client.send(parts[0])
        shared_chaos.wait_seen(request_id, count=2)
        client.send(parts[1])
        response = client.read_response("PUT")
        assert (response.status, response.body) == (200, b"0123456789abcdefghij")
        assert client.request("GET", "/b").body == b"ok", "the connection is still in step"


def test_a_body_that_outgrew_the_limit_takes_the_first_answer(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    with proxy.client() as client:
        client.send(
            request_bytes(
                "PUT", "/b", {"Content-Length": "5000"}, chaos="503 early close | 200",
                request_id="outgrown",
            )
            + b"x" * 3000
        )  # fmt: skip
        response = client.read_response("PUT")
        assert (response.status, response.why) == (503, None)
        assert client.closed()
    assert len(shared_chaos.seen("outgrown")) == 1


def test_a_refused_expectation_is_asked_again_without_the_body(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    headers = {"Expect": "100-continue", "Content-Length": "5"}
    with proxy.client() as client:
        script = "503 early close | continue echo"
        client.send(request_bytes("PUT", "/b", headers, chaos=script, request_id="expecting"))
        assert client.read_head().status == 100
        client.send(b"hello")
        response = client.read_response("PUT")
    assert (response.status, response.body) == (200, b"hello")
    assert [(one.header("expect") or "").lower() for one in shared_chaos.seen("expecting")] == [
        "100-continue"
    ] * 2


def test_after_the_100_the_body_is_replayed_without_asking(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    headers = {"Expect": "100-continue", "Content-Length": "5"}
    with proxy.client() as client:
        script = "continue 503 | echo"
        client.send(request_bytes("PUT", "/b", headers, chaos=script, request_id="continued"))
        assert client.read_head().status == 100
        client.send(b"hello")
        response = client.read_response("PUT")
    assert (response.status, response.body, response.interim) == (200, b"hello", [])


def test_trailers_are_replayed(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = proxy.call(
        "PUT",
        "/b",
        {"Transfer-Encoding": "chunked"},
        b"3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n",
        chaos="503 | 200",
    )
    assert response.status == 200
    assert [one.trailers for one in shared_chaos.seen(response.id)] == [[("X-Sum", "9")]] * 2


def test_pipelined_requests_are_not_mixed_up_by_retries(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        client.send(
            b"".join(
                request_bytes("PUT", "/b", {}, b"%d" % number, chaos="503 | 502 | echo")
                for number in range(10)
            )
        )
        bodies = [client.read_response("PUT").body for _ in range(10)]
    assert bodies == [b"%d" % number for number in range(10)]


def test_a_large_answer_to_a_small_upload_that_failed_first(proxy: RunningProxy) -> None:
    response = proxy.call("PUT", "/b", body=b"x" * 1000, chaos="503 size=90000 | size=400000")
    assert response.body == pattern(400_000)


def test_waiting_for_another_attempt_does_not_stop_the_upload(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    """What comes during the backoff is kept for the attempt after it."""
    script = "503 early header=Retry-After:1 | 200 echo"
    with proxy.client() as client:
        head = request_bytes(
            "PUT", "/b", {"Content-Length": "30"}, chaos=script, request_id="during"
        )
        client.send(head + b"0123456789")
        shared_chaos.wait_seen("during")
        for _ in range(2):
            time.sleep(0.2)
            client.send(b"0123456789")
        assert client.read_response("PUT").body == b"0123456789" * 3
