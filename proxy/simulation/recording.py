"""What an access log tells: requests, and the result of each attempt."""

from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from proxy.errors import (
    AttemptTimeout,
    BodyTimeout,
    CircuitOpen,
    ClientGone,
    ConnectionsFull,
    DrainCut,
    Draining,
    HedgeLost,
    InternalError,
    Loop,
    NoHealthyEndpoint,
    RequestTimeout,
)

UNSEEN_END = frozenset(
    {AttemptTimeout.reason, RequestTimeout.reason, HedgeLost.reason, ClientGone.reason}
)
"""Failures of attempts that say only that there was no answer until then."""
LIMITED = frozenset({"rate-limited", "concurrency-limited", "bulkhead-full", "queue-timeout"})
"""Reasons of requests that a rate limit, a bulkhead or its queue refused."""
UNSENT = frozenset({CircuitOpen.reason, DrainCut.reason, Draining.reason, NoHealthyEndpoint.reason})
"""Failures that say nothing of an upstream."""
_SWITCHED = 101
_SERVER_ERROR = 500
BEYOND = frozenset(
    {
        BodyTimeout.reason,
        ConnectionsFull.reason,
        DrainCut.reason,
        Draining.reason,
        InternalError.reason,
        Loop.reason,
    }
)
"""Reasons that no policy decides: what a client, an address or the process itself did."""


class Ring(NamedTuple):
    """A timer that was due from `first` to `last`, and rang at `at`. Unix seconds."""

    first: float
    last: float
    at: float


@dataclass(frozen=True, slots=True)
class RecordedAttempt:
    """One attempt. `at` is when it began (Unix seconds), `head` the seconds to its response's head
    or failure, `body` the seconds from the head to the response's end.

    `endpoint` is ``ip:port``, "" where it came to none. `status` is 0 and `failure` "" without one;
    `grpc` is the name of a gRPC status. `wait`: the seconds before it, after a failure.
    `fault`: those of the proxy that it suffered. `cut`: the proxy or its client ended the body,
    which would have taken longer; `silent`: after so many seconds without any of it. `pause`: from
    and to these seconds after the head, none of the body comes. `retry_after`: seconds that its
    response asked to wait, as far as the log tells. `refused`: an HTTP/2 stream that was not
    processed. `below`: its response was not retried, because the layer below had done so. `late`:
    the seconds from the attempt's deadline to an answer that had come in time. `hedge`: it began
    beside the one before.
    """

    at: float
    upstream: str
    endpoint: str
    status: int
    failure: str
    grpc: str
    head: float
    body: float
    size: int
    fault: str = ""
    wait: float = 0.0
    cut: bool = False
    silent: float = 0.0
    pause: tuple[float, float] = (0.0, 0.0)
    retry_after: int = 0
    refused: bool = False
    below: bool = False
    late: float = 0.0
    hedge: bool = False

    @property
    def censored(self) -> bool:
        """Whether it is only known that there was no answer until `head`."""
        return self.failure in UNSEEN_END and not self.status

    @property
    def tells(self) -> bool:
        """Whether it says something about its endpoint."""
        return not self.fault and self.failure not in UNSENT and self.status != _SWITCHED


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One line. `at` is when it began (Unix seconds), `duration` in seconds.

    `limit`: the rate limit that refused it. `deadline`: the seconds that its caller gave, inf
    where the log does not tell. `keyed`: whether it had an idempotency key, None where the log does
    not tell. `settled`: it was answered by its idempotency key, the outbox or a saga, or for a
    reason that no policy decides. `trace`: the trace id of an inbound request, and of a call
    that was made for one. `repeat`: it is a repeat, as a call that was made for it tells.
    `queued`: the seconds in the bulkhead's queue, or until its turn. `refused`: when the circuit
    breaker refused a retry, inf if it did not. `rings`: its timers, as far as
    the log tells.
    """

    at: float
    listener: str
    client: str
    method: str
    host: str
    path: str
    route: str
    upstream: str
    status: int
    reason: str
    duration: float
    bytes_in: int
    bytes_out: int
    grpc: str
    hedged: int
    fault: str
    limit: str
    deadline: float
    keyed: bool | None
    settled: bool
    attempts: tuple[RecordedAttempt, ...]
    trace: str = ""
    repeat: bool = False
    queued: float = 0.0
    refused: float = inf
    rings: tuple[Ring, ...] = ()


@dataclass(slots=True)
class Recording:
    """`requests` in the order in which they began. `foreign` lines were no requests of the proxy;
    `unreadable` of them looked like one, the first in line `first_unreadable`. `unroutable`
    requests had no head that a route could take. `offset`: what the monotonic clock was ahead of
    Unix time, in seconds, None where no line tells: windows count its whole seconds.
    """

    requests: list[RecordedRequest] = field(default_factory=list)
    foreign: int = 0
    unreadable: int = 0
    first_unreadable: int = 0
    unroutable: int = 0
    offset: float | None = None

    @property
    def only_trouble(self) -> bool:
        """Whether these may be the errors alone (`access_log.requests: errors`)."""
        return all(
            one.reason or one.status >= _SERVER_ERROR or len(one.attempts) > 1
            for one in self.requests
        )

    @property
    def seconds(self) -> float:
        if not self.requests:
            return 0.0
        return max(one.at + one.duration for one in self.requests) - self.requests[0].at
