"""HPACK decoding: the examples of RFC 7541, limits, and what ends a connection."""

import pytest

from proxy.http.h2.decoder import Decoder
from proxy.http.h2.errors import HpackError
from proxy.http.h2.fields import FieldStore
from proxy.http.message import Field

MANY = 1 << 20


def new_decoder(max_table_size: int = 4096) -> Decoder:
    return Decoder(FieldStore(frozenset({b"x-id"})), max_table_size)


def pairs(fields: list[Field]) -> list[str]:
    return [f"{field.name.text.decode()}: {field.value.decode('latin-1')}" for field in fields]


def decoded(decoder: Decoder, block: str) -> list[str]:
    return pairs(decoder.decode(bytes.fromhex(block), MANY, MANY).fields)


# --- RFC 7541 appendix C: integers, fields, then the same messages without and with Huffman -------


def test_c_2_1_literal_with_indexing() -> None:
    decoder = new_decoder()
    block = "400a637573746f6d2d6b65790d637573746f6d2d686561646572"
    assert decoded(decoder, block) == ["custom-key: custom-header"]
    assert pairs(decoder.table) == ["custom-key: custom-header"]
    assert decoder.table_bytes == 55


def test_c_2_2_literal_without_indexing() -> None:
    decoder = new_decoder()
    assert decoded(decoder, "040c2f73616d706c652f70617468") == [":path: /sample/path"]
    assert decoder.table == []


def test_c_2_3_literal_never_indexed() -> None:
    decoder = new_decoder()
    (field,) = decoder.decode(bytes.fromhex("100870617373776f726406736563726574"), MANY, 9).fields
    assert pairs([field]) == ["password: secret"]
    assert field.secret
    assert decoder.table == []


def test_c_2_4_indexed() -> None:
    assert decoded(new_decoder(), "82") == [":method: GET"]


FIRST = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"]
SECOND = [*FIRST, "cache-control: no-cache"]
THIRD = [
    ":method: GET",
    ":scheme: https",
    ":path: /index.html",
    ":authority: www.example.com",
    "custom-key: custom-value",
]


@pytest.mark.parametrize(
    "blocks",
    [
        (
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ),
        (
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ),
    ],
    ids=["C.3", "C.4"],
)
def test_requests(blocks: tuple[str, str, str]) -> None:
    decoder = new_decoder()
    assert decoded(decoder, blocks[0]) == FIRST
    assert decoder.table_bytes == 57
    assert decoded(decoder, blocks[1]) == SECOND
    assert decoder.table_bytes == 110
    assert decoded(decoder, blocks[2]) == THIRD
    assert decoder.table_bytes == 164
    assert pairs(decoder.table) == [THIRD[4], SECOND[4], FIRST[3]]


DATE = "date: Mon, 21 Oct 2013 20:13:21 GMT"
LATER = "date: Mon, 21 Oct 2013 20:13:22 GMT"
LOCATION = "location: https://www.example.com"
COOKIE = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"


