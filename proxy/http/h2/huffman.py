"""HPACK's Huffman code (RFC 7541 section 5.2 and appendix B), for decoding.

The code is canonical: the lengths of the codes say what the codes are. Decoding walks the tree of
the code one byte at a time: each state has a row, which says for each byte which characters it
completes and which state is next. Rows are made when they are first needed: all 256 would take
20 ms and 600 KiB.
"""

from typing import TYPE_CHECKING, Final

from proxy.http.h2.errors import HpackError

if TYPE_CHECKING:  # for mypyc: numbers of the machine; nothing imports it when this runs
    from mypy_extensions import i64

_LENGTHS: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b"
    "0a0a080b080606060505050606060606060607080f060c0a0d060707070707070707070707070707"
    "07070707070707070807080d130d0e060f0506050605060606050707060606050607060505060707"
    "0707070f0b0e0d1c1416141416161617161717171717181718181617181717171715161716171718"
    "16151416161717151716161815161717151516151716171714161616171616171a1a141316171619"
    "1a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a17"
    "1a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)
"""The length of each character's code in bits; EOS is the last one."""
_EOS: Final = 256
_STATES: Final = 256
_LONGEST_PADDING: Final = 7


class _Tree:
    """The states of a walk: `zero` and `one` have the next state for each, or -1 - character."""

    __slots__ = ("one", "zero")

    def __init__(self) -> None:
        self.zero = [0] * _STATES
        self.one = [0] * _STATES
        states = 1
        code = 0
        length = 0
        for character in sorted(range(_EOS + 1), key=_LENGTHS.__getitem__):
            code <<= _LENGTHS[character] - length
            length = _LENGTHS[character]
            state = 0
            for place in range(length - 1, -1, -1):
                side = self.one if code >> place & 1 else self.zero
                if place == 0:
                    side[state] = -1 - character
                elif side[state] == 0:
                    side[state] = states
                    states += 1
                state = side[state]
            code += 1


def _ends(tree: _Tree) -> bytes:
    """For each state whether a string may end there: after less than a byte of ones."""
    ends = bytearray(_STATES)
    state = 0
    for _ in range(_LONGEST_PADDING + 1):
        ends[state] = 1
        state = tree.one[state]
    return bytes(ends)


_TREE: Final = _Tree()
_ENDS: Final = _ends(_TREE)
_ROWS: Final = [b""] * _STATES
"""For each state four tables of 256 bytes, one behind the other. They say for the next byte of the
string: the next state, how many characters it completes, the first one, the second one. b"" for a
row that is not made yet.
"""
_NEXT: Final = 0
_COUNT: Final = 256
_FIRST: Final = 512
_SECOND: Final = 768
_HAS_EOS: Final = 3
"""Instead of a count: a byte completes two characters at most."""
_WORD: Final = 6
"""Characters that are put together before they become bytes; one more may come along."""


def _make_row(start: int) -> bytes:
    row = bytearray(4 * 256)
    for byte in range(256):
        state = start
        count = 0
        for place in range(7, -1, -1):
            state = _TREE.one[state] if byte >> place & 1 else _TREE.zero[state]
            if state == -1 - _EOS:
                state, count = 0, _HAS_EOS
                break
            if state < 0:
                row[(_SECOND if count else _FIRST) + byte] = -1 - state
                count += 1
                state = 0
        row[_NEXT + byte] = state
        row[_COUNT + byte] = count
    made = _ROWS[start] = bytes(row)
    return made


def decode(coded: bytes) -> bytes:
    """The decoded string.

    Raises HpackError for EOS within it, and for padding that is a whole byte or not of ones.
    """
    words: list[bytes] = []
    word: i64 = 0
    size: i64 = 0
    state: i64 = 0
    at: i64 = 0
    end: i64 = len(coded)
    rows = _ROWS
    while at < end:
        row = rows[state]
        if len(row) == 0:
            row = _make_row(state)
        byte: i64 = coded[at]
        count: i64 = row[byte + _COUNT]
        state = row[byte]
        if count == 1:
            word = word << 8 | row[byte + _FIRST]
        elif count == 2:
            word = word << 16 | row[byte + _FIRST] << 8 | row[byte + _SECOND]
        elif count == _HAS_EOS:
            raise HpackError("a Huffman-coded string contains EOS")
        size += count
        if size >= _WORD:
            words.append(int(word).to_bytes(int(size), "big"))
            word = size = 0
        at += 1
    if not _ENDS[state]:
        raise HpackError("a Huffman-coded string has invalid padding")
    if size:
        words.append(int(word).to_bytes(int(size), "big"))
    return b"".join(words)
