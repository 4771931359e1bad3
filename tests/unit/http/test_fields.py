"""Header fields: sorting them, and what Connection says about them."""

import pytest
from httptools import HttpRequestParser

from proxy.http.fields import Fields, FieldSink, connection_options, without


@pytest.fixture
def sink():
    return FieldSink(frozenset({b"host", b"via"}))


def taken(sink, *fields):
    raw = b"".join([b"%b: %b\r\n" % field for field in fields])
    head = Fields()
    parser = HttpRequestParser(sink)
    assert sink.read(parser, b"GET / HTTP/1.1\r\n" + raw + b"\r\n", head) is None
    return head


def test_fields_go_on_or_are_held_back(sink):
    head = taken(
        sink,
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


def test_a_name_is_not_found_by_its_beginning(sink):
    head = taken(sink, (b"Accept-Encoding", b"gzip"))
    assert head.values(b"accept") == []
    assert head.values(b"accept-encodin") == []


def test_each_head_begins_anew(sink):
    first = taken(sink, (b"A", b"1"), (b"Host", b"h"))
    second = taken(sink, (b"B", b"2"))
    assert (second.lines, second.held) == ([b"B: 2\r\n"], {})
    assert (first.lines, first.held) == ([b"A: 1\r\n"], {b"host": [b"h"]})


def test_more_spellings_than_are_remembered(sink):
    for number in range(2100):
        taken(sink, (b"X-%d" % number, b"1"))
    head = taken(sink, (b"hOsT", b"h"), (b"X-2099", b"1"))
    assert (head.lines, head.held) == ([b"X-2099: 1\r\n"], {b"host": [b"h"]})


def test_connection_drops_what_it_names(sink):
    head = taken(sink, (b"A", b"1"), (b"X-A", b"2"), (b"Host", b"h"), (b"Via", b"v"))
    head.held[b"connection"] = [b"x-a, host, via, close"]
    assert not head.persistence(1, frozenset({b"host", b"connection"}))
    del head.held[b"connection"]
    assert head.lines == [b"A: 1\r\n"]
    assert head.held == {b"host": [b"h"]}


def test_persistence_options_name_no_fields(sink):
    head = taken(sink, (b"Close", b"1"))
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
def test_persistence(sink, value, minor, kept):
    head = taken(sink)
    if value is not None:
        head.held[b"connection"] = [value]
    assert head.persistence(minor, frozenset()) is kept


def test_without_compares_names_whole_and_in_any_case():
    lines = [b"A: 1\r\n", b"ab: a\r\n", b"B: a\r\n"]
    assert without(lines, frozenset({b"a"})) == [b"ab: a\r\n", b"B: a\r\n"]
