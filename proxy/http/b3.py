"""The text of B3, Zipkin's trace headers: one field, or several.

    b3: {TraceId}-{SpanId}-{SamplingState}-{ParentSpanId}      the last two are optional
    b3: 0                                                      a decision without a trace

A trace id of 64 bits is padded with zeros on the left, and sent so.
"""

from enum import Enum
from typing import NamedTuple

from proxy.http.message import FieldName, OwnFields
from proxy.http.w3c import is_span_id, is_trace_id


class Sampling(Enum):
    """The caller's decision. DEFER leaves it to the receiver; DEBUG is a stronger ACCEPT."""

    DEFER = ""
    DENY = "0"
    ACCEPT = "1"
    DEBUG = "d"


class B3Context(NamedTuple):
    """A parsed context. Without ids (None) only the decision was sent."""

    trace_id: str | None
    span_id: str | None
    sampling: Sampling


# "true" and "false" come from tracers older than the specification.
_SAMPLING = {
    b"0": Sampling.DENY,
    b"1": Sampling.ACCEPT,
    b"d": Sampling.DEBUG,
    b"false": Sampling.DENY,
    b"true": Sampling.ACCEPT,
}
_PADDING = b"0" * 16
_TRACE_ID = FieldName(b"x-b3-traceid")
_SPAN_ID = FieldName(b"x-b3-spanid")
_PARENT_ID = FieldName(b"x-b3-parentspanid")
_FLAGS = FieldName(b"x-b3-flags")
_SAMPLED = FieldName(b"x-b3-sampled")


def _context(trace_id: bytes, span_id: bytes, sampling: Sampling) -> B3Context | None:
    if len(trace_id) == 16:
        trace_id = _PADDING + trace_id
    if not is_trace_id(trace_id) or not is_span_id(span_id):
        return None
    return B3Context(trace_id.decode(), span_id.decode(), sampling)


def parse_b3(value: bytes) -> B3Context | None:
    """The single field; None if it is malformed."""
    parts = value.strip(b" \t").split(b"-")
    if len(parts) == 1:
        alone = _SAMPLING.get(parts[0])
        return None if alone is None else B3Context(None, None, alone)
    if len(parts) > 4:
        return None
    sampling: Sampling | None = Sampling.DEFER
    if len(parts) > 2 and (len(parts) == 4 or len(parts[2]) != 16):
        sampling = _SAMPLING.get(parts[2])
    if sampling is None or (len(parts) == 4 and not is_span_id(parts[3])):
        return None
    return _context(parts[0], parts[1], sampling)


def parse_b3_multi(fields: dict[bytes, bytes]) -> B3Context | None:
    """The X-B3 fields by lower-case name; None if there are none or they are malformed.

    X-B3-ParentSpanId is not read: the caller's span is the parent of the next span.
    """
    sampled = fields.get(b"x-b3-sampled")
    sampling: Sampling | None = Sampling.DEFER
    if fields.get(b"x-b3-flags") == b"1":
        sampling = Sampling.DEBUG
    elif sampled is not None:
        sampling = _SAMPLING.get(sampled.lower())
    if sampling is None:
        return None
    trace_id, span_id = fields.get(b"x-b3-traceid"), fields.get(b"x-b3-spanid")
    if trace_id is None and span_id is None:
        return None if sampling is Sampling.DEFER else B3Context(None, None, sampling)
    if trace_id is None or span_id is None:
        return None
    return _context(trace_id, span_id, sampling)


def format_b3(trace_id: str, span_id: str, parent_id: str | None, sampling: Sampling) -> bytes:
    """The value of the single field."""
    value = trace_id + "-" + span_id
    if sampling is not Sampling.DEFER:
        value += "-" + sampling.value
        if parent_id is not None:
            value += "-" + parent_id
    return value.encode()


def format_b3_multi(
    trace_id: str, span_id: str, parent_id: str | None, sampling: Sampling
) -> OwnFields:
    """The X-B3 fields."""
    fields = [(_TRACE_ID, trace_id.encode()), (_SPAN_ID, span_id.encode())]
    if parent_id is not None:
        fields.append((_PARENT_ID, parent_id.encode()))
    if sampling is Sampling.DEBUG:
        # It implies the decision: Sampled is not sent with it.
        fields.append((_FLAGS, b"1"))
    elif sampling is not Sampling.DEFER:
        fields.append((_SAMPLED, sampling.value.encode()))
    return fields
