"""Flight recorder: the last exchanges that had trouble, each with its attempts, for `/recent`.

Trouble is an answer of the proxy, a truncated response, a client that left, a 5xx, more than one
attempt, a fallback, what a policy in mode observe would have changed, or a slow response. A
response is slow if its head took longer than half the route's `timeouts.attempt`, or longer than
its `circuit_breaker.slow_call.duration` if that is shorter. The body's time does not count, because
downloads and streams are long by nature.

    no trouble ── one test ──▶ nothing        trouble ──▶ copied into the ring of its kind

A flood of one kind (the same route and the same reason or status) must not push out the exchanges
before it, which usually show its cause: when the recorder is full, the oldest exchange of the most
frequent kind makes room. Records hold no reference to their exchange, and every text is bounded,
so the memory is bounded too.
"""

import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from proxy.clock import WallClock
from proxy.config.model import Config, Listener, PolicyConfig
from proxy.grpc_status import name_of
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.retry import Retry, Stop
from proxy.telemetry.observed import AttemptRecord, Exchange
from proxy.telemetry.sieves import Notable
from proxy.upstream.standings import NONE_LEFT_OUT, LeftOut

CAPACITY = 200
"""Exchanges kept."""
MAX_ATTEMPTS = 20
"""Attempts kept of one exchange, the last ones."""
MAX_TEXT = 512
"""Characters kept of one text."""


class RecordedAttempt(NamedTuple):
    """One attempt. Seconds; `offset` from the exchange's start to the attempt's, `wait` before it.

    `fault`: the kinds of the fault that the proxy injected. Without status and failure it was in
    flight. `left_out`: endpoints that could not be used when it chose, and why.
    """

    endpoint: str
    upstream: str
    status: int
    grpc_status: str
    failure: str
    detail: str
    offset: float
    duration: float
    wait: float
    decision: Retry | Stop | None
    hedge: bool
    fault: str
    left_out: LeftOut = NONE_LEFT_OUT


class Recorded(NamedTuple):
    """One exchange. `began` in seconds since the Unix epoch, `duration` in seconds.

    `breaker`: name and state, at the time of recording, of the circuit breaker that it asked.
    `attempts_made` may exceed the number of `attempts`. `status` 0: it was in flight. `grpc_status`
    is "" for what is not a gRPC call. `delivers`: it is a try of `outbox_id` or `saga`.
    """

    number: int
    began: float
    listener: Listener
    client: str
    method: str
    host: str
    path: str
    route: str
    upstream: str
    status: int
    grpc_status: str
    reason: str
    detail: str
    slow: bool
    fallback: bool
    observed: tuple[str, ...]
    duration: float
    bytes_in: int
    bytes_out: int
    request_id: str
    trace_id: str
    breaker: tuple[str, str] | None
    attempts_made: int
    attempts: tuple[RecordedAttempt, ...]
    inherited_from: str = ""
    outbox_id: str = ""
    saga: str = ""
    delivers: bool = False


_Kind: TypeAlias = tuple[str, str | int]


