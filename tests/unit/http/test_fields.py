"""Header fields: sorting them, and what Connection says about them."""

import pytest
from httptools import HttpParserError, HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.fields import JUDGE, FieldReader, Fields, connection_options, without


@pytest.fixture
def reader():
    return FieldReader(frozenset({b"host", b"via"}))


def taken(reader, *fields):
    raw = b"".join([b"%b: %b\r\n" % field for field in fields])
    head = Fields()
    parser = HttpRequestParser(JUDGE)
    assert reader.read(parser, b"GET / HTTP/1.1\r\n" + raw + b"\r\n", head) is None
    return head


def test_fields_go_on_or_are_held_back(reader):
    head = taken(
        reader,
        (b"A", b"1"),
        (b"HOST", b"h"),
        (b"b", b""),
        (b"Via", b"x"),
        (b"via", b"y"),
        (b"a", b"2"),
    )
    assert head.lines == [b"A: 1\r\n", b"b: \r\n", b"a: 2\r\n"]
    assert head.held == {b"host": [b"h"], b"via": [b"x", b"y"]}
    assert head.values(b"a") == [b"1", b"2"]
    assert head.values(b"b") == [b""]
    assert head.values(b"via") == [b"x", b"y"]


def test_a_name_is_not_found_by_its_beginning(reader):
    head = taken(reader, (b"Accept-Encoding", b"gzip"))
    assert head.values(b"accept") == []
    assert head.values(b"accept-encodin") == []


def test_each_head_begins_anew(reader):
    first = taken(reader, (b"A", b"1"), (b"Host", b"h"))
    second = taken(reader, (b"B", b"2"))
    assert (second.lines, second.held) == ([b"B: 2\r\n"], {})
    assert (first.lines, first.held) == ([b"A: 1\r\n"], {b"host": [b"h"]})


def test_more_lines_than_are_remembered(reader):
    for number in range(2100):
        taken(reader, (b"X-%d" % number, b"1"))
    head = taken(reader, (b"hOsT", b"h"), (b"X-2099", b"1"))
    assert (head.lines, head.held) == ([b"X-2099: 1\r\n"], {b"host": [b"h"]})


def test_connection_drops_what_it_names(reader):
    head = taken(reader, (b"A", b"1"), (b"X-A", b"2"), (b"Host", b"h"), (b"Via", b"v"))
    head.held[b"connection"] = [b"x-a, host, via, close"]
    assert not head.persistence(1, frozenset({b"host", b"connection"}))
    del head.held[b"connection"]
    assert head.lines == [b"A: 1\r\n"]
    assert head.held == {b"host": [b"h"]}


def test_persistence_options_name_no_fields(reader):
    head = taken(reader, (b"Close", b"1"))
    head.held[b"connection"] = [b"close, keep-alive"]
    assert not head.persistence(1, frozenset())
    assert head.lines == [b"Close: 1\r\n"]


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([b"close"], {b"close"}),
        ([b"Keep-Alive"], {b"keep-alive"}),
        ([b"X-A ,\tClose"], {b"x-a", b"close"}),
        ([b"a", b"b, A"], {b"a", b"b"}),
        ([b",, ,"], set()),
        ([b""], set()),
    ],
)
def test_options(values, options):
    assert connection_options(values) == options


@pytest.mark.parametrize(
    ("value", "minor", "kept"),
    [
        (None, 1, True),
        (None, 0, False),
        (b"close", 1, False),
        (b"keep-alive", 0, True),
        (b"Keep-Alive", 0, True),
        (b"keep-alive, close", 0, False),
        (b"Close, keep-alive", 1, False),
        (b"x-a", 1, True),
    ],
)
def test_persistence(reader, value, minor, kept):
    head = taken(reader)
    if value is not None:
        head.held[b"connection"] = [value]
    assert head.persistence(minor, frozenset()) is kept


def test_without_compares_names_whole_and_in_any_case():
    lines = [b"A: 1\r\n", b"ab: a\r\n", b"B: a\r\n"]
    assert without(lines, frozenset({b"a"})) == [b"ab: a\r\n", b"B: a\r\n"]


class Told:
    """What llhttp itself makes of a head's fields."""

    def __init__(self):
        self.fields = []

    def on_header(self, name, value):
        self.fields.append((name, value.rstrip(b" \t")))


_NAME = st.sampled_from([b"A", b"a", b"X-1", b"", b"b b", b"c ", b" d", b"e\t", b"\x00f", b"g:h"])
_COLON = st.sampled_from([b":", b": ", b" :", b":\t ", b"", b"::"])
_VALUE = st.text("ab :\t\r\n\x00\x7f\xff", max_size=6).map(lambda text: text.encode("latin-1"))
_END = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b"\r\n "])


@given(st.lists(st.tuples(_NAME, _COLON, _VALUE, _END).map(b"".join), max_size=4))
def test_the_fields_are_those_that_llhttp_finds(lines):
    raw = b"GET / HTTP/1.1\r\n" + b"".join(lines) + b"\r\n"
    raw = raw[: raw.find(b"\r\n\r\n") + 4]  # as the connection cuts a head off
    told, head, reader = Told(), Fields(), FieldReader(frozenset())
    fault = reader.read(HttpRequestParser(JUDGE), raw, head)
    refused = None
    try:
        HttpRequestParser(told).feed_data(raw)
    except HttpParserError as error:
        refused = str(error)
    assert fault == refused
    if fault is None:
        assert head.lines == [b"%b: %b\r\n" % field for field in told.fields]


def test_what_came_before_is_known_and_the_same(reader):
    for _ in range(2):
        head = taken(reader, (b"A", b"1 "), (b"Host", b"h"), (b"A", b"1 "))
        assert head.lines == [b"A: 1\r\n", b"A: 1\r\n"]
        assert head.held == {b"host": [b"h"]}
