"""Trace headers: continues a caller's trace, or begins a new one.

    extract(fields) ──▶ TraceContext ──▶ inject(context, span id) ──▶ fields

A valid context keeps its trace id, sampling decision and tracestate and gets a new parent id; an
invalid one is replaced. The order of the formats is their precedence when reading; all of them are
written. Fields of formats that are not configured pass unchanged, and so does baggage.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final

from proxy.clock import Random
from proxy.http.b3 import (
    B3Context,
    Sampling,
    format_b3,
    format_b3_multi,
    parse_b3,
    parse_b3_multi,
)
from proxy.http.message import FieldName, OwnFields
from proxy.http.random_hex import RandomHex
from proxy.http.w3c import SAMPLED, combine_tracestate, parse_traceparent

Fields = Sequence[tuple[bytes, bytes]]


class Format(Enum):
    """The values of ``tracing.propagate``."""

    TRACECONTEXT = "tracecontext"
    BAGGAGE = "baggage"
    B3 = "b3"
    B3MULTI = "b3multi"


_NAMES: dict[Format, tuple[bytes, ...]] = {
    Format.TRACECONTEXT: (b"traceparent", b"tracestate"),
    Format.BAGGAGE: (),
    Format.B3: (b"b3",),
    Format.B3MULTI: (
        b"x-b3-traceid",
        b"x-b3-spanid",
        b"x-b3-parentspanid",
        b"x-b3-sampled",
        b"x-b3-flags",
    ),
}


# Reading a global is ten times as fast as reading an enum member (CPython 3.11).
_DEFER: Final = Sampling.DEFER
_DENY: Final = Sampling.DENY
_ACCEPT: Final = Sampling.ACCEPT
_DEBUG: Final = Sampling.DEBUG
_TRACECONTEXT: Final = Format.TRACECONTEXT


class TraceContext:
    """The trace one request belongs to.

    `trace_id` is 32 lower-case hex digits; `parent_id` the caller's span (16 digits), None in a
    trace that begins at this proxy (`own`). `flags` are traceparent's, `sampled` is their lowest
    bit, `sampling` the complete decision. `tracestate` is one field's value, b"" for none.
    `span_id` is that of the proxy's own span between the caller's and the attempts', "" for none.
    """

    __slots__ = ("flags", "parent_id", "sampling", "span_id", "trace_id", "tracestate")

    def __init__(
        self,
        trace_id: str,
        parent_id: str | None,
        flags: int,
        sampling: Sampling,
        tracestate: bytes = b"",
    ) -> None:
        self.trace_id = trace_id
        self.parent_id = parent_id
        self.span_id = ""
        self.flags = flags
        self.sampling = sampling
        self.tracestate = tracestate

    @property
    def sampled(self) -> bool:
        return self.flags & SAMPLED == SAMPLED

    @property
    def own(self) -> bool:
        return self.parent_id is None


class Propagator:
    """Reads and writes the trace headers of one configuration."""

    __slots__ = (
        "_formats",
        "_only_tracecontext",
        "_random",
        "_random_hex",
        "_sample",
        "_span_ids",
        "_trace_ids",
        "_tracecontext",
        "names",
        "records",
    )

    def __init__(
        self,
        formats: Sequence[str],
        sample: float,
        *,
        random_hex: RandomHex,
        random: Random,
        records: bool = False,
    ) -> None:
        """`sample`: ratio of new traces to sample. Raises ValueError for an unknown format.

        `names` are the lower-case names of the fields that `extract` reads and `inject`
        replaces. `records`: spans of sampled traces are exported, so their ids must be the ids
        that were sent.
        """
        self.records = records
        self._formats = tuple(Format(word) for word in formats if word != Format.BAGGAGE.value)
        self._tracecontext = _TRACECONTEXT in self._formats
        self._only_tracecontext = self._formats == (_TRACECONTEXT,)
        self._sample = sample
        self._random_hex = random_hex
        self._random = random
        self._span_ids: list[str] = []
        self._trace_ids: list[str] = []
        self.names = frozenset(name for form in self._formats for name in _NAMES[form])

    def of_request(self, held: dict[bytes, list[bytes]]) -> TraceContext:
        """The context of a request: `held` are fields by lower-case name, those in `names` too."""
        if self._only_tracecontext:
            parents = held.get(b"traceparent")
            if parents is not None:
                context = _continued(parents, held.get(b"tracestate"))
                if context is not None:
                    return context
            return self.begin()
        return self.extract(
            [(name, value) for name in self.names if name in held for value in held[name]]
        )

    def extract(self, fields: Fields) -> TraceContext:
        """The context of a request: `fields` are those in `names`, lower-case name and value."""
        if not fields:
            return self.begin()
        alone = _DEFER  # a decision that came without a trace
        for form in self._formats:
            if form is _TRACECONTEXT:
                context = _read_tracecontext(fields)
                if context is not None:
                    return context
                continue
            b3 = _read_b3(fields, form)
            if b3 is None:
                continue
            if b3.trace_id is not None:
                return self._continue_b3(b3.trace_id, b3, fields)
            if alone is _DEFER:
                alone = b3.sampling
        return self.begin(alone)

    def inject(
        self, own: OwnFields, context: TraceContext, span_id: str, parent_id: str | None = None
    ) -> None:
        """Add the fields of a request sent by span `span_id` to `own`.

        `parent_id`: that span's parent, if it is not the caller's span; only B3 transmits it.
        """
        for form in self._formats:
            if form is _TRACECONTEXT:
                value = f"00-{context.trace_id}-{span_id}{_FLAGS[context.flags]}"
                own.append((_TRACEPARENT, value.encode()))
                if context.tracestate:
                    own.append((_TRACESTATE, context.tracestate))
                continue
            parent = parent_id or context.parent_id
            if form is Format.B3:
                single = format_b3(context.trace_id, span_id, parent, context.sampling)
                own.append((_B3, single))
            else:
                own += format_b3_multi(context.trace_id, span_id, parent, context.sampling)

    def inject_new(self, own: OwnFields, context: TraceContext) -> None:
        """The header lines for a request sent by a new span, a child of the caller's."""
        span_id = self._span_ids.pop() if self._span_ids else self.new_span_id()
        if self._only_tracecontext and not context.tracestate:  # nearly always
            value = f"00-{context.trace_id}-{span_id}{_FLAGS[context.flags]}"
            own.append((_TRACEPARENT, value.encode()))
        else:
            self.inject(own, context, span_id)

    def inject_recorded(self, own: OwnFields, context: TraceContext, span_id: str) -> None:
        """The same, if `span_id` and its parent, the proxy's own span, will be exported."""
        if not context.span_id:
            context.span_id = self.new_span_id()
        self.inject(own, context, span_id, context.span_id)

    def new_span_id(self) -> str:
        """16 lower-case hex digits, never all zero."""
        if not self._span_ids:
            self._span_ids = self._draw(16, _FIRST_SPAN)
        return self._span_ids.pop()

    def _draw(self, digits: int, first: str) -> list[str]:
        """Many ids at a time, which is cheaper; `first` replaces ids that are all zero."""
        drawn = self._random_hex(digits * _BATCH)
        ids = [drawn[number * digits : (number + 1) * digits] for number in range(_BATCH)]
        zero = "0" * digits
        return [one if one != zero else first for one in ids] if zero in drawn else ids

    def begin(self, sampling: Sampling = _DEFER) -> TraceContext:
        """A new trace, for a request without one."""
        # The random flag of level 2 stays unset: parsers that implement level 1 strictly refuse a
        # traceparent with any flag except sampled.
        if not self._trace_ids:
            self._trace_ids = self._draw(32, _FIRST_TRACE)
        trace_id = self._trace_ids.pop()
        if sampling is _DEFER and self._sample <= 0:
            return TraceContext(trace_id, None, 0, sampling)
        sampling = self._decide(sampling)
        return TraceContext(trace_id, None, _sampled_flag(sampling), sampling)

    def _decide(self, sampling: Sampling) -> Sampling:
        """Make a sampling decision that the caller left open. With `sample` 0 it stays open.

        A later service may then report spans although this proxy does not; B3 can express that.
        """
        if sampling is not _DEFER or self._sample <= 0:
            return sampling
        if self._sample >= 1 or self._random() < self._sample:
            return _ACCEPT
        return _DENY

    def _continue_b3(self, trace_id: str, b3: B3Context, fields: Fields) -> TraceContext:
        sampling = self._decide(b3.sampling)
        flags = _sampled_flag(sampling)
        context = TraceContext(trace_id, b3.span_id, flags, sampling)
        if self._tracecontext:
            # A caller that sends both formats means one trace, so the tracestate is kept.
            other = _read_tracecontext(fields)
            if other is not None and other.trace_id == context.trace_id:
                context.tracestate = other.tracestate
        return context


