"""Messages of every shape: what goes on reads as what came, however its bytes arrived."""

import itertools
import re
from dataclasses import dataclass

from conformance.play import CONFIG, Play
from conformance.strict import Message, Responses
from exchange.stage import staged
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.http.trailers import FORBIDDEN

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
URL = [chr(code) for code in range(0x21, 0x7F) if chr(code) not in "#?"]
OF_THE_CONNECTION = re.compile(
    rb"(?i)(connection|proxy-connection|keep-alive|proxy-auth.*|te|upgrade|transfer.encoding|"
    rb"content.length|content-type|host|expect|via|x-request-.*|grpc-timeout|x-retry-attempt|"
    rb"trailer|date)"
)
OWN = {b"via", b"x-request-id", b"date"}

names = st.text(TOKEN, min_size=1, max_size=8).map(str.encode)
values = st.lists(
    st.sampled_from([*range(0x21, 0x7F), *range(0x80, 0x100), 0x20, 0x20, 0x09]), max_size=12
).map(lambda codes: bytes(codes).strip(b" \t"))
fields = st.lists(
    st.tuples(names.filter(lambda name: not OF_THE_CONNECTION.fullmatch(name)), values), max_size=4
)
trailers = st.lists(
    st.tuples(
        names.filter(
            lambda name: not OF_THE_CONNECTION.fullmatch(name) and name.lower() not in FORBIDDEN
        ),
        values,
    ),
    max_size=2,
)
targets = st.builds(
    lambda path, query: "/" + path + ("" if query is None else "?" + query),
    st.text(URL, max_size=10),
    st.none() | st.text([*URL, "?"], max_size=10),
)
SOME = settings(deadline=None, max_examples=settings.default.max_examples // 2)
cuts = st.lists(st.integers(0, 2000), max_size=6)


@dataclass
class Body:
    """`framing` is the field that says where it ends, `raw` the bytes, `data` what they carry."""

    framing: bytes
    raw: bytes
    data: bytes
    trailers: list[tuple[bytes, bytes]]


def written(lines: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % line for line in lines)


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    pieces = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=4))
    data = b"".join(pieces)
    if draw(st.booleans()):
        return Body(b"Content-Length: %d\r\n" % len(data), data, data, [])
    last = draw(trailers)
    raw = b"".join(b"%X;x=y\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    raw += b"00\r\n" + written(last) + b"\r\n"
    return Body(b"Transfer-Encoding: chunked\r\n", raw, data, last)


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in at), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds) if a < b]


def end_to_end(message: Message) -> list[tuple[bytes, bytes]]:
    framing = OWN | {b"host", b"content-length", b"transfer-encoding"}
    return [(n, v.rstrip(b" \t")) for n, v in message.fields if n.lower() not in framing]


@SOME
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "REPORT"]),
    targets,
    st.lists(st.tuples(fields, st.none() | bodies()), min_size=1, max_size=3),
    cuts,
)
def test_requests_go_on_as_they_came(method, target, requests, at) -> None:
    sent = b""
    for lines, body in requests:
        sent += f"{method} {target} HTTP/1.1\r\nHost: a\r\n".encode() + written(lines)
        sent += (body.framing + b"\r\n" + body.raw) if body else b"\r\n"
    with staged(CONFIG) as stage:
        play = Play(stage)
        play.send(pieces(sent, at))
        read = play.forwarded
        play.end()
        play.assert_strict()
        assert len(play.upstreams) == 1, "pipelined requests take turns on one connection"
        assert [message.whole for message in read] == [True] * len(requests)
        for message, (lines, body) in zip(read, requests, strict=True):
            assert message.first == (method, target)
            assert message.values(b"host") == [b"a"]
            assert end_to_end(message) == lines + (body.trailers if body else [])
            assert message.body == (body.data if body else b"")
        assert [one.status for one in play.settled] == [200] * len(requests)


@SOME
@given(
    st.sampled_from([200, 201, 206, 299, 301, 404, 429, 500, 503]),
    st.text(URL, max_size=8),
    fields,
    bodies() | st.binary(max_size=30),
    st.integers(0, 2),
    cuts,
)
def test_responses_go_back_as_they_came(status, reason, lines, body, interim, at) -> None:
    """Those that end by a close, too: their body is only bytes here."""
    sent = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * interim
    sent += b"HTTP/1.1 %d %b\r\n" % (status, reason.encode()) + written(lines)
    framed = isinstance(body, Body)
    sent += (body.framing + b"\r\n" + body.raw) if framed else b"\r\n" + body
    with staged(CONFIG) as stage:
        play = Play(stage, answers=False)
        play.send([b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"])
        (upstream,) = play.upstreams
        for piece in pieces(sent, at):
            upstream.server.send(piece)
        if not framed:
            upstream.server.close()
        play.turn()
        seen = Responses()
        seen.feed(play.came)
        assert not seen.fault
        assert [one.first for one in seen.messages] == [103] * interim + [status]
        message = seen.messages[-1]
        assert message.whole
        assert message.body == (body.data if framed else body)
        assert end_to_end(message) == lines + (body.trailers if framed else [])
        assert stage.counts("app").idle == int(framed)
        play.end()
