"""The text of traceparent and tracestate (W3C Trace Context, level 1, and what level 2 adds).

Only version 00 is written. Two flags are known: sampled (level 1) and random trace id (level 2);
the others must be sent as zero, so they are masked out when read.
"""

import re
from binascii import unhexlify
from collections.abc import Sequence
from typing import Final

SAMPLED: Final = 0x01
RANDOM_TRACE_ID: Final = 0x02

MAX_MEMBERS = 32

_LOWER_HEX: Final = b"0123456789abcdef"
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16
_NO_TRACE_TEXT: Final = "0" * 32
_NO_SPAN_TEXT: Final = "0" * 16
_DASH: Final = 45
_LENGTH: Final = 55  # of version 00; later versions are at least as long

# Level 2's key grammar (section 3.3.1.3.1), which contains level 1's.
_MEMBER = re.compile(
    rb"([a-z0-9][a-z0-9_\-*/@]{0,255})"
    rb"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)


def is_trace_id(value: bytes) -> bool:
    """32 lower-case hex digits, not all zero."""
    return len(value) == 32 and not value.strip(_LOWER_HEX) and value != _NO_TRACE


def is_span_id(value: bytes) -> bool:
    """16 lower-case hex digits, not all zero."""
    return len(value) == 16 and not value.strip(_LOWER_HEX) and value != _NO_SPAN


def parse_traceparent(value: bytes) -> tuple[str, str, int] | None:
    """Trace id, parent id and flags; None if the trace must be restarted.

    Of a later version, only the first 55 characters are read, and of its flags the sampled bit
    (section 'Versioning of traceparent').
    """
    if (
        len(value) == _LENGTH
        and value[:3] == b"00-"
        and value[35] == _DASH
        and value[52] == _DASH
        and value.islower()
    ):
        # Nearly all requests: a quarter of what the other way takes.
        try:
            flags = unhexlify(value[3:35] + value[36:52] + value[53:])[24]
        except ValueError:
            return None
        text = value.decode()
        trace_id, parent_id = text[3:35], text[36:52]
        if trace_id == _NO_TRACE_TEXT or parent_id == _NO_SPAN_TEXT:
            return None
        return trace_id, parent_id, flags & (SAMPLED | RANDOM_TRACE_ID)
    return _parse_rare_traceparent(value.strip(b" \t"))


def _parse_rare_traceparent(value: bytes) -> tuple[str, str, int] | None:
    """Later versions, malformed values, and ids without a letter."""
    if len(value) < _LENGTH or not value[2] == value[35] == value[52] == _DASH:
        return None
    version, trace_id, parent_id, flags = value[:2], value[3:35], value[36:52], value[53:55]
    if version == b"00":
        known = SAMPLED | RANDOM_TRACE_ID
        if len(value) != _LENGTH:
            return None
    else:
        known = SAMPLED
        if version.strip(_LOWER_HEX) or version == b"ff":
            return None
        if len(value) > _LENGTH and value[_LENGTH] != _DASH:
            return None
    if flags.strip(_LOWER_HEX) or not is_trace_id(trace_id) or not is_span_id(parent_id):
        return None
    return trace_id.decode(), parent_id.decode(), int(flags, 16) & known


def combine_tracestate(values: Sequence[bytes]) -> bytes:
    """Several fields as one, members unchanged and in order; b"" if any of them is malformed.

    Empty members are allowed and left out: a sender must not write them (RFC 9110 section 5.6.1).
    Of a repeated key the first member is kept: it is the latest, because every system adds its own
    in front (level 2, section 3.3.1.4).
    """
    combined = b",".join([value for value in values if value.strip(b" \t,")])
    members: dict[bytes, bytes] = {}
    changed = False
    for member in combined.split(b","):
        member = member.strip(b" \t")
        if not member:
            changed = True
            continue
        match = _MEMBER.fullmatch(member)
        if match is None:
            return b""
        key = match[1]
        if key in members:
            changed = True
        else:
            members[key] = member
    if len(members) > MAX_MEMBERS:
        return b""
    return b",".join(members.values()) if changed else combined
