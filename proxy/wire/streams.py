"""What the exchange and the pool share of a connection to an upstream.

A pool keeps sessions (`UpstreamSession`) and lends their streams (`UpstreamStream`), each to one
exchange at a time. An HTTP/1 connection is its session's only stream; an HTTP/2 connection has
many.

Both are plain base classes: mypyc knows no cheaper seam (docs/adr/0014).
"""

from proxy.wire.flow import FlowControlled


class UpstreamStream(FlowControlled):
    """One exchange's way to an endpoint: a lease of its `session`."""

    __slots__ = ("session",)

    session: "UpstreamSession"


class UpstreamSession:
    """A connection to an endpoint, as its pool keeps it.

    `room` is how many leases it gives at once; the other side may change that. The pool alone
    writes `lent` (leases that are out), `served` (leases given so far) and `idle_since`.
    """

    __slots__ = ("idle_since", "lent", "room", "served")

    def __init__(self, room: int) -> None:
        self.room = room
        self.lent = 0
        self.served = 0
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        """It may give another lease once there is room: open, not leaving, nothing unexpected."""
        raise NotImplementedError

    def lend(self) -> UpstreamStream:
        """A stream for one exchange. Only while it is usable and has room."""
        raise NotImplementedError

    def take_back(self, stream: UpstreamStream, reusable: bool) -> None:
        """An exchange is done with its stream. `reusable`: it ended in good order.

        Where it did not, what is left of it is ended at once; what is buffered is dropped.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End it in good order, what is buffered included. Harmless on a closed one."""
        raise NotImplementedError