@pytest.mark.parametrize(
    "blocks",
    [
        (
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d"
            "546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f"
            "6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b"
            "2076657273696f6e3d31",
        ),
        (
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad17186"
            "3c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335"
            "dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ),
    ],
    ids=["C.5", "C.6"],
)
def test_responses_in_a_table_of_256_bytes(blocks: tuple[str, str, str]) -> None:
    decoder = new_decoder(256)
    first = [":status: 302", "cache-control: private", DATE, LOCATION]
    assert decoded(decoder, blocks[0]) == first
    assert decoder.table_bytes == 222
    assert decoded(decoder, blocks[1]) == [":status: 307", *first[1:]]
    assert pairs(decoder.table) == [":status: 307", LOCATION, DATE, "cache-control: private"]
    third = [":status: 200", first[1], LATER, LOCATION, "content-encoding: gzip", COOKIE]
    assert decoded(decoder, blocks[2]) == third
    assert decoder.table_bytes == 215
    assert pairs(decoder.table) == [COOKIE, "content-encoding: gzip", LATER]


# --- the table ------------------------------------------------------------------------------------


def inserted(name: str, value: str) -> str:
    return f"40{len(name):02x}{name.encode().hex()}{len(value):02x}{value.encode().hex()}"


def test_an_entry_longer_than_the_table_empties_it() -> None:
    decoder = new_decoder(64)
    decoded(decoder, inserted("a", "b"))
    assert decoded(decoder, inserted("name", 40 * "v")) == ["name: " + 40 * "v"]
    assert (decoder.table, decoder.table_bytes) == ([], 0)


def test_size_updates_evict() -> None:
    decoder = new_decoder()
    decoded(decoder, inserted("a", "1") + inserted("b", "2"))
    decoded(decoder, "3f03")  # 34 bytes: room for one
    assert pairs(decoder.table) == ["b: 2"]
    assert decoded(decoder, "203fe11f82") == [":method: GET"]  # 0, and 4096 again
    assert decoder.table == []
    decoded(decoder, inserted("c", "3"))
    assert pairs(decoder.table) == ["c: 3"]


def test_many_evictions() -> None:
    decoder = new_decoder(200)
    for number in range(2000):
        decoded(decoder, inserted("name", f"{number:04}"))
    assert pairs(decoder.table) == [f"name: {number}" for number in range(1999, 1994, -1)]
    assert len(decoder._entries) < 600


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ("80", "index 0"),
        ("be", "index"),  # 62, with an empty table
        ("ffffffff07", "index"),
        ("7e0161", "index"),
        ("8220", "size update"),
        ("3fe21f", "size update"),  # 4097
        ("ff", "truncated"),
        ("ff80", "truncated"),
        ("ff8080808000", "too large"),
        ("ffffffffff7f", "too large"),
        ("3fffffffffff", "too large"),
        ("40", "truncated"),
        ("400161", "truncated"),
        ("4001", "longer"),
        ("40016105", "longer"),
        ("0405616263", "longer"),
        ("047fffffff7f61", "longer"),
        ("048118", "padding"),
        ("0482ffff", "padding"),
        ("0484fffffffc", "EOS"),
        ("1084fffffffc0161", "EOS"),
        ("10016184fffffffc", "EOS"),
    ],
)
def test_errors(block: str, why: str) -> None:
    with pytest.raises(HpackError, match=why):
        decoded(new_decoder(), block)


def test_an_evicted_index_is_an_error() -> None:
    decoder = new_decoder(80)
    decoded(decoder, inserted("a", "1") + inserted("b", "2"))
    assert decoded(decoder, "bebf") == ["b: 2", "a: 1"]
    decoded(decoder, inserted("c", "3"))
    assert decoded(decoder, "bebf") == ["c: 3", "b: 2"]
    with pytest.raises(HpackError):
        decoded(decoder, "c0")


def test_every_truncation_of_a_block() -> None:
    """Each is an error, or a shorter list of the same fields."""
    whole = bytes.fromhex("828785" + "408825a849e95ba97d7f8925a849e95bb8e8b4bf" + "be")
    fields = pairs(new_decoder().decode(whole, MANY, MANY).fields)
    ends = 0
    for end in range(len(whole)):
        try:
            found = pairs(new_decoder().decode(whole[:end], MANY, MANY).fields)
        except HpackError:
            continue
        ends += 1
        assert found == fields[: len(found)]
    assert ends == 5  # after each field


# --- limits ---------------------------------------------------------------------------------------


def test_beyond_the_limit_the_state_stays_right() -> None:
    decoder = new_decoder()
    block = bytes.fromhex(inserted("first", "1") + inserted("second", "2") + inserted("third", "3"))
    section = decoder.decode(block, 80, 100)
    assert section.over
    assert pairs(section.fields) == ["first: 1", "second: 2"][: len(section.fields)]
    assert section.size == 3 * 33 + len("firstsecondthird")
    assert decoded(decoder, "bec0") == ["third: 3", "first: 1"]