class FlightRecorder:
    """`observer` is called with settled exchanges. `seen` counts all exchanges with trouble."""

    __slots__ = ("_kinds", "_sieve", "_wall_clock", "held", "observer", "seen")

    def __init__(self, config: Config, wall_clock: WallClock = time.time) -> None:
        self._wall_clock = wall_clock
        self._kinds: dict[_Kind, deque[Recorded]] = {}
        self.held = 0
        self.seen = 0
        self._sieve = Notable(self.record)
        self.observer = self._sieve.record
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """Use another configuration; records stay."""
        policies = [*config.policies.values(), *(route.policies for route in config.routes)]
        self._sieve.slow_from = min(map(slow_after, policies))

    def record(self, exchange: Exchange) -> None:
        """Keep the exchange if it had trouble."""
        slow = exchange.duration > self._sieve.slow_from and _is_slow(exchange)
        if not slow and not exchange.troubled:
            return
        if (
            slow
            or exchange.reason
            or exchange.status >= 500
            or exchange.grpc_failed
            or (len(exchange.attempts) > 1 and len(exchange.attempts) - exchange.hedged > 1)
            or exchange.fallback
            or exchange.observed
        ):
            self._keep(exchange, slow)

    def _keep(self, exchange: Exchange, slow: bool) -> None:
        self.seen += 1
        ended = exchange.started + exchange.duration
        recorded = snapshot(exchange, ended, self._wall_clock(), slow=slow, number=self.seen)
        kind = (recorded.route, recorded.reason or recorded.grpc_status or recorded.status)
        of_kind = self._kinds.get(kind)
        if of_kind is None:
            of_kind = self._kinds[kind] = deque()
        of_kind.append(recorded)
        if self.held < CAPACITY:
            self.held += 1
        else:
            self._make_room()

    def _make_room(self) -> None:
        kind, fullest = max(
            self._kinds.items(), key=lambda item: (len(item[1]), -item[1][0].number)
        )
        fullest.popleft()
        if not fullest:
            del self._kinds[kind]

    def recent(self) -> list[Recorded]:
        """All records, newest first."""
        found = [one for kind in self._kinds.values() for one in kind]
        found.sort(key=lambda one: one.number, reverse=True)
        return found


def slow_after(policies: PolicyConfig) -> float:
    """An exchange is slow if its response's head took this many seconds or longer."""
    return min(policies.timeouts.attempt / 2, policies.circuit_breaker.slow_call.duration)


def _is_slow(exchange: Exchange) -> bool:
    """Excludes the time in which the client sent its body."""
    binding = exchange.binding
    if binding is None or not exchange.attempts:
        return False
    last = exchange.attempts[-1]
    until_head = last.started + last.duration - exchange.started - exchange.stood_still
    return until_head > slow_after(binding.policies)


def snapshot(
    exchange: Exchange, now: float, wall: float, *, slow: bool = False, number: int = 0
) -> Recorded:
    """A copy of what is shown of an exchange, settled or in flight.

    `now` (monotonic) and `wall` (since the Unix epoch) are the same moment, in seconds.
    """
    breaker = _breaker(exchange)
    attempts = exchange.attempts
    age = now - exchange.started
    return Recorded(
        number,
        wall - age,
        exchange.listener,
        exchange.client,
        exchange.method[:MAX_TEXT],
        exchange.host[:MAX_TEXT],
        exchange.path[:MAX_TEXT],
        exchange.route,
        exchange.upstream,
        exchange.status,
        exchange.grpc_status,
        exchange.reason,
        exchange.detail[:MAX_TEXT],
        slow,
        exchange.fallback,
        tuple(exchange.observed),
        age,
        exchange.bytes_in,
        exchange.bytes_out,
        exchange.request_id,
        exchange.trace_id,
        (breaker.name, breaker.state(now).value) if breaker is not None else None,
        len(attempts),
        tuple(_attempts(attempts[-MAX_ATTEMPTS:], exchange.started, now)) if attempts else (),
        exchange.inherited_from,
        exchange.outbox_id[:MAX_TEXT],
        exchange.saga,
        exchange.delivers,
    )


def _breaker(exchange: Exchange) -> CircuitBreaker | None:
    """The circuit breaker that was asked last, or would have been."""
    for attempt in reversed(exchange.attempts):
        if attempt.breaker is not None:
            return attempt.breaker
    return exchange.binding.breaker if exchange.binding is not None else None


def _attempts(
    attempts: Iterable[AttemptRecord], started: float, now: float
) -> Iterable[RecordedAttempt]:
    for attempt in attempts:
        over = attempt.status or attempt.failure
        yield RecordedAttempt(
            attempt.endpoint[:MAX_TEXT],
            attempt.upstream,
            attempt.status,
            name_of(attempt.grpc),
            attempt.failure,
            attempt.detail[:MAX_TEXT],
            attempt.started - started,
            attempt.duration if over else now - attempt.started,
            attempt.wait,
            attempt.decision,
            attempt.hedge,
            attempt.fault,
            attempt.left_out,
        )
