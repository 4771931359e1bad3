"""A client of exact bytes: what goes out is what the test wrote, what comes back is kept whole."""

import contextlib
import json
import socket
import ssl
import struct
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Headers = list[tuple[str, str]]


class BrokenOff(Exception):
    """The connection ended before the response did. `response` is what there was of it."""

    def __init__(self, response: "Response | None") -> None:
        super().__init__("the connection ended before the response")
        self.response = response


@dataclass
class Response:
    """One response. `interim` are the statuses and fields of the 1xx that came before it."""

    status: int
    reason: str
    version: str
    headers: Headers
    head: bytes
    body: bytes = b""
    trailers: Headers = field(default_factory=list)
    interim: list[tuple[int, Headers]] = field(default_factory=list)
    complete: bool = False
    elapsed: float = 0.0

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        values = self.values(name)
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def id(self) -> str:
        value = self.header("x-request-id")
        assert value is not None, f"no X-Request-Id in {self.head!r}"
        return value

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document of an answer that the proxy made."""
        assert self.header("content-type") == "application/problem+json", self.head
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def why(self) -> str | None:
        """The reason of an answer of the proxy, None for an answer of the upstream."""
        if self.header("content-type") != "application/problem+json":
            return None
        return str(self.problem["reason"])


def request_bytes(
    method: str,
    target: str,
    headers: Mapping[str, str] | Headers | None = None,
    body: bytes | None = None,
    *,
    version: str = "HTTP/1.1",
    host: str = "service.test",
    request_id: str | None = None,
    chaos: str | None = None,
) -> bytes:
    """A request; Host, X-Request-Id and Content-Length are added where `headers` lacks them."""
    given = list(headers.items()) if isinstance(headers, Mapping) else list(headers or [])
    names = {name.lower() for name, _ in given}
    fields: Headers = []
    if "host" not in names:
        fields.append(("Host", host))
    if "x-request-id" not in names:
        fields.append(("X-Request-Id", request_id or uuid.uuid4().hex))
    if chaos is not None:
        fields.append(("X-Chaos", chaos))
    fields += given
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class RawClient:
    """One connection. Every wait ends after `timeout` seconds with TimeoutError."""

    def __init__(
        self,
        port: int,
        timeout: float = 10.0,
        *,
        receive_buffer: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """With `tls`, the handshake is done too; its failure is raised as ssl.SSLError."""
        self._socket = socket.socket()
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        try:
            self._socket.connect(("127.0.0.1", port))
            if tls is not None:
                self._socket = tls.wrap_socket(self._socket, server_hostname="127.0.0.1")
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def certificate(self) -> dict[str, Any]:
        """The server's, as `ssl` decodes it."""
        assert isinstance(self._socket, ssl.SSLSocket)
        return dict(self._socket.getpeercert() or {})

    def close(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        """Leave with RST."""
        linger = struct.pack("ii", 1, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._socket.close()

    def half_close(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send_some(self, data: bytes, timeout: float) -> int:
        """As many bytes as the other side takes; stops when it takes none for `timeout`."""
        before = self._socket.gettimeout()
        self._socket.settimeout(timeout)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < len(data):
                sent += self._socket.send(data[sent : sent + 256 * 1024])
        self._socket.settimeout(before)
        return sent

    def request(self, *args: Any, **kwargs: Any) -> Response:
        """Send `request_bytes(...)` and read the response to it."""
        started = time.monotonic()
        self.send(request_bytes(*args, **kwargs))
        response = self.read_response(args[0])
        response.elapsed = time.monotonic() - started
        return response

    def read_response(self, method: str = "GET") -> Response:
        """The next final response. Raises BrokenOff when the connection ends before it does."""
        interim: list[tuple[int, Headers]] = []
        while (response := self.read_head()).status < 200 and response.status != 101:
            interim.append((response.status, response.headers))
        response.interim = interim
        self._read_body(response, method)
        return response

    def read_head(self) -> Response:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if not self._fill():
                raise BrokenOff(None)
        head = bytes(self._buffer[: end + 4])
        del self._buffer[: end + 4]
        lines = head.decode("latin-1").split("\r\n")
        version, status, reason = [*lines[0].split(" ", 2), ""][:3]
        fields = [line.partition(":") for line in lines[1:-2]]
        headers = [(name, value.strip()) for name, _, value in fields]
        return Response(int(status), reason, version, headers, head)

    def _read_body(self, response: Response, method: str) -> None:
        length = response.header("content-length")
        try:
            if method == "HEAD" or response.status in (101, 204, 304):
                pass
            elif (response.header("transfer-encoding") or "").lower() == "chunked":
                self._read_chunks(response)
            elif length is not None:
                response.body = self._take(int(length), response)
            else:
                response.body = self.read_rest()
        except ConnectionError as error:
            raise BrokenOff(response) from error
        response.complete = True

    def _read_chunks(self, response: Response) -> None:
        while size := int(self._line(response).split(b";")[0], 16):
            response.body += self._take(size, response)
            assert self._line(response) == b"", "a chunk does not end where it said"
        while line := self._line(response):
            name, _, value = line.decode("latin-1").partition(":")
            response.trailers.append((name, value.strip()))

    def _line(self, response: Response) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if not self._fill():
                raise BrokenOff(response)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _take(self, size: int, response: Response) -> bytes:
        while len(self._buffer) < size:
            if not self._fill():
                response.body += bytes(self._buffer)
                raise BrokenOff(response)
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def read_some(self, size: int) -> bytes:
        """Exactly `size` more bytes. Raises EOFError at an early end."""
        while len(self._buffer) < size:
            if not self._fill():
                raise EOFError(bytes(self._buffer))
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def read_rest(self) -> bytes:
        """All bytes until the other side closes."""
        while self._fill():
            pass
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def closed(self) -> bool:
        """Whether the other side closes, with nothing more to read; waits for it to."""
        try:
            return self.read_rest() == b""
        except ConnectionError:
            return True

    def stays_open(self, seconds: float) -> bool:
        """Whether nothing comes, no end either, for that long."""
        before = self._socket.gettimeout()
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
            return False
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(before)

    def _fill(self) -> bool:
        data = self._socket.recv(256 * 1024)
        self._buffer += data
        return bool(data)
