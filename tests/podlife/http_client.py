"""HTTP/1.1 on streams, as little as clients here need, exact about what a connection error is."""

import asyncio


class ConnectionLost(Exception):
    """None came about, or one that was kept turned out to be closed before a byte of the answer.

    Nothing has been done with the request: it may be sent elsewhere, or once more.
    """


class Client:
    """GETs, one at a time. `keep`: connections are used again, one for a port."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._kept: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def get(self, port: int, target: str) -> int:
        """The status. ConnectionLost, OSError or IncompleteReadError: there is none."""
        reused = port in self._kept
        if reused:
            reader, writer = self._kept.pop(port)
        else:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                raise ConnectionLost from None
        keep = False
        try:
            connection = "keep-alive" if self._keep else "close"
            head = f"GET {target} HTTP/1.1\r\nHost: orders\r\nConnection: {connection}\r\n\r\n"
            writer.write(head.encode())
            try:
                first = await reader.readexactly(1)
            except (OSError, asyncio.IncompleteReadError):
                if reused:
                    raise ConnectionLost from None
                raise
            answer = first + await reader.readuntil(b"\r\n\r\n")
            status, length, closes = _head(answer)
            await reader.readexactly(length)
            keep = self._keep and not closes
            return status
        finally:
            if keep:
                self._kept[port] = reader, writer
            else:
                writer.close()

    def close(self) -> None:
        for _, writer in self._kept.values():
            writer.close()
        self._kept.clear()


def _head(answer: bytes) -> tuple[int, int, bool]:
    """Status, length of the body, and whether the connection ends with it."""
    first, *lines = answer.decode("latin-1").split("\r\n")
    fields = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    assert "transfer-encoding" not in fields
    closes = fields.get("connection", "").lower() == "close"
    return int(first.split()[1]), int(fields.get("content-length", 0)), closes
