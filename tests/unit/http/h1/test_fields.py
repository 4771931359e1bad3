"""Header fields: sorting them, and what Connection says about them."""

import pytest
from httptools import HttpParserError, HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st
from unit.http.h1.lines import lines

from proxy.http.h1.fields import JUDGE, MEMORY_BYTES, FieldReader, give
from proxy.http.lists import connection_options
from proxy.http.message import Head

JUDGED = b"GET / HTTP/1.1"


def make_reader(held_back=(), own=(), checked=()):
    return FieldReader(
        HttpRequestParser,
        frozenset(held_back),
        frozenset(own),
        checked=frozenset(checked),
        kept=frozenset({b"host", b"connection"}),
    )


@pytest.fixture
def reader():
    return make_reader({b"host", b"via", b"connection"})


def read(reader, raw, version=11):
    """As the parsers do."""
    reading = reader.read(JUDGED, raw.split(b"\r\n"), version)
    if reading.fault is None and reading.learnt:
        reader.remember(reading)
    return reading


def taken(reader, *fields, version=11):
    raw = b"".join([b"%b: %b\r\n" % field for field in fields])
    reading = read(reader, b"GET / HTTP/1.1\r\n" + raw + b"\r\n", version)
    assert reading.fault is None
    head = Head()
    give(reading, head)
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
    assert lines(head) == [b"A: 1\r\n", b"b: \r\n", b"a: 2\r\n"]
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
    assert (lines(second), second.held) == ([b"B: 2\r\n"], {})
    assert (lines(first), first.held) == ([b"A: 1\r\n"], {b"host": [b"h"]})


def test_more_lines_than_are_remembered(reader):
    for number in range(2100):
        taken(reader, (b"X-%d" % number, b"1"))
    head = taken(reader, (b"hOsT", b"h"), (b"X-2099", b"1"))
    assert (lines(head), head.held) == ([b"X-2099: 1\r\n"], {b"host": [b"h"]})


def test_connection_drops_what_it_names(reader):
    for value in (b"2", b"3", b"4"):
        fields = [(b"A", b"1"), (b"X-A", value), (b"Host", b"h"), (b"Via", b"v")]
        head = taken(reader, *fields, (b"Connection", b"x-a, host, via, close"))
        assert not head.shared.keep_alive
        assert lines(head) == [b"A: 1\r\n"]
        assert {*head.held} == {b"host", b"connection"}


def test_connection_drops_own_fields_too(reader):
    for number in range(40):
        value = b"%d" % number
        head = taken(reader, (b"X-A", value), (b"X-B", value), (b"Connection", b"x-a"))
        assert lines(head) == [b"X-B: %b\r\n" % value]
        assert lines(taken(reader, (b"X-A", value), (b"X-B", value))) == [
            b"X-A: %b\r\n" % value, b"X-B: %b\r\n" % value,
        ]  # fmt: skip


def test_persistence_options_name_no_fields(reader):
    head = taken(reader, (b"Close", b"1"), (b"Connection", b"close, keep-alive"))
    assert not head.shared.keep_alive
    assert lines(head) == [b"Close: 1\r\n"]


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
    ("value", "version", "kept"),
    [
        (None, 11, True),
        (None, 10, False),
        (b"close", 11, False),
        (b"keep-alive", 10, True),
        (b"Keep-Alive", 10, True),
        (b"keep-alive, close", 10, False),
        (b"Close, keep-alive", 11, False),
        (b"x-a", 11, True),
    ],
)
def test_persistence(reader, value, version, kept):
    fields = [] if value is None else [(b"Connection", value)]
    for _ in range(2):
        assert taken(reader, *fields, version=version).shared.keep_alive is kept


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
def test_the_fields_are_those_that_llhttp_finds(given_lines):
    raw = b"GET / HTTP/1.1\r\n" + b"".join(given_lines) + b"\r\n"
    raw = raw[: raw.find(b"\r\n\r\n") + 4]  # as the connection cuts a head off
    told, reader = Told(), make_reader()
    refused = None
    try:
        HttpRequestParser(told).feed_data(raw)
    except HttpParserError as error:
        refused = str(error)
    for _ in range(2):  # the second time from memory
        reading = read(reader, raw)
        assert reading.fault == refused
        if refused is None:
            head = Head()
            give(reading, head)
            assert lines(head) == [b"%b: %b\r\n" % field for field in told.fields]


