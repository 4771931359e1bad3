"""The cases of W3C Trace Context's own test suite, through the whole data plane.

Each is the fields that a caller sends; what goes upstream tells whether the trace was continued,
and with which tracestate. The suite's names of the cases stand in front.
"""

import re

import pytest
from exchange.wires import request

TRACE = "12345678901234567890123456789012"
SPAN = "1234567890123456"
VALID = f"traceparent: 00-{TRACE}-{SPAN}-00"
SENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")

KEY = "abcdefghijklmnopqrstuvwxyz0123456789_-*/"
VALUE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",=")
MEMBERS = [f"bar{number:02}={number:02}" for number in range(1, 34)]


def parent(value):
    return [f"traceparent: {value}"]


def state(*values):
    return [VALID, *(f"tracestate: {value}" for value in values)]


CONTINUED = {
    "tracestate_missing": parent(f"00-{TRACE}-{SPAN}-01"),
    "name_casing_1": [f"TraceParent: 00-{TRACE}-{SPAN}-01"],
    "name_casing_2": [f"TrAcEpArEnT: 00-{TRACE}-{SPAN}-01"],
    "name_casing_3": [f"TRACEPARENT: 00-{TRACE}-{SPAN}-01"],
    "version_0xcc": parent(f"cc-{TRACE}-{SPAN}-01"),
    "version_0xcc_longer": parent(f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"),
    "ows_before": [f"traceparent:\t 00-{TRACE}-{SPAN}-01"],
    "ows_after": [f"traceparent: 00-{TRACE}-{SPAN}-01 \t"],
}

RESTARTED = {
    "duplicated": [*parent(f"00-{TRACE}-{SPAN}-01"), *parent(f"00-{TRACE[::-1]}-{SPAN}-01")],
    "duplicated_alike": parent(f"00-{TRACE}-{SPAN}-01") * 2,
    "header_name_1": [f"trace-parent: 00-{TRACE}-{SPAN}-01"],
    "header_name_2": [f"trace.parent: 00-{TRACE}-{SPAN}-01"],
    "version_0x00_longer_1": parent(f"00-{TRACE}-{SPAN}-01."),
    "version_0x00_longer_2": parent(f"00-{TRACE}-{SPAN}-01-what-the-future-will-be-like"),
    "version_0xcc_other": parent(f"cc-{TRACE}-{SPAN}-01.what-the-future-will-be-like"),
    "version_0xff": parent(f"ff-{TRACE}-{SPAN}-01"),
    "version_illegal_1": parent(f".0-{TRACE}-{SPAN}-01"),
    "version_illegal_2": parent(f"0.-{TRACE}-{SPAN}-01"),
    "version_too_long": parent(f"000-{TRACE}-{SPAN}-01"),
    "version_too_short": parent(f"0-{TRACE}-{SPAN}-01"),
    "trace_id_all_zero": parent(f"00-{'0' * 32}-{SPAN}-01"),
    "trace_id_upper_case": parent(f"00-{TRACE[:-1]}A-{SPAN}-01"),
    "trace_id_illegal": parent(f"00-.{TRACE[1:]}-{SPAN}-01"),
    "trace_id_too_long": parent(f"00-{TRACE}3-{SPAN}-01"),
    "trace_id_too_short": parent(f"00-{TRACE[:-1]}-{SPAN}-01"),
    "parent_id_all_zero": parent(f"00-{TRACE}-{'0' * 16}-01"),
    "parent_id_illegal": parent(f"00-{TRACE}-{SPAN[:-1]}.-01"),
    "parent_id_too_long": parent(f"00-{TRACE}-{SPAN}7-01"),
    "parent_id_too_short": parent(f"00-{TRACE}-{SPAN[:-1]}-01"),
    "trace_flags_illegal": parent(f"00-{TRACE}-{SPAN}-.0"),
    "trace_flags_too_long": parent(f"00-{TRACE}-{SPAN}-001"),
    "trace_flags_too_short": parent(f"00-{TRACE}-{SPAN}-1"),
    "traceparent_missing": [],
}

STATES = {
    "included": (["foo=1,bar=2"], "foo=1,bar=2"),
    "empty": ([""], None),
    "empty_after": (["foo=1", ""], "foo=1"),
    "empty_before": (["", "foo=1"], "foo=1"),
    "different_keys": (["foo=1,bar=2", "rojo=1,congo=2", "baz=3"],
                       "foo=1,bar=2,rojo=1,congo=2,baz=3"),
    "all_allowed": ([f"{KEY}={VALUE}"], f"{KEY}={VALUE}"),
    "all_allowed_tenant": ([f"{KEY}@a-z0-9_-*/={VALUE}"], f"{KEY}@a-z0-9_-*/={VALUE}"),
    "ows": (["foo=1 \t , \t bar=2, \t baz=3"], "foo=1 \t , \t bar=2, \t baz=3"),
    "empty_members": (["foo=1,,bar=2"], "foo=1,bar=2"),
    "members_32": ([",".join(MEMBERS[:10]), ",".join(MEMBERS[10:32])], ",".join(MEMBERS[:32])),
    "members_33": ([",".join(MEMBERS)], None),
    "key_length": (["foo=1", "z" * 256 + "=1"], "foo=1," + "z" * 256 + "=1"),
    "key_too_long": (["foo=1", "z" * 257 + "=1"], None),
    "tenant_length": (["t" * 241 + "@" + "v" * 14 + "=1"], "t" * 241 + "@" + "v" * 14 + "=1"),
    "tenant_of_level_2": (["foo=1", "t" * 242 + "@v=1"], "foo=1," + "t" * 242 + "@v=1"),
    "system_of_level_2": (["foo=1", "t@" + "v" * 15 + "=1"], "foo=1,t@" + "v" * 15 + "=1"),
    "duplicated_keys": (["foo=1,foo=2"], "foo=1"),
    "duplicated_keys_apart": (["foo=1", "foo=1"], "foo=1"),
    "key_illegal": (["foo =1"], None),
    "key_upper_case": (["FOO=1"], None),
    "vendor_of_level_2": (["foo@=1,bar=2"], "foo@=1,bar=2"),
    "vendor_illegal": (["@foo=1,bar=2"], None),
    "value_illegal": (["foo=bar=baz"], None),
    "value_empty": (["foo=,bar=3"], None),
    "beyond_512": ([f"a={'x' * 256}", f"b={'y' * 256}", f"c={'z' * 256}"],
                   f"a={'x' * 256},b={'y' * 256},c={'z' * 256}"),
}  # fmt: skip


def sent(stage, fields):
    """The trace id, the span's and the tracestate that go upstream."""
    stage.ask(request("GET /x HTTP/1.1", *fields))
    server = stage.accept()
    upstream = server.request()
    server.answer()
    trace, span, _ = SENT.fullmatch(upstream.get("traceparent")).groups()
    assert trace != "0" * 32
    assert span != "0" * 16
    return trace, span, upstream.get("tracestate")


@pytest.mark.parametrize("fields", CONTINUED.values(), ids=CONTINUED)
def test_the_trace_is_continued(stage, fields):
    trace, span, _ = sent(stage, fields)
    assert trace == TRACE
    assert span != SPAN


@pytest.mark.parametrize("fields", RESTARTED.values(), ids=RESTARTED)
def test_the_trace_is_restarted_and_loses_its_state(stage, fields):
    trace, _, tracestate = sent(stage, [*fields, "tracestate: foo=1,bar=2"])
    assert trace not in (TRACE, TRACE[::-1], TRACE[1:] + "3")
    assert tracestate is None


@pytest.mark.parametrize(("given", "expected"), STATES.values(), ids=STATES)
def test_the_state_goes_along(stage, given, expected):
    trace, _, tracestate = sent(stage, state(*given))
    assert trace == TRACE, "whatever is wrong with the state alone"
    assert tracestate == expected


@pytest.mark.parametrize("name", ["TraceState", "TrAcEsTaTe", "TRACESTATE"])
def test_the_names_of_states_have_no_case(stage, name):
    assert sent(stage, [VALID, f"{name}: foo=1"])[2] == "foo=1"
