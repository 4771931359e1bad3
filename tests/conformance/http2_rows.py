"""RFC 9113 and RFC 7541 towards a server, a row for each thing that a conformance program asks.

A row is what a client sends after both SETTINGS were acknowledged, each frame a step, and what it
must see then. A row may wait for something in between. The names of sections are RFC 9113's;
`hpack` stands before those of RFC 7541. What RFC 7540 said of priorities is asked as well, since
such programs still do.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from conformance.http2_wire import (
    ANSWER,
    CLOSED,
    GET,
    GREETED,
    POST,
    SETTINGS_ACKED,
    STREAM_ENDED,
    Expected,
    Heads,
    Step,
    data_of,
    goaway,
    pong,
    refused,
    reset,
)
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from integration.http2_client import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW,
    WITH_PRIORITY,
    Fields,
    frame,
    rst,
    settings,
    window,
)

TABLE, PUSH, STREAMS, INITIAL_WINDOW, FRAME_SIZE, HEAD_LIST = 1, 2, 3, 4, 5, 6
TOP = 2**31 - 1
"""The largest window."""
UNKNOWN = frame(0x16, 0, 0, bytes(8))
LARGE: Fields = [("x-large", "x" * 4000)]
GREETING = PREFACE + settings((INITIAL_WINDOW, 65535))
PROTOCOL, CLOSED_STREAM, SIZE, FLOW = (
    *("PROTOCOL_ERROR", "STREAM_CLOSED"),
    *("FRAME_SIZE_ERROR", "FLOW_CONTROL_ERROR"),
)
HPACK = "COMPRESSION_ERROR"
PINGED = frame(PING, 0, 0, bytes(8))

_huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@dataclass(frozen=True)
class Row:
    """`greeted`: the connection was greeted before."""

    section: str
    name: str
    steps: Callable[[Heads], list[Step]]
    greeted: bool = True

    def __str__(self) -> str:
        return f"{self.section} {self.name}"


def priority(stream: int, on: int, *, weight: int = 255, exclusive: bool = False) -> bytes:
    first = on | (1 << 31 if exclusive else 0)
    return frame(PRIORITY, 0, stream, struct.pack(">LB", first, weight))


def data(stream: int, payload: bytes = b"test", *, ended: bool = True) -> bytes:
    return frame(DATA, END_STREAM if ended else 0, stream, payload)


def continuation(stream: int, block: bytes, *, last: bool = True) -> bytes:
    return frame(CONTINUATION, END_HEADERS if last else 0, stream, block)


def headers(stream: int, block: bytes, flags: int = END_HEADERS | END_STREAM) -> bytes:
    return frame(HEADERS, flags, stream, block)


def away(stream: int, code: int) -> bytes:
    return frame(GOAWAY, 0, stream, struct.pack(">LL", 0, code) + b"bye")


def string(text: bytes, *, huffman: bool) -> bytes:
    """A string literal (RFC 7541 section 5.2) of less than 127 bytes."""
    if huffman:
        text = _huffman.encode(text)
    return bytes((len(text) | (0x80 if huffman else 0),)) + text


def literal(prefix: int, name: bytes, *, huffman: bool) -> bytes:
    """A field whose name is written out, with `prefix` for how it is indexed."""
    return bytes((prefix,)) + string(name, huffman=huffman) + string(b"frames", huffman=huffman)


def indexed(prefix: int, bits: int, *, huffman: bool) -> bytes:
    """The field user-agent by the static table's name, 58, in a prefix of so many bits."""
    most = (1 << bits) - 1
    number = bytes((prefix | 58,)) if most > 58 else bytes((prefix | most, 58 - most))
    return number + string(b"frames", huffman=huffman)


def resized(size: int) -> bytes:
    """A size update of the dynamic table (RFC 7541 section 6.3)."""
    if size < 31:
        return bytes((0x20 | size,))
    out, size = [0x3F], size - 31
    while size >= 128:
        out.append(0x80 | size & 0x7F)
        size >>= 7
    return bytes((*out, size))


def says(*frames: Step, then: Expected) -> Callable[[Heads], list[Step]]:
    """The same bytes on every connection."""
    return lambda c: [*frames, then]


