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
_AFTER: Final = [b""] * _STATES
"""The rows: for each state and byte the next state, b"" for a row that is not made yet."""
_PIECES: Final[list[list[bytes | None]]] = [[]] * _STATES
"""The rows: for each state and byte the characters that it completes, None for EOS."""


def _make_row(start: int) -> None:
    after = bytearray()
    pieces: list[bytes | None] = []
    for byte in range(256):
        state = start
        piece: bytes | None = b""
        for place in range(7, -1, -1):
            state = _TREE.one[state] if byte >> place & 1 else _TREE.zero[state]
            if state == -1 - _EOS:
                state, piece = 0, None
                break
            if state < 0:
                assert piece is not None
                piece += bytes((-1 - state,))
                state = 0
        pieces.append(piece)
        after.append(state)
    _AFTER[start] = bytes(after)
    _PIECES[start] = pieces


def decode(coded: bytes) -> bytes:
    """The decoded string.

    Raises HpackError for EOS within it, and for padding that is a whole byte or not of ones.
    """
    decoded: list[bytes] = []
    state: i64 = 0
    at: i64 = 0
    end: i64 = len(coded)
    afters = _AFTER
    rows = _PIECES
    while at < end:
        after = afters[state]
        if not after:
            _make_row(state)
            after = afters[state]
        byte: i64 = coded[at]
        piece = rows[state][byte]
        if piece is None:
            raise HpackError("a Huffman-coded string contains EOS")
        decoded.append(piece)
        state = after[byte]
        at += 1
    if not _ENDS[state]:
        raise HpackError("a Huffman-coded string has invalid padding")
    return b"".join(decoded)
