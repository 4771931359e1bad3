"""An upstream in a thread of its own that keeps the idempotency keys it was called with."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class CountingUpstream:
    """Answers every POST with `status`, after its key was noted in `keys`, its path and body in
    `bodies`."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.bodies: list[tuple[str, bytes]] = []
        self.status = 200
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                upstream.bodies.append((self.path, body))
                upstream.keys.append(self.headers.get("idempotency-key", ""))
                self.send_response(upstream.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    def __enter__(self) -> "CountingUpstream":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
