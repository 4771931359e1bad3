"""A request's body on its way upstream, and the copy that is kept for a retry.

Pieces go to the streams as they arrive. Up to `limit` bytes are also kept, so that the body can be
sent again; a longer one loses the retry, not the request (linkerd2-proxy's rule). While no stream
is attached, all pieces are kept, and reading from the client pauses at a bound, so nothing is lost
and memory stays bounded.
"""

from proxy.wire.streams import NO_TRAILERS, ClientStream, Trailers, UpstreamStream

HELD_BYTES = 64 * 1024
"""Above this many bytes waiting for a stream, reading from the client pauses."""


class RequestBody:
    """`whole`: everything received so far is still here. `complete`: it has ended, with `trailers`.

    `started`: a part was received, or the client sends it without waiting for a 100 Continue.
    """

    __slots__ = (
        "_client",
        "_limit",
        "_pieces",
        "_size",
        "_streams",
        "complete",
        "started",
        "trailers",
        "whole",
    )

    def __init__(self, client: ClientStream, piece: bytes, *, awaits_word: bool) -> None:
        """`awaits_word`: the client waits for a 100 Continue."""
        self._client = client
        self._streams: list[UpstreamStream] = []
        self._pieces = [piece] if piece else []
        self._size = len(piece)
        self._limit = 0
        self.complete = not client.receiving
        self.trailers = client.request_trailers if self.complete else NO_TRAILERS
        self.started = bool(piece) or not awaits_word
        self.whole = True

    @property
    def flowing(self) -> bool:
        """Whether the client is sending it to an upstream."""
        return not self.complete and self.started and bool(self._streams)

    def set_limit(self, limit: int) -> None:
        """How much is kept; known when the route is."""
        self._limit = limit

    def attach(self, stream: UpstreamStream) -> bytes:
        """Send further pieces to `stream` too; returns the part that it must get first."""
        self._streams.append(stream)
        held = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._forfeit_beyond_limit()
        self._client.resume_reading()
        return held

    def detach(self, stream: UpstreamStream) -> None:
        """The attempt is over; pieces now wait for another stream."""
        if stream in self._streams:
            self._streams.remove(stream)

    def forfeit(self) -> None:
        """It will not be sent again."""
        self.whole = False
        self._pieces.clear()
        self._size = 0

    def on_piece(self, piece: bytes) -> None:
        """A piece arrived from the client."""
        self.started = True
        if self.whole:
            self._pieces.append(piece)
            self._size += len(piece)
        if self._streams:
            self._forfeit_beyond_limit()
            for stream in self._streams:
                stream.write_body(piece)
                if stream.write_paused:
                    self._client.pause_reading()
        elif self._size > max(self._limit, HELD_BYTES):
            self._client.pause_reading()

    def on_end(self, trailers: Trailers) -> None:
        """It has ended."""
        self.complete = True
        self.trailers = trailers
        for stream in self._streams:
            stream.end(trailers)

    def on_writable(self, writable: bool) -> None:
        """Whether writing to an upstream must pause."""
        if not writable:
            self._client.pause_reading()
        else:
            for stream in self._streams:
                if stream.write_paused:
                    return
            self._client.resume_reading()

    def _forfeit_beyond_limit(self) -> None:
        if self._size > self._limit and self.whole:
            self.forfeit()
