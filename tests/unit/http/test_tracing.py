"""Reading and writing a trace's headers: precedence, decisions, new traces."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.b3 import Sampling
from proxy.http.message import OwnFields
from proxy.http.random_hex import HexStrip
from proxy.http.tracing import Propagator, TraceContext

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "80f198ee56343ba864fe8b2a57d3eff7"
SPAN = "00f067aa0ba902b7"
NEW = "b7ad6b7169203331"
PARENT = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
B3 = (b"b3", f"{OTHER}-{SPAN}-0".encode())


CHILD = "00f067aa0ba90abc"


def make(*formats: str, sample: float = 0.0, draw: float = 0.5, bits: int = 0xABC) -> Propagator:
    return Propagator(
        formats,
        sample,
        random_hex=lambda digits: f"{bits:0{digits}x}"[-digits:],
        random=lambda: draw,
    )


def seeded(*formats: str, sample: float = 0.0) -> Propagator:
    chance = random.Random(7)
    return Propagator(
        formats, sample, random_hex=HexStrip(chance.randbytes).draw, random=chance.random
    )


def as_lines(own: OwnFields) -> bytes:
    return b"".join([b"%b: %b\r\n" % (name.text, value) for name, value in own])


def injected(
    propagator: Propagator, context: TraceContext, span: str, parent_id: str | None = None
) -> bytes:
    own: OwnFields = []
    propagator.inject(own, context, span, parent_id)
    return as_lines(own)


def injected_new(propagator: Propagator, context: TraceContext) -> bytes:
    own: OwnFields = []
    propagator.inject_new(own, context)
    return as_lines(own)


def injected_recorded(propagator: Propagator, context: TraceContext, span: str) -> bytes:
    own: OwnFields = []
    propagator.inject_recorded(own, context, span)
    return as_lines(own)


def test_the_names_are_those_of_the_formats() -> None:
    assert make("tracecontext", "baggage").names == {b"traceparent", b"tracestate"}
    assert make("b3").names == {b"b3"}
    assert make("b3multi", "b3").names == {
        b"b3",
        b"x-b3-traceid",
        b"x-b3-spanid",
        b"x-b3-parentspanid",
        b"x-b3-sampled",
        b"x-b3-flags",
    }
    assert make("baggage").names == set()


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="jaeger"):
        make("jaeger")


def test_without_headers_a_trace_begins() -> None:
    context = make("tracecontext").extract([])
    assert context.own
    assert context.parent_id is None
    assert context.trace_id == f"{0xABC:032x}"
    assert not context.sampled
    assert context.tracestate == b""
    assert injected(make("tracecontext"), context, NEW) == (
        f"traceparent: 00-{context.trace_id}-{NEW}-00\r\n".encode()
    )


def test_ids_are_never_all_zero() -> None:
    propagator = make("tracecontext", bits=0)
    assert int(propagator.extract([]).trace_id, 16) != 0
    assert int(propagator.new_span_id(), 16) != 0
    assert len(propagator.new_span_id()) == 16


@pytest.mark.parametrize(
    ("sample", "draw", "sampled"),
    [
        (0.0, 0.0, False),
        (0.25, 0.2499, True),
        (0.25, 0.25, False),
        (1.0, 0.999, True),
    ],
)
def test_new_traces_are_sampled_at_the_share(sample: float, draw: float, sampled: bool) -> None:
    context = make("tracecontext", sample=sample, draw=draw).extract([])
    assert context.sampled is sampled
    assert context.flags == (1 if sampled else 0)


def test_a_context_is_continued() -> None:
    propagator = make("tracecontext", "baggage", sample=1.0)
    state = [(b"tracestate", b"rojo=1"), (b"tracestate", b"congo=2")]
    context = propagator.extract([state[0], PARENT, state[1]])
    assert (context.trace_id, context.parent_id, context.own) == (TRACE, SPAN, False)
    assert injected(propagator, context, NEW) == (
        f"traceparent: 00-{TRACE}-{NEW}-01\r\ntracestate: rojo=1,congo=2\r\n".encode()
    )


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
def test_a_callers_decision_is_kept(flags: str) -> None:
    value = f"00-{TRACE}-{SPAN}-{flags}".encode()
    for sample in (0.0, 1.0):
        propagator = make("tracecontext", sample=sample)
        context = propagator.extract([(b"traceparent", value)])
        assert context.sampled is (int(flags) & 1 == 1)
        assert injected(propagator, context, NEW).endswith(f"-{NEW}-{flags}\r\n".encode())


def test_a_later_version_goes_on_as_version_00() -> None:
    propagator = make("tracecontext")
    context = propagator.extract([(b"traceparent", f"cc-{TRACE}-{SPAN}-09-more".encode())])
    assert injected(propagator, context, NEW) == f"traceparent: 00-{TRACE}-{NEW}-01\r\n".encode()


@pytest.mark.parametrize(
    "fields",
    [
        [PARENT, PARENT],
        [PARENT, (b"traceparent", f"00-{OTHER}-{SPAN}-01".encode())],
        [(b"traceparent", b"00-" + b"0" * 32 + b"-" + SPAN.encode() + b"-01")],
        [(b"traceparent", b"")],
        [],
    ],
)
def test_an_invalid_or_missing_traceparent_takes_tracestate_with_it(
    fields: list[tuple[bytes, bytes]],
) -> None:
    propagator = make("tracecontext")
    context = propagator.extract([*fields, (b"tracestate", b"foo=1")])
    assert context.own
    assert context.trace_id == f"{0xABC:032x}"
    assert context.tracestate == b""


def test_a_malformed_tracestate_leaves_the_trace_alone() -> None:
    context = make("tracecontext").extract([PARENT, (b"tracestate", b"foo=1,FOO=2")])
    assert context.trace_id == TRACE
    assert context.tracestate == b""


@pytest.mark.parametrize(
    ("formats", "trace"), [(("tracecontext", "b3"), TRACE), (("b3", "tracecontext"), OTHER)]
)
def test_order_is_precedence_and_all_are_written(formats: tuple[str, ...], trace: str) -> None:
    propagator = make(*formats)
    context = propagator.extract([B3, PARENT, (b"tracestate", b"foo=1")])
    assert context.trace_id == trace
    sampled = "01" if trace == TRACE else "00"
    lines = injected(propagator, context, NEW)
    assert f"traceparent: 00-{trace}-{NEW}-{sampled}\r\n".encode() in lines
    assert f"b3: {trace}-{NEW}-{sampled[1]}-{SPAN}\r\n".encode() in lines
    assert (b"tracestate: foo=1\r\n" in lines) is (trace == TRACE)


def test_tracestate_stays_with_its_trace_when_b3_is_read_first() -> None:
    propagator = make("b3", "tracecontext")
    b3 = (b"b3", f"{TRACE}-{SPAN}-1".encode())
    context = propagator.extract([b3, PARENT, (b"tracestate", b"foo=1")])
    assert context.tracestate == b"foo=1"


def test_an_invalid_format_gives_way_to_the_next() -> None:
    propagator = make("tracecontext", "b3", "b3multi")
    assert propagator.extract([(b"traceparent", b"junk"), B3]).trace_id == OTHER
    multi = [(b"x-b3-traceid", TRACE.encode()), (b"x-b3-spanid", SPAN.encode())]
    assert propagator.extract([(b"b3", b"junk"), *multi]).trace_id == TRACE


def test_the_first_of_several_b3_values_wins() -> None:
    again = (b"b3", f"{TRACE}-{SPAN}-1".encode())
    assert make("b3").extract([B3, again]).trace_id == OTHER


@pytest.mark.parametrize(
    ("value", "sampling"),
    [(b"0", Sampling.DENY), (b"1", Sampling.ACCEPT), (b"d", Sampling.DEBUG)],
)
def test_a_b3_decision_alone_rules_the_new_trace(value: bytes, sampling: Sampling) -> None:
    propagator = make("b3", "tracecontext", sample=0.5, draw=0.0 if value == b"0" else 0.9)
    context = propagator.extract([(b"b3", value)])
    assert context.own
    assert context.sampling is sampling
    assert context.sampled is (value != b"0")
    assert injected(propagator, context, NEW).startswith(
        f"b3: {context.trace_id}-{NEW}-{value.decode()}\r\n".encode()
    )


def test_a_trace_found_later_has_its_own_decision() -> None:
    context = make("b3", "tracecontext").extract([(b"b3", b"0"), PARENT])
    assert context.trace_id == TRACE
    assert context.sampled


def test_debug_is_kept_and_counts_as_sampled() -> None:
    propagator = make("b3multi", "tracecontext")
    fields = [
        (b"x-b3-traceid", TRACE.encode()),
        (b"x-b3-spanid", SPAN.encode()),
        (b"x-b3-flags", b"1"),
    ]
    context = propagator.extract(fields)
    assert (
        injected(propagator, context, NEW)
        == (
            f"x-b3-traceid: {TRACE}\r\nx-b3-spanid: {NEW}\r\nx-b3-parentspanid: {SPAN}\r\n"
            f"x-b3-flags: 1\r\ntraceparent: 00-{TRACE}-{NEW}-01\r\n"
        ).encode()
    )


def test_a_deferred_decision_stays_open_where_the_proxy_takes_none() -> None:
    fields = [(b"b3", f"{TRACE}-{SPAN}".encode())]
    propagator = make("b3", sample=0.0)
    assert (
        injected(propagator, propagator.extract(fields), NEW) == f"b3: {TRACE}-{NEW}\r\n".encode()
    )
    propagator = make("b3", sample=0.5, draw=0.4)
    assert f"-{NEW}-1-".encode() in injected(propagator, propagator.extract(fields), NEW)
    propagator = make("b3", sample=0.5, draw=0.6)
    assert f"-{NEW}-0-".encode() in injected(propagator, propagator.extract(fields), NEW)


def test_a_span_of_the_proxy_can_stand_between() -> None:
    propagator = make("b3")
    context = propagator.extract([B3])
    lines = injected(propagator, context, NEW, parent_id="53ce929d0e0e4736")
    assert lines == f"b3: {OTHER}-{NEW}-0-53ce929d0e0e4736\r\n".encode()


def test_with_no_format_there_is_still_a_trace_id_for_the_log() -> None:
    propagator = make("baggage")
    context = propagator.extract([])
    assert len(context.trace_id) == 32
    assert injected(propagator, context, NEW) == b""


FORMATS = ("tracecontext", "b3", "b3multi")
names = st.sampled_from(sorted(seeded(*FORMATS).names))
pieces = st.sampled_from(
    [
        b"00",
        b"01",
        b"-",
        TRACE.encode(),
        SPAN.encode(),
        b"0" * 16,
        b"d",
        b"1",
        b",",
        b"=",
        b"a",
        b" ",
    ]
)
values = st.one_of(st.binary(max_size=70), st.lists(pieces, max_size=9).map(b"".join))


@given(
    st.lists(st.tuples(names, values), max_size=6),
    st.permutations(FORMATS),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_whatever_comes_a_valid_context_goes_on(
    fields: list[tuple[bytes, bytes]], formats: list[str], sample: float
) -> None:
    propagator = seeded(*formats, sample=sample)
    context = propagator.extract(fields)
    span = propagator.new_span_id()
    lines = injected(propagator, context, span).split(b"\r\n")
    assert lines.pop() == b""
    written = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    assert {name for name, _ in written} <= propagator.names
    for form in FORMATS:  # each format alone says the same trace
        again = seeded(form, sample=sample).extract(
            [field for field in written if field[0] in seeded(form).names]
        )
        assert (again.trace_id, again.parent_id) == (context.trace_id, span)
        if context.sampling is not Sampling.DEFER:
            assert again.sampled is context.sampled


@pytest.mark.parametrize("formats", [("tracecontext",), ("tracecontext", "b3"), ("b3multi",), ()])
@pytest.mark.parametrize("fields", [[], [PARENT], [PARENT, (b"tracestate", b"foo=1")]])
def test_a_new_span_is_written_like_one_that_is_named(
    formats: tuple[str, ...], fields: list[tuple[bytes, bytes]]
) -> None:
    propagator = make(*formats, bits=0)  # which makes each new id the same
    context = propagator.extract(fields)
    written = injected_new(propagator, context)
    assert written == injected(propagator, context, propagator.new_span_id())


def test_a_recorded_span_is_a_child_of_the_proxys_own() -> None:
    propagator = seeded("tracecontext", "b3")
    context = propagator.extract([PARENT])
    first = injected_recorded(propagator, context, NEW).decode()
    own = context.span_id
    assert len({own, SPAN, NEW, "0" * 16}) == 4
    assert first == f"traceparent: 00-{TRACE}-{NEW}-01\r\nb3: {TRACE}-{NEW}-1-{own}\r\n"
    second = injected_recorded(propagator, context, CHILD).decode()
    assert second == first.replace(NEW, CHILD)
