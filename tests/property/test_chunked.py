"""Chunked bodies: splits change nothing, and llhttp reads the same data out of them."""

import itertools

import httptools
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.h1.chunked import ChunkedDecoder, ChunkError

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

sizes = st.sampled_from(["%x", "%X", "00%x"])
extensions = st.sampled_from([b"", b"", b"", b";a", b";a=b", b';a="b;c"', b";a=b;c"])
trailers = st.lists(
    st.sampled_from([b"X: 1\r\n", b"Via: x\r\n", b"y:\t2 \r\n", b"Age: 9\r\n"]),
    max_size=4,
)


@st.composite
def chunks(draw: st.DrawFn) -> bytes:
    data = draw(st.binary(min_size=1, max_size=40))
    size = (draw(sizes) % len(data)).encode()
    return size + draw(extensions) + b"\r\n" + data + b"\r\n"


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    body = b"".join(draw(st.lists(chunks(), max_size=6)))
    return body + b"0\r\n" + b"".join(draw(trailers)) + b"\r\n" + draw(st.binary(max_size=8))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A body with a few bytes replaced, taken out or put in: most are no longer well formed."""
    body = bytearray(draw(bodies()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        put = draw(
            st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b"0", b"f", b";", b'"', b":"])
        )
        body[at : at + draw(st.integers(0, 2))] = put
    return bytes(body)


framing = st.lists(
    st.sampled_from([b"0", b"1", b"a", b"A", b"\r\n", b"\r", b"\n", b";", b"=", b'"', b" ", b":"]),
    max_size=24,
).map(b"".join)
streams = st.one_of(bodies(), damaged(), framing, st.binary(max_size=60))


def run(parts: list[bytes]) -> tuple[object, ...]:
    """Everything that can be seen of a scan; of a refused body only that it was refused."""
    decoder = ChunkedDecoder(max_trailer_bytes=60)
    out = b""
    rest: bytes | None = None
    for part in parts:
        try:
            piece, rest = decoder.scan(part)
        except ChunkError:
            return ("refused",)
        out += piece
        if rest is not None:
            break
    return (out, rest is not None, decoder.payload_bytes, decoder.trailers)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


@given(streams, st.lists(st.integers(0, 500), max_size=12))
def test_splitting_changes_nothing(data: bytes, cuts: list[int]) -> None:
    whole = run([data])
    assert run(split(data, cuts)) == whole
    assert run([data[at : at + 1] for at in range(len(data))]) == whole


class Reference:
    """llhttp's view of a chunked body.

    It takes trailers for further fields of the head, so a Content-Length among them is an error
    to it, as it is to the decoder.
    """

    def __init__(self) -> None:
        self.body = b""
        self.ended = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ended = True


def llhttp(body: bytes) -> Reference:
    seen = Reference()
    httptools.HttpRequestParser(seen).feed_data(HEAD + body)
    return seen


@given(streams)
def test_whatever_is_accepted_llhttp_accepts_with_the_same_payload(data: bytes) -> None:
    decoder = ChunkedDecoder()
    try:
        payload, rest = decoder.scan(data)
    except ChunkError:
        return
    # A line that is not whole yet is no verdict: what came is compared once the body has ended.
    if rest is not None:
        seen = llhttp(data[: len(data) - len(rest)])
        assert (seen.body, seen.ended) == (payload, True)
    assert decoder.payload_bytes == len(payload)


@given(bodies())
def test_well_formed_bodies_are_accepted(data: bytes) -> None:
    assert ChunkedDecoder(max_trailer_bytes=200).scan(data)[1] is not None
