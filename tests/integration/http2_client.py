"""A client of HTTP/2 frames as a test wrote them, lawful or not, over a real socket."""

import socket
import struct
import time
from dataclasses import dataclass, field

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW, CONTINUATION = (
    range(10)
)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY, ACK = 1, 4, 8, 32, 1
CODES = (
    *("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT"),
    *("STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR"),
    *("CONNECT_ERROR", "ENHANCE_YOUR_CALM"),
)

Fields = list[tuple[str, str]]


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    size = len(payload)
    return struct.pack(">BHBBL", size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def rst(stream: int, code: int = 8) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">L", code))


def window(stream: int, increment: int) -> bytes:
    return frame(WINDOW, 0, stream, struct.pack(">L", increment))


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HL", *pair) for pair in pairs))


def literal(name: bytes, value: bytes) -> bytes:
    """A field that no table holds."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


@dataclass
class Answer:
    """What came on one stream. `reset`: the name of the code of its RST_STREAM."""

    fields: Fields = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: str | None = None

    @property
    def status(self) -> int:
        return int(dict(self.fields)[":status"])


class Http2Client:
    """`streams` is what came so far; `goaway` the name of a GOAWAY's code, None without one.

    `closed`: the proxy ended the connection.
    """

    def __init__(
        self, port: int, *announced: tuple[int, int], receive_buffer: int | None = None
    ) -> None:
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(10)
        self._socket.connect(("127.0.0.1", port))
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._rest = b""
        self.streams: dict[int, Answer] = {}
        self.goaway: str | None = None
        self.why = ""
        self.closed = False
        self.pongs = 0
        self._greeted = False
        self.send(PREFACE + settings(*announced))
        while not self._greeted:
            assert self.read(5), "no SETTINGS came"

    def __enter__(self) -> "Http2Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def head(
        self,
        stream: int,
        path: str,
        *more: tuple[str, str],
        ended: bool = True,
        method: str = "GET",
    ) -> bytes:
        """HEADERS of a request. They must be sent, in the order in which they were made."""
        fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "shop")]
        fields += more
        flags = END_HEADERS | (END_STREAM if ended else 0)
        return frame(HEADERS, flags, stream, self._encoder.encode(fields))

    def send(self, data: bytes) -> None:
        """Send, as far as the proxy takes it; a lost connection is noted."""
        try:
            self._socket.sendall(data)
        except (ConnectionError, TimeoutError):
            self.closed = True

    def read(self, seconds: float = 0.0) -> bool:
        """Take in what comes within this time; False: nothing did."""
        if self.closed:
            return False
        self._socket.settimeout(max(seconds, 0.001))
        try:
            data = self._socket.recv(1 << 18)
        except TimeoutError:
            return False
        except ConnectionError:
            data = b""
        finally:
            self._socket.settimeout(10)
        if not data:
            self.closed = True
            return False
        self._rest += data
        self._take_all()
        return True

    def until_goaway(self, timeout: float = 5.0) -> str | None:
        """The GOAWAY's code, or None if the connection ended without one."""
        end = time.monotonic() + timeout
        while self.goaway is None and not self.closed:
            assert time.monotonic() < end, "no GOAWAY came"
            self.read(0.1)
        return self.goaway

    def until_ended(self, stream: int, timeout: float = 5.0) -> Answer:
        """The whole answer on a stream, or its reset."""
        end = time.monotonic() + timeout
        while True:
            answer = self.streams.get(stream, Answer())
            if answer.ended or answer.reset:
                return answer
            assert not self.closed, (self.goaway, self.why)
            assert time.monotonic() < end, f"nothing ended stream {stream}: {answer}"
            self.read(0.1)

    def _take_all(self) -> None:
        raw, at = self._rest, 0
        while len(raw) - at >= 9:
            high, low, kind, flags, stream = struct.unpack_from(">BHBBL", raw, at)
            size = high << 16 | low
            if len(raw) - at < 9 + size:
                break
            self._take(kind, flags, stream, raw[at + 9 : at + 9 + size])
            at += 9 + size
        self._rest = raw[at:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        answer = self.streams.setdefault(stream, Answer()) if stream else Answer()
        if kind == HEADERS:
            answer.fields += [
                (str(name), str(value)) for name, value in self._decoder.decode(payload)
            ]
        elif kind == DATA:
            answer.body += payload
        elif kind == RST_STREAM:
            answer.reset = CODES[struct.unpack(">L", payload)[0]]
        elif kind == GOAWAY:
            self.goaway, self.why = (
                CODES[struct.unpack(">LL", payload[:8])[1]],
                payload[8:].decode(),
            )
        elif kind == PING:
            self.pongs += 1
        elif kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK))
            self._greeted = True
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            answer.ended = True
