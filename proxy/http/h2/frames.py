"""HTTP/2 frames as values: their numbers, and the bytes of control frames (RFC 9113 section 6)."""

from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""A client's first bytes (section 3.4)."""
HEAD_BYTES: Final = 9
MAX_FRAME: Final = 16384
"""Payload bytes of the largest frame that is sent or accepted (SETTINGS_MAX_FRAME_SIZE)."""
MAX_WINDOW: Final = 2**31 - 1
MAX_STREAM_ID: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65535

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
SETTINGS_TIMEOUT: Final = 0x4
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
CONNECT_ERROR: Final = 0xA
ENHANCE_YOUR_CALM: Final = 0xB
INADEQUATE_SECURITY: Final = 0xC
HTTP_1_1_REQUIRED: Final = 0xD

_CODES: Final = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6
ENABLE_CONNECT_PROTOCOL: Final = 0x8
"""RFC 8441 section 3."""
MAX_SETTINGS: Final = 32
"""Maximum settings of one frame."""

pack_head: Final = Struct(">BHBBL").pack
"""A frame's head: length >> 16, length & 0xFFFF, type, flags, stream."""
_pack_setting: Final = Struct(">HL").pack
_pack_number: Final = Struct(">BHBBLL").pack
_pack_goaway: Final = Struct(">BHBBLLL").pack
_REMEMBERED_SIZES: Final = 512
_headers_begins: Final = [b""] * (2 * _REMEMBERED_SIZES)
SETTINGS_ACK: Final = pack_head(0, 0, SETTINGS, ACK, 0)


class FrameError(Exception):
    """A frame breaks a rule. `code`: the error code for the peer; the text says which rule."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def code_name(code: int) -> str:
    """The name of an error code (section 7); unknown ones are numbers."""
    return _CODES[code] if code < len(_CODES) else f"error {code:#x}"


def frame_begin(size: int, kind: int, flags: int) -> bytes:
    """A frame's head without the stream's identifier, which is four bytes more."""
    return (size << 16 | kind << 8 | flags).to_bytes(5, "big")


def headers_begin(size: int, ended: bool) -> bytes:
    """The same of a HEADERS frame with a whole block; `ended`: it ends its stream."""
    at = 2 * size + (1 if ended else 0)
    known = _headers_begins[at] if size < _REMEMBERED_SIZES else b""
    if known:
        return known
    begin = frame_begin(size, HEADERS, END_HEADERS | END_STREAM if ended else END_HEADERS)
    if size < _REMEMBERED_SIZES:
        _headers_begins[at] = begin
    return begin


def settings_frame(settings: list[tuple[int, int]]) -> bytes:
    """A SETTINGS frame with these identifiers and values."""
    payload = b"".join([_pack_setting(*setting) for setting in settings])
    return pack_head(0, len(payload), SETTINGS, 0, 0) + payload


def rst_stream(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return _pack_number(0, 4, RST_STREAM, 0, stream, code)


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return _pack_number(0, 4, WINDOW_UPDATE, 0, stream, increment)


def ping(data: bytes, *, ack: bool) -> bytes:
    """A PING frame with 8 bytes of data."""
    return pack_head(0, 8, PING, ACK if ack else 0, 0) + data


def goaway(last: int, code: int, text: str = "") -> bytes:
    """A GOAWAY frame; `text` is its debug data."""
    debug = text.encode("ascii", "backslashreplace")[:1024]
    return _pack_goaway(0, 8 + len(debug), GOAWAY, 0, 0, last, code) + debug


def check_size(kind: int, size: int) -> None:
    """Check the payload's length of a frame of fixed size, of which the head alone may have come.

    Raises FrameError.
    """
    if kind == SETTINGS:
        wrong = size % 6 != 0
    elif kind == PING:
        wrong = size != 8
    elif kind == GOAWAY:
        wrong = size < 8
    else:
        wrong = size != 4 and kind in (RST_STREAM, WINDOW_UPDATE)
    if wrong:
        raise FrameError(FRAME_SIZE_ERROR, f"a frame of type {kind} cannot have {size} bytes")


def number_at(payload: bytes, at: int) -> int:
    """The 32-bit number at an offset."""
    return payload[at] << 24 | payload[at + 1] << 16 | payload[at + 2] << 8 | payload[at + 3]


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings of a frame, each checked (section 6.5.2). Raises FrameError."""
    size = len(payload)
    if size % 6:
        raise FrameError(FRAME_SIZE_ERROR, "the length of SETTINGS is not a multiple of 6")
    if size > 6 * MAX_SETTINGS:
        raise FrameError(ENHANCE_YOUR_CALM, f"a SETTINGS frame has more than {MAX_SETTINGS}")
    settings: list[tuple[int, int]] = []
    for at in range(0, size, 6):
        name = payload[at] << 8 | payload[at + 1]
        value = number_at(payload, at + 2)
        _check_setting(name, value)
        settings.append((name, value))
    return settings


def _check_setting(name: int, value: int) -> None:
    if name in (ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL) and value > 1:
        raise FrameError(PROTOCOL_ERROR, "a setting that is a switch is neither 0 nor 1")
    if name == INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
        raise FrameError(FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE is above 2^31-1")
    if name == MAX_FRAME_SIZE and not MAX_FRAME <= value < 2**24:
        raise FrameError(PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE is out of its range")


def read_increment(payload: bytes) -> int:
    """The increment of a WINDOW_UPDATE; 0 is the caller's to refuse. Raises FrameError."""
    if len(payload) != 4:
        raise FrameError(FRAME_SIZE_ERROR, "a WINDOW_UPDATE frame does not have 4 bytes")
    return number_at(payload, 0) & MAX_WINDOW


def without_padding(payload: bytes, flags: int, kind: int) -> bytes:
    """The content of a DATA or HEADERS frame without padding and priority (sections 6.1, 6.2).

    Raises FrameError.
    """
    begin = 0
    end = len(payload)
    if flags & PADDED:
        if not end:
            raise FrameError(FRAME_SIZE_ERROR, "a padded frame is empty")
        begin = 1
        end -= payload[0]
    if kind == HEADERS and flags & WITH_PRIORITY:
        if len(payload) - begin < 5:
            raise FrameError(FRAME_SIZE_ERROR, "a HEADERS frame is too short for its priority")
        begin += 5
    if end < begin:
        raise FrameError(PROTOCOL_ERROR, "the padding is longer than its frame")
    return payload[begin:end]


def depends_on(payload: bytes, flags: int) -> int:
    """The stream on which a HEADERS frame with a priority depends (RFC 7540 section 5.3.1)."""
    return number_at(payload, 1 if flags & PADDED else 0) & MAX_STREAM_ID
