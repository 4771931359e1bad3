"""W3C Trace Context, case by case, through both listeners with a service between them.

The service is one that knows nothing of traces: it sends on what it got, several times where the
case asks for more calls than one. The cases are those of W3C's own test suite, under level 2's
grammar of keys (§3.3.1.3.1).
"""

import re
from collections.abc import Callable

import pytest
from chaos.record import Seen
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import Settings, route

Fields = list[tuple[str, str]]

TRACE, PARENT = "12345678901234567890123456789012", "1234567890123456"
VALID = f"00-{TRACE}-{PARENT}-00"
TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
KEY = "abcdefghijklmnopqrstuvwxyz0123456789_-*/"
VALUE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",=")


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    chaos = {"endpoints": [shared_chaos.url]}
    return module_proxy({"upstreams": {"chaos": chaos, "app": chaos}, "routes": [route("t")]})


def _hop(proxy: RunningProxy, upstream: ChaosUpstream, listener: str, fields: Fields) -> Seen:
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    with proxy.client(listener=listener) as client:
        client.send(f"GET /t HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode("latin-1"))
        response = client.read_response()
    (seen,) = upstream.seen(response.id)
    return seen


def _through_both(
    proxy: RunningProxy, upstream: ChaosUpstream, fields: Fields, calls: int = 1
) -> list[Seen]:
    inward = _hop(proxy, upstream, "inbound", fields)
    sent_on = [
        (name, value) for name in ("traceparent", "tracestate") for value in inward.values(name)
    ]
    return [_hop(proxy, upstream, "outbound", sent_on) for _ in range(calls)]


def _context(seen: Seen) -> tuple[str, str]:
    (value,) = seen.values("traceparent")
    match = TRACEPARENT.fullmatch(value)
    assert match, value
    assert match[2] != "0" * 32
    assert match[3] != "0" * 16
    return match[2], match[3]


def _members(seen: Seen) -> list[str]:
    joined = ",".join(seen.values("tracestate"))
    return [member for one in joined.split(",") if (member := one.strip(" \t"))]


def _state(*values: str) -> Fields:
    return [("traceparent", VALID), *(("tracestate", value) for value in values)]


@pytest.mark.parametrize(
    "fields",
    [
        [("traceparent", f"00-{TRACE}-{PARENT}-01")],
        [("TraceParent", f"00-{TRACE}-{PARENT}-01")],
        [("TrAcEpArEnT", f"00-{TRACE}-{PARENT}-01")],
        [("TRACEPARENT", f"00-{TRACE}-{PARENT}-01")],
        [("traceparent", f"cc-{TRACE}-{PARENT}-01")],
        [("traceparent", f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like")],
        [("traceparent", f" 00-{TRACE}-{PARENT}-01")],
        [("traceparent", f"\t00-{TRACE}-{PARENT}-01")],
        [("traceparent", f"00-{TRACE}-{PARENT}-01 ")],
        [("traceparent", f"00-{TRACE}-{PARENT}-01\t")],
        [("traceparent", f"\t 00-{TRACE}-{PARENT}-01 \t")],
    ],
)
def test_a_valid_context_is_continued(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, fields: Fields
) -> None:
    (seen,) = _through_both(proxy, shared_chaos, fields)
    trace, parent = _context(seen)
    assert trace == TRACE
    assert parent != PARENT


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("traceparent", f"00-{TRACE[:-1]}1-{PARENT}-01"), ("traceparent", VALID)],
        [("trace-parent", VALID)],
        [("trace.parent", VALID)],
        *(
            [("traceparent", value)]
            for value in [
                f"00-{TRACE}-{PARENT}-01.",
                f"00-{TRACE}-{PARENT}-01-what-the-future-will-be-like",
                f"cc-{TRACE}-{PARENT}-01.what-the-future-will-be-like",
                f"ff-{TRACE}-{PARENT}-01",
                f".0-{TRACE}-{PARENT}-01",
                f"0.-{TRACE}-{PARENT}-01",
                f"000-{TRACE}-{PARENT}-01",
                f"0000-{TRACE}-{PARENT}-01",
                f"0-{TRACE}-{PARENT}-01",
                f"00-{'0' * 32}-{PARENT}-01",
                f"00-.{TRACE[1:]}-{PARENT}-01",
                f"00-{TRACE[:-1]}.-{PARENT}-01",
                f"00-{TRACE}3-{PARENT}-01",
                f"00-{TRACE[:-1]}-{PARENT}-01",
                f"00-{TRACE}-{'0' * 16}-01",
                f"00-{TRACE}-.{PARENT[1:]}-01",
                f"00-{TRACE}-{PARENT[:-1]}.-01",
                f"00-{TRACE}-{PARENT}7-01",
                f"00-{TRACE}-{PARENT[:-1]}-01",
                f"00-{TRACE}-{PARENT}-.0",
                f"00-{TRACE}-{PARENT}-0.",
                f"00-{TRACE}-{PARENT}-001",
                f"00-{TRACE}-{PARENT}-1",
            ]
        ),
        [("tracestate", "foo=1")],
        [("tracestate", "foo=1,bar=2")],
    ],
)
def test_anything_else_begins_a_new_trace_without_its_state(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, fields: Fields
) -> None:
    (seen,) = _through_both(proxy, shared_chaos, fields)
    trace, _ = _context(seen)
    assert TRACE[:31] not in trace
    assert _members(seen) == []


