"""What an inbound request in flight hands on to the outbound calls that its service makes for it.

A service sends the trace id on, so an outbound call with the trace id of an inbound request in
flight was made for that request: the *parent*. The call inherits

- the deadline that the parent's caller gave: no caller waits for an answer that comes later;
- the repeat: a call for a request that is a repeat itself is not repeated, so two layers of
  retries do not multiply.

The other way round, a request knows that a call for it failed although it was retried: its failed
response says so, and the caller's proxy does not retry either.

Of several parents the longest deadline counts, and one without a deadline means none; a repeat
counts only if all are repeats. A parent hands its deadline on until its response's head has gone (a
gRPC call: to its end), and nothing after its end.
"""

from typing import Final

from proxy.policies.gate import Ask
from proxy.wire.alarm import NEVER

MOST_PARENTS: Final = 64
"""Parents that are examined; a call with more inherits neither deadline nor repeat."""


class Kin(Ask):
    """A request, as its relatives see it.

    `lineage`: where it is noted, None: nowhere. `parent`: whose deadline it inherited, while it is
    noted. `retried_below`: a call that was made for it failed, and its retries are spent.
    """

    __slots__ = ("after", "before", "lineage", "parent", "retried_below")

    retried_below: bool

    lineage: "Lineage | None"
    parent: "Kin | None"
    before: "Kin | None"
    after: "Kin | None"

    @property
    def kinship(self) -> str:
        """What relatives have in common: the trace id."""
        raise NotImplementedError

    @property
    def inbound(self) -> bool:
        raise NotImplementedError

    def left_to_hand_on(self, now: float) -> float:
        """Seconds left of the deadline that its caller gave; NEVER: none, or no longer."""
        raise NotImplementedError

    @property
    def streams(self) -> bool:
        """Whether its deadline lasts to the end of its response (gRPC), not only to the head."""
        raise NotImplementedError

    @property
    def repeat(self) -> bytes:
        """Its number as a repeat, as its caller says it; b"": it is not a repeat."""
        raise NotImplementedError

    def disinherit(self) -> None:
        """The deadline that it inherited is no longer in effect."""
        raise NotImplementedError


class Inheritance:
    """What a call inherits from `parent`, the one that decided.

    `left`: seconds, NEVER without a deadline. `streams`: it lasts to the end of a stream.
    `repeat`: the parent's number as a repeat, b"" if not all parents are repeats.
    """

    __slots__ = ("left", "parent", "repeat", "streams")

    def __init__(self, parent: Kin, left: float, repeat: bytes, *, streams: bool) -> None:
        self.parent = parent
        self.left = left
        self.repeat = repeat
        self.streams = streams


class Lineage:
    """The inbound requests in flight by trace id, and the outbound calls with their deadlines.

    Requests of one trace are a list, linked by `before` and `after`.
    """

    __slots__ = ("_heirs", "_parents")

    def __init__(self) -> None:
        self._parents: dict[str, Kin] = {}
        self._heirs: dict[str, Kin] = {}

    def __len__(self) -> int:
        return len(self._parents) + len(self._heirs)

    @property
    def occupied(self) -> bool:
        """Whether an inbound request is in flight."""
        return len(self._parents) > 0

    def enter(self, request: Kin) -> None:
        """An inbound request begins, or an outbound call with an inherited deadline."""
        request.lineage = self
        _link(self._parents if request.inbound else self._heirs, request)

    def leave(self, request: Kin) -> None:
        """It has ended."""
        request.lineage = request.parent = None
        _unlink(self._parents if request.inbound else self._heirs, request)

    def answered(self, request: Kin) -> None:
        """Its upstream's response goes to its client now: its deadline is handed on no longer."""
        if not request.inbound or request.streams or not self._heirs:
            return
        heir = self._heirs.get(request.kinship)
        while heir is not None:
            if heir.parent is request:
                heir.disinherit()
            heir = heir.after

    def retries_spent(self, kinship: str) -> None:
        """An outbound call of this trace failed, and was retried as far as that is allowed."""
        parent = self._parents.get(kinship)
        count = 0
        while parent is not None and count < MOST_PARENTS:
            count += 1
            parent.retried_below = True
            parent = parent.after

    def inherited(self, kinship: str, now: float) -> Inheritance | None:
        """What an outbound call of this trace inherits; None: it has no parent in flight."""
        first = parent = self._parents.get(kinship)
        if first is None:
            return None
        longest, left, streams = first, -1.0, True
        repeat = first.repeat
        count = 0
        while parent is not None:
            count += 1
            if count > MOST_PARENTS:
                return Inheritance(first, NEVER, b"", streams=False)
            has = parent.left_to_hand_on(now)
            if has > left:
                longest, left = parent, has
            streams = streams and parent.streams
            if not parent.repeat:
                repeat = b""
            parent = parent.after
        return Inheritance(longest, left, repeat, streams=streams)


def _link(of: dict[str, Kin], request: Kin) -> None:
    kinship = request.kinship
    first = of.get(kinship)
    request.before = None
    request.after = first
    if first is not None:
        first.before = request
    of[kinship] = request


def _unlink(of: dict[str, Kin], request: Kin) -> None:
    before, after = request.before, request.after
    if after is not None:
        after.before = before
    if before is not None:
        before.after = after
    elif after is not None:
        of[request.kinship] = after
    else:
        del of[request.kinship]
    request.before = request.after = None
