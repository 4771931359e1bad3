"""The client's end of an HTTP/2 connection, and frames as bytes: right ones and wrong ones."""

import struct

import hpack
from exchange.wires import Peer
from hyperframe.frame import Frame

from proxy.http.h2.frames import PREFACE, code_name
from proxy.wire.h1.downstream import Downstream

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW, CONTINUATION = (
    range(10)
)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY, ACK = 1, 4, 8, 32, 1

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/x"), (":authority", "shop")]
POST = [(":method", "POST"), *GET[1:]]


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    size = len(payload) if length is None else length
    return struct.pack(">BHBBL", size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def number(value):
    return struct.pack(">L", value)


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HL", *pair) for pair in pairs))


def window(stream, increment):
    return frame(WINDOW, 0, stream, number(increment))


def rst(stream, code=8):
    return frame(RST_STREAM, 0, stream, number(code))


def data(stream, payload=b"", *, ended=False):
    return frame(DATA, END_STREAM if ended else 0, stream, payload)


class Fields(dict):
    """The fields of a head; equal ones are joined by a line feed."""

    def __init__(self, pairs):
        super().__init__()
        for name, value in pairs:
            self[name] = f"{self[name]}\n{value}" if name in self else value


class Http2Client(Peer):
    """`frames` is what came so far: ``(kind, stream, what)``, settings and windows left out.

    `what` is Fields of HEADERS, bytes of DATA and PING, the name of an error code. `ended` are the
    streams that came to their end.
    """

    def __init__(self, loop, gate, *, first=None):
        super().__init__(loop, Downstream(gate))
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._rest = b""
        self.windows = {}
        self.settings = {}
        self.frames = []
        self.ended = set()
        self.send(PREFACE + settings() + frame(SETTINGS, ACK) if first is None else first)

    def headers(self, stream, fields=GET, *, ended=True, block=None, flags=END_HEADERS):
        if block is None:
            block = self._encoder.encode(fields, huffman=stream % 4 == 1)
        return frame(HEADERS, flags | (END_STREAM if ended else 0), stream, block)

    def block(self, fields):
        return self._encoder.encode(fields)

    def ask(self, stream, fields=GET, body=None):
        """A whole request."""
        asked = self.headers(stream, fields, ended=body is None)
        self.send(asked if body is None else asked + data(stream, body, ended=True))

    def send(self, data, *more):
        super().send(data, *more)
        self.read()

    def read(self):
        """Take in what has come."""
        raw = self._rest + self.received()
        at = 0
        while len(raw) - at >= 9:
            one, length = Frame.parse_frame_header(memoryview(raw[at : at + 9]))
            if len(raw) - at < 9 + length:
                break
            body = raw[at + 9 : at + 9 + length]
            one.parse_body(memoryview(body))
            self._take(raw[at + 3], raw[at + 4], one.stream_id, body)
            at += 9 + length
        self._rest = raw[at:]
        return self.frames

    def _take(self, kind, flags, stream, body):
        assert len(body) <= 16384
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            assert stream not in self.ended, "it ended twice"
            self.ended.add(stream)
        if kind == HEADERS:
            assert flags & END_HEADERS
            self.frames.append(("HEADERS", stream, Fields(self._decoder.decode(body))))
        elif kind == DATA:
            self.frames.append(("DATA", stream, body))
        elif kind == RST_STREAM:
            self.frames.append(("RST_STREAM", stream, code_name(*struct.unpack(">L", body))))
        elif kind == GOAWAY:
            last, code = struct.unpack(">LL", body[:8])
            self.frames.append(("GOAWAY", last, code_name(code)))
        elif kind == PING:
            self.frames.append(("PONG" if flags & ACK else "PING", stream, body))
        elif kind == WINDOW:
            (increment,) = struct.unpack(">L", body)
            self.windows[stream] = self.windows.get(stream, 0) + increment
        elif kind == SETTINGS and not flags & ACK:
            self.settings.update(
                struct.unpack(">HL", body[at : at + 6]) for at in range(0, len(body), 6)
            )

    def head(self, stream):
        """The last head of a stream."""
        return [what for kind, on, what in self.frames if (kind, on) == ("HEADERS", stream)][-1]

    def body(self, stream):
        return b"".join(what for kind, on, what in self.frames if (kind, on) == ("DATA", stream))

    def error(self, stream):
        """The code of the RST_STREAM that came on it, None without one."""
        codes = [what for kind, on, what in self.frames if (kind, on) == ("RST_STREAM", stream)]
        return codes[0] if codes else None

    @property
    def goaways(self):
        return [(last, code) for kind, last, code in self.frames if kind == "GOAWAY"]
