"""The chunked scanner against RFC 9112 section 7.1, one rule a test."""

import pytest

from proxy.http.h1.chunked import (
    FIRST_CHUNKS,
    MAX_EXTENSIONS,
    MAX_SIZE_LINE,
    MORE_CHUNKS,
    ChunkedDecoder,
    ChunkError,
)
from proxy.http.trailers import FORBIDDEN, REFUSED

BODY = b"5\r\nhello\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n"
PAYLOAD = b"helloabcdefghijklmnopqrstuvwxyz"


def bytewise(decoder: ChunkedDecoder, data: bytes) -> tuple[bytes, bytes | None]:
    out = b""
    for at in range(len(data)):
        piece, rest = decoder.scan(data[at : at + 1])
        out += piece
        if rest is not None:
            return out, rest + data[at + 1 :]
    return out, None


def test_the_data_of_chunks_that_come_together_is_one_piece() -> None:
    assert ChunkedDecoder().scan(BODY) == (PAYLOAD, b"")


def test_data_of_one_chunk_comes_back_without_a_copy() -> None:
    decoder = ChunkedDecoder()
    assert decoder.scan(b"1a\r\nabc") == (b"abc", None)
    data = bytes(bytearray(b"defgh"))
    assert decoder.scan(data)[0] is data
    assert decoder.payload_bytes == 8


def test_bytes_after_the_end_are_given_back() -> None:
    decoder = ChunkedDecoder()
    assert decoder.scan(BODY + b"GET / HTTP/1.1\r\n") == (PAYLOAD, b"GET / HTTP/1.1\r\n")
    assert decoder.scan(b"more") == (b"", b"more")


def test_an_empty_body_and_an_empty_call() -> None:
    decoder = ChunkedDecoder()
    assert decoder.scan(b"") == (b"", None)
    assert decoder.scan(b"0\r\n\r\n") == (b"", b"")
    assert decoder.payload_bytes == 0


def test_one_byte_at_a_time_makes_no_difference() -> None:
    data = b"005;a=b\r\nhello\r\nA\r\n0123456789\r\n00\r\nX-Sum:  1 \r\n\r\nnext"
    whole, single = ChunkedDecoder(), ChunkedDecoder()
    assert bytewise(single, data) == whole.scan(data)
    assert single.trailers == whole.trailers == [(b"X-Sum", b"1")]
    assert single.payload_bytes == whole.payload_bytes == 15


@pytest.mark.parametrize(
    "line",
    [
        b"5",
        b"0005",
        b"0000000000000005",
        b"5;name",
        b"5;name=value;other",
        b'5;name="a; \\"b\\" \t\xff"',
    ],
)
def test_size_lines(line: bytes) -> None:
    assert ChunkedDecoder().scan(line + b"\r\nhello\r\n0\r\n\r\n") == (b"hello", b"")


@pytest.mark.parametrize("size", [b"1a", b"1A"])
def test_sizes_in_any_case(size: bytes) -> None:
    assert ChunkedDecoder().scan(size + b"\r\n" + b"x" * 26 + b"\r\n") == (b"x" * 26, None)


def test_only_an_unfinished_size_line_is_held_back() -> None:
    decoder = ChunkedDecoder()
    assert decoder.scan(b"3\r\nabc\r\n1") == (b"abc", None)
    assert decoder.scan(b"0\r") == (b"", None)
    assert decoder.scan(b"\nxy") == (b"xy", None)


def test_the_end_waits_for_the_trailers() -> None:
    decoder = ChunkedDecoder()
    assert decoder.scan(b"1\r\na\r\n0\r\n") == (b"a", None)
    assert decoder.scan(b"A: 1\r\n") == (b"", None)
    assert decoder.scan(b"\r\n") == (b"", b"")
    assert decoder.trailers == [(b"A", b"1")]


