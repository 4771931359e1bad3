"""The service: every request makes a call of its own, out through the sidecar.

    python service.py PORT DEPENDENCY_URL REPORT       serve until SIGTERM
    python service.py --job DEPENDENCY_URL REPORT      make some calls and end

At SIGTERM it takes no more connections, answers what is under way, and goes on calling for a while,
as one that flushes a queue does. What became of its calls is in REPORT, as JSON. Only the standard
library, so that it starts fast.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from http_client import Client, ConnectionLost

FLUSH_SECONDS = 0.5
"""How long it still calls after its last request."""


class Service:
    def __init__(self, dependency: str) -> None:
        self._dependency = dependency
        self._proxy = int(os.environ["HTTP_PROXY"].rpartition(":")[2])
        self._busy = 0
        self._idle: set[asyncio.StreamWriter] = set()
        self._ending = asyncio.Event()
        self.calls = 0
        self.failed: list[str] = []

    async def call(self, client: Client) -> bool:
        """One call; whether it went well."""
        self.calls += 1
        try:
            try:
                status = await client.get(self._proxy, self._dependency)
            except ConnectionLost:  # a kept one; every client tries once more then
                status = await client.get(self._proxy, self._dependency)
        except (ConnectionLost, OSError, asyncio.IncompleteReadError) as error:
            self.failed.append(repr(error))
            return False
        if status != 200:
            self.failed.append(f"status {status}")
        return status == 200

    async def serve(self, port: int) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._ending.set)
        server = await asyncio.start_server(self._connection, "127.0.0.1", port)
        await self._ending.wait()
        server.close()
        for writer in self._idle:
            writer.close()
        while self._busy:
            await asyncio.sleep(0.01)
        await self.flush()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests of one connection; each has an outbound connection of the same kind."""
        client = Client(keep=True)
        try:
            while not self._ending.is_set():
                self._idle.add(writer)
                head = await reader.readuntil(b"\r\n\r\n")
                self._idle.discard(writer)
                self._busy += 1
                try:
                    await asyncio.sleep(_seconds(head))
                    status = 200 if await self.call(client) else 500
                    last = b"Connection: close\r\n" if self._ending.is_set() else b""
                    writer.write(b"HTTP/1.1 %d X\r\n%bContent-Length: 2\r\n\r\nok" % (status, last))
                    await writer.drain()
                finally:
                    self._busy -= 1
        except (OSError, asyncio.IncompleteReadError):
            pass  # the proxy has closed it
        finally:
            self._idle.discard(writer)
            client.close()
            writer.close()

    async def flush(self) -> None:
        client = Client(keep=True)
        end = asyncio.get_running_loop().time() + FLUSH_SECONDS
        while asyncio.get_running_loop().time() < end:
            await self.call(client)
            await asyncio.sleep(0.02)
        client.close()


def _seconds(head: bytes) -> float:
    """Of ``GET /work?seconds=0.2 HTTP/1.1``; 0 for any other target."""
    target = head.split(b" ", 2)[1]
    return float(target.partition(b"seconds=")[2] or 0)


async def _run(first: str, dependency: str) -> Service:
    service = Service(dependency)
    await (service.flush() if first == "--job" else service.serve(int(first)))
    return service


def main() -> int:
    first, dependency, report = sys.argv[1:]
    service = asyncio.run(_run(first, dependency))
    Path(report).write_text(json.dumps({"calls": service.calls, "failed": service.failed}))
    return 1 if service.failed else 0


if __name__ == "__main__":
    sys.exit(main())
