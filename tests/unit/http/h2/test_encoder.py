"""HPACK encoding: what goes into the peer's table, and what is remembered."""

import pytest
from hpack import Decoder as Oracle

from proxy.http.h2.encoder import Encoder
from proxy.http.message import Field, FieldName, Shared, make_field

GET = make_field(b":method", b"GET")
AGENT = make_field(b"User-Agent", b"curl/8")
ACCEPT = make_field(b"accept", b"*/*")
TOKEN = make_field(b"authorization", b"Bearer x")
ID = FieldName(b"X-Request-Id")
PATH = FieldName(b":path")


def sent(encoder: Encoder, *fields: Field) -> bytes:
    block = encoder.begin()
    for field in fields:
        encoder.add_field(block, field)
    return b"".join(block)


def head(encoder: Encoder, shared: Shared, *own: Field) -> bytes:
    block = encoder.begin()
    encoder.add_head(block, shared, [*own])
    return b"".join(block)


def test_static_fields_take_one_byte() -> None:
    encoder = Encoder()
    assert sent(encoder, GET, make_field(b":status", b"404")) == b"\x82\x8d"
    assert encoder.table_bytes == 0


def test_a_field_is_inserted_when_it_comes_again() -> None:
    encoder, oracle = Encoder(), Oracle()
    sizes = []
    for _ in range(3):
        block = sent(encoder, AGENT)
        assert oracle.decode(block) == [("user-agent", "curl/8")]
        sizes.append((len(block), encoder.table_bytes))
    assert sizes == [(9, 0), (8, 48), (1, 48)]


def test_names_of_the_table_are_used() -> None:
    encoder, oracle = Encoder(), Oracle()
    for _ in range(2):
        oracle.decode(sent(encoder, make_field(b"X-Kind", b"a")))
    block = sent(encoder, make_field(b"x-kind", b"b"))
    assert len(block) == 4
    assert oracle.decode(block) == [("x-kind", "b")]


@pytest.mark.parametrize(
    "name", [b":path", b"Content-Length", b"authorization", b"Date", b"etag", b"cookie"]
)
def test_never_inserted(name: bytes) -> None:
    encoder = Encoder()
    for _ in range(5):
        block = sent(encoder, make_field(name, b"value"))
        assert block[0] & 0xF0 == 0x10
    assert encoder.table_bytes == 0


def test_secrets_are_never_inserted() -> None:
    secret = make_field(b"x-any", b"v")
    secret.secret = True
    encoder = Encoder()
    blocks = {sent(encoder, secret) for _ in range(5)}
    assert blocks == {b"\x10\x05x-any\x01v"}


def test_own_fields_are_never_indexed() -> None:
    encoder = Encoder()
    block = encoder.begin()
    encoder.add_own(block, PATH, b"/a")
    encoder.add_own(block, ID, b"1-2")
    encoder.add_own(block, ID, 300 * b"v")
    text = b"".join(block)
    assert text.startswith(
        b"\x14\x02/a\x10\x0cx-request-id\x031-2\x10\x0cx-request-id\x7f\xad\x01vv"
    )
    found = Oracle().decode(text)
    assert [each.indexable for each in found] == [False, False, False]


def test_values_of_any_length_follow_one_another() -> None:
    encoder, oracle = Encoder(), Oracle()
    for size in (3, 3, 5, 126, 3, 127, 126, 0, 300, 0):
        block = encoder.begin()
        encoder.add_own(block, ID, size * b"v")
        assert oracle.decode(b"".join(block)) == [("x-request-id", size * "v")]


def test_an_authority_is_remembered_until_something_is_inserted() -> None:
    encoder, oracle = Encoder(), Oracle()

    def block_of(text: str) -> bytes:
        block = encoder.begin()
        encoder.add_authority(block, text)
        coded = b"".join(block)
        assert oracle.decode(coded) == [(":authority", text)]
        return coded

    assert [len(block_of("shop:80")) for _ in range(4)] == [9, 9, 1, 1]
    for _ in range(2):
        oracle.decode(sent(encoder, AGENT))
    assert block_of("shop:80") == b"\xbf"
    assert [block_of("other") != b"\xbf" for _ in range(3)] == [True] * 3
    assert block_of("shop:80") == b"\xc0"
    encoder.resize(0)
    assert oracle.decode(b"\x20") == []
    assert len(block_of("shop:80")) == 11
    assert len(block_of("shop:80")) == 9


def test_a_head_is_remembered_until_something_is_inserted() -> None:
    encoder, oracle = Encoder(), Oracle()
    shared = Shared([AGENT, None, ACCEPT, None], {})
    own = make_field(b"x-a", b"1"), make_field(b"x-b", b"2")
    expected = [("user-agent", "curl/8"), ("x-a", "1"), ("accept", "*/*"), ("x-b", "2")]
    blocks = [head(encoder, shared, *own) for _ in range(4)]
    for block in blocks:
        assert oracle.decode(block) == expected
    assert blocks[2] == blocks[3]
    assert len(blocks[3]) == 2 + 2 * 7
    assert encoder._heads[shared] == [b"\xbf", b"\xbe", b""]
    for _ in range(2):
        oracle.decode(sent(encoder, make_field(b"server", b"x")))
    block = head(encoder, shared, *own)
    assert block != blocks[3]
    assert oracle.decode(block) == expected


def test_nothing_is_evicted() -> None:
    """A full table stays as it is, so that indices and remembered heads do."""
    encoder, oracle = Encoder(), Oracle()
    shared = Shared([AGENT, ACCEPT], {})
    for _ in range(3):
        oracle.decode(head(encoder, shared))
    for number in range(500):
        field = make_field(b"x-%d" % number, 50 * b"v")
        for _ in range(2):
            oracle.decode(sent(encoder, field))
    assert 4096 - 90 < encoder.table_bytes <= 4096
    assert oracle.header_table._current_size == encoder.table_bytes
    assert len(head(encoder, shared)) < 5
    assert oracle.decode(head(encoder, shared)) == [("user-agent", "curl/8"), ("accept", "*/*")]


@pytest.mark.parametrize("size", [0, 40, 100, 4095])
def test_a_smaller_table_of_the_peer_begins_empty(size: int) -> None:
    encoder, oracle = Encoder(), Oracle()
    for _ in range(3):
        oracle.decode(sent(encoder, AGENT, ACCEPT))
    encoder.resize(size)
    oracle.max_allowed_table_size = size
    block = sent(encoder, AGENT)
    assert block[0] == 0x20
    assert oracle.decode(block) == [("user-agent", "curl/8")]
    for _ in range(5):
        block = sent(encoder, AGENT, ACCEPT)
        assert block[0] & 0xE0 != 0x20
        assert oracle.decode(block) == [("user-agent", "curl/8"), ("accept", "*/*")]
        assert encoder.table_bytes <= size


def test_a_larger_table_of_the_peer_is_not_used() -> None:
    encoder = Encoder()
    encoder.resize(1 << 20)
    assert sent(encoder, GET) == b"\x82"


def test_what_is_remembered_is_bounded() -> None:
    encoder = Encoder()
    for number in range(2000):
        shared = Shared([make_field(b"etag", b"%d" % number)], {})
        head(encoder, shared)
        head(encoder, Shared([make_field(b"etag", 6000 * b"v")], {}))
    assert len(encoder._heads) <= 32
    assert encoder._head_bytes <= 16 * 1024
    assert len(encoder._seen) <= 256
