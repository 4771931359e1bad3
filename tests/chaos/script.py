"""What the chaos upstream does with one request, written as a line of words.

A script is a row of steps divided by ``|``; attempt number n of a request takes step n, the last
step serves all that follow. A step is words divided by spaces, each of them one trait:

    503                      the status (200 if none is given)
    delay=0.2                seconds before the response's head
    held                     no answer until the test lets it go (`ChaosUpstream.let_go`)
    held-body                likewise after the first of several pieces of the body
    head-pause=0.2           seconds in the middle of the response's head
    read-delay=0.2           seconds before the request's body is read
    size=1000                a body of that many bytes (see `pattern`), else ``ok``
    echo                     the body is the request's body
    chunked                  framed in chunks, otherwise by Content-Length
    until-close              framed by the end of the connection
    pieces=5 interval=0.1    the body in so many pieces, that many seconds apart
    truncate=10              the connection is closed after that many bytes of the body
    cut=100                  the connection is closed after that many bytes of the response, counted
                             from its first one, wherever in head, framing or body that is
    stall=10                 nothing more comes after that many bytes of the body
    drip                     every byte of the response in a write of its own
    endless                  the body never ends: chunks, or whatever until the connection's end
    endless-head             the head never ends
    reset-before-body        closed when the request's head is in
    reset-before-head        closed when the whole request is in
    reset-in-head            closed in the middle of the response's head
    malformed                an answer that is no HTTP
    hang                     no answer ever
    hang-in-head             half a head, then nothing
    rst                      whatever closes the connection does it with RST instead of FIN
    ragged                   likewise without a word: under TLS without close_notify, so that
                             nobody can tell an end from a cut
    twice                    the response is sent two times, with one write
    close                    answers with ``Connection: close`` and closes
    close-silently           closes after the answer without a word
    idle-close=0.1           closes that many seconds after the answer
    early                    answers before the request's body was read, and never reads it
    continue                 sends 100 before it reads the body
    interim=103              an informational response before the final one
    upgrade                  101, and echoes bytes from then on
    header=Name:value        a header field, ``_`` for a space (may come several times)
    trailer=Name:value       likewise a trailer
    http10                   the status line says HTTP/1.0
"""

from dataclasses import dataclass, field
from enum import Enum

Fields = tuple[tuple[str, str], ...]


class Fault(Enum):
    """The one thing that goes wrong in a step."""

    NONE = "none"
    RESET_BEFORE_BODY = "reset-before-body"
    RESET_BEFORE_HEAD = "reset-before-head"
    RESET_IN_HEAD = "reset-in-head"
    MALFORMED = "malformed"
    HANG = "hang"
    HANG_IN_HEAD = "hang-in-head"
    ENDLESS_HEAD = "endless-head"


class Framing(Enum):
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until-close"


class Ending(Enum):
    """What becomes of the connection after a whole answer."""

    KEEP = "keep"
    CLOSE = "close"
    CLOSE_SILENTLY = "close-silently"


@dataclass(slots=True)
class Step:
    """One answer, or the lack of it. Times are seconds, sizes bytes; None: does not happen."""

    status: int = 200
    fault: Fault = Fault.NONE
    framing: Framing = Framing.LENGTH
    ending: Ending = Ending.KEEP
    delay: float = 0.0
    head_pause: float = 0.0
    read_delay: float = 0.0
    size: int | None = None
    pieces: int = 1
    interval: float = 0.0
    truncate: int | None = None
    cut: int | None = None
    stall: int | None = None
    idle_close: float | None = None
    interim: list[int] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)


FLAGS = frozenset(
    {"echo", "rst", "ragged", "twice", "early", "continue", "upgrade", "http10", "drip", "endless"}
    | {"held", "held-body"}
)


def parse_script(text: str) -> list[Step]:
    """The steps of a script. Raises ValueError for a word that is not in the list above."""
    return [_parse_step(part.split()) for part in text.split("|")]


def _parse_step(words: list[str]) -> Step:
    step = Step()
    for word in words:
        name, _, value = word.partition("=")
        if word.isdigit():
            step.status = int(word)
        elif word in FLAGS:
            step.flags.add(word)
        elif name in ("delay", "read-delay", "head-pause", "interval", "idle-close"):
            setattr(step, name.replace("-", "_"), float(value))
        elif name in ("size", "pieces", "truncate", "cut", "stall"):
            setattr(step, name, int(value))
        elif name == "interim":
            step.interim.append(int(value))
        elif name in ("header", "trailer"):
            key, _, content = value.partition(":")
            target = step.headers if name == "header" else step.trailers
            target.append((key, content.replace("_", " ")))
        else:
            _set_enum(step, word)
    return step


def _set_enum(step: Step, word: str) -> None:
    for attribute, kind in (("fault", Fault), ("framing", Framing), ("ending", Ending)):
        if word in {member.value for member in kind}:
            setattr(step, attribute, kind(word))
            return
    raise ValueError(f"{word!r} is not a word of a chaos script")


def pattern(size: int) -> bytes:
    """`size` bytes in which every stretch tells where it belongs, so that no loss goes unseen."""
    line = b"".join(b"%07d\n" % number for number in range(min(size // 8 + 1, 8192)))
    return (line * (size // len(line) + 1))[:size]
