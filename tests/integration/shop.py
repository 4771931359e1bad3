"""The services of a shop that count their effects: a key that they have seen changes nothing.

`script[path]` is a list of answers to give first: a status, a (status, headers) pair, or
``"lost"``: the effect is made, and the connection is closed without an answer; ``"slow"``: it is
made, and answered when `slow` is set. `cut` counts slow answers whose client left.
"""

import json
import select
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

LOST = "lost"
SLOW = "slow"
Scripted: TypeAlias = int | str | tuple[int, dict[str, str]]


class Shop:
    """`requests` has (path, key, body) in order; `effects` counts each key that was obeyed."""

    def __init__(self) -> None:
        self.script: dict[str, list[Scripted]] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.effects: Counter[str] = Counter()
        self.arrived = threading.Condition()
        self.slow = threading.Event()
        self.cut = 0
        self.url = ""

    def take(self, path: str, key: str, body: Any) -> Scripted:
        """What to answer; the effect is made unless the answer refuses."""
        with self.arrived:
            self.requests.append((path, key, body))
            scripted = self.script.get(path)
            answer = scripted.pop(0) if scripted else 200
            self.arrived.notify_all()
            if (answer in (200, LOST, SLOW)) and not self.effects[key]:
                self.effects[key] += 1
            return answer

    def wait_for(self, path: str, count: int = 1, timeout: float = 10.0) -> None:
        """Until so many requests for `path` have arrived."""

        def there() -> bool:
            return sum(one[0] == path for one in self.requests) >= count

        with self.arrived:
            assert self.arrived.wait_for(there, timeout), self.requests

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.requests]

    def keys(self, path: str) -> list[str]:
        return [key for at, key, _ in self.requests if at == path]


@contextmanager
def open_shop() -> Iterator[Shop]:
    shop = Shop()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.loads(content) if content else None
            key = self.headers.get("Idempotency-Key") or self.headers.get("X-Idempotency-Key") or ""
            answer = shop.take(self.path, key, body)
            if answer == LOST:
                self.close_connection = True
                return
            if answer == SLOW:
                if self._is_cut():
                    return
                answer = 200
            status, headers = answer if isinstance(answer, tuple) else (answer, {})
            told = {"key": key, "reservationId": f"r-{key}", "transactionId": f"t-{key}"}
            text = json.dumps(told).encode()
            self.send_response(int(status))
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text)

        def _is_cut(self) -> bool:
            """Wait until the shop is told to go on, or the client closes its connection."""
            while not shop.slow.is_set():
                readable, _, _ = select.select([self.connection], [], [], 0.02)
                if readable and not self.connection.recv(1, socket.MSG_PEEK):
                    shop.cut += 1
                    self.close_connection = True
                    return True
            return False

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exception(), ConnectionError):  # of a proxy that was killed
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    shop.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield shop
    finally:
        shop.slow.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