def asks(
    fields: Fields, *frames: bytes, ended: bool = False, then: Expected
) -> Callable[[Heads], list[Step]]:
    """A request on stream 1, and frames behind it."""
    return lambda c: [c.head(1, fields, ended=ended), *frames, then]


def block(
    *, before: bytes = b"", after: bytes = b"", then: Expected = ANSWER
) -> Callable[[Heads], list[Step]]:
    """A request whose field block has these bytes around it."""
    return lambda c: [headers(1, before + c.block() + after), then]


def malformed(*fields: tuple[str, str]) -> Callable[[Heads], list[Step]]:
    return asks(list(fields), ended=True, then=refused(PROTOCOL))


def after_end(*frames: bytes, then: Expected) -> Callable[[Heads], list[Step]]:
    """Frames on a stream that both sides have ended."""
    return lambda c: [c.head(1), STREAM_ENDED, *frames, then]


def in_window(size: int, *steps: Step) -> Callable[[Heads], list[Step]]:
    """A request after the initial window was changed."""
    return lambda c: [settings((INITIAL_WINDOW, size)), SETTINGS_ACKED, c.head(1), *steps]


def cut_block(c: Heads, *sizes: int) -> list[Step]:
    """A request whose block comes in these pieces, and the rest in another."""
    whole = c.block()
    pieces = []
    for size in sizes:
        pieces.append(whole[:size])
        whole = whole[size:]
    steps: list[Step] = [headers(1, pieces[0], END_STREAM)]
    steps += [continuation(1, piece, last=False) for piece in pieces[1:]]
    return [*steps, continuation(1, whole), ANSWER]


def interrupted(*frames: bytes, fields: Fields = GET) -> Callable[[Heads], list[Step]]:
    """A field block that frames interrupt."""
    return lambda c: [
        headers(1, c.block(fields), END_STREAM),
        *frames,
        continuation(1, c.block(LARGE)),
        goaway(PROTOCOL),
    ]


def others(c: Heads) -> list[Step]:
    return [
        headers(1, c.block(), 0),
        c.head(3),
        continuation(1, c.block(LARGE)),
        goaway(PROTOCOL),
    ]


def too_many(c: Heads) -> list[Step]:
    block = c.block()
    heads = [headers(2 * at + 1, block) for at in range(101)]
    return [settings((INITIAL_WINDOW, 0)), *heads, refused(PROTOCOL, "REFUSED_STREAM")]


def padded_head(c: Heads, size: int) -> bytes:
    block = c.block()
    return frame(
        HEADERS, END_HEADERS | END_STREAM | PADDED, 1, bytes((size,)) + block + bytes(size)
    )


def padded_too_much(c: Heads) -> list[Step]:
    block = c.block()
    payload = bytes((len(block) + 2,)) + block
    return [
        frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, payload)[:9],
        payload,
        refused(PROTOCOL),
    ]


def head_with_priority(c: Heads, on: int) -> bytes:
    payload = struct.pack(">LB", on, 255) + c.block()
    return headers(1, payload, END_HEADERS | END_STREAM | WITH_PRIORITY)


def in_bytes(whole: bytes, then: Expected) -> Callable[[Heads], list[Step]]:
    """A frame whose head comes before the rest of it."""
    return lambda c: [whole[:9], whole[9:], then]


SHORT_POST: Fields = [*POST, ("content-length", "1")]

