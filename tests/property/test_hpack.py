"""HPACK against another implementation, both ways, over whole connections."""

from collections.abc import Sequence

import hpack
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.h2.decoder import Decoder
from proxy.http.h2.encoder import Encoder
from proxy.http.h2.errors import HpackError
from proxy.http.h2.fields import FieldStore
from proxy.http.message import Field, FieldName, Shared, make_field

MANY = 1 << 30
STORE = FieldStore(frozenset({b":path", b"x-id"}))
"""One for all examples, so that they also meet full stores and names that became own."""

NAMES = st.one_of(
    st.sampled_from([b":method", b":path", b"accept", b"cookie", b"x-id", b"x-a", b"x-b", b"date"]),
    st.binary(min_size=1, max_size=30).map(bytes.lower),
)
VALUES = st.one_of(
    st.sampled_from([b"GET", b"/", b"gzip, deflate", b"", b"one", b"two"]),
    st.binary(max_size=20),
    st.builds(
        lambda part, times: part * times, st.binary(min_size=1, max_size=9), st.integers(0, 99)
    ),
)
FIELDS = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=10)
SIZES = st.one_of(st.none(), st.integers(0, 4096))
BLOCKS = st.lists(st.tuples(FIELDS, SIZES, st.booleans()), max_size=8)

Fields = list[tuple[bytes, bytes, bool]]
Pairs = list[tuple[bytes, bytes]]


def pairs(fields: Sequence[Field]) -> Pairs:
    return [(field.name.text, field.value) for field in fields]


@given(BLOCKS)
def test_what_another_encoder_sends(
    blocks: list[tuple[list[tuple[bytes, bytes, bool]], int | None, bool]],
) -> None:
    encoder, decoder = hpack.Encoder(), Decoder(STORE)
    for fields, size, huffman in blocks:
        if size is not None:
            encoder.header_table_size = size
        sent = [
            hpack.NeverIndexedHeaderTuple(name, value) if secret else (name, value)
            for name, value, secret in fields
        ]
        block = encoder.encode(sent, huffman=huffman)
        section = decoder.decode(block, MANY, MANY)
        assert pairs(section.fields) == [(name, value) for name, value, _ in fields]
        assert section.size == sum(len(n) + len(v) + 32 for n, v, _ in fields)
        assert not section.over
        for field, (_, _, secret) in zip(section.fields, fields, strict=True):
            assert secret or not field.secret
            assert field.line == field.name.text + b": " + field.value
        assert pairs(decoder.table) == list(encoder.header_table.dynamic_entries)


HEADS = st.lists(st.one_of(st.none(), st.integers(0, 19)), max_size=8)
STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),  # which head
        st.lists(st.integers(0, 19), min_size=8, max_size=8),  # its own fields
        st.lists(st.integers(0, 19), max_size=3),  # single fields before
        st.one_of(st.none(), st.integers(0, 9000)),  # the peer's settings before
    ),
    max_size=12,
)
POOL = st.lists(st.tuples(NAMES, VALUES, st.booleans()), min_size=20, max_size=20)


@given(POOL, st.lists(HEADS, min_size=3, max_size=3), STEPS)
def test_what_another_decoder_reads(
    pool: Fields,
    heads: list[list[int | None]],
    steps: list[tuple[int, list[int], list[int], int | None]],
) -> None:
    fields = [make_field(name, value) for name, value, _ in pool]
    for field, (_, _, secret) in zip(fields, pool, strict=True):
        field.secret = secret
    shareds = [Shared([None if at is None else fields[at] for at in head], {}) for head in heads]
    encoder, oracle = Encoder(), hpack.Decoder(max_header_list_size=MANY)
    for which, own, single, size in steps:
        if size is not None:
            encoder.resize(size)
            oracle.max_allowed_table_size = min(size, 4096)
        shared = shareds[which]
        own_fields = [fields[at] for at in own[: shared.fields.count(None)]]
        block = encoder.begin()
        for at in single:
            encoder.add_field(block, fields[at])
        encoder.add_head(block, shared, own_fields)
        encoder.add_own(block, FieldName(b"X-Last"), b"v")
        left = iter(own_fields)
        sent = [fields[at] for at in single] + [each or next(left) for each in shared.fields]
        found = oracle.decode(b"".join(block), raw=True)
        expected = [*pairs(sent), (b"x-last", b"v")]
        assert [(each[0], each[1]) for each in found] == expected
        assert oracle.header_table._current_size == encoder.table_bytes


STRINGS = st.binary(max_size=9).map(lambda text: bytes((len(text),)) + text)
REPRESENTATIONS = st.one_of(
    st.integers(0x80, 0xFF).map(lambda byte: bytes((byte,))),  # indexed, from 0 to beyond
    st.builds(lambda byte, value: bytes((byte,)) + value, st.integers(1, 0x7F), STRINGS),
    st.builds(
        lambda byte, name, value: bytes((byte,)) + name + value,
        st.sampled_from([0x00, 0x10, 0x40]),
        STRINGS,
        STRINGS,
    ),
)
PARTS = st.one_of(REPRESENTATIONS, st.binary(max_size=9))
SPELLED = st.lists(PARTS, max_size=5).map(b"".join)


@given(st.lists(SPELLED, min_size=1, max_size=4), st.lists(st.integers(0, 3), max_size=12))
def test_any_bytes(pool: list[bytes], order: list[int]) -> None:
    """Both read the same from blocks that repeat, as long as ours accepts them."""
    blocks = [pool[at % len(pool)] for at in order]
    ours, oracle = Decoder(STORE), hpack.Decoder(max_header_list_size=MANY)
    for block in blocks:
        try:
            found = pairs(ours.decode(block, MANY, MANY).fields)
        except HpackError:
            return
        assert [(each[0], each[1]) for each in oracle.decode(block, raw=True)] == found
        assert pairs(ours.table) == list(oracle.header_table.dynamic_entries)


@given(FIELDS, st.integers(0, 400), st.integers(0, 10))
def test_limits_keep_the_first_fields(fields: Fields, max_bytes: int, max_fields: int) -> None:
    block = hpack.Encoder().encode([(name, value) for name, value, _ in fields])
    size = sum(len(name) + len(value) + 32 for name, value, _ in fields)
    decoder = Decoder(STORE)
    try:
        section = decoder.decode(block, max_bytes, max_fields)
    except HpackError:
        assert size > 4 * max_bytes or len(fields) > 4 * max_fields
        return
    assert section.over == (size > max_bytes or len(fields) > max_fields)
    assert section.size == size
    assert pairs(section.fields) == [(n, v) for n, v, _ in fields][: len(section.fields)]
