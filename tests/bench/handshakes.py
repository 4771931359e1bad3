"""A connection for each request, under TLS: with a whole handshake, or going on with a session.

    python handshakes.py PORT PATH CA SECONDS CALLERS whole|resumed

A program of its own, so that it can be bound to a core. Prints a JSON object: requests, seconds,
p50 and p99 in microseconds (from connecting to the answer's end), errors, and how many handshakes
were resumed. wrk can make whole handshakes, but resume none.
"""

import json
import socket
import ssl
import sys
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Caller(threading.Thread):
    """Connects, asks, reads to the end, again and again until `until`."""

    port: int
    request: bytes
    context: ssl.SSLContext
    until: float
    resume: bool
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    resumed: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        session: ssl.SSLSession | None = None
        while (started := time.perf_counter()) < self.until:
            try:
                session = self._ask(session if self.resume else None)
            except OSError:
                self.errors += 1
                continue
            self.latencies.append(time.perf_counter() - started)

    def _ask(self, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        plain = socket.create_connection(("127.0.0.1", self.port), 10)
        with self.context.wrap_socket(
            plain, server_hostname="127.0.0.1", session=session
        ) as connection:
            connection.sendall(self.request)
            answer = bytearray()
            while data := connection.recv(64 * 1024):
                answer += data
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(bytes(answer[:60]))
            self.resumed += bool(connection.session_reused)
            return connection.session  # with TLS 1.3 its tickets came with the answer


def main(port: int, path: str, ca: str, seconds: float, callers: int, resume: bool) -> None:
    context = ssl.create_default_context(cafile=ca)
    # A peer that ends without close_notify has still answered.
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    started = time.perf_counter()
    until = started + seconds
    threads = [Caller(port, request, context, until, resume) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    latencies = sorted(one for thread in threads for one in thread.latencies)
    count = len(latencies)
    print(
        json.dumps(
            {
                "requests": count,
                "seconds": took,
                "p50": 1e6 * latencies[count // 2] if count else 0,
                "p99": 1e6 * latencies[min(count - 1, round(count * 0.99))] if count else 0,
                "errors": sum(thread.errors for thread in threads),
                "resumed": sum(thread.resumed for thread in threads),
            }
        )
    )


if __name__ == "__main__":
    port, path, ca, seconds, callers, how = sys.argv[1:]
    main(int(port), path, ca, float(seconds), int(callers), how == "resumed")
