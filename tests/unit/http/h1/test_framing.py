"""Where bodies end; chunked ones have a file of their own."""

import pytest

from proxy.http.h1.framing import CloseDecoder, LengthDecoder


@pytest.mark.parametrize(
    ("pieces", "scanned"),
    [
        ([b"abcde"], [(b"abcde", b"")]),
        ([b"abcdeGET"], [(b"abcde", b"GET")]),
        ([b"ab", b"", b"cd", b"efg"], [(b"ab", None), (b"", None), (b"cd", None), (b"e", b"fg")]),
    ],
)
def test_a_length_is_counted(pieces, scanned):
    decoder = LengthDecoder(5)
    assert [decoder.scan(piece) for piece in pieces] == scanned
    assert decoder.payload_bytes == 5


def test_payload_is_counted_as_it_comes():
    decoder = LengthDecoder(5)
    decoder.scan(b"abc")
    assert decoder.payload_bytes == 3


def test_the_connections_end_is_no_bytes():
    decoder = CloseDecoder()
    assert decoder.scan(b"abc") == (b"abc", None)
    assert decoder.scan(b"0\r\n\r\n") == (b"0\r\n\r\n", None)
    assert decoder.payload_bytes == 8
