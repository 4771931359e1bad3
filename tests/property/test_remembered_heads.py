"""A parser that remembers heads reads each one as a parser that sees it first."""

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.errors import ProxyError, UpstreamMalformed
from proxy.http.h1.request import RequestParser
from proxy.http.h1.response import ResponseParser
from proxy.http.message import Head
from proxy.http.w3c import _parse_rare_traceparent, parse_traceparent

HELD = (b"x-request-id", b"traceparent")
VALUES = st.one_of(
    st.sampled_from(
        [
            b"a-1",
            b"a-2",
            b"",
            b" ",
            b"a ",
            b"\ta",
            b"a\tb",
            b"\xe9t\xe9",
            b"a\x00b",
            b"\x7f",
            b"a: b",
        ]
    ),
    st.binary(min_size=1, max_size=6).filter(
        lambda value: b"\r" not in value and b"\n" not in value
    ),
)
NAMES = st.sampled_from(
    [b"X-Request-Id", b"x-request-id", b"Traceparent", b"X-Tenant", b"Idempotency-Key", b"Baggage"]
)
FIELDS = st.one_of(
    st.sampled_from(
        [
            b"Host: one",
            b"Host: two",
            b"Accept: */*",
            b"Connection: close",
            b"Connection: x-tenant",
            b"Transfer-Encoding: chunked",
            b"Content-Length: 3",
            b"Content-Length: 4",
            b"Content-Length:5",
            b"Content-Length: 5 ",
            b"Content-Length: -1",
            b"Content-Length: 99999999999999999999",
        ]
    ),
    st.builds(lambda name, value: name + b": " + value, NAMES, VALUES),
    st.builds(lambda name, value: name + b":" + value, NAMES, VALUES),
)
HEADS = st.lists(
    st.tuples(st.sampled_from([b"0", b"1"]), st.lists(FIELDS, max_size=4)), max_size=12
)


def outcome(parse, raw: bytes) -> object:
    """All that a parser says about a head."""
    try:
        head: Head = parse(raw)
    except (ProxyError, UpstreamMalformed) as error:
        return type(error)
    return (
        [(field.name.text, field.value, field.line) for field in head.fields],
        {name: [*values] for name, values in head.held.items()},
        head.length,
        head.chunked,
        head.keep_alive,
        head.version,
        head.shared.dated,
    )


def again(heads):
    """The same heads several times, so that they are remembered, first whole and then by line."""
    return [head for _ in range(3) for head in heads]


@given(HEADS)
@example(
    [(b"1", [b"Host: one", b"Content-Length: 3"]), (b"1", [b"Host: one", b"Content-Length: 4"])]
)
@example(
    [(b"1", [b"Host: one", b"X-Request-Id: a"]), (b"1", [b"Host: one", b"X-Request-Id: a\x00"])]
)
def test_requests(heads) -> None:
    def fresh() -> RequestParser:
        return RequestParser(HELD, max_url=100, max_fields=10)

    remembering = fresh()
    for number, (minor, fields) in enumerate(again(heads)):
        lines = [b"GET /%d HTTP/1.%b" % (number, minor), b"Host: one", *fields]
        raw = b"\r\n".join([*lines, b"", b""])
        assert outcome(remembering.parse, raw) == outcome(fresh().parse, raw)


@given(HEADS)
def test_responses(heads) -> None:
    remembering = ResponseParser()
    for number, (minor, fields) in enumerate(again(heads)):
        lines = [b"HTTP/1.%b 200 OK" % minor, b"ETag: %d" % number, *fields]
        raw = b"\r\n".join([*lines, b"", b""])
        assert outcome(remembering.parse, raw) == outcome(ResponseParser().parse, raw)


HEX = st.sampled_from("0123456789abcdef0000A_g +-.")


@given(
    st.text(HEX, min_size=32, max_size=32),
    st.text(HEX, min_size=16, max_size=16),
    st.text(HEX, min_size=2, max_size=2),
)
@example("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "01")
@example("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 16, "01")
@example("0" * 32, "00f067aa0ba902b7", "01")
@example("4BF92F3577B34DA6A3CE929D0E0E4736", "00f067aa0ba902b7", "01")
@example("4bf92f3577b34da6a3ce929d0e0e473\u00e9", "00f067aa0ba902b7", "01")
@example("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "0g")
def test_a_common_traceparent_is_read_as_a_rare_one(trace: str, span: str, flags: str) -> None:
    value = f"00-{trace}-{span}-{flags}".encode("latin-1")
    assert parse_traceparent(value) == _parse_rare_traceparent(value.strip(b" \t"))
