"""The text of traceparent and tracestate (W3C Trace Context, level 1, and what level 2 adds).

Only version 00 is written. Two flags are known: sampled (level 1) and random trace id (level 2);
the others must be sent as zero, so they are masked out when read.
"""

import re
from collections.abc import Sequence
from typing import Final

SAMPLED: Final = 0x01
RANDOM_TRACE_ID: Final = 0x02

MAX_MEMBERS = 32

_LOWER_HEX: Final = b"0123456789abcdef"
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16
_DASH: Final = 45
_LENGTH: Final = 55  # of version 00; later versions are at least as long

_VERSION_00 = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")

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
    known = _VERSION_00.fullmatch(value)
    if known is not None and known[1] != _NO_TRACE and known[2] != _NO_SPAN:
        # Nearly all requests: this takes a third of the time.
        flags = int(known[3], 16) & (SAMPLED | RANDOM_TRACE_ID)
        return known[1].decode(), known[2].decode(), flags
    return _parse_rare_traceparent(value.strip(b" \t"))


def _parse_rare_traceparent(value: bytes) -> tuple[str, str, int] | None:
    """Later versions and malformed values."""
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

    Empty members are allowed and not counted. Of a repeated key the first member is kept: it is
    the latest, because every system adds its own in front (level 2, section 3.3.1.4).
    """
    combined = b",".join([value for value in values if value.strip(b" \t,")])
    members: dict[bytes, bytes] = {}
    repeated = False
    for member in combined.split(b","):
        member = member.strip(b" \t")
        if not member:
            continue
        match = _MEMBER.fullmatch(member)
        if match is None:
            return b""
        key = match[1]
        if key in members:
            repeated = True
        else:
            members[key] = member
    if len(members) > MAX_MEMBERS:
        return b""
    return b",".join(members.values()) if repeated else combined
