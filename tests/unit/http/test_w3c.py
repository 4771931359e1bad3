"""traceparent and tracestate against the text of W3C Trace Context and the cases of its suite."""

import pytest

from proxy.http.w3c import combine_tracestate, parse_traceparent

TRACE = "12345678901234567890123456789012"
SPAN = "1234567890123456"
ALL_KEY = b"abcdefghijklmnopqrstuvwxyz0123456789_-*/"
ALL_VALUE = bytes(c for c in range(0x20, 0x7F) if c not in b",=")


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (f"00-{TRACE}-{SPAN}-01", 1),
        (f"00-{TRACE}-{SPAN}-00", 0),
        (f"00-{TRACE}-{SPAN}-03", 3),  # level 2's random flag is kept
        (f"00-{TRACE}-{SPAN}-02", 2),
        (f"00-{TRACE}-{SPAN}-ff", 3),  # flags that are not known go on as zero
        (f"00-{TRACE}-{SPAN}-08", 0),
        (f" 00-{TRACE}-{SPAN}-01", 1),
        (f"\t 00-{TRACE}-{SPAN}-01 \t", 1),
        (f"cc-{TRACE}-{SPAN}-01", 1),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", 1),
        (f"cc-{TRACE}-{SPAN}-01-", 1),
        (f"01-{TRACE}-{SPAN}-ff", 1),  # of a later version the sampled bit alone
    ],
)
def test_a_valid_traceparent_is_continued(value: str, flags: int) -> None:
    assert parse_traceparent(value.encode()) == (TRACE, SPAN, flags)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}-01.",
        f"00-{TRACE}-{SPAN}-01-what-the-future-will-be-like",
        f"00-{TRACE}-{SPAN}-01-",
        f"cc-{TRACE}-{SPAN}-01.what-the-future-will-be-like",
        f"cc-{TRACE}-{SPAN}-0",
        f"ff-{TRACE}-{SPAN}-01",
        f".0-{TRACE}-{SPAN}-01",
        f"0.-{TRACE}-{SPAN}-01",
        f"000-{TRACE}-{SPAN}-01",
        f"0000-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"CC-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-.{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE[:-1]}.-{SPAN}-01",
        f"00-{TRACE}3-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE[:-1]}A-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-.{SPAN[1:]}-01",
        f"00-{TRACE}-{SPAN[:-1]}.-01",
        f"00-{TRACE}-{SPAN}7-01",
        f"00-{TRACE}-{SPAN[:-1]}-01",
        f"00-{TRACE}-{SPAN[:-1]}F-01",
        f"00-{TRACE}-{SPAN}-.0",
        f"00-{TRACE}-{SPAN}-0.",
        f"00-{TRACE}-{SPAN}-001",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0A",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE[:16]}-{TRACE[17:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
    ],
)
def test_an_invalid_traceparent_restarts_the_trace(value: str) -> None:
    assert parse_traceparent(value.encode()) is None


@pytest.mark.parametrize(
    ("values", "combined"),
    [
        ([b"foo=1,bar=2"], b"foo=1,bar=2"),
        ([b"foo=1,bar=2", b"rojo=1,congo=2", b"baz=3"], b"foo=1,bar=2,rojo=1,congo=2,baz=3"),
        ([b""], b""),
        ([b" , ,"], b""),
        ([b"foo=1", b""], b"foo=1"),
        ([b"", b"foo=1"], b"foo=1"),
        ([b"foo=1 \t , \t bar=2, \t baz=3"], b"foo=1 \t , \t bar=2, \t baz=3"),
        ([b"\t foo=1 \t"], b"\t foo=1 \t"),
        ([ALL_KEY + b"=" + ALL_VALUE], ALL_KEY + b"=" + ALL_VALUE),
        ([ALL_KEY + b"@a-z0-9_-*/=" + b"1"], ALL_KEY + b"@a-z0-9_-*/=1"),
        ([b"foo=1", b"z" * 256 + b"=1"], b"foo=1," + b"z" * 256 + b"=1"),
        ([b"t" * 241 + b"@" + b"v" * 14 + b"=1"], b"t" * 241 + b"@" + b"v" * 14 + b"=1"),
        ([b"foo=" + b"v" * 256], b"foo=" + b"v" * 256),
        # Level 2: keys that begin with a digit, and @ anywhere but in front.
        ([b"0foo=1"], b"0foo=1"),
        ([b"foo@=1,bar=2"], b"foo@=1,bar=2"),
        ([b"foo@@bar=1,foo@bar@baz=2"], b"foo@@bar=1,foo@bar@baz=2"),
        ([b"t" * 242 + b"@v=1"], b"t" * 242 + b"@v=1"),
        ([b"t@" + b"v" * 15 + b"=1"], b"t@" + b"v" * 15 + b"=1"),
        ([b"foo= 1"], b"foo= 1"),
    ],
)
def test_tracestate_is_combined_in_order_and_not_changed(
    values: list[bytes], combined: bytes
) -> None:
    assert combine_tracestate(values) == combined


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([b"foo=1,,bar=2"], b"foo=1,bar=2"),
        ([b",foo=1 , ,"], b"foo=1"),
        ([b"foo=1,", b"", b",bar=2"], b"foo=1,bar=2"),
    ],
)
def test_empty_members_are_not_written(values: list[bytes], written: bytes) -> None:
    assert combine_tracestate(values) == written


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([b"foo=1,foo=1"], b"foo=1"),
        ([b"foo=1,foo=2"], b"foo=1"),
        ([b"foo=1", b"foo=2"], b"foo=1"),
        ([b"foo=1 , bar=2,,foo=3", b"baz=4"], b"foo=1,bar=2,baz=4"),
    ],
)
def test_of_a_repeated_key_the_first_is_kept(values: list[bytes], kept: bytes) -> None:
    """The first is the latest: every system adds its own in front (level 2, section 3.3.1.4)."""
    assert combine_tracestate(values) == kept


@pytest.mark.parametrize(
    "values",
    [
        [b"foo =1"],
        [b"FOO=1"],
        [b"foo.bar=1"],
        [b"@foo=1,bar=2"],
        [b"foo=1", b"z" * 257 + b"=1"],
        [b"foo=bar=baz"],
        [b"foo=,bar=3"],
        [b"foo=" + b"v" * 257],
        [b"foo"],
        [b"=1"],
        [b"foo=\xe9"],
        [b"foo=a\tb"],
        [b"foo=1\r\nx: y"],
    ],
)
def test_a_malformed_tracestate_is_dropped(values: list[bytes]) -> None:
    assert combine_tracestate(values) == b""


def test_tracestate_has_at_most_32_members() -> None:
    members = [b"bar%02d=%02d" % (n, n) for n in range(1, 34)]
    assert combine_tracestate([b",".join(members[:32])]) == b",".join(members[:32])
    assert combine_tracestate([b",".join(members[:10]), b",".join(members[10:])]) == b""
    spaced = b",,".join(members[:32])
    assert combine_tracestate([spaced]) == b",".join(members[:32])
