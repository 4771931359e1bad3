"""Fields whose value is a list (RFC 9110 section 5.6.1)."""

import re
from collections.abc import Sequence
from typing import Final

# A byte is sought as a number: as `bytes`, Python first raises and drops an exception inside.
_COMMA: Final = 0x2C
_BRACKET: Final = 0x28
_COMMENT_PARTS = re.compile(rb"[()]|(?:[^()\\]|\\.?)+", re.DOTALL)
_EMPTY_MEMBER = re.compile(rb"(?:^|,)[ \t]*(?:,|$)")


def joined(values: Sequence[bytes]) -> bytes:
    """The lists of several fields as one. It has no empty member: b"" if there is no other."""
    text = values[0] if len(values) == 1 else b", ".join(values)
    if text and (_COMMA not in text or _EMPTY_MEMBER.search(text) is None):
        return text
    members = [member.strip(b" \t") for member in text.split(b",")]
    return b", ".join([member for member in members if member])


def without_comments(text: bytes) -> bytes:
    """The list without its comments, which nest and may have commas (RFC 9110 section 5.6.5).

    A comment that does not end is not a comment: it must not hide what was appended behind it.
    """
    if _BRACKET not in text:
        return text
    kept, depth = [], 0
    for part in _COMMENT_PARTS.findall(text):
        if part == b"(":
            depth += 1
        elif part == b")":
            depth = max(depth - 1, 0)
        elif depth == 0:
            kept.append(part)
    return b"".join(kept) if depth == 0 else text


def appended(values: Sequence[bytes], member: bytes) -> bytes:
    """The lists of several fields as one, with another member behind them."""
    text = joined(values)
    return text + b", " + member if text else member


def connection_options(values: list[bytes]) -> frozenset[bytes]:
    """The lower-case options of Connection fields (RFC 9110 section 7.6.1)."""
    text = b",".join(values).lower()
    return frozenset(option.strip() for option in text.split(b",")) - {b""}
