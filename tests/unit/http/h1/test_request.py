"""Request heads: what is taken, what is refused with which status, and what may go on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.http.h1.lines import lines

from proxy.errors import BadRequest, HeadersTooLarge, ProxyError, UrlTooLong
from proxy.http.h1.chunked import ChunkedDecoder
from proxy.http.h1.framing import LengthDecoder
from proxy.http.h1.request import RequestParser, body_decoder, early_fault


def raw(line, *fields):
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1")


GET = raw("GET /x HTTP/1.1", "Host: a", "X: y")


@pytest.fixture
def parser():
    return RequestParser({b"x-held"}, max_url=100, max_fields=12)


# --- what is taken ------------------------------------------------------------------------------


def test_an_ordinary_head(parser):
    head = parser.parse(
        raw(
            "GET /api/x?a=1&b HTTP/1.1",
            "hOst: Shop.Example:8080",
            "Accept:   text/plain",
            "X-Held: kept",
            "aCCept: text/html",
        )
    )
    assert (head.method, head.path, head.query_text, head.query) == (
        "GET", "/api/x", "a=1&b", "a=1&b",
    )  # fmt: skip
    assert (head.host, head.host_text) == ("shop.example", "Shop.Example:8080")
    assert str(head.authority) == "shop.example:8080"
    assert (head.version, head.scheme, head.absolute, head.keep_alive) == (11, "http", False, True)
    assert (head.length, head.chunked, head.has_body) == (0, False, False)
    assert body_decoder(head) is None
    assert lines(head) == [b"Accept: text/plain\r\n", b"aCCept: text/html\r\n"]
    assert head.values(b"accept") == [b"text/plain", b"text/html"]
    assert head.values(b"x-held") == [b"kept"]
    assert head.values(b"acc") == head.values(b"x-none") == []
    assert head.joined(b"accept") == b"text/plain,text/html"
    assert head.joined(b"x-held") == b"kept"
    assert head.joined(b"acc") == head.joined(b"x-none") == b""


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", None),
        ("/?", "/", ""),
        ("/a?b?c", "/a", "b?c"),
        ("//other/x", "//other/x", None),
        ('/%2e%2e/"<>\\^`{|}', '/%2e%2e/"<>\\^`{|}', None),
        ("http://other.example/p?q", "/p", "q"),
        ("HTTP://OTHER.example:81", "/", None),
        ("http://other.example?q", "/", "q"),
        ("https://other.example/s", "/s", None),
    ],
)
def test_targets(parser, target, path, query):
    head = parser.parse(raw(f"GET {target} HTTP/1.1", "Host: shop"))
    assert (head.path, head.query_text) == (path, query)
    absolute = not target.startswith("/")
    assert head.absolute is absolute
    assert head.host == ("other.example" if absolute else "shop")
    assert head.scheme == ("https" if target.startswith("https") else "http")


def test_options_of_the_whole_server(parser):
    assert parser.parse(raw("OPTIONS * HTTP/1.1", "Host: a")).path == "*"
    assert parser.parse(raw("OPTIONS http://b HTTP/1.1", "Host: a")).path == "*"
    assert parser.parse(raw("OPTIONS http://b/ HTTP/1.1", "Host: a")).path == "/"


def test_connect_names_an_authority(parser):
    head = parser.parse(raw("CONNECT b:443 HTTP/1.1", "Host: a"))
    assert (head.method, str(head.authority)) == ("CONNECT", "b:443")


@pytest.mark.parametrize(
    "method", ["LIST", "VERSION-CONTROL", "M-SEARCH", "get", "x!#$%&'*+.^_`|~1"]
)
def test_any_token_is_a_method(parser, method):
    for target in ("/1", "/2"):
        assert parser.parse(raw(f"{method} {target} HTTP/1.1", "Host: a")).method == method


@pytest.mark.parametrize("version", ["1.2", "1.9"])
def test_a_later_minor_version_is_read_as_1_1(parser, version):
    assert parser.parse(raw(f"GET / HTTP/{version}", "Host: a")).version == 11


def test_http_1_0_needs_no_host(parser):
    head = parser.parse(raw("GET / HTTP/1.0"))
    assert (head.version, head.authority, head.host, head.keep_alive) == (10, None, "", False)


def test_an_empty_host_is_no_authority(parser):
    assert parser.parse(raw("GET / HTTP/1.1", "Host:")).authority is None


@pytest.mark.parametrize(
    ("version", "value", "kept"),
    [
        ("1.1", "close", False),
        ("1.1", "Close", False),
        ("1.1", "keep-alive", True),
        ("1.1", "keep-alive, CLOSE", False),
        ("1.1", "x,,close", False),
        ("1.1", "closed", True),
        ("1.0", "keep-alive", True),
        ("1.0", "Keep-Alive", True),
        ("1.0", "close, keep-alive", False),
        ("1.0", "x", False),
    ],
)
def test_persistence(parser, version, value, kept):
    head = parser.parse(raw(f"GET / HTTP/{version}", "Host: a", f"Connection: {value}"))
    assert head.keep_alive is kept


# --- what may go on -----------------------------------------------------------------------------


def test_hop_by_hop_fields_stay_behind(parser):
    head = parser.parse(
        raw(
            "GET / HTTP/1.1",
            "Host: a",
            "X-First: 1",
            "Connection: X-Gone, close",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "Proxy-Authorization: Basic eA==",
            "TE: trailers",
            "Upgrade: h2c",
            "X-gone: secret",
            "Via: 1.1 other",
            "X-Last: 2",
        )
    )
    assert lines(head) == [b"X-First: 1\r\n", b"X-Last: 2\r\n"]
    assert head.held[b"via"] == [b"1.1 other"]


def test_connection_cannot_remove_what_the_proxy_needs(parser):
    head = parser.parse(
        raw("POST / HTTP/1.1", "Host: a", "Content-Length: 3", "Connection: host, content-length")
    )
    assert (head.host, head.length) == ("a", 3)


def test_connection_removes_what_was_held_back(parser):
    head = parser.parse(raw("GET / HTTP/1.1", "Host: a", "Connection: x-held", "X-Held: 1"))
    assert b"x-held" not in head.held


def test_white_space_round_a_value_is_no_part_of_it(parser):
    head = parser.parse(
        raw("POST / HTTP/1.1", "Host: \t a \t", "Content-Length: 3 ", "X-Held:\tb\t", "X:  c \t")
    )
    assert (head.host, head.length) == ("a", 3)
    assert head.values(b"x-held") == [b"b"]
    assert head.values(b"x") == [b"c"]


# --- bodies -------------------------------------------------------------------------------------


def test_a_body_with_a_length(parser):
    head = parser.parse(raw("POST / HTTP/1.1", "Host: a", "Content-Length: 12"))
    assert (head.length, head.has_body) == (12, True)
    assert isinstance(body_decoder(head), LengthDecoder)


def test_a_length_of_nothing_is_no_body_to_wait_for(parser):
    head = parser.parse(raw("POST / HTTP/1.1", "Host: a", "Content-Length: 0"))
    assert not head.has_body
    assert body_decoder(head) is None


@pytest.mark.parametrize("value", ["chunked", "Chunked"])
def test_a_body_in_chunks(parser, value):
    head = parser.parse(raw("POST / HTTP/1.1", "Host: a", f"Transfer-Encoding: {value}"))
    assert (head.chunked, head.has_body) == (True, True)
    assert isinstance(body_decoder(head), ChunkedDecoder)


def test_expectations(parser):
    with_it = raw("POST / HTTP/1.1", "Host: a", "Content-Length: 1", "Expect: 100-Continue")
    assert parser.parse(with_it).expects_continue
    assert not parser.parse(GET).expects_continue


# --- what is refused ----------------------------------------------------------------------------

MALFORMED = [
    # the request line
    raw("GET  / HTTP/1.1", "Host: a"),
    raw("GET /  HTTP/1.1", "Host: a"),
    raw("GET / HTTP/1.1 ", "Host: a"),
    raw(" GET / HTTP/1.1", "Host: a"),
    raw("GET\t/ HTTP/1.1", "Host: a"),
    raw("GET /", "Host: a"),
    raw("GET / HTTP/2.0", "Host: a"),
    raw("PRI * HTTP/2.0"),
    raw("GET / http/1.1", "Host: a"),
    raw("GET / HTTP/01.1", "Host: a"),
    raw("GE(T / HTTP/1.1", "Host: a"),
    raw("\nGET / HTTP/1.1", "Host: a"),
    raw("\r\nGET / HTTP/1.1", "Host: a"),
    raw("\nPROPFIND / HTTP/1.1", "Host: a"),
    # the target
    raw("GET /\x01 HTTP/1.1", "Host: a"),
    raw("GET /\x7f HTTP/1.1", "Host: a"),
    raw("GET /\xe4 HTTP/1.1", "Host: a"),
    raw("GET /a#b HTTP/1.1", "Host: a"),
    raw("GET /a\tb HTTP/1.1", "Host: a"),
    raw("GET /a\rb HTTP/1.1", "Host: a"),
    raw("GET /a\nb HTTP/1.1", "Host: a"),
    raw("GET /a", "X:y HTTP/1.1", "Host: a"),
    raw("GET /a\nX:y HTTP/1.1", "Host: a"),
    raw("GET http://b/a", "X:y HTTP/1.1", "Host: a"),
    raw("GET a/b HTTP/1.1", "Host: a"),
    raw("GET * HTTP/1.1", "Host: a"),
    raw("GET ftp://a/ HTTP/1.1", "Host: a"),
    raw("GET http:///x HTTP/1.1", "Host: a"),
    raw("GET http://[::1/x HTTP/1.1", "Host: a"),
    raw("GET http://user:pw@a/ HTTP/1.1", "Host: a"),
    raw("CONNECT http://a/ HTTP/1.1", "Host: a"),
    # Host
    raw("GET / HTTP/1.1"),
    raw("GET / HTTP/1.1", "Host: a", "Host: a"),
    raw("GET / HTTP/1.1", "Host: a", "Host: b"),
    raw("GET http://a/ HTTP/1.1"),
    raw("GET / HTTP/1.1", "Host: a, b"),
    raw("GET / HTTP/1.1", "Host: a b"),
    raw("GET / HTTP/1.1", "Host: a/b"),
    raw("GET / HTTP/1.1", "Host: u@a"),
    raw("GET / HTTP/1.1", "Host: a:99999"),
    raw("GET / HTTP/1.1", "Host: a:0"),
    raw("GET / HTTP/1.1", "Host: :80"),
    raw("GET / HTTP/1.1", "Host: \xe4"),
    # fields
    raw("GET / HTTP/1.1", "Host: a", "X : b"),
    raw("GET / HTTP/1.1", "Host: a", "X\t: b"),
    raw("GET / HTTP/1.1", " Host: a"),
    raw("GET / HTTP/1.1", "Host: a", "X: b", " folded"),
    raw("GET / HTTP/1.1", "Host: a", "X: b", "\tfolded"),
    raw("GET / HTTP/1.1", "Host: a", "X"),
    raw("GET / HTTP/1.1", "Host: a", ": b"),
    raw("GET / HTTP/1.1", "Host: a", "X\xe4: b"),
    raw("GET / HTTP/1.1", "Host: a", "X(y): b"),
    raw("GET / HTTP/1.1", "Host: a", "X: b\nY: c"),
    raw("GET / HTTP/1.1", "Host: a", "X: b\rY: c"),
    raw("GET / HTTP/1.1", "Host: a\nX: b"),
    raw("GET / HTTP/1.1\nHost: a"),
    raw("GET / HTTP/1.1", "Host: a", "X: b\0c"),
    raw("GET / HTTP/1.1", "Host: a", "X: b\x01c"),
    raw("GET / HTTP/1.1", "Host: a", "X: b\x7fc"),
    # framing
    raw("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Transfer-Encoding: chunked"),
    raw("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Content-Length: 5"),
    raw("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Content-Length: 6"),
    raw("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Content-Length: 5"),
    raw("POST / HTTP/1.1", "Host: a", "Content-Length: 5, 5"),
    raw("POST / HTTP/1.1", "Host: a", "Content-Length: +5"),
    raw("POST / HTTP/1.1", "Host: a", "Content-Length: -5"),
    raw("POST / HTTP/1.1", "Host: a", "Content-Length: 0x5"),
    raw("POST / HTTP/1.1", "Host: a", "Content-Length: 5 5"),
    raw("POST / HTTP/1.1", "Host: a", "Content-Length:"),
    raw("POST / HTTP/1.1", "Host: a", "Content-Length: 99999999999999999999"),
    raw("POST / HTTP/1.1", "Host: a", "Content-Length: " + "9" * 5000),
    raw("POST / HTTP/1.1", "Host: a", "Content-Length: " + "0" * 5000),
    raw("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip"),
    raw("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, chunked"),
    raw("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked, gzip"),
    raw("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked, chunked"),
    raw("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    raw("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: xchunked"),
    raw("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: \x0bchunked"),
    raw("POST / HTTP/1.1", "Host: a", "Transfer-Encoding:"),
    raw("POST / HTTP/1.1", "Host: a", "Transfer-Encoding : chunked"),
    raw("POST / HTTP/1.0", "Host: a", "Transfer-Encoding: chunked"),
    raw("POST / HTTP/1.0", "Host: a"),
    raw("PUT / HTTP/1.0", "Host: a", "Connection: keep-alive"),
    # what could be read in two ways
    raw("POST / HTTP/1.1", "Host: a", "Content_Length: 5"),
    raw("POST / HTTP/1.1", "Host: a", "transfer_encoding: chunked"),
    raw("POST / HTTP/1.1", "Host: a", "Content-Type: a/b", "content-type: a/c"),
    raw("GET / HTTP/1.1", "Host: a,b"),
    raw("GET / HTTP/1.1", "Host: a=80"),
]


@pytest.mark.parametrize("head", MALFORMED, ids=lambda head: repr(head[:-4][:70]))
def test_malformed(parser, head):
    with pytest.raises(BadRequest):
        parser.parse(head)


@pytest.mark.parametrize("head", MALFORMED, ids=lambda head: repr(head[:-4][:70]))
def test_what_was_refused_leaves_no_trace_in_the_next_head(parser, head):
    """One parser serves all connections of a listener: what one client sent is never another's."""
    with pytest.raises(BadRequest):
        parser.parse(head)
    after = parser.parse(GET)
    assert (after.path, after.host, lines(after)) == ("/x", "a", [b"X: y\r\n"])


