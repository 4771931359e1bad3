"""Every row of the response tables, through the whole data plane, however its bytes arrive."""

from collections.abc import Callable, Iterator

import pytest
from conformance.cases import response_framing, response_heads
from conformance.play import CONFIG, Play
from conformance.rows import Answer, Cut
from conformance.strict import Responses
from conformance.test_requests import OWN, by_line, byte_by_byte, whole
from exchange.chunks import merged
from exchange.stage import Stage, staged

TABLES = {"head": response_heads.ROWS, "framing": response_framing.ROWS}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged(CONFIG) as stage:
        yield stage


def answered(stage: Stage, row: Answer, pieces: list[bytes]) -> Play:
    play = Play(stage, answers=False)
    play.send([row.asked])
    (upstream,) = play.upstreams
    for piece in pieces:
        upstream.server.send(piece)
    if row.ends:
        upstream.server.close()
    elif row.resets:
        upstream.server.reset()
    play.turn()
    return play


def read(came: bytes) -> list[tuple[object, ...]]:
    """A client's view, in which it does not matter how a body was cut into chunks."""
    seen = Responses()
    seen.feed(came)
    return [(one.first, one.fields, one.body, one.whole) for one in seen.messages]


def check_answer(came: bytes, expected: str) -> None:
    """The proxy's own answer, and nothing of the upstream's bytes."""
    status, reason = expected.split(" ")
    seen = Responses()
    seen.feed(came)
    (message,) = seen.messages
    assert message.whole
    assert message.first == int(status)
    assert f'details="{reason}"'.encode() in message.values(b"proxy-status")[0]


def check_bytes(came: bytes, expected: bytes, *, exact: bool) -> None:
    """These bytes, but for how a body without a length is cut into chunks on its way."""
    came, expected = merged(OWN.sub(b"", came)), merged(expected)
    assert came == expected or (not exact and read(came) == read(expected))


ALL = [
    pytest.param(row, id=f"{table}: {row.name}") for table, rows in TABLES.items() for row in rows
]


@pytest.mark.parametrize("row", ALL)
@pytest.mark.parametrize("cut", [whole, by_line, byte_by_byte])
def test_what_becomes_of_a_response(
    stage: Stage, row: Answer, cut: Callable[[bytes], list[bytes]]
) -> None:
    if len(row.sent) > 5000 and cut is byte_by_byte:
        return
    play = answered(stage, row, cut(row.sent))
    reused, closed, hung_up = stage.counts("app").idle, play.client.closed, play.hung_up
    play.end()
    assert reused == row.reused
    late = isinstance(row.becomes, str) and not play.came.startswith(b"HTTP/1.1 502")
    if isinstance(row.becomes, Cut) or late:
        # In pieces, what is wrong with a body is seen when its head has gone: too late for a 502.
        assert closed in ("close", "abort")
        if isinstance(row.becomes, Cut):
            check_bytes(play.came, row.becomes.came, exact=cut is whole)
            if b"\r\nTransfer-Encoding" not in play.came and b"\r\nContent-Length" not in play.came:
                assert closed == "abort", "a proper close would be the body's end"
        assert read(play.came)[-1][-1] is False, "it looks whole"
        assert [one.reason for one in play.settled] == ["upstream-truncated"]
    elif isinstance(row.becomes, str):
        check_answer(play.came, row.becomes)
        assert hung_up is row.closes
    else:
        check_bytes(play.came, row.becomes, exact=cut is whole)
        assert hung_up is row.closes


def test_bytes_that_nobody_asked_for_cost_the_connection(stage: Stage) -> None:
    for stray in (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"\0", b"\r\n"):
        play = Play(stage)
        play.send([b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"])
        play.upstreams[0].server.send(stray)
        play.send([b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n"])
        assert [(one.target, one.status) for one in play.settled] == [("/a", 200), ("/b", 200)]
        assert len(play.upstreams) == 2
        play.end()
        play.assert_strict()


def test_no_two_rows_of_a_table_have_the_same_name() -> None:
    for table, rows in TABLES.items():
        names = [row.name for row in rows]
        assert sorted(names) == sorted(set(names)), table
