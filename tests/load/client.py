"""Clients that keep a connection each, send one request after another and write down every end."""

import asyncio
import contextlib
import itertools
import uuid
from dataclasses import dataclass
from enum import Enum

from load.faulty_upstream import STREAM_CHUNK, STREAM_CHUNKS, expected_answer
from load.message import Head, Truncated, read_body, read_head

LEAVES_AFTER = 0.01
STREAMED = STREAM_CHUNK * STREAM_CHUNKS


class Kind(Enum):
    """What is asked, and so what the policy allows."""

    GET = "GET"
    KEYED_POST = "POST with an Idempotency-Key"
    PLAIN_POST = "POST"
    STREAM = "streamed GET"
    LEAVE = "GET whose client leaves"


REPEATABLE = frozenset({Kind.GET, Kind.KEYED_POST})
_POSTS = frozenset({Kind.KEYED_POST, Kind.PLAIN_POST})

_TURN = (
    *(Kind.GET, Kind.GET, Kind.KEYED_POST, Kind.GET, Kind.STREAM),
    *(Kind.GET, Kind.PLAIN_POST, Kind.GET, Kind.KEYED_POST, Kind.LEAVE),
)


class Ending(Enum):
    """What became of a request, as its client saw it."""

    GOOD = "the right answer, whole"
    REFUSED = "an answer other than 200, whole"
    WRONG = "a whole 200 that is not the answer to this request"
    CUT = "the head of a 200, then the connection broke off"
    LOST = "the connection broke off without an answer"
    LEFT = "the client left"


@dataclass(frozen=True, slots=True)
class Record:
    """`detail`: status and reason, or how the connection ended."""

    kind: Kind
    request_id: str
    ending: Ending
    detail: str = ""


class Client:
    """One caller with one connection; `records` has every request that it began."""

    def __init__(self, port: int, pause: float) -> None:
        self.records: list[Record] = []
        self._port = port
        self._pause = pause
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, until: float, first: int) -> None:
        """Requests, `pause` apart, up to the loop's time `until`; the mix begins at `first`."""
        clock = asyncio.get_running_loop().time
        for kind in itertools.islice(itertools.cycle(_TURN), first % len(_TURN), None):
            if clock() >= until:
                break
            self.records.append(await self._exchange(kind))
            await asyncio.sleep(self._pause)
        await self._close()

    async def _exchange(self, kind: Kind) -> Record:
        request_id = uuid.uuid4().hex
        body = request_id.encode() * 32 if kind in _POSTS else b""
        try:
            reader, writer = await self._connection()
            writer.write(_request(kind, request_id, body))
            await writer.drain()
            if kind is Kind.LEAVE:
                await asyncio.sleep(LEAVES_AFTER)
                await self._close()
                return Record(kind, request_id, Ending.LEFT)
            head = await read_head(reader)
        except (Truncated, ConnectionError) as lost:
            await self._close()
            return Record(kind, request_id, Ending.LOST, repr(lost))
        if head is None:
            await self._close()
            return Record(kind, request_id, Ending.LOST, "closed")
        return await self._rest(kind, request_id, body, head, reader)

    async def _rest(
        self, kind: Kind, request_id: str, body: bytes, head: Head, reader: asyncio.StreamReader
    ) -> Record:
        status = head.start[1]
        try:
            answer = await read_body(reader, head.fields)
        except Truncated as cut:
            await self._close()
            ending = Ending.CUT if status == "200" else Ending.LOST
            return Record(kind, request_id, ending, str(cut))
        if head.fields.get("connection", "").lower() == "close":
            await self._close()
        if status != "200":
            return Record(kind, request_id, Ending.REFUSED, f"{status} {answer[:400]!r}")
        right = STREAMED if kind is Kind.STREAM else expected_answer(request_id, body)
        ending = Ending.GOOD if answer == right else Ending.WRONG
        return Record(kind, request_id, ending, "" if answer == right else repr(answer[:80]))

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self._reader, self._writer

    async def _close(self) -> None:
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def _request(kind: Kind, request_id: str, body: bytes) -> bytes:
    method = "POST" if body else "GET"
    path = {Kind.STREAM: "/stream", Kind.LEAVE: "/slow"}.get(kind, "/")
    key = f"Idempotency-Key: {request_id}\r\n" if kind is Kind.KEYED_POST else ""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: faulty.test\r\n"
        f"X-Request-Id: {request_id}\r\n{key}{length}\r\n"
    )
    return head.encode() + body
