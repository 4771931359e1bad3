"""The first two bytes of an input say how the others arrive; the rest is what is sent.

byte 0: bits 0 to 2 choose the scene (each side has its own), bits 3 and 4 the cutting,
        bits 5 and 6 the end
byte 1: where it is cut
"""

from dataclasses import dataclass
from enum import IntEnum

CONTROL_BYTES = 2


class End(IntEnum):
    """How the sender ends. SILENCE: it does not, and time passes."""

    CLOSE = 0
    RESET = 1
    SILENCE = 2
    CLOSE_TOO = 3


@dataclass(frozen=True)
class Controls:
    scene: int
    pieces: list[bytes]
    end: End
    sent: bytes


def read_controls(data: bytes) -> Controls:
    flags, at = (data[:CONTROL_BYTES] + b"\0\0")[:CONTROL_BYTES]
    sent = data[CONTROL_BYTES:]
    return Controls(flags & 7, _cut(sent, flags >> 3 & 3, at), End(flags >> 5 & 3), sent)


def with_controls(sent: bytes, *, scene: int = 0, cutting: int = 0, end: int = 0) -> bytes:
    """An input that sends this."""
    return bytes([scene | cutting << 3 | end << 5, 0]) + sent


def _cut(sent: bytes, cutting: int, at: int) -> list[bytes]:
    """Whole, in two, behind each CR, or in pieces of a few bytes."""
    if cutting == 0 or len(sent) < 2:
        return [sent]
    if cutting == 1:
        middle = 1 + at * (len(sent) - 1) // 256
        return [sent[:middle], sent[middle:]]
    if cutting == 2:
        lines = sent.split(b"\r")
        return [piece for piece in [*(line + b"\r" for line in lines[:-1]), lines[-1]] if piece]
    size = 1 + at % 8
    return [sent[start : start + size] for start in range(0, len(sent), size)]
