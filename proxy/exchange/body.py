"""A request's body on its way upstream, and what is kept of it for another attempt.

Pieces go to the connection as they come. Up to `limit` bytes are kept as well, so that the body
can be sent again; a longer one forfeits the retry, not the request (linkerd2-proxy's rule). While
no connection is attached pieces are kept whatever their size, and the client is not read from
beyond a bound: so nothing is lost, and memory stays bounded.
"""

from proxy.wire.flow import FlowControlled

HELD_BYTES = 64 * 1024
"""Above this many bytes waiting for a connection the client is not read from."""


class RequestBody:
    """`whole`: all that came so far is still here. `complete`: the end has come.

    `started`: some of it came, or the client waits for no word to send it.
    """

    __slots__ = (
        "_connection",
        "_downstream",
        "_limit",
        "_pieces",
        "_size",
        "complete",
        "started",
        "whole",
    )

    def __init__(
        self, downstream: FlowControlled, piece: bytes, *, complete: bool, awaits_word: bool
    ) -> None:
        """`awaits_word`: the client sends none of it before a 100 Continue."""
        self._downstream = downstream
        self._connection: FlowControlled | None = None
        self._pieces = [piece] if piece else []
        self._size = len(piece)
        self._limit = 0
        self.complete = complete
        self.started = bool(piece) or not awaits_word
        self.whole = True

    @property
    def flowing(self) -> bool:
        """Whether the client is in the middle of sending it to an upstream."""
        return not self.complete and self.started and self._connection is not None

    def set_limit(self, limit: int) -> None:
        """How much is kept; known once the route is."""
        self._limit = limit

    def attach(self, connection: FlowControlled) -> bytes:
        """Let further pieces go to `connection`; what it must be sent first."""
        self._connection = connection
        held = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._forfeit_beyond_limit()
        self._downstream.resume_reading()
        return held

    def detach(self) -> None:
        """The attempt is over; pieces wait for another one."""
        self._connection = None

    def on_piece(self, piece: bytes) -> None:
        """Another part of it came from the client."""
        self.started = True
        connection = self._connection
        if self.whole:
            self._pieces.append(piece)
            self._size += len(piece)
        if connection is not None:
            self._forfeit_beyond_limit()
            connection.write(piece)
            if connection.write_paused:
                self._downstream.pause_reading()
        elif self._size > max(self._limit, HELD_BYTES):
            self._downstream.pause_reading()

    def on_writable(self, writable: bool) -> None:
        """The upstream can take more, or cannot at the moment."""
        if writable:
            self._downstream.resume_reading()
        else:
            self._downstream.pause_reading()

    def _forfeit_beyond_limit(self) -> None:
        if self._size > self._limit and self.whole:
            self.whole = False
            self._pieces.clear()
            self._size = 0
