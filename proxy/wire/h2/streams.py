"""One stream of an HTTP/2 connection: its windows, and what waits in either direction."""

from typing import Final

from proxy.http.h2.decoder import FieldSection
from proxy.wire.streams import NO_TRAILERS, Trailers

MOST_PIECES: Final = 1000
"""After so many more, pieces that wait are joined: a tiny one takes 50 bytes besides its own."""


class Stream:
    """The connection's part of a stream; `owner` is the part that exchanges see.

    `coded_id`: its identifier, as a frame's head has it. `counted`: its connection has it among
    its `streams`.

    Sending: `window` is what the peer allows, `waiting` the pieces that it does not allow yet, of
    the first one from `offset` on. `ending`: the end follows them, with `trailers`. `held_up`: the
    owner was told to wait. `local_ended`: the end was sent.

    Receiving: `unreturned` are bytes whose credit the peer has not got back, `holding`: it gets
    none for now. `body_bytes` counts the body, `expected` is its Content-Length, -1 without one.
    `section`, `pieces`, `arrived_trailers` and `arrived_end` are what came in the present read.
    `remote_ended`: the peer has ended it.

    `begun`: its owner knows of it. `answered`: a final response head has passed. `closed`: nothing
    more is sent or received, whatever its owner still does.
    """

    __slots__ = (
        "answered",
        "arrived_end",
        "arrived_trailers",
        "begun",
        "body_bytes",
        "closed",
        "coded_id",
        "counted",
        "empty",
        "ending",
        "expected",
        "flushed",
        "held_up",
        "holding",
        "id",
        "local_ended",
        "offset",
        "opened_at",
        "owner",
        "pieces",
        "queued",
        "remote_ended",
        "section",
        "touched",
        "trailers",
        "unreturned",
        "waiting",
        "waiting_bytes",
        "window",
    )

    trailers: Trailers
    arrived_trailers: Trailers

    def __init__(self, number: int, window: int, now: float) -> None:
        self.owner: object = None
        self.pieces: list[bytes] = []
        self.waiting: list[bytes] = []
        self.touched = False
        self.queued = False
        self.begin(number, window, now)

    def begin(self, number: int, window: int, now: float) -> None:
        """Use this object for another stream."""
        self.id = number
        self.coded_id = number.to_bytes(4, "big")
        self.counted = False
        self.window = window
        self.waiting_bytes = 0
        self.offset = 0
        self.ending = False
        self.held_up = False
        self.local_ended = False
        self.trailers = NO_TRAILERS
        self.unreturned = 0
        self.holding = False
        self.body_bytes = 0
        self.expected = -1
        self.empty = False
        self.section: FieldSection | None = None
        self.arrived_trailers = NO_TRAILERS
        self.arrived_end = False
        self.remote_ended = False
        self.begun = False
        self.answered = False
        self.closed = False
        self.flushed = 0
        self.opened_at = now

    def drop(self) -> None:
        """Forget what waits: it is not sent or delivered any more."""
        if self.waiting:
            self.waiting = []
        if self.pieces:
            self.pieces = []
        self.waiting_bytes = 0
        self.offset = 0
        self.section = None