CONNECTIONS = [
    Row("3.4", "the first frame is SETTINGS", says(GREETING, then=SETTINGS_ACKED), greeted=False),
    Row("3.4", "SETTINGS come unasked", says(GREETING, then=SETTINGS_ACKED), greeted=False),
    Row(
        "3.4",
        "SETTINGS come after the preface alone",
        says(PREFACE, GREETED, settings((INITIAL_WINDOW, 65535)), then=SETTINGS_ACKED),
        greeted=False,
    ),
    Row("3.4", "no preface", says(b"GREETINGS TO YOU\r\n\r\n", then=CLOSED), greeted=False),
    Row("4.1", "unknown frame", says(UNKNOWN, PINGED, then=pong())),
    Row("4.1", "unknown flags", in_bytes(frame(PING, 0x16, 0, bytes(8)), pong())),
    Row("4.1", "reserved bit", in_bytes(frame(PING, 0x16, 1 << 31, bytes(8)), pong())),
    Row("4.2", "DATA of 16 KiB", asks(POST, data(1, bytes(16384)), then=ANSWER)),
    Row("4.2", "DATA above it", asks(POST, data(1, bytes(16385)), then=refused(SIZE))),
    Row(
        "4.2",
        "HEADERS above it",
        lambda c: [headers(1, c.block([*GET, *LARGE]) + bytes(16384)), goaway(SIZE)],
    ),
    Row("4.3", "field block cut off", says(headers(1, b"\x40"), then=goaway(HPACK))),
    Row("4.3", "PRIORITY in a field block", interrupted(priority(1, 0))),
    Row("4.3", "another stream's HEADERS in a field block", others),
    Row(
        "5.4.1",
        "the connection closes after an error",
        in_bytes(frame(PING, 0, 3, bytes(8)), CLOSED),
    ),
    Row("5.4.1", "GOAWAY tells the error", in_bytes(frame(PING, 0, 3, bytes(8)), goaway(PROTOCOL))),
    Row("5.5", "unknown frame, and on it goes", says(UNKNOWN, PINGED, then=pong())),
    Row("5.5", "unknown frame in a field block", interrupted(UNKNOWN)),
    Row("7", "GOAWAY of an unknown code", says(away(0, 0xFF), then=CLOSED)),
    Row("7", "RST_STREAM of an unknown code", asks(POST, rst(1, 0xFF), PINGED, then=pong())),
    Row(
        "8.4",
        "PUSH_PROMISE",
        lambda c: [
            frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">L", 3) + c.block()),
            goaway(PROTOCOL),
        ],
    ),
]

STATES = [
    Row("5.1", "idle: PRIORITY", says(priority(1, 0), PINGED, then=pong())),
    Row("5.1", "idle: DATA", says(data(1), then=goaway(PROTOCOL))),
    Row("5.1", "idle: RST_STREAM", says(rst(1), then=goaway(PROTOCOL))),
    Row("5.1", "idle: WINDOW_UPDATE", says(window(1, 100), then=goaway(PROTOCOL))),
    Row("5.1", "idle: CONTINUATION", lambda c: [continuation(1, c.block()), goaway(PROTOCOL)]),
    Row(
        "5.1",
        "half closed: WINDOW_UPDATE",
        lambda c: [
            settings((INITIAL_WINDOW, 0)),
            c.head(1),
            window(1, 1),
            data_of(1),
        ],
    ),
    Row(
        "5.1",
        "half closed: PRIORITY",
        lambda c: [
            settings((INITIAL_WINDOW, 0)),
            c.head(1),
            priority(1, 0),
            window(1, 1),
            data_of(1),
        ],
    ),
    Row("5.1", "half closed: RST_STREAM", asks(GET, rst(1), PINGED, ended=True, then=pong())),
    Row("5.1", "half closed: DATA", asks(GET, data(1), ended=True, then=refused(CLOSED_STREAM))),
    Row("5.1", "half closed: HEADERS", lambda c: [c.head(1), c.head(1), refused(CLOSED_STREAM)]),
    Row(
        "5.1",
        "half closed: HEADERS of a later stream",
        lambda c: [
            c.head(5),
            c.head(5),
            refused(CLOSED_STREAM),
        ],
    ),
    Row(
        "5.1",
        "half closed: CONTINUATION",
        lambda c: [
            c.head(1),
            continuation(1, c.block()),
            refused(CLOSED_STREAM, PROTOCOL),
        ],
    ),
    Row("5.1", "reset: DATA", asks(GET, rst(1), data(1), then=refused(CLOSED_STREAM))),
    Row(
        "5.1",
        "reset: HEADERS",
        lambda c: [
            c.head(1, ended=False),
            rst(1),
            c.head(1),
            refused(CLOSED_STREAM),
        ],
    ),
    Row(
        "5.1",
        "reset: CONTINUATION",
        lambda c: [
            c.head(1, ended=False),
            rst(1),
            continuation(1, c.block(LARGE)),
            refused(CLOSED_STREAM, PROTOCOL),
        ],
    ),
    Row("5.1", "closed: PRIORITY", after_end(priority(1, 0), PINGED, then=pong())),
    Row("5.1", "closed: DATA", after_end(data(1), then=goaway(CLOSED_STREAM))),
    Row(
        "5.1",
        "closed: HEADERS",
        lambda c: [
            c.head(1),
            STREAM_ENDED,
            c.head(1),
            goaway(CLOSED_STREAM),
        ],
    ),
    Row(
        "5.1",
        "closed: CONTINUATION",
        lambda c: [
            c.head(1),
            STREAM_ENDED,
            continuation(1, c.block(LARGE)),
            goaway(CLOSED_STREAM, PROTOCOL),
        ],
    ),
    Row("5.1.1", "even number", lambda c: [c.head(2), goaway(PROTOCOL)]),
    Row("5.1.1", "lower number", lambda c: [c.head(5), c.head(3), goaway(PROTOCOL)]),
    Row("5.1.2", "more streams than announced", too_many),
    Row(
        "5.3.1",
        "HEADERS depend on themselves",
        lambda c: [
            head_with_priority(c, 1),
            refused(PROTOCOL),
        ],
    ),
    Row("5.3.1", "PRIORITY depends on itself", says(priority(1, 1), then=refused(PROTOCOL))),
]

