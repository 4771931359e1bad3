"""The fuzz targets in the suite: what was kept, and mutations of the conformance tables' rows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from exchange.stage import staged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import client_side, hpack_side, http2_side, http2_upstream_side, upstream_side
from fuzz.controls import End, read_controls, with_controls
from fuzz.seeds import WORDS, client_seeds, dictionary, upstream_seeds

CORPUS = Path(__file__).with_name("corpus")
CLIENT, UPSTREAM = client_seeds(), upstream_seeds()
HTTP2, HPACK = http2_side.seeds(), hpack_side.seeds()
HTTP2_UPSTREAM = http2_upstream_side.seeds()


def played(side: ModuleType, *inputs: bytes) -> None:
    with staged(side.CONFIG) as stage:
        for data in inputs:
            side.run(stage, data)


def kept(side: str) -> Iterator[bytes]:
    for file in sorted((CORPUS / side).iterdir()):
        yield file.read_bytes()


@pytest.mark.parametrize("side", [client_side, upstream_side])
def test_what_was_kept(side: ModuleType) -> None:
    inputs = list(kept(side.__name__.rpartition(".")[2].removesuffix("_side")))
    assert inputs
    played(side, *inputs)


@pytest.mark.parametrize(
    ("side", "seeds"),
    [
        (client_side, CLIENT),
        (upstream_side, UPSTREAM),
        (http2_side, HTTP2),
        (http2_upstream_side, HTTP2_UPSTREAM),
        (hpack_side, HPACK),
    ],
)
def test_every_row_of_the_tables(side: ModuleType, seeds: list[bytes]) -> None:
    played(side, *seeds)


# --- mutations ----------------------------------------------------------------------------------

PLACE = st.integers(0, 4000)
WORD = st.one_of(st.sampled_from(WORDS), st.binary(max_size=3))
CHANGE = st.one_of(
    st.tuples(st.just("put"), PLACE, WORD),
    st.tuples(st.just("replace"), PLACE, WORD),
    st.tuples(st.just("drop"), PLACE, st.integers(1, 20)),
    st.tuples(st.just("repeat"), PLACE, st.integers(1, 40)),
    st.tuples(st.just("end"), PLACE, st.just(0)),
)


def changed(data: bytes, change: "Change") -> bytes:
    what, place, how = change
    at = place % (len(data) + 1)
    if isinstance(how, bytes):
        return data[:at] + how + data[at + (len(how) if what == "replace" else 0) :]
    if what == "drop":
        return data[:at] + data[at + how :]
    return data[: at + how] + data[at:] if what == "repeat" else data[:at]


Change = tuple[str, int, int | bytes]


def joined(rows: list[bytes]) -> bytes:
    return b"".join(rows)


def mutated(
    seeds: list[bytes], join: Callable[[list[bytes]], bytes] = joined
) -> st.SearchStrategy[bytes]:
    """Rows one behind another, changed here and there, arriving and ending in any way."""

    def made(
        controls: bytes, rows: list[bytes], changes: list[tuple[str, int, int | bytes]]
    ) -> bytes:
        data = join([row[2:] for row in rows])
        for change in changes:
            data = changed(data, change)
        return controls + data

    return st.builds(
        made,
        st.binary(min_size=2, max_size=2),
        st.lists(st.sampled_from(seeds), min_size=1, max_size=3),
        st.lists(CHANGE, max_size=4),
    )


SOME = settings(
    deadline=None,
    max_examples=settings.default.max_examples // 2,
    suppress_health_check=[HealthCheck.too_slow],
)


def several(
    seeds: list[bytes], join: Callable[[list[bytes]], bytes] = joined
) -> Callable[[Callable[[list[bytes]], None]], object]:
    """Three inputs an example: a stage takes longer to set up than they do to play."""
    return given(st.lists(mutated(seeds, join), min_size=3, max_size=3))


@SOME
@several(CLIENT)
def test_a_clients_bytes(inputs: list[bytes]) -> None:
    played(client_side, *inputs)


@SOME
@several(UPSTREAM)
def test_an_upstreams_bytes(inputs: list[bytes]) -> None:
    played(upstream_side, *inputs)


@SOME
@several(HTTP2, http2_side.joined)
def test_an_http2_clients_frames(inputs: list[bytes]) -> None:
    played(http2_side, *inputs)


@SOME
@several(HTTP2_UPSTREAM)
def test_an_http2_upstreams_frames(inputs: list[bytes]) -> None:
    played(http2_upstream_side, *inputs)


@SOME
@several(HPACK)
def test_field_blocks(inputs: list[bytes]) -> None:
    played(hpack_side, *inputs)


# --- the inputs themselves ----------------------------------------------------------------------


@given(st.binary(max_size=60))
def test_the_pieces_of_an_input_are_what_is_sent(data: bytes) -> None:
    controls = read_controls(data)
    assert b"".join(controls.pieces) == controls.sent == data[2:]


def test_controls_can_be_written() -> None:
    controls = read_controls(with_controls(b"abc", scene=5, cutting=3, end=End.SILENCE))
    assert (controls.scene, controls.end) == (5, End.SILENCE)
    assert controls.pieces == [b"a", b"b", b"c"]


def test_the_dictionary_is_one_word_a_line() -> None:
    lines = dictionary().splitlines()
    assert len(lines) == len(WORDS)
    assert lines[0] == r'"\x0d\x0a"'
