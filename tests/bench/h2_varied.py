"""An HTTP/2 load in which each request has ids and, if wanted, a path that never come again.

    python h2_varied.py PORT COUNT CONNECTIONS STREAMS PATH SEED [paths]

h2load can vary nothing but the path. The fields are encoded as nghttp2, Go and Envoy do it: the ids
go into the peer's table, the path does not. All bytes are made before the first one is sent. Ends
with 0 if every request got its 200. Only the standard library and `hpack`.
"""

import random
import selectors
import socket
import struct
import sys
from collections.abc import Iterator
from itertools import islice

import hpack
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, WHOLE = 1, 1, 5
TOP = 2**31 - 1
STATUS_200 = 0x88
"""The static table's :status 200."""

_head = struct.Struct(">BHBBL")
_huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def requests(count: int, path: str, varied: bool, chance: random.Random) -> Iterator[bytes]:
    """HEADERS frames of a connection, in the order in which they must be sent."""
    encoder = hpack.Encoder()
    for at in range(count):
        new = f"{path}?{chance.getrandbits(64):016x}" if varied else path
        coded = _huffman.encode(new.encode())
        one, two = chance.getrandbits(128), chance.getrandbits(64)
        block = encoder.encode([(":method", "GET"), (":scheme", "http")])
        block += b"\x04" + bytes((0x80 | len(coded),)) + coded
        block += encoder.encode(
            [
                (":authority", "127.0.0.1"),
                ("user-agent", "varied"),
                ("accept", "*/*"),
                ("x-request-id", f"{one:032x}"),
                ("traceparent", f"00-{one:032x}-{two:016x}-00"),
            ]
        )
        yield _head.pack(0, len(block), HEADERS, WHOLE, 2 * at + 1) + block


class Connection:
    """Keeps `streams` requests open until all of them are answered. `wrong`: what went wrong."""

    def __init__(self, port: int, streams: int, frames: list[bytes]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left = len(frames)
        self.wrong = ""
        self._streams = streams
        self._frames = iter(frames)
        self._rest = b""
        settings = _head.pack(0, 6, SETTINGS, 0, 0) + struct.pack(">HL", 4, TOP)
        window = _head.pack(0, 4, 8, 0, 0) + struct.pack(">L", TOP - 65535)
        self.socket.sendall(PREFACE + settings + window)

    def begin(self) -> None:
        self._send(list(islice(self._frames, self._streams)))

    def _send(self, frames: list[bytes]) -> None:
        if frames:
            self.socket.sendall(b"".join(frames))

    def read(self) -> None:
        data = self.socket.recv(1 << 18)
        if not data:
            self.wrong = self.wrong or "closed"
            return
        data = self._rest + data
        at, end, out = 0, len(data), []
        while end - at >= 9:
            size = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if end - at < 9 + size:
                break
            kind, flags, body = data[at + 3], data[at + 4], at + 9
            at = body + size
            if kind == HEADERS and data[body] != STATUS_200 and data[body] >> 5 != 1:
                self.wrong = f"an answer is no 200: {data[body:at]!r}"
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                self.left -= 1
                out.append(next(self._frames, b""))
            elif kind == SETTINGS and not flags & ACK:
                out.append(_head.pack(0, 0, SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                out.append(_head.pack(0, 8, PING, ACK, 0) + data[body:at])
            elif kind in (RST_STREAM, GOAWAY):
                self.wrong = f"frame {kind}: {data[body:at]!r}"
        self._rest = data[at:]
        self._send(out)


def main() -> int:
    port, count, connections, streams = map(int, sys.argv[1:5])
    path, seed, varied = sys.argv[5], sys.argv[6], sys.argv[7:] == ["paths"]
    chance = random.Random(seed)
    share = count // connections
    made = [list(requests(share, path, varied, chance)) for _ in range(connections)]
    selector = selectors.DefaultSelector()
    running = [Connection(port, streams, frames) for frames in made]
    for one in running:
        selector.register(one.socket, selectors.EVENT_READ, one)
        one.begin()
    left = len(running)
    while left:
        events = selector.select(10)
        if not events:
            print("nothing came for 10 s")
            return 1
        for key, _ in events:
            one = key.data
            one.read()
            if one.wrong:
                print(one.wrong)
                return 1
            if not one.left:
                selector.unregister(one.socket)
                one.socket.close()
                left -= 1
    print(f"{share * connections} answered")
    return 0


if __name__ == "__main__":
    sys.exit(main())
