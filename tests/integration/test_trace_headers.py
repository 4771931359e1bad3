"""Trace context and request ids: continued, replaced, begun. Contract, section 3."""

import re
from collections.abc import Callable

import pytest
from chaos.record import Seen
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import Settings, route

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    chaos = {"endpoints": [shared_chaos.url]}
    return module_proxy({"upstreams": {"chaos": chaos, "app": chaos}, "routes": [route("t")]})


@pytest.fixture(scope="module")
def b3_proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    return module_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [route("t")],
            "tracing": {"propagate": ["b3", "b3multi", "tracecontext"]},
        }
    )


def _parts(seen: Seen) -> tuple[str, str, str]:
    match = TRACEPARENT.fullmatch(seen.header("traceparent") or "")
    assert match, seen.headers
    return match[1], match[2], match[3]


@pytest.mark.parametrize("listener", ["outbound", "inbound"])
@pytest.mark.parametrize("flags", ["00", "01"])
def test_a_trace_is_continued(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, listener: str, flags: str
) -> None:
    headers = {
        "traceparent": f"00-{TRACE}-{PARENT}-{flags}",
        "tracestate": "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
        "baggage": "user=alice",
    }
    response = proxy.call("GET", "/t", headers, listener=listener)
    (seen,) = shared_chaos.seen(response.id)
    trace, parent, sent = _parts(seen)
    assert (trace, sent) == (TRACE, flags)
    assert parent not in (PARENT, "0" * 16)
    assert seen.header("tracestate") == headers["tracestate"]
    assert seen.header("baggage") == headers["baggage"]
    assert proxy.logged(response.id)["trace_id"] == TRACE


def test_each_attempt_is_a_span_of_its_own_in_the_one_trace(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    response = proxy.call("GET", "/t", chaos="503 | 200")
    parts = [_parts(one) for one in shared_chaos.seen(response.id)]
    assert len({trace for trace, _, _ in parts}) == 1
    assert len(parts) == 2


@pytest.mark.parametrize(
    "value",
    [
        "nonsense",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE[1:]}-{PARENT}-01",
    ],
)
def test_an_invalid_context_is_replaced(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, value: str
) -> None:
    response = proxy.call("GET", "/t", {"traceparent": value, "tracestate": "a=1"})
    (seen,) = shared_chaos.seen(response.id)
    trace, _, flags = _parts(seen)
    assert trace not in (TRACE, "0" * 32)
    assert flags == "00", "nothing is sampled at 0%"
    assert seen.header("tracestate") is None, "the state of a trace that is not continued"


def test_a_later_version_is_read_as_far_as_it_is_known(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    response = proxy.call("GET", "/t", {"traceparent": f"01-{TRACE}-{PARENT}-01-more"})
    assert _parts(shared_chaos.seen(response.id)[0])[::2] == (TRACE, "01")


def test_without_a_trace_a_new_one_begins(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    traces = set()
    for _ in range(3):
        response = proxy.call("GET", "/t")
        trace, _, flags = _parts(shared_chaos.seen(response.id)[0])
        assert flags == "00"
        assert proxy.logged(response.id)["trace_id"] == trace
        traces.add(trace)
    assert len(traces) == 3


def test_b3_in_one_field(b3_proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    response = b3_proxy.call("GET", "/t", {"b3": f"{TRACE}-{PARENT}-1"})
    (seen,) = shared_chaos.seen(response.id)
    trace, span, sampled, *_ = (seen.header("b3") or "").split("-")
    assert (trace, sampled) == (TRACE, "1")
    assert span != PARENT
    assert seen.header("x-b3-traceid") == TRACE, "all that are configured are written"
    assert seen.header("x-b3-spanid") == span
    assert _parts(seen) == (TRACE, span, "01")


def test_b3_in_many_fields(b3_proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    headers = {"X-B3-TraceId": TRACE, "X-B3-SpanId": PARENT, "X-B3-Sampled": "0"}
    response = b3_proxy.call("GET", "/t", headers)
    (seen,) = shared_chaos.seen(response.id)
    assert seen.header("x-b3-traceid") == TRACE
    assert seen.header("x-b3-sampled") == "0"
    assert _parts(seen)[::2] == (TRACE, "00")


def test_b3_goes_through_untouched_where_it_is_not_configured(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    response = proxy.call("GET", "/t", {"b3": f"{TRACE}-{PARENT}-1"})
    assert shared_chaos.seen(response.id)[0].header("b3") == f"{TRACE}-{PARENT}-1"


# --- X-Request-Id -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["a", "order-17/3!~", "x" * 128])
def test_a_request_id_is_kept(proxy: RunningProxy, shared_chaos: ChaosUpstream, value: str) -> None:
    response = proxy.call("GET", "/t", {"X-Request-Id": value})
    assert response.id == value
    assert shared_chaos.seen(value)


@pytest.mark.parametrize("value", [None, "", "x" * 129, "with space", "\xe9t\xe9"])
def test_another_one_is_made(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, value: str | None
) -> None:
    given = "" if value is None else f"X-Request-Id: {value}\r\n"
    with proxy.client() as client:
        client.send(f"GET /t HTTP/1.1\r\nHost: a\r\n{given}\r\n".encode("latin-1"))
        response = client.read_response()
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", response.id)
    assert len(shared_chaos.seen(response.id)) == 1


def test_an_upstreams_own_request_id_does_not_come_twice(proxy: RunningProxy) -> None:
    response = proxy.call("GET", "/t", request_id="mine", chaos="header=X-Request-Id:theirs")
    assert response.values("x-request-id") == ["mine"]


def test_answers_of_the_proxy_carry_both_ids(proxy: RunningProxy) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    response = proxy.call("POST", "/t", headers, b"", chaos="reset-before-head", request_id="both")
    assert response.id == "both"
    assert (response.problem["request_id"], response.problem["trace_id"]) == ("both", TRACE)
