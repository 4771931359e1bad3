"""An upstream that delays, resets, truncates, drips, hangs and lies when it is asked to.

It runs in a thread of its own on a plain asyncio loop, so that it shares no code with what it
tests. A request says with ``X-Chaos: <script>`` what shall become of it (`chaos.script`); without
that field the longest path prefix in `rules` decides. Everything that arrived is kept in `seen`.
"""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from chaos.connection import ChaosConnection
from chaos.record import Seen
from chaos.script import Step, parse_script


class ChaosUpstream:
    """Listens on `host`:`port` from `start` to `stop`; `pause` and `resume` play a restart.

    `greeting` is what happens to a connection before anything is read: None, ``close`` or ``rst``;
    to every `greet_every`-th one.
    """

    def __init__(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        script: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.rules: dict[str, str] = {"/": script}
        self.greeting: str | None = None
        self.greet_every = 1
        self.records: list[Seen] = []
        self._by_id: dict[str | None, list[Seen]] = {}
        self.connections_opened = 0
        self.open: set[ChaosConnection] = set()
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def start(self) -> "ChaosUpstream":
        self._thread.start()
        self.resume()
        return self

    def stop(self) -> None:
        self.pause()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def resume(self) -> None:
        """Listen, on the same port as before."""
        self._run(self._listen())

    def pause(self, *, rst: bool = False) -> None:
        """Stop listening and end every connection, as a process that goes away does.

        `rst`: with RST, which no body that ends with its connection can be mistaken about.
        """
        self._run(self._unlisten(rst))

    def close_idle(self) -> None:
        """Close the connections on which no request is under way; one is asked for at most."""
        self._run(self._drop([peer for peer in self.open if not peer.busy]))

    def forget(self) -> None:
        """What was seen so far: hours of it would be this process's leak."""
        with self._changed:
            self.records.clear()
            self._by_id.clear()

    def seen(self, request_id: str) -> list[Seen]:
        """What arrived of one request, an entry for each attempt, in order."""
        with self._changed:
            return list(self._by_id.get(request_id, ()))

    def seen_path(self, prefix: str) -> list[Seen]:
        with self._changed:
            return [entry for entry in self.records if entry.target.startswith(prefix)]

    def let_go(self, prefix: str) -> None:
        """Send what scripts hold back (``held``) of the requests seen so far with such a path."""
        for entry in self.seen_path(prefix):
            entry.may_go.set()

    def wait(self, condition: Callable[[], object], timeout: float = 5.0) -> None:
        """Until `condition` holds; it is asked again whenever something arrived or left."""
        end = time.monotonic() + timeout
        with self._changed:
            while not condition():
                left = end - time.monotonic()
                assert left > 0, f"{condition} did not come true within {timeout} s"
                self._changed.wait(min(left, 0.05))

    def wait_seen(self, request_id: str, count: int = 1, timeout: float = 5.0) -> list[Seen]:
        """The attempts of a request, once `count` of their heads are in."""
        self.wait(lambda: len(self.seen(request_id)) >= count, timeout)
        return self.seen(request_id)

    # --- the loop's side ----------------------------------------------------------------------

    def record(self, entry: Seen) -> Step:
        """Keep a request's head, and say what to do with it."""
        with self._changed:
            self.records.append(entry)
            attempts = self._by_id.setdefault(entry.request_id, [])
            attempts.append(entry)
            earlier = len(attempts) - 1
            self._changed.notify_all()
        text = entry.header("x-chaos")
        if text is None:
            prefixes = [prefix for prefix in self.rules if entry.target.startswith(prefix)]
            text = self.rules[max(prefixes, key=len)] if prefixes else ""
        steps = parse_script(text)
        return steps[min(earlier, len(steps) - 1)]

    def changed(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    async def _listen(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # With the protocol named, asyncio turns Nagle's algorithm off for what it accepts.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(
            self._serve, sock=listener, backlog=1024, ssl=self.tls
        )

    async def _unlisten(self, rst: bool = False) -> None:
        if self._server is not None:
            # asyncio trips over connections that it accepted just before the server was closed.
            for listener in self._server.sockets:
                self._loop.remove_reader(listener)
            await asyncio.sleep(0.01)
            self._server.close()
            self._server = None
        await self._drop(list(self.open), rst)

    async def _drop(self, connections: list[ChaosConnection], rst: bool = False) -> None:
        for connection in connections:
            connection.abort(rst=rst)
        tasks = [connection.task for connection in connections if connection.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections_opened += 1
        connection = ChaosConnection(self, self.connections_opened, reader, writer)
        connection.task = asyncio.current_task()
        self.open.add(connection)
        try:
            await connection.run()
        except asyncio.CancelledError:
            pass  # the server goes away with its connections
        finally:
            self.open.discard(connection)
            await connection.finish()
            self.changed()