@pytest.mark.parametrize(
    "fields",
    [
        ("Connection: close",),
        ("Proxy-Connection: close",),
        ("Proxy-Connection: keep-alive",),
        ("Connection: upgrade", "Upgrade: websocket"),
        ("Upgrade: websocket",),
        ("Content-Length: 5",),
        ("Content-Length: 5", "Connection: close"),
        ("Transfer-Encoding: chunked",),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "GET / HTTP/1.0", "CONNECT a:443 HTTP/1.1"])
def test_what_was_taken_leaves_no_trace_in_the_next_head(parser, line, fields):
    try:
        parser.parse(raw(line, "Host: a", *fields))
    except BadRequest:
        assert line.endswith("1.0") or line.startswith("CONNECT")
    after = parser.parse(GET)
    assert (after.path, after.host, lines(after)) == ("/x", "a", [b"X: y\r\n"])


_OPTIONS = st.lists(
    st.sampled_from(["close", "keep-alive", "upgrade", "Close", "clos", "x", "", " ", "closed"]),
    max_size=4,
).map(",".join)
_FIELDS = st.lists(
    st.one_of(
        st.builds("{}: {}".format, st.sampled_from(["Connection", "Proxy-Connection"]), _OPTIONS),
        st.sampled_from(
            [
                "Upgrade: h2c", "Content-Length: 0", "Content-Length: 7", "X: y", "TE: trailers",
                "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "X : bad",
            ]
        ),
    ),
    max_size=4,
)  # fmt: skip
_LINES = st.sampled_from(
    ["GET /1 HTTP/1.1", "GET /0 HTTP/1.0", "POST /p HTTP/1.1", "CONNECT a:1 HTTP/1.1"]
)