def test_one_call_scans_so_many_chunks_and_no_more() -> None:
    decoder = ChunkedDecoder()
    count = 2 * FIRST_CHUNKS + MORE_CHUNKS + 7
    piece, rest = decoder.scan(b"1\r\na\r\n" * count + b"0\r\n\r\nnext")
    assert (len(piece), rest, decoder.stalled) == (FIRST_CHUNKS, None, True)
    piece, rest = decoder.scan(b" message")
    assert (len(piece), rest, decoder.stalled) == (FIRST_CHUNKS, None, True)
    piece, rest = decoder.scan(b"")
    assert (len(piece), rest, decoder.stalled) == (MORE_CHUNKS, None, True)
    piece, rest = decoder.scan(b"")
    assert (len(piece), rest, decoder.stalled) == (7, b"next message", False)
    assert decoder.payload_bytes == count


def test_nothing_is_left_where_the_bytes_end_with_the_last_chunk_that_fits() -> None:
    decoder = ChunkedDecoder()
    piece, rest = decoder.scan(b"1\r\na\r\n" * FIRST_CHUNKS)
    assert (len(piece), rest, decoder.stalled) == (FIRST_CHUNKS, None, False)


def test_one_call_scans_so_many_trailers_and_no_more() -> None:
    decoder = ChunkedDecoder()
    count = FIRST_CHUNKS + 7
    piece, rest = decoder.scan(b"0\r\n" + b"a: b\r\n" * count + b"\r\nnext")
    assert (rest, decoder.stalled, len(decoder.trailers)) == (None, True, FIRST_CHUNKS)
    piece, rest = decoder.scan(b"")
    assert (piece, rest, decoder.stalled) == (b"", b"next", False)
    assert decoder.trailers == [(b"a", b"b")] * count


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"", "empty chunk size"),
        (b";ext", "empty chunk size"),
        (b"g", "hexadecimal"),
        (b"-1", "hexadecimal"),
        (b"+1", "hexadecimal"),
        (b"0x5", "hexadecimal"),
        (b"1_0", "hexadecimal"),
        (b" 5", "hexadecimal"),
        (b"5 ", "hexadecimal"),
        (b"\t5", "hexadecimal"),
        (b"5\t", "hexadecimal"),
        (b"5 ;ext", "hexadecimal"),
        (b"5\x0b", "hexadecimal"),
        (b"5,5", "hexadecimal"),
        ("５".encode(), "hexadecimal"),
        (b"5\x00", "hexadecimal"),
        (b"5\r", "bare CR"),
        (b"5;a\rb", "bare CR"),
        (b"5;", "extension"),
        (b"5; a", "extension"),
        (b"5;a ", "extension"),
        (b"5;a=", "extension"),
        (b"5;a = b", "extension"),
        (b'5;a="b', "extension"),
        (b'5;a="b"c', "extension"),
        (b'5;a="\x00"', "extension"),
        (b"5;a\x7f", "extension"),
        (b"8000000000000000", "too large"),
        (b"ffffffffffffffff", "too large"),
        (b"00000000000000005", "too large"),
        (b"10000000000000005", "too large"),
    ],
)
def test_bad_size_lines_are_refused(line: bytes, fault: str) -> None:
    with pytest.raises(ChunkError, match=fault):
        ChunkedDecoder().scan(line + b"\r\nhello\r\n0\r\n\r\n")
    with pytest.raises(ChunkError):
        bytewise(ChunkedDecoder(), line + b"\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"5\nhello\r\n", "bare LF in the size line"),
        (b"\n", "bare LF in the size line"),
        (b"5;a\nb\r\nhello\r\n", "bare LF in the size line"),
        (b"5\r\nhello\n", "no CRLF"),
        (b"5\r\nhello\r\r\n", "no CRLF"),
        (b"5\r\nhelloX\r\n", "no CRLF"),
        (b"5\r\nhello5\r\nhello\r\n", "no CRLF"),
        (b"0\n\n", "bare LF"),
        (b"0\r\n\n", "bare LF in the trailer section"),
        (b"0\r\nA: b\n\r\n", "bare LF in the trailer section"),
        (b"0\r\nA: b\rc\r\n\r\n", "bare CR"),
        (b"0\r\n\rA: b\r\n\r\n", "character|CR"),
        (b"0\r\nA: b\r\n c\r\n\r\n", "folding"),
        (b"0\r\n\tA: b\r\n\r\n", "folding"),
        (b"0\r\nA\r\n\r\n", "colon"),
        (b"0\r\n: b\r\n\r\n", "without a name"),
        (b"0\r\nA : b\r\n\r\n", "before the colon"),
        (b"0\r\nA\t: b\r\n\r\n", "before the colon"),
        (b"0\r\nA B: b\r\n\r\n", "forbidden character"),
        (b"0\r\nA: b\x00\r\n\r\n", "forbidden character"),
        (b"0\r\nA: b\x7f\r\n\r\n", "forbidden character"),
        (b"0\r\nA\xe9: b\r\n\r\n", "forbidden character"),
    ],
)
def test_bad_framing_is_refused(data: bytes, fault: str) -> None:
    with pytest.raises(ChunkError, match=fault):
        ChunkedDecoder().scan(data)
    with pytest.raises(ChunkError):
        bytewise(ChunkedDecoder(), data)