@pytest.mark.parametrize(
    ("max_bytes", "max_fields", "is_over"),
    [(83, 2, False), (82, 2, True), (83, 1, True)],
)
def test_both_limits(max_bytes: int, max_fields: int, is_over: bool) -> None:
    """`:method: GET` counts 42 bytes, `:path: /abc` 41."""
    decoder = new_decoder()
    block = bytes.fromhex("82" + "04042f616263")
    section = decoder.decode(block, max_bytes, max_fields)
    assert section.over == is_over
    assert section.size == 83
    again = decoder.decode(block, max_bytes, max_fields)
    assert again.over == is_over
    assert not decoder.decode(block, MANY, MANY).over
    assert decoder.decode(block, max_bytes, max_fields).over == is_over


def test_a_bomb_ends_before_it_has_grown() -> None:
    """One entry of 4 KiB, named 60,000 times: 240 MB if it was kept."""
    decoder = new_decoder()
    bomb = bytes.fromhex(f"40016a7fd11e{4000 * '61'}") + 60_000 * b"\xbe"
    with pytest.raises(HpackError, match="four times"):
        decoder.decode(bomb, 64 * 1024, 128)


def test_many_fields_of_a_byte() -> None:
    with pytest.raises(HpackError, match="four times"):
        new_decoder().decode(600 * b"\x82", MANY, 128)


# --- what is remembered ---------------------------------------------------------------------------


def test_a_repeated_block_is_the_same_section() -> None:
    decoder = new_decoder()
    decoded(decoder, inserted("a", "1"))
    block = bytes.fromhex("82be04022f61")
    section = decoder.decode(block, MANY, MANY)
    assert decoder.decode(block, MANY, MANY) is section
    decoded(decoder, inserted("b", "2"))
    assert pairs(decoder.decode(block, MANY, MANY).fields) == [":method: GET", "b: 2", ":path: /a"]


def test_a_repeated_block_inserts_again() -> None:
    decoder = new_decoder()
    block = inserted("a", "1")
    for _ in range(3):
        assert decoded(decoder, block) == ["a: 1"]
    assert pairs(decoder.table) == ["a: 1", "a: 1", "a: 1"]


def test_a_repeated_size_update_evicts_again() -> None:
    decoder = new_decoder()
    for _ in range(3):
        decoded(decoder, inserted("a", "1"))
        decoded(decoder, "203fe11f82")
        assert decoder.table == []


def test_blocks_are_forgotten_with_a_size_update() -> None:
    decoder = new_decoder()
    decoded(decoder, inserted("a", "1"))
    decoded(decoder, "be")
    decoded(decoder, "20")
    with pytest.raises(HpackError):
        decoded(decoder, "be")


def test_secrets_are_remembered_by_their_connection_alone() -> None:
    store = FieldStore()
    one, other = Decoder(store), Decoder(store)
    block = bytes.fromhex("1f080c") + b"Bearer abcde"
    (first,) = one.decode(block, MANY, MANY).fields
    (again,) = one.decode(b"\x82" + block, MANY, MANY).fields[1:]
    (elsewhere,) = other.decode(block, MANY, MANY).fields
    assert again is first
    assert elsewhere is not first
    assert first.secret
    assert not first.stable
    for number in range(100):
        one.decode(bytes.fromhex("1f080c") + b"Bearer %05d" % number, MANY, MANY)
    assert len(one._secrets) <= 16


def test_a_secret_belongs_to_its_name() -> None:
    decoder = new_decoder()
    assert decoded(decoder, "1f080161") == ["authorization: a"]
    assert decoded(decoder, "1f110161") == ["cookie: a"]


def test_blocks_take_a_bounded_part_of_a_connection() -> None:
    decoder = new_decoder()
    for number in range(1000):
        value = b"%0500d" % number
        decoder.decode(
            b"\x04\x7f" + bytes((0x80 | (500 - 127) & 0x7F, 500 - 127 >> 7)) + value, MANY, 9
        )
    assert decoder._known_bytes <= 16 * 1024
    assert len(decoder._known) <= 30
