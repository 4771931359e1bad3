"""A request's body on its way upstream, and the copy that is kept for a retry.

Pieces go to the streams as they arrive. Up to `limit` bytes are also kept, so that the body can be
sent again; a longer one loses the retry, not the request (linkerd2-proxy's rule). While no stream
is attached, all pieces are kept, and reading from the client pauses at a bound, so nothing is lost
and memory stays bounded.
"""

from typing import Any, Final

from proxy.exchange.pace import SendingPace
from proxy.exchange.timing import Timing
from proxy.wire.streams import NO_TRAILERS, ClientStream, StreamHandler, Trailers, UpstreamStream

HELD_BYTES = 64 * 1024
"""Above this many bytes waiting for a stream, reading from the client pauses."""
_MAX_PIECES: Final = 128
"""After so many more they are joined: each takes 40 extra bytes, and may have only 2."""


class RequestBody:
    """`whole`: everything received so far is still here. `complete`: it has ended, with `trailers`.

    `started`: a part was received, or the client sends it without waiting for a 100 Continue.
    `gathering`: it is read before any stream is attached, and `size` bytes are here. `digest`: the
    hash that is fed with what arrives from now on, or None. `pace` measures how fast the client
    sends it; None: no limit.
    """

    __slots__ = (
        "_client",
        "_copy",
        "_joined",
        "_limit",
        "_pieces",
        "_streams",
        "_taken",
        "_timing",
        "complete",
        "digest",
        "gathering",
        "pace",
        "size",
        "started",
        "trailers",
        "whole",
    )

    def __init__(self, client: ClientStream, piece: bytes, *, awaits_word: bool) -> None:
        """`awaits_word`: the client waits for a 100 Continue."""
        self._client = client
        self._copy: StreamHandler | None = None
        self._streams: list[UpstreamStream] = []
        self._pieces: list[bytes] = []
        if piece:
            self._pieces.append(piece)
        self._joined = 0  # of them, at the front: each byte is joined only once
        self.size = len(piece)
        self.gathering = False
        self.digest: Any = None
        self._limit = 0
        self.complete = not client.receiving
        self.trailers = client.request_trailers if self.complete else NO_TRAILERS
        self.started = bool(piece) or not awaits_word
        self.whole = True
        self.pace: SendingPace | None = None
        self._timing: Timing | None = None
        self._taken = 0  # bytes, at the last time that the upstream was looked at

    @property
    def flowing(self) -> bool:
        """Whether the client is sending it, and the proxy takes it."""
        return not self.complete and self.started and (bool(self._streams) or self.gathering)

    @property
    def owed(self) -> bool:
        """Whether the upstream waits for body bytes from the client, and has room for them."""
        return self.flowing and not self._held_up

    @property
    def unsaid(self) -> bool:
        """Whether the client waits for a 100 Continue, and an upstream for the body."""
        return not self.complete and not self.started and bool(self._streams)

    def set_limit(self, limit: int) -> None:
        """How much is kept; known when the route is."""
        self._limit = limit

    def measure(self, rate: int, timing: Timing) -> None:
        """Limit the client: it must send at least `rate` bytes per second."""
        self.pace = SendingPace(self._client, rate)
        self._timing = timing

    def gather(self, limit: int) -> None:
        """Read it before any stream is attached, and keep up to `limit` bytes."""
        self._limit = max(self._limit, limit)
        self.gathering = True
        self._client.resume_reading()
        self._wait()

    def stop_gathering(self) -> None:
        """It is here, or it is no longer wanted: what follows waits for a stream."""
        self.gathering = False
        self._wait()

    @property
    def content(self) -> bytes:
        """The body so far; only while it is `whole`."""
        return b"".join(self._pieces)

    def use_client(self, client: ClientStream) -> None:
        """The client has left, after all of its body: another stream stands for it."""
        self._client = client
        self.pace = None

    def attach(self, stream: UpstreamStream) -> bytes:
        """Send further pieces to `stream` too; returns the part that it must get first."""
        self._streams.append(stream)
        held = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._forfeit_beyond_limit()
        self._client.resume_reading()
        self._wait()
        return held

    def detach(self, stream: UpstreamStream) -> None:
        """The attempt is over; pieces now wait for another stream, up to the bound."""
        if stream in self._streams:
            self._streams.remove(stream)
            if not self.complete and not self._held_up and (self._streams or not self._full):
                self._client.resume_reading()
            self._wait()

    def copy_to(self, mirror: StreamHandler) -> None:
        """Tell a mirror too what comes from now on, as its client would."""
        self._copy = mirror

    def leave(self) -> None:
        """The exchange is over."""
        if self._copy is not None:
            self._copy.on_client_gone()
            self._copy = None

    def start(self) -> None:
        """A 100 Continue was sent to the client: from now on it must send."""
        self.started = True
        self._wait()

    def forfeit(self) -> None:
        """It will not be sent again."""
        self.whole = False
        self._pieces.clear()
        self._joined = 0
        self.size = 0

    def on_piece(self, piece: bytes) -> None:
        """A piece arrived from the client."""
        if not self.started:
            self.start()
        if self.digest is not None:
            self.digest.update(piece)
        if self.whole:
            self._pieces.append(piece)
            self.size += len(piece)
            joined = self._joined
            if len(self._pieces) - joined > _MAX_PIECES:
                self._pieces[joined:] = [b"".join(self._pieces[joined:])]
                self._joined = joined + 1
        if self._streams:
            self._forfeit_beyond_limit()
            for stream in self._streams:
                stream.write_body(piece)
                if stream.write_paused:
                    self._hold()
        elif self._full:
            self._client.pause_reading()
        if self._copy is not None:
            self._copy.on_body(piece)

    def on_end(self, trailers: Trailers) -> None:
        """It has ended."""
        self.complete = True
        self.trailers = trailers
        self._wait()
        for stream in self._streams:
            stream.end(trailers)
        if self._copy is not None:
            self._copy.on_body_end(trailers)

    def on_writable(self, writable: bool) -> None:
        """Whether writing to an upstream must pause."""
        if not writable:
            self._taken = self._taken_now
            self._hold()
        elif not self._held_up:
            self._client.resume_reading()
            self._wait()

    def moves(self) -> bool:
        """Whether the upstream has to read first, and took some since this was asked last.

        A slow reader lets a transport write again only after a third of the kernel's buffer, which
        can be a megabyte.
        """
        if not self._held_up:
            return False
        before, self._taken = self._taken, self._taken_now
        return self._taken > before

    @property
    def _taken_now(self) -> int:
        """Grows by the bytes that the upstream takes."""
        return self._client.request_bytes - sum([one.unsent_bytes for one in self._streams])

    @property
    def _held_up(self) -> bool:
        """Whether writing to an upstream must pause."""
        return any([stream.write_paused for stream in self._streams])

    @property
    def _full(self) -> bool:
        """Whether enough waits for a stream."""
        return self.size > max(self._limit, HELD_BYTES)

    def _hold(self) -> None:
        self._client.pause_reading()
        self._wait()

    def _wait(self) -> None:
        """Tell the pace whether the proxy waits for the client now."""
        pace, timing = self.pace, self._timing
        if pace is not None and timing is not None:
            pace.wait(self.owed)
            timing.look_at(pace.look_at)

    def _forfeit_beyond_limit(self) -> None:
        if self.size > self._limit and self.whole:
            self.forfeit()