def test_a_broken_body_stays_broken() -> None:
    decoder = ChunkedDecoder()
    with pytest.raises(ChunkError):
        decoder.scan(b"x\r\n")
    with pytest.raises(ChunkError, match="before"):
        decoder.scan(b"0\r\n\r\n")


def test_the_largest_size_is_counted_and_not_allocated() -> None:
    decoder = ChunkedDecoder()
    assert decoder.scan(b"7fffffffffffffff\r\nab") == (b"ab", None)
    assert decoder.payload_bytes == 2


def test_a_size_line_has_a_limit() -> None:
    fits = b"1;" + b"a" * (MAX_SIZE_LINE - 4) + b"\r\n"
    assert len(fits) == MAX_SIZE_LINE
    assert ChunkedDecoder().scan(fits) == (b"", None)
    for data in (b"1;a" + fits[2:], b"1;" + b"a" * MAX_SIZE_LINE):
        with pytest.raises(ChunkError, match="size line too long"):
            ChunkedDecoder().scan(data)
        with pytest.raises(ChunkError, match="size line too long"):
            bytewise(ChunkedDecoder(), data)


def test_extensions_have_a_limit_over_the_message() -> None:
    chunk = b"1;" + b"a" * 127 + b"\r\nx\r\n"
    allowed = MAX_EXTENSIONS // 128
    decoder = ChunkedDecoder()
    assert decoder.scan(chunk * allowed) == (b"x" * allowed, None)
    with pytest.raises(ChunkError, match="too many chunk extensions"):
        decoder.scan(chunk)


def test_the_trailer_section_has_a_limit() -> None:
    section = b"A: 1\r\nB: 2\r\n\r\n"
    fits = ChunkedDecoder(max_trailer_bytes=len(section))
    assert fits.scan(b"0\r\n" + section + b"x" * 100)[1] == b"x" * 100
    for data in (section, b"A: " + b"b" * 100, b"A: 1\r\nB: 2\r\nC"):
        with pytest.raises(ChunkError, match="trailer section too long"):
            ChunkedDecoder(max_trailer_bytes=len(section) - 1).scan(b"0\r\n" + data)
        with pytest.raises(ChunkError, match="trailer section too long"):
            bytewise(ChunkedDecoder(max_trailer_bytes=len(section) - 1), b"0\r\n" + data)


def test_trailers_keep_order_spelling_and_repeats() -> None:
    decoder = ChunkedDecoder()
    section = b"Grpc-Status:0\r\nx-a: \xe9\t b \r\nX-A:\r\nServer-Timing: db;dur=1\r\n\r\n"
    pieces, rest = decoder.scan(b"0\r\n" + section)
    expected = [
        (b"Grpc-Status", b"0"),
        (b"x-a", b"\xe9\t b"),
        (b"X-A", b""),
        (b"Server-Timing", b"db;dur=1"),
    ]
    assert decoder.trailers == expected
    assert (pieces, rest) == (b"", b"")


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_forbidden_trailers_are_dropped(name: bytes) -> None:
    decoder = ChunkedDecoder()
    assert decoder.scan(b"0\r\nA: 1\r\n" + name.title() + b": 1\r\nB: 2\r\n\r\n") == (b"", b"")
    assert decoder.trailers == [(b"A", b"1"), (b"B", b"2")]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_trailers_cannot_frame_or_route_the_message_again(name: bytes) -> None:
    with pytest.raises(ChunkError, match="frame or route"):
        ChunkedDecoder().scan(b"0\r\nA: 1\r\n" + name.title() + b": 1\r\n\r\n")
