"""The proxy's command, with a watch of its event loop.

    python loop_watch.py PORT run --config FILE

A connection to PORT gets the longest step of the loop since the last one, in milliseconds of the
thread's CPU time: what other processes take from the machine does not count.
"""

import asyncio
import socket
import sys
import time
from typing import Any

from proxy.cli import main
from proxy.lifecycle import Lifecycle

_serve = Lifecycle.ended


def ask_watch(port: int) -> float:
    """The longest step since the last call."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        return float(connection.makefile().read())


class Watch:
    longest = 0.0

    async def run(self) -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest = max(self.longest, now - before)
            before = now

    async def tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%.3f\n" % (1000 * self.longest))
        self.longest = 0.0
        writer.close()


async def _watched(self: Lifecycle) -> int:
    watch = Watch()
    kept: list[Any] = [asyncio.create_task(watch.run())]
    kept.append(await asyncio.start_server(watch.tell, "127.0.0.1", int(sys.argv[1])))
    return await _serve(self)


if __name__ == "__main__":
    Lifecycle.ended = _watched
    sys.exit(main(sys.argv[2:]))
