"""Fields whose value is a list (RFC 9110 section 5.6.1)."""

import re
from collections.abc import Sequence

_EMPTY_MEMBER = re.compile(rb"(?:^|,)[ \t]*(?:,|$)")


def joined(values: Sequence[bytes]) -> bytes:
    """The lists of several fields as one. It has no empty member: b"" if there is no other."""
    text = values[0] if len(values) == 1 else b", ".join(values)
    if text and (b"," not in text or _EMPTY_MEMBER.search(text) is None):
        return text
    members = [member.strip(b" \t") for member in text.split(b",")]
    return b", ".join([member for member in members if member])


def appended(values: Sequence[bytes], member: bytes) -> bytes:
    """The lists of several fields as one, with another member behind them."""
    text = joined(values)
    return text + b", " + member if text else member
