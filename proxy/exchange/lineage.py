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

    `lineage`: where it is noted, None: nowhere. `parent`: whose deadline it inherited, while both
    are noted. `heir`: the latest call that inherited its deadline. `sorted`: it is noted by its
    trace id. `retried_below`: a call that was made for it failed, and its retries are spent.
    """

    __slots__ = ("after", "before", "heir", "lineage", "parent", "retried_below", "sorted")

    sorted: bool
    retried_below: bool

    lineage: "Lineage | None"
    parent: "Kin | None"
    heir: "Kin | None"
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


class Lineage:
    """The inbound requests in flight by trace id, and the outbound calls with their deadlines.

    An inbound request is noted by its trace id when the next outbound call asks: many services make
    none. Requests are in lists, linked by `before` and `after`, the latest first: the requests that
    are not sorted yet, those of one trace, and the heirs of one request.
    """

    __slots__ = ("_parents", "_size", "_unsorted")

    def __init__(self) -> None:
        self._parents: dict[str, Kin] = {}
        self._unsorted: Kin | None = None
        self._size = 0

    def __len__(self) -> int:
        """How many requests and calls are noted."""
        return self._size

    @property
    def occupied(self) -> bool:
        """Whether an inbound request is in flight."""
        return self._unsorted is not None or len(self._parents) > 0

    def enter(self, request: Kin) -> None:
        """An inbound request begins, or an outbound call with the deadline of its `parent`."""
        request.lineage = self
        self._size += 1
        parent = request.parent
        if parent is not None:
            _put_before(request, parent.heir)
            parent.heir = request
        else:
            request.sorted = False
            _put_before(request, self._unsorted)
            self._unsorted = request

    def leave(self, request: Kin) -> None:
        """It has ended."""
        request.lineage = None
        self._size -= 1
        if not request.inbound:
            parent = request.parent
            if parent is not None:
                request.parent = None
                if parent.heir is request:
                    parent.heir = request.after
        elif request.sorted:
            if request.before is None:
                self._replace(request.kinship, request.after)
        elif request is self._unsorted:
            self._unsorted = request.after
        _take_out(request)
        if request.heir is not None:
            _disown(request)

    def answered(self, request: Kin) -> None:
        """Its upstream's response goes to its client now: its deadline is handed on no longer."""
        heir = request.heir
        if heir is None or request.streams:
            return
        while heir is not None:
            heir.disinherit()
            heir = heir.after

    def retries_spent(self, kinship: str) -> None:
        """An outbound call of this trace failed, and was retried as far as that is allowed."""
        parent = self.latest(kinship)
        count = 0
        while parent is not None and count < MOST_PARENTS:
            count += 1
            parent.retried_below = True
            parent = parent.after

    def latest(self, kinship: str) -> Kin | None:
        """The latest inbound request of this trace; None: none is in flight."""
        if self._unsorted is not None:
            self._sort()
        return self._parents.get(kinship)

    def _sort(self) -> None:
        """Note the inbound requests by their trace ids, the earliest first."""
        request = self._unsorted
        while request is not None and request.after is not None:
            request = request.after
        while request is not None:
            later = request.before
            kinship = request.kinship
            request.before = None
            _put_before(request, self._parents.get(kinship))
            self._parents[kinship] = request
            request.sorted = True
            request = later
        self._unsorted = None

    def _replace(self, kinship: str, latest: Kin | None) -> None:
        if latest is None:
            del self._parents[kinship]
        else:
            self._parents[kinship] = latest


def inherited(latest: Kin, now: float) -> tuple[Kin, float, bytes, bool]:
    """What an outbound call inherits; `latest`: the latest inbound request of its trace.

    Returns the request that decided, and of its deadline the seconds left, NEVER without one; the
    number as a repeat, b"" if not all requests of the trace are repeats; and whether the deadline
    lasts to the end of a stream.
    """
    longest, left, repeat = latest, latest.left_to_hand_on(now), latest.repeat
    streams = latest.streams
    count = 1
    parent = latest.after
    while parent is not None:
        count += 1
        if count > MOST_PARENTS:
            return latest, NEVER, b"", False
        has = parent.left_to_hand_on(now)
        if has > left:
            longest, left = parent, has
        streams = streams and parent.streams
        if repeat and not parent.repeat:
            repeat = b""
        parent = parent.after
    return longest, left, repeat, streams


def _put_before(request: Kin, after: Kin | None) -> None:
    request.before = None
    request.after = after
    if after is not None:
        after.before = request


def _take_out(request: Kin) -> None:
    before, after = request.before, request.after
    if before is not None:
        before.after = after
    if after is not None:
        after.before = before
    request.before = request.after = None


def _disown(request: Kin) -> None:
    """It has ended before the calls that inherited its deadline."""
    heir = request.heir
    request.heir = None
    while heir is not None:
        heir.parent = None
        after = heir.after
        heir.before = heir.after = None
        heir = after