_TRACEPARENT: Final = FieldName(b"traceparent")
_TRACESTATE: Final = FieldName(b"tracestate")
_B3: Final = FieldName(b"b3")
_BATCH: Final = 64
_FIRST_SPAN = "0" * 15 + "1"
_FIRST_TRACE = "0" * 31 + "1"
_FLAGS: Final = tuple(f"-{flags:02x}" for flags in range(256))


def _sampled_flag(sampling: Sampling) -> int:
    return SAMPLED if sampling in (_ACCEPT, _DEBUG) else 0


def _read_tracecontext(fields: Fields) -> TraceContext | None:
    parents = [value for name, value in fields if name == b"traceparent"]
    states = [value for name, value in fields if name == b"tracestate"]
    return _continued(parents, states)


def _continued(parents: list[bytes], states: list[bytes] | None) -> TraceContext | None:
    """The trace of a caller's traceparent and tracestate fields, None if it must be restarted."""
    if len(parents) != 1:
        return None
    parsed = parse_traceparent(parents[0])
    if parsed is None:
        return None
    trace_id, parent_id, flags = parsed
    return TraceContext(
        trace_id,
        parent_id,
        flags,
        _ACCEPT if flags & SAMPLED else _DENY,
        combine_tracestate(states) if states else b"",
    )


def _read_b3(fields: Fields, form: Format) -> B3Context | None:
    first: dict[bytes, bytes] = {}  # B3: the first of several values wins
    for name, value in fields:
        first.setdefault(name, value.strip(b" \t"))
    if form is Format.B3MULTI:
        return parse_b3_multi(first)
    single = first.get(b"b3")
    return None if single is None else parse_b3(single)