def judged_by_llhttp(raw):
    try:
        HttpRequestParser(JUDGE).feed_data(raw)
    except HttpParserError:
        return False
    return True


@given(
    st.lists(
        st.tuples(st.sampled_from([b"A", b"Own", b"own", b"B"]), _COLON, _VALUE, _END).map(
            b"".join
        ),
        max_size=4,
    )
)
def test_own_fields_are_judged_as_strictly_as_llhttp_does(raws):
    """A reader that knows the names, and heads of which the values are new."""
    reader = make_reader(own={b"own"})
    for value in (b"1", b"2"):
        taken(reader, (b"A", value), (b"Own", value), (b"own", value), (b"B", value))
        taken(reader, (b"Own", value))
        taken(reader)
    raw = b"GET / HTTP/1.1\r\n" + b"".join(raws) + b"\r\n"
    raw = raw[: raw.find(b"\r\n\r\n") + 4]
    accepted = read(reader, raw).fault is None
    assert not accepted or judged_by_llhttp(raw)
    assert accepted == (read(make_reader(), raw).fault is None)


def test_what_came_before_is_known_and_the_same(reader):
    for _ in range(2):
        head = taken(reader, (b"A", b"1 "), (b"Host", b"h"), (b"A", b"1 "))
        assert lines(head) == [b"A: 1\r\n", b"A: 1\r\n"]
        assert head.held == {b"host": [b"h"]}


# --- shared and own ---------------------------------------------------------------------------


def shared_by(reader, *heads):
    return len({id(taken(reader, *fields).shared) for fields in heads})


def test_heads_that_differ_in_own_fields_share_the_rest():
    reader = make_reader({b"x-id"}, {b"x-id", b"etag"})
    heads = [[(b"A", b"1"), (b"X-Id", b"%d" % n), (b"ETag", b"%d" % n)] for n in range(5)]
    assert shared_by(reader, *heads) == 1
    head = taken(reader, *heads[3])
    assert lines(head) == [b"A: 1\r\n", b"ETag: 3\r\n"]
    assert head.held == {b"x-id": [b"3"]}


def test_own_fields_stay_in_their_places():
    reader = make_reader(own={b"x"})
    for value in (b"1", b"2"):
        fields = [(b"X", value), (b"A", b"1"), (b"x", value), (b"X", value), (b"B", b"2")]
        assert lines(taken(reader, *fields)) == [b"%b: %b\r\n" % field for field in fields]


def test_a_name_whose_values_are_always_new_becomes_an_own_one(reader):
    heads = [[(b"A", b"1"), (b"Session", b"%d" % number)] for number in range(40)]
    assert shared_by(reader, *heads[20:]) < 12
    assert shared_by(reader, *heads) == 1


def test_a_name_whose_value_changes_seldom_does_not(reader):
    for second in range(30):
        date = (b"Date", b"%d" % second)
        first = taken(reader, date)
        assert all(taken(reader, date).shared is first.shared for _ in range(70))


def test_framing_is_never_an_own_field(reader):
    for number in range(40):
        reading = read(
            reader, b"GET / HTTP/1.1\r\nConnection: x%d\r\nX%d: 1\r\n\r\n" % (number, number)
        )
        assert reading.learnt


def test_lengths_are_told_apart_from_shared_parts(reader):
    for number in (1, 20, 300):
        reading = read(reader, b"GET / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % number)
        assert reading.lengths == [b"%d" % number]
    assert not reading.learnt


def test_memory_is_bounded_in_bytes():
    reader = make_reader()
    for number in range(30_000):
        taken(reader, (b"X-%d" % (number % 9), b"%d" % number * 20), (b"A", b"%d" % number))
        assert reader._known_bytes <= MEMORY_BYTES
        assert reader._shared_bytes <= MEMORY_BYTES
    assert sum(map(len, reader._known)) <= reader._known_bytes