def outcome(parser, head):
    try:
        parsed = parser.parse(head)
    except ProxyError as error:
        return error.reason, error.detail
    return parsed.path, lines(parsed), parsed.held, parsed.keep_alive, parsed.has_body


@given(st.lists(st.tuples(_LINES, _FIELDS), min_size=2, max_size=5))
def test_a_shared_parser_says_what_a_fresh_one_says(heads):
    shared = RequestParser((), max_url=100, max_fields=12)
    for line, fields in heads:
        head = raw(line, "Host: a", *fields)
        fresh = RequestParser((), max_url=100, max_fields=12)
        assert outcome(shared, head) == outcome(fresh, head)


def test_a_url_that_is_too_long(parser):
    parser.parse(raw("GET /" + "a" * 99 + " HTTP/1.1", "Host: a"))
    with pytest.raises(UrlTooLong):
        parser.parse(raw("GET /" + "a" * 100 + " HTTP/1.1", "Host: a"))


def test_too_many_fields(parser):
    parser.parse(raw("GET / HTTP/1.1", "Host: a", *["X: y"] * 11))
    with pytest.raises(HeadersTooLarge):
        parser.parse(raw("GET / HTTP/1.1", "Host: a", *["X: y"] * 12))


def test_a_host_has_at_most_253_bytes(parser):
    longest = "h" * 253
    assert parser.parse(raw("GET / HTTP/1.1", f"Host: {longest}:80")).host == longest
    with pytest.raises(BadRequest):
        parser.parse(raw("GET / HTTP/1.1", f"Host: {longest}h"))


