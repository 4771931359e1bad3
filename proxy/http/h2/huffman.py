"""HPACK's Huffman code (RFC 7541 section 5.2 and appendix B), for decoding.

The code is canonical: the lengths of the codes say what the codes are. Decoding walks the tree of
the code one byte at a time: each state has a row, which says for each byte what it completes and
which state is next. Rows are made when they are first needed; texts and ids need a few dozen of
the 256.
"""

from typing import Final

from proxy.http.h2.errors import HpackError

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


class _Row:
    """What each byte does in one state: `pieces` it completes (None: EOS), and the state `after`.

    `may_end`: a string may end in this state, as only padding has come since the last character.
    """

    __slots__ = ("after", "pieces")

    def __init__(self, tree: _Tree, state: int) -> None:
        after = bytearray()
        self.pieces: list[bytes | None] = []
        for byte in range(256):
            at = state
            piece = b""
            is_ended = False
            for place in range(7, -1, -1):
                at = tree.one[at] if byte >> place & 1 else tree.zero[at]
                if at == -1 - _EOS:
                    is_ended = True
                    break
                if at < 0:
                    piece += bytes((-1 - at,))
                    at = 0
            self.pieces.append(None if is_ended else piece)
            after.append(0 if is_ended else at)
        self.after = bytes(after)


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
_ROWS: Final[list[_Row | None]] = [None] * _STATES


def decode(coded: bytes) -> bytes:
    """The decoded string.

    Raises HpackError for EOS within it, and for padding that is a whole byte or not of ones.
    """
    decoded: list[bytes] = []
    state = 0
    for byte in coded:
        row = _ROWS[state]
        if row is None:
            row = _ROWS[state] = _Row(_TREE, state)
        piece = row.pieces[byte]
        if piece is None:
            raise HpackError("a Huffman-coded string contains EOS")
        decoded.append(piece)
        state = row.after[byte]
    if not _ENDS[state]:
        raise HpackError("a Huffman-coded string has invalid padding")
    return b"".join(decoded)
