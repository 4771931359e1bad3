"""B3 as its specification has it: one field, several fields, and back."""

import pytest

from proxy.http.b3 import (
    B3Context,
    Sampling,
    format_b3,
    format_b3_multi,
    parse_b3,
    parse_b3_multi,
)

TRACE = "80f198ee56343ba864fe8b2a57d3eff7"
SPAN = "05e3ac9a4f6e3b90"
PARENT = "e457b5a2e4d86bd1"
SHORT = "64fe8b2a57d3eff7"
PADDED = "0" * 16 + SHORT


@pytest.mark.parametrize(
    ("value", "context"),
    [
        (f"{TRACE}-{SPAN}-1-{PARENT}", B3Context(TRACE, SPAN, Sampling.ACCEPT)),
        (f"{TRACE}-{SPAN}-0", B3Context(TRACE, SPAN, Sampling.DENY)),
        (f"{TRACE}-{SPAN}-d", B3Context(TRACE, SPAN, Sampling.DEBUG)),
        (f"{TRACE}-{SPAN}", B3Context(TRACE, SPAN, Sampling.DEFER)),
        (f"{TRACE}-{SPAN}-{PARENT}", B3Context(TRACE, SPAN, Sampling.DEFER)),
        (f" {SHORT}-{SPAN}-1\t", B3Context(PADDED, SPAN, Sampling.ACCEPT)),
        ("0", B3Context(None, None, Sampling.DENY)),
        ("1", B3Context(None, None, Sampling.ACCEPT)),
        ("d", B3Context(None, None, Sampling.DEBUG)),
    ],
)
def test_the_single_field_is_read(value: str, context: B3Context) -> None:
    assert parse_b3(value.encode()) == context


@pytest.mark.parametrize(
    "value",
    [
        "",
        "2",
        "-",
        TRACE,
        f"{TRACE}-",
        f"-{SPAN}",
        f"{TRACE}-{SPAN}-",
        f"{TRACE}-{SPAN}-2",
        f"{TRACE}-{SPAN}-1-",
        f"{TRACE}-{SPAN}-1-{PARENT[:-1]}",
        f"{TRACE}-{SPAN}-1-{'0' * 16}",
        f"{TRACE}-{SPAN}-1-{PARENT}-1",
        f"{TRACE}-{SPAN[:-1]}-1",
        f"{TRACE[:-1]}-{SPAN}-1",
        f"{TRACE.upper()}-{SPAN}-1",
        f"{'0' * 32}-{SPAN}-1",
        f"{'0' * 16}-{SPAN}-1",
        f"{TRACE}-{'0' * 16}-1",
        f"{TRACE}-{'g' * 16}-1",
    ],
)
def test_a_malformed_single_field_is_none(value: str) -> None:
    assert parse_b3(value.encode()) is None


IDS = {b"x-b3-traceid": TRACE.encode(), b"x-b3-spanid": SPAN.encode()}


@pytest.mark.parametrize(
    ("more", "sampling"),
    [
        ({}, Sampling.DEFER),
        ({b"x-b3-sampled": b"1"}, Sampling.ACCEPT),
        ({b"x-b3-sampled": b"true"}, Sampling.ACCEPT),
        ({b"x-b3-sampled": b"True"}, Sampling.ACCEPT),
        ({b"x-b3-sampled": b"0"}, Sampling.DENY),
        ({b"x-b3-sampled": b"false"}, Sampling.DENY),
        ({b"x-b3-flags": b"1"}, Sampling.DEBUG),
        ({b"x-b3-flags": b"1", b"x-b3-sampled": b"0"}, Sampling.DEBUG),
        ({b"x-b3-flags": b"0", b"x-b3-sampled": b"0"}, Sampling.DENY),
        ({b"x-b3-parentspanid": PARENT.encode()}, Sampling.DEFER),
    ],
)
def test_the_several_fields_are_read(more: dict[bytes, bytes], sampling: Sampling) -> None:
    assert parse_b3_multi(IDS | more) == B3Context(TRACE, SPAN, sampling)


def test_a_short_trace_id_is_filled_up() -> None:
    assert parse_b3_multi(IDS | {b"x-b3-traceid": SHORT.encode()}) == B3Context(
        PADDED, SPAN, Sampling.DEFER
    )


def test_a_decision_alone_is_read() -> None:
    assert parse_b3_multi({b"x-b3-sampled": b"0"}) == B3Context(None, None, Sampling.DENY)
    assert parse_b3_multi({b"x-b3-flags": b"1"}) == B3Context(None, None, Sampling.DEBUG)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"x-b3-parentspanid": PARENT.encode()},
        {b"x-b3-traceid": TRACE.encode(), b"x-b3-sampled": b"1"},
        {b"x-b3-spanid": SPAN.encode(), b"x-b3-sampled": b"1"},
        IDS | {b"x-b3-sampled": b"yes"},
        IDS | {b"x-b3-traceid": b"0" * 32},
        IDS | {b"x-b3-spanid": b"0" * 16},
        IDS | {b"x-b3-spanid": b"xyz"},
    ],
)
def test_malformed_fields_are_none(fields: dict[bytes, bytes]) -> None:
    assert parse_b3_multi(fields) is None


@pytest.mark.parametrize("sampling", list(Sampling))
@pytest.mark.parametrize("parent", [None, PARENT])
def test_what_is_written_is_read_again(sampling: Sampling, parent: str | None) -> None:
    expected = B3Context(TRACE, SPAN, sampling)
    single = format_b3(TRACE, SPAN, parent, sampling)
    assert parse_b3(single) == expected
    multi = format_b3_multi(TRACE, SPAN, parent, sampling)
    fields = {name.text: value for name, value in multi}
    assert parse_b3_multi(fields) == expected
    assert fields.get(b"x-b3-parentspanid") == (parent.encode() if parent else None)


def test_debug_is_not_sent_together_with_sampled() -> None:
    multi = format_b3_multi(TRACE, SPAN, None, Sampling.DEBUG)
    fields = {name.text: value for name, value in multi}
    assert fields[b"x-b3-flags"] == b"1"
    assert b"x-b3-sampled" not in fields
