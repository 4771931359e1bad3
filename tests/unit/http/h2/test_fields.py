"""Fields of HTTP/2 that many connections share."""

import pytest

from proxy.http.h2 import names
from proxy.http.h2.decoder import Decoder
from proxy.http.h2.fields import MEMORY_BYTES, FieldStore
from proxy.http.message import Field

MANY = 1 << 20


def literal(name: bytes, value: bytes) -> bytes:
    """Without indexing, without the Huffman code."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def read(store: FieldStore, name: bytes, value: bytes) -> Field:
    (field,) = Decoder(store).decode(literal(name, value), MANY, MANY).fields
    return field


def test_equal_fields_are_one_object() -> None:
    store = FieldStore()
    field = read(store, b"accept", b"a/b")
    assert field.stable
    assert read(store, b"accept", b"a/b") is field
    assert field.line == b"accept: a/b"
    huffman = b"\x00\x06accept\x83\x1e\x3c\x7f"  # another value, coded
    (other,) = Decoder(store).decode(huffman, MANY, MANY).fields
    assert other.name is field.name
    assert other is not field


def test_a_value_is_one_object_however_it_is_coded() -> None:
    store = FieldStore()
    plain = read(store, b"cache-control", b"no-cache")
    coded = bytes.fromhex("0f0986a8eb10649cbf")
    (field,) = Decoder(store).decode(coded, MANY, MANY).fields
    assert field is plain


def test_static_fields_are_the_same_objects() -> None:
    store = FieldStore()
    (static,) = Decoder(store).decode(b"\x82", MANY, MANY).fields
    assert read(store, b":method", b"GET") is static


def test_own_fields_are_not_remembered() -> None:
    store = FieldStore(frozenset({b"x-id"}))
    one, other = read(store, b"x-id", b"1"), read(store, b"x-id", b"1")
    assert one is not other
    assert one.name is other.name
    assert not one.stable


def test_names_with_ever_new_values_become_own() -> None:
    store = FieldStore()
    fields = [read(store, b"x-new", b"%d" % number) for number in range(200)]
    assert fields[50].stable
    assert not fields[-1].stable
    assert read(store, b"x-new", b"7") is not read(store, b"x-new", b"7")


def test_names_with_known_values_stay_remembered() -> None:
    store = FieldStore()
    for number in range(1000):
        read(store, b"x-often", b"%d" % number)
        for _ in range(3):
            read(store, b"x-often", b"same")
    assert read(store, b"x-often", b"same").stable


def test_long_values_are_not_remembered() -> None:
    store = FieldStore()
    long = b"\x00\x01a\x7f\xa1\x01" + 288 * b"v"
    (one,) = Decoder(store).decode(long, MANY, MANY).fields
    (other,) = Decoder(store).decode(long, MANY, MANY).fields
    assert one.value == 288 * b"v"
    assert one is not other
    assert not one.stable


def test_a_full_store_is_emptied_and_former_names_are_own() -> None:
    store = FieldStore()
    name = store.remember_name(b"\x05thing", b"thing")
    field = store.remember(name, b"\x01v", b"v")
    for number in range(MEMORY_BYTES // 800):
        read(store, b"n%d" % number, b"")
    assert name.own
    assert not store.remember(name, b"\x01v", b"v").stable
    fresh = read(store, b"thing", b"v")
    assert fresh.stable
    assert fresh is not field
    (static,) = Decoder(store).decode(b"\x82", MANY, MANY).fields
    assert read(store, b":method", b"GET") is static


# --- validity (RFC 9113 section 8.2) --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        (b"Accept", b"a", "name"),
        (b"", b"a", "name"),
        (b"a b", b"a", "name"),
        (b"a:b", b"a", "name"),
        (b"a\x00", b"a", "name"),
        (b"na\xc3\xafve", b"a", "name"),
        (b"a(b)", b"a", "name"),
        (b":unknown", b"a", "pseudo"),
        (b":", b"a", "pseudo"),
        (b":Method", b"GET", "pseudo"),
        (b"connection", b"close", "allow"),
        (b"keep-alive", b"5", "allow"),
        (b"proxy-connection", b"close", "allow"),
        (b"transfer-encoding", b"chunked", "allow"),
        (b"upgrade", b"h2c", "allow"),
        (b"te", b"gzip", "te"),
        (b"a", b"x\r\nb: c", "value"),
        (b"a", b"x\n", "value"),
        (b"a", b"x\x00y", "value"),
        (b"a", b" x", "value"),
        (b"a", b"x ", "value"),
        (b"a", b"\tx", "value"),
        (b"a", b"x\t", "value"),
        (b"a", b"x\x7fy", "value"),
        (b":path", b"/a\r\nb", "value"),
    ],
)
def test_malformed(name: bytes, value: bytes, why: str) -> None:
    store = FieldStore()
    for _ in range(2):
        field = read(store, name, value)
        assert field.malformed
        assert why in names.why_malformed(field)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"a", b""),
        (b"a", b"x y\tz"),
        (b"a", b"\xc3\xa9"),
        (b"te", b"trailers"),
        (b"x-!#$%&'*+.^_`|~09", b"b"),
        (b":path", b"/"),
        (b":protocol", b"websocket"),
    ],
)
def test_well_formed(name: bytes, value: bytes) -> None:
    assert not read(FieldStore(), name, value).malformed


def test_kinds() -> None:
    store = FieldStore()
    assert read(store, b":path", b"/").name.kind == names.PATH
    assert read(store, b":status", b"200").name.kind == names.STATUS
    assert read(store, b"path", b"/").name.kind == names.REGULAR


def test_malformed_names_fill_nothing() -> None:
    store = FieldStore()
    for number in range(5000):
        read(store, b"N%d" % number, b"v")
    assert store._bytes == 0