FRAMES = [
    Row("6.1", "DATA", asks(POST, data(1), then=ANSWER)),
    Row("6.1", "DATA twice", asks(POST, data(1, ended=False), data(1), then=ANSWER)),
    Row(
        "6.1",
        "DATA with padding",
        asks(
            POST,
            frame(DATA, END_STREAM | PADDED, 1, b"\x06test" + bytes(6)),
            then=ANSWER,
        ),
    ),
    Row("6.1", "DATA without a stream", says(data(0), then=goaway(PROTOCOL))),
    Row("6.1", "DATA after the end", asks(POST, data(1), ended=True, then=refused(CLOSED_STREAM))),
    Row(
        "6.1",
        "more padding than DATA",
        asks(
            [*POST, ("content-length", "4")],
            frame(DATA, PADDED | END_STREAM, 1, b"\x06Test")[:9],
            b"\x06Test",
            then=goaway(PROTOCOL),
        ),
    ),
    Row("6.2", "HEADERS", asks(GET, ended=True, then=ANSWER)),
    Row("6.2", "HEADERS with padding", lambda c: [padded_head(c, 8), ANSWER]),
    Row("6.2", "HEADERS with a priority", lambda c: [head_with_priority(c, 0), ANSWER]),
    Row("6.2", "HEADERS, then PRIORITY before their end", interrupted(priority(1, 0))),
    Row("6.2", "HEADERS, then another stream's before their end", others),
    Row("6.2", "HEADERS without a stream", lambda c: [c.head(0), goaway(PROTOCOL)]),
    Row("6.2", "more padding than HEADERS", padded_too_much),
    Row("6.3", "PRIORITY of weight 1", lambda c: [priority(1, 0, weight=0), c.head(1), ANSWER]),
    Row("6.3", "PRIORITY of weight 256", lambda c: [priority(1, 0), c.head(1), ANSWER]),
    Row(
        "6.3",
        "PRIORITY on another stream",
        lambda c: [
            priority(3, 1, weight=0),
            c.head(1),
            ANSWER,
        ],
    ),
    Row(
        "6.3",
        "PRIORITY that is exclusive",
        lambda c: [
            priority(1, 0, weight=0, exclusive=True),
            c.head(1),
            ANSWER,
        ],
    ),
    Row(
        "6.3",
        "PRIORITY, then HEADERS of a lower stream",
        lambda c: [
            priority(3, 0),
            c.head(1),
            ANSWER,
        ],
    ),
    Row(
        "6.3",
        "PRIORITY, then HEADERS of a lower stream, no error",
        lambda c: [
            priority(3, 0),
            c.head(1),
            ANSWER,
            PINGED,
            pong(),
        ],
    ),
    Row("6.3", "PRIORITY without a stream", says(priority(0, 0), then=goaway(PROTOCOL))),
    Row(
        "6.3",
        "PRIORITY of 4 bytes",
        asks(
            GET,
            frame(PRIORITY, 0, 1, b"\x80\0\0\1")[:9],
            b"\x80\0\0\1",
            ended=True,
            then=refused(SIZE),
        ),
    ),
    Row("6.4", "RST_STREAM", asks(GET, rst(1), PINGED, then=pong())),
    Row("6.4", "RST_STREAM without a stream", says(rst(0), then=goaway(PROTOCOL))),
    Row("6.4", "RST_STREAM on an idle stream", says(rst(1), then=goaway(PROTOCOL))),
    Row(
        "6.4",
        "RST_STREAM of 3 bytes",
        asks(
            GET,
            frame(RST_STREAM, 0, 1, bytes(3)),
            ended=True,
            then=refused(SIZE),
        ),
    ),
    Row(
        "6.5",
        "SETTINGS",
        says(
            settings(
                (TABLE, 4096),
                (PUSH, 1),
                (STREAMS, 100),
                (INITIAL_WINDOW, 65535),
                (FRAME_SIZE, 16384),
                (HEAD_LIST, 100),
            ),
            then=SETTINGS_ACKED,
        ),
    ),
    Row("6.5", "ACK with a payload", in_bytes(frame(SETTINGS, ACK, 0, b"\0"), goaway(SIZE))),
    Row(
        "6.5",
        "SETTINGS with a stream",
        in_bytes(
            frame(SETTINGS, 0, 1, struct.pack(">HL", 3, 100)),
            goaway(PROTOCOL),
        ),
    ),
    Row("6.5", "SETTINGS of 3 bytes", in_bytes(frame(SETTINGS, 0, 0, b"\0\3\0"), goaway(SIZE))),
    Row(
        "6.5",
        "SETTINGS of 9 bytes, of which 8 come",
        in_bytes(
            frame(SETTINGS, 0, 0, bytes(9))[:17],
            goaway(SIZE),
        ),
    ),
    Row("6.5.2", "ENABLE_PUSH 2", says(settings((PUSH, 2)), then=goaway(PROTOCOL))),
    Row(
        "6.5.2",
        "INITIAL_WINDOW_SIZE 2^31",
        says(
            settings((INITIAL_WINDOW, TOP + 1)),
            then=goaway(FLOW),
        ),
    ),
    Row(
        "6.5.2", "MAX_FRAME_SIZE 16383", says(settings((FRAME_SIZE, 16383)), then=goaway(PROTOCOL))
    ),
    Row("6.5.2", "MAX_FRAME_SIZE 2^24", says(settings((FRAME_SIZE, 2**24)), then=goaway(PROTOCOL))),
    Row("6.5.2", "unknown setting", says(settings((0xFF, 1)), PINGED, then=pong())),
    Row(
        "6.5.3",
        "the last of two values counts",
        lambda c: [
            settings((INITIAL_WINDOW, 100), (INITIAL_WINDOW, 1)),
            SETTINGS_ACKED,
            c.head(1),
            data_of(1),
        ],
    ),
    Row("6.5.3", "SETTINGS are acknowledged", says(settings((PUSH, 0)), then=SETTINGS_ACKED)),
    Row("6.7", "PING", says(frame(PING, 0, 0, b"ping\0\0\0\0"), then=pong(b"ping\0\0\0\0"))),
    Row(
        "6.7",
        "PING with the same bytes back",
        says(
            frame(PING, 0, 0, b"payload!"),
            then=pong(b"payload!"),
        ),
    ),
    Row(
        "6.7",
        "PING ACK is not answered",
        says(
            frame(PING, ACK, 0, b"not mine"),
            frame(PING, 0, 0, b"but mine"),
            then=pong(b"but mine"),
        ),
    ),
    Row("6.7", "PING with a stream", in_bytes(frame(PING, 0, 1, bytes(8)), goaway(PROTOCOL))),
    Row("6.7", "PING of 6 bytes", in_bytes(frame(PING, 0, 0, bytes(6)), goaway(SIZE))),
    Row("6.8", "GOAWAY", says(away(0, 0), then=CLOSED)),
    Row("6.8", "GOAWAY with a stream", in_bytes(frame(GOAWAY, 0, 1, bytes(8)), goaway(PROTOCOL))),
    Row("6.9", "WINDOW_UPDATE", says(window(0, 1), PINGED, then=pong())),
    Row("6.9", "WINDOW_UPDATE of a stream", asks(GET, window(1, 1), ended=True, then=ANSWER)),
    Row("6.9", "WINDOW_UPDATE of 0", says(window(0, 0), then=goaway(PROTOCOL))),
    Row("6.9", "WINDOW_UPDATE of 0 on a stream", asks(GET, window(1, 0), then=refused(PROTOCOL))),
    Row("6.9", "WINDOW_UPDATE of 3 bytes", in_bytes(frame(WINDOW, 0, 0, b"\0\0\1"), goaway(SIZE))),
    Row("6.9.1", "a window of 1", in_window(1, data_of(1))),
    Row(
        "6.9.1",
        "the connection's window above 2^31-1",
        says(
            window(0, TOP),
            window(0, TOP),
            then=goaway(FLOW),
        ),
    ),
    Row(
        "6.9.1",
        "a stream's window above 2^31-1",
        asks(
            GET,
            window(1, TOP),
            window(1, TOP),
            then=reset(1, FLOW),
        ),
    ),
    Row(
        "6.9.2",
        "a window of 0, then of 1",
        in_window(
            0,
            settings((INITIAL_WINDOW, 1)),
            SETTINGS_ACKED,
            data_of(1),
        ),
    ),
    Row(
        "6.9.2",
        "a window below 0",
        in_window(
            3,
            data_of(3),
            settings((INITIAL_WINDOW, 2)),
            SETTINGS_ACKED,
            window(1, 2),
            data_of(1),
        ),
    ),
    Row(
        "6.9.2",
        "an initial window above 2^31-1",
        in_bytes(
            settings((INITIAL_WINDOW, TOP + 1)),
            goaway(FLOW),
        ),
    ),
    Row("6.10", "CONTINUATION", lambda c: cut_block(c, 5)),
    Row("6.10", "CONTINUATION twice", lambda c: cut_block(c, 5, 5)),
    Row(
        "6.10",
        "CONTINUATION of many bytes, twice",
        lambda c: [
            headers(1, c.block(), END_STREAM),
            continuation(1, c.block(LARGE), last=False),
            continuation(1, c.block(LARGE)),
            ANSWER,
        ],
    ),
    Row(
        "6.10",
        "CONTINUATION, then DATA",
        lambda c: [
            headers(1, c.block(POST), 0),
            continuation(1, c.block(LARGE), last=False),
            data(1),
            goaway(PROTOCOL),
        ],
    ),
    Row(
        "6.10",
        "CONTINUATION without a stream",
        lambda c: [
            headers(1, c.block(), END_STREAM),
            continuation(0, c.block(LARGE)),
            goaway(PROTOCOL),
        ],
    ),
    Row(
        "6.10",
        "CONTINUATION after the block's end",
        lambda c: [
            c.head(1),
            continuation(1, c.block(LARGE)),
            goaway(PROTOCOL),
        ],
    ),
    Row(
        "6.10",
        "CONTINUATION after the last one",
        lambda c: [
            headers(1, c.block(), END_STREAM),
            continuation(1, c.block(LARGE)),
            continuation(1, c.block(LARGE)),
            goaway(PROTOCOL),
        ],
    ),
    Row(
        "6.10",
        "CONTINUATION after DATA",
        lambda c: [
            headers(1, c.block(POST), 0),
            data(1),
            continuation(1, c.block(LARGE), last=False),
            continuation(0, c.block(LARGE)),
            goaway(PROTOCOL),
        ],
    ),
]

