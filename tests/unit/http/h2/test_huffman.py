"""The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B)."""

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.h2 import huffman
from proxy.http.h2.errors import HpackError

ORACLE = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@given(st.binary(max_size=80))
def test_what_another_implementation_encodes(text: bytes) -> None:
    assert huffman.decode(ORACLE.encode(text)) == text


@pytest.mark.parametrize("first", [b"", b"a", b"a long one: ~\x00\xff"])
def test_every_character_after_every_other(first: bytes) -> None:
    for character in range(256):
        text = first + bytes((character, 0, character))
        assert huffman.decode(ORACLE.encode(text)) == text


@pytest.mark.parametrize(
    ("coded", "why"),
    [
        ("ff", "padding"),  # a whole byte of it
        ("1fff", "padding"),
        ("18", "padding"),  # "a" and zeros
        ("1e", "padding"),
        ("f8ff", "padding"),
        ("fffffffc", "EOS"),
        ("1ffffffffe", "EOS"),
        ("ffffffff", "EOS"),
    ],
)
def test_invalid_strings(coded: str, why: str) -> None:
    with pytest.raises(HpackError, match=why):
        huffman.decode(bytes.fromhex(coded))