@pytest.mark.parametrize(
    ("fields", "members"),
    [
        (_state("foo=1,bar=2"), ["foo=1", "bar=2"]),
        ([("traceparent", VALID), ("TraceState", "foo=1")], ["foo=1"]),
        ([("traceparent", VALID), ("TrAcEsTaTe", "foo=1")], ["foo=1"]),
        ([("traceparent", VALID), ("TRACESTATE", "foo=1")], ["foo=1"]),
        ([("traceparent", VALID), ("trace-state", "foo=1")], []),
        ([("traceparent", VALID), ("trace.state", "foo=1")], []),
        (_state(""), []),
        (_state("foo=1", ""), ["foo=1"]),
        (_state("", "foo=1"), ["foo=1"]),
        (
            _state("foo=1,bar=2", "rojo=1,congo=2", "baz=3"),
            ["foo=1", "bar=2", "rojo=1", "congo=2", "baz=3"],
        ),
        (_state(f"{KEY}={VALUE}"), [f"{KEY}={VALUE}".rstrip(" ")]),
        (_state(f"{KEY}@a-z0-9_-*/={VALUE}"), [f"{KEY}@a-z0-9_-*/={VALUE}"]),
        (_state("foo=1 \t , \t bar=2, \t baz=3"), ["foo=1", "bar=2", "baz=3"]),
        (_state("foo=1\t \t,\t \tbar=2,\t \tbaz=3"), ["foo=1", "bar=2", "baz=3"]),
        *((_state(value), ["foo=1"]) for value in [" foo=1", "\tfoo=1", "foo=1 ", "foo=1\t"]),
        (_state("\t foo=1 \t"), ["foo=1"]),
        (_state("foo =1"), []),
        (_state("FOO=1"), []),
        (_state("foo.bar=1"), []),
        (_state("foo@=1,bar=2"), ["foo@=1", "bar=2"]),
        (_state("foo@@bar=1,bar=2"), ["foo@@bar=1", "bar=2"]),
        (_state("foo@bar@baz=1,bar=2"), ["foo@bar@baz=1", "bar=2"]),
        (_state("foo=1", "z" * 256 + "=1"), ["foo=1", "z" * 256 + "=1"]),
        (_state("foo=1", "z" * 257 + "=1"), []),
        (_state("foo=1", f"{'t' * 241}@{'v' * 14}=1"), ["foo=1", f"{'t' * 241}@{'v' * 14}=1"]),
        (_state("foo=1", f"{'t' * 242}@v=1"), ["foo=1", f"{'t' * 242}@v=1"]),
        (_state("foo=1", f"t@{'v' * 15}=1"), ["foo=1", f"t@{'v' * 15}=1"]),
        (_state("foo=bar=baz"), []),
        (_state("foo=,bar=3"), []),
        (_state("foo=1,foo=1"), ["foo=1"]),
        (_state("foo=1,foo=2"), ["foo=1"]),
        (_state("foo=1", "foo=1"), ["foo=1"]),
        (_state("foo=1", "foo=2"), ["foo=1"]),
        (
            _state(
                *(",".join(f"bar{n:02}={n:02}" for n in range(m, m + 8)) for m in (1, 9, 17, 25))
            ),
            [f"bar{n:02}={n:02}" for n in range(1, 33)],
        ),
        (_state(",".join(f"bar{n:02}={n:02}" for n in range(1, 34))), []),
    ],
)
def test_the_state_is_kept_where_it_is_valid(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, fields: Fields, members: list[str]
) -> None:
    (seen,) = _through_both(proxy, shared_chaos, fields)
    assert _context(seen)[0] == TRACE
    assert _members(seen) == members


@pytest.mark.parametrize("given", [VALID, None, f"00-{'0' * 32}-{PARENT}-01"])
def test_several_calls_for_one_request_have_a_parent_of_their_own_each(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, given: str | None
) -> None:
    fields = [] if given is None else [("traceparent", given)]
    contexts = [_context(seen) for seen in _through_both(proxy, shared_chaos, fields, calls=3)]
    assert len({parent for _, parent in contexts}) == 3
    traces = {trace for trace, _ in contexts}
    assert traces == {TRACE} if given == VALID else TRACE not in traces