MESSAGES = [
    Row("8.1", "GET", asks(GET, ended=True, then=ANSWER)),
    Row("8.1", "HEAD", asks([(":method", "HEAD"), *GET[1:]], ended=True, then=ANSWER)),
    Row("8.1", "POST", asks(POST, data(1), then=ANSWER)),
    Row("8.1", "POST with trailers", lambda c: [
        c.head(1, [*POST, ("trailer", "x-sum")], ended=False), data(1, ended=False),
        c.head(1, [("x-sum", "7")]), ANSWER,
    ]),
    Row("8.1", "HEADERS that are no trailers", lambda c: [
        c.head(1, POST, ended=False), data(1, ended=False),
        c.head(1, [("x-sum", "7")], ended=False), refused(PROTOCOL),
    ]),
    Row("8.1.1", "more DATA than content-length", asks(
        SHORT_POST, data(1), then=refused(PROTOCOL),
    )),
    Row("8.1.1", "more DATA than content-length, in two", asks(
        SHORT_POST, data(1, ended=False), data(1), then=refused(PROTOCOL),
    )),
    Row("8.2.1", "upper case", malformed(*GET, ("X-SUM", "7"))),
    Row("8.2.2", "connection", malformed(*GET, ("connection", "keep-alive"))),
    Row("8.2.2", "te", malformed(*GET, ("trailers", "x"), ("te", "trailers, deflate"))),
    Row("8.3", "unknown pseudo-header field", malformed(*GET, (":test", "ok"))),
    Row("8.3", "pseudo-header field of a response", malformed(*GET, (":status", "200"))),
    Row("8.3", "pseudo-header field in trailers", lambda c: [
        c.head(1, POST, ended=False), data(1, ended=False),
        c.head(1, [(":method", "POST")], ended=False), refused(PROTOCOL),
    ]),
    Row("8.3", "pseudo-header field after another field", malformed(("x-sum", "7"), *GET)),
    Row("8.3.1", "empty :path", malformed(*GET[:2], (":path", ""), GET[3])),
    Row("8.3.1", "no :method", malformed(*GET[2:])),
    Row("8.3.1", "no :scheme", malformed(GET[0], *GET[2:])),
    Row("8.3.1", "no :path", malformed(*GET[:2], GET[3])),
    Row("8.3.1", ":method twice", malformed(*GET, GET[0])),
    Row("8.3.1", ":scheme twice", malformed(*GET, GET[1])),
    Row("8.3.1", ":path twice", malformed(*GET, GET[2])),
    Row("8.3.1", ":method twice, with another value", malformed(*GET, (":method", "/"))),
]  # fmt: skip

