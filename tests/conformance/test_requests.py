"""Every row of the request tables, through the whole data plane, however its bytes arrive."""

import re
from collections.abc import Callable, Iterator

import pytest
from conformance.cases import chunks, connection, fields, framing, limits, request_line
from conformance.play import CONFIG, Play
from conformance.rows import BAD, Row
from conformance.strict import Responses
from exchange.chunks import merged
from exchange.stage import Stage, staged

TABLES = {
    "request line": request_line.ROWS,
    "fields": fields.ROWS,
    "framing": framing.ROWS,
    "chunks": chunks.ROWS,
    "connection": connection.ROWS,
    "limits": limits.ROWS,
}
OWN = re.compile(
    rb"Via: (?:1\.0 other, )?1\.[01] stage\r\n"
    rb"X-Request-Id: [0-9a-f-]{36}\r\n(?:Date: [^\r]{29}\r\n)?"
)
GOOD = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"


def whole(sent: bytes) -> list[bytes]:
    return [sent]


def byte_by_byte(sent: bytes) -> list[bytes]:
    return [sent[at : at + 1] for at in range(len(sent))]


def by_line(sent: bytes) -> list[bytes]:
    return sent.splitlines(keepends=True)


def without_own(sent: bytes, requests: int) -> bytes:
    """What went upstream, without the fields that the proxy added to each request."""
    rest, found = OWN.subn(b"", sent)
    assert found == requests, sent
    return rest


def check(play: Play, row: Row, before: bytes = b"") -> None:
    """What became of a row; `before` are the bytes of a good request that went first."""
    hung_up = play.hung_up
    play.end()
    play.assert_strict()
    answers = Responses()
    answers.feed(play.came)
    assert not answers.fault, play.came
    assert all(message.whole for message in answers.messages), play.came
    if isinstance(row.becomes, str):
        status, reason = row.becomes.split(" ")
        last = answers.messages[-1]
        assert last.first == int(status), play.came
        assert f'details="{reason}"'.encode() in last.values(b"proxy-status")[0]
        assert hung_up
        assert last.values(b"connection") == [b"close"]
        went = b"".join(one.came for one in play.upstreams if one.read.whole)
        begun = [message for message in play.forwarded if not message.whole]
        if not begun:  # a body that is malformed late was begun, and cut off
            assert without_own(went, bool(before)) == before
        statuses = [message.first for message in answers.messages[:-1]]
    else:
        expected = before + row.becomes
        assert merged(without_own(play.sent_upstream, len(play.forwarded))) == merged(expected)
        assert all(message.whole for message in play.forwarded)
        assert hung_up is row.closes
        statuses = [message.first for message in answers.messages]
        assert len(statuses) == len(play.forwarded)
    assert set(statuses) <= {200}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged(CONFIG) as stage:
        yield stage


ALL = [
    pytest.param(row, id=f"{table}: {row.name}") for table, rows in TABLES.items() for row in rows
]


@pytest.mark.parametrize("row", ALL)
def test_what_becomes_of_a_request(stage: Stage, row: Row) -> None:
    for cut in (whole, byte_by_byte, by_line):
        play = Play(stage)
        play.send(cut(row.sent))
        check(play, row)
    play = Play(stage)
    play.send([GOOD + row.sent])
    check(play, row, GOOD)


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
@pytest.mark.parametrize(("name", "garbage"), connection.GARBAGE)
def test_garbage_behind_a_good_request(
    stage: Stage, name: str, garbage: bytes, cut: Callable[[bytes], list[bytes]]
) -> None:
    play = Play(stage)
    play.send(cut(GOOD + garbage))
    check(play, Row(name, garbage, BAD), GOOD)


def test_no_two_rows_of_a_table_have_the_same_name() -> None:
    for table, rows in TABLES.items():
        names = [row.name for row in rows]
        assert sorted(names) == sorted(set(names)), table
