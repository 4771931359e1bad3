"""Stored requests, and what became of a try of one, as values."""

from collections.abc import Sequence
from typing import Final

from proxy.errors import BulkheadFull, ClaimLost, ConcurrencyLimited, Draining, QueueTimeout
from proxy.exchange.lease import Lease
from proxy.http.authority import parse_authority
from proxy.http.making import make_request
from proxy.http.message import RequestHead, make_field

CROWDED: Final = 0.1
"""Seconds of a pause after a try that was `crowded_out`."""
_OF_PLACES: Final = frozenset({BulkheadFull.reason, QueueTimeout.reason, ConcurrencyLimited.reason})
_HERE: Final = frozenset({Draining.reason, ClaimLost.reason})


class StoredRequest:
    """What a try sends. `fields` are forwarded, and `held` are for the exchange: the trace's
    fields and X-Request-Id, by lower-case name. `target` is path and query. `client`: the peer's
    address when it was accepted. For logs and `/in-flight`: `entry` is its id in the outbox, or
    `saga` its saga and `step` the step's name and phase; `number` is 1 for the first try. `lease`:
    of the claim under which it is sent."""

    __slots__ = (
        "body",
        "client",
        "entry",
        "fields",
        "held",
        "host",
        "lease",
        "method",
        "number",
        "saga",
        "scheme",
        "step",
        "target",
    )

    def __init__(
        self,
        method: str,
        target: str,
        fields: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        host: str,
        scheme: str = "http",
        held: dict[bytes, list[bytes]] | None = None,
        client: str = "",
        entry: str = "",
        saga: str = "",
        step: str = "",
        number: int = 0,
    ) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self.body = body
        self.host = host
        self.scheme = scheme
        self.held: dict[bytes, list[bytes]] = {} if held is None else held
        self.client = client
        self.entry = entry
        self.saga = saga
        self.step = step
        self.number = number
        self.lease: Lease | None = None

    def head(self) -> RequestHead:
        """Raises ValueError for a host that is not one."""
        authority = parse_authority(self.host) if self.host else None
        path, mark, query = self.target.partition("?")
        return make_request(
            self.method,
            self.scheme,
            (self.host, authority, authority.host if authority is not None else ""),
            (path, query if mark else None),
            [make_field(name, value) for name, value in self.fields],
            self.held,
            len(self.body),
        )


class TryResult:
    """What became of a try.

    `status`: the response's, or that of the proxy's own answer, whose `reason` then is not "".
    `retry_after`: seconds that the response asks for, or None. `body`: up to the bytes that were
    wanted; `complete`: that is all of it. `sent`: a service may have seen the request; `seen`: the
    statuses of the attempts for which that holds, 0 for one without an answer. `postponed`:
    nothing was tried, because of a policy or the drain. `unknown`: another such proxy says that it
    does not know what became of an earlier try.
    """

    __slots__ = (
        "body",
        "complete",
        "detail",
        "postponed",
        "reason",
        "retry_after",
        "seconds",
        "seen",
        "sent",
        "status",
        "unknown",
    )

    def __init__(
        self,
        status: int,
        reason: str = "",
        detail: str = "",
        *,
        retry_after: float | None = None,
        body: bytes = b"",
        complete: bool = False,
        sent: bool = True,
        postponed: bool = False,
        unknown: bool = False,
        seconds: float = 0.0,
        seen: Sequence[int] = (),
    ) -> None:
        self.status = status
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after
        self.body = body
        self.complete = complete
        self.sent = sent
        self.postponed = postponed
        self.unknown = unknown
        self.seconds = seconds
        self.seen = seen

    @property
    def crowded_out(self) -> bool:
        """Whether it was refused a place, which the end of any other exchange may free."""
        return self.reason in _OF_PLACES

    @property
    def ended_here(self) -> bool:
        """Whether this process ended it, which says nothing about its target."""
        return self.reason in _HERE