def test_more_authorities_than_are_remembered(parser):
    for number in range(11_000):
        assert parser.parse(raw("GET / HTTP/1.1", f"Host: h{number}")).host == f"h{number}"


# --- heads that are still to come ---------------------------------------------------------------


@pytest.mark.parametrize(
    "partial",
    [
        b"\x16\x03\x01",  # TLS
        b" GET",
        b"\n",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\nHost: a\n",
        b"GET / HTTP/3.0\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET /\r\n",
        b"HELO mail.example\r\n",
    ],
)
def test_early_faults(partial):
    assert isinstance(early_fault(partial), BadRequest)


def test_no_beginning_of_a_good_head_is_an_early_fault():
    for length in range(1, len(GET)):
        assert early_fault(GET[:length]) is None


def test_what_is_checked_goes_on_as_it_came(parser):
    head = parser.parse(
        raw("GET / HTTP/1.1", "Host: a", "content-Type: a/b", "X_Y: 1", "Content-Type:  a/b ")
    )
    assert lines(head) == [b"content-Type: a/b\r\n", b"X_Y: 1\r\n", b"Content-Type: a/b\r\n"]
    assert head.values(b"content-type") == [b"a/b", b"a/b"]
    assert lines(parser.parse(raw("GET / HTTP/1.1", "Host: a", "Content-Type: c/d"))) == [
        b"Content-Type: c/d\r\n"
    ]


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("Content_Length: 1", "could be read as Content-Length"),
        ("Content-Type: b/b", "several different fields where only one is allowed"),
    ],
)
def test_what_was_wrong_is_said(parser, field, why):
    with pytest.raises(BadRequest) as caught:
        parser.parse(raw("GET / HTTP/1.1", "Host: a", "Content-Type: a/b", field))
    assert why in caught.value.detail