INDEXED, INCREMENTAL, WITHOUT, NEVER = 0x80, 0x40, 0x00, 0x10

COMPRESSION = [
    Row("hpack 2.3.3", "no such index", block(after=b"\xfe", then=goaway(HPACK))),
    Row("hpack 4.2", "size update at the end", block(after=b"\x21", then=goaway(HPACK))),
    Row("hpack 5.2", "padding of more than 7 bits", block(
        after=b"\0" + string(b"x-sum", huffman=True) + b"\x84" + _huffman.encode(b"test") + b"\xff",
        then=goaway(HPACK),
    )),
    Row("hpack 5.2", "padding of zeros", block(
        after=b"\0" + string(b"x-sum", huffman=True) + b"\x83\x49\x50\x90", then=goaway(HPACK),
    )),
    Row("hpack 5.2", "the end-of-string symbol", block(
        after=b"\0" + string(b"x-sum", huffman=True) + b"\x87\xff\xff\xff\xfd\x25\x42\x7f",
        then=goaway(HPACK),
    )),
    Row("hpack 6.1", "index 0", block(after=b"\x80", then=goaway(HPACK))),
    Row("hpack 6.1", "an index of the static table", block(after=bytes((INDEXED | 58,)))),
    *(
        Row(
            section,
            f"{how}, {'known' if known else 'new'} name{', Huffman' if huffman else ''}",
            block(
                after=indexed(prefix, bits, huffman=huffman)
                if known
                else literal(prefix, b"x-sum", huffman=huffman)
            ),
        )
        for section, how, prefix, bits in (
            ("hpack 6.2.1", "incremental", INCREMENTAL, 6),
            ("hpack 6.2.2", "without indexing", WITHOUT, 4),
            ("hpack 6.2.3", "never indexed", NEVER, 4),
        )
        for known in (True, False)
        for huffman in (False, True)
    ),
    *(
        Row(
            section,
            f"user-agent as a literal{', Huffman' if huffman else ''}",
            block(after=literal(prefix, b"user-agent", huffman=huffman)),
        )
        for section, prefix in (
            ("hpack 6.2.1", INCREMENTAL), ("hpack 6.2.2", WITHOUT), ("hpack 6.2.3", NEVER),
        )
        for huffman in (False, True)
    ),
    Row("hpack 6.3", "size update", block(before=resized(0))),
    Row("hpack 4.2", "two size updates", block(before=resized(0) + resized(4096))),
    Row("hpack 6.3", "size update above the setting", block(
        before=resized(4097), then=goaway(HPACK),
    )),
]  # fmt: skip

ROWS = [*CONNECTIONS, *STATES, *FRAMES, *MESSAGES, *COMPRESSION]
