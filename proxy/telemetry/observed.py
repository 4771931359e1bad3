"""The attributes that telemetry and admin read, as protocols.

The floors below do not know their observers; these are the shapes that observers rely on.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from proxy.config.model import Config, Listener
from proxy.exchange.binding import Binding
from proxy.exchange.bindings import Bindings
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.retry import Retry, Stop
from proxy.upstream.registry import Upstreams
from proxy.upstream.standings import LeftOut

if TYPE_CHECKING:
    from proxy.store.store import Store


class AttemptRecord(Protocol):
    """One attempt. `status` is 0 without one, `failure` "" without one, `grpc` the code of a gRPC
    call or `NO_GRPC`; seconds.

    `started` is monotonic, `detail` the failure's sentence, `decision` the retry policy's decision
    afterwards, if any, `breaker` the circuit breaker that the attempt asked. `left_out`: endpoints
    that could not be used when it chose.
    """

    @property
    def endpoint(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def upstream(self) -> str: ...
    @property
    def failure(self) -> str: ...
    @property
    def detail(self) -> str: ...
    @property
    def decision(self) -> Retry | Stop | None: ...
    @property
    def breaker(self) -> CircuitBreaker | None: ...
    @property
    def grpc(self) -> int: ...
    @property
    def hedge(self) -> bool: ...
    @property
    def fault(self) -> str: ...
    @property
    def left_out(self) -> LeftOut: ...
    @property
    def started(self) -> float: ...
    @property
    def duration(self) -> float: ...
    @property
    def wait(self) -> float: ...


class Exchange(Protocol):
    """One request. `started` is monotonic; `duration`, `status` and `reason` are set at its end.

    `reason` is "" if the upstream's response was sent complete, `detail` is the sentence of the
    proxy's answer; `path` has no query. `observed`: what policies in mode observe would have done
    (``policy.what``). `retry_refused` says why there was no other attempt, "" if none was
    considered. A request without a route has no `binding`. `queued`: seconds that it waited for
    permits. `stood_still`: seconds in which the client sent its body. `grpc_status`: the name of
    the status that a gRPC caller got, "" for others; `grpc_failed`: it means that the upstream
    failed. `outbox_id`: the entry of the outbox that it became, or with `delivers` is a try of;
    else "". `saga`: the saga that it started, or with `delivers` is a try of; else "".
    """

    @property
    def listener(self) -> Listener: ...
    @property
    def client(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def route(self) -> str: ...
    @property
    def upstream(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def grpc_status(self) -> str: ...
    @property
    def grpc_failed(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    @property
    def detail(self) -> str: ...
    @property
    def retry_refused(self) -> str: ...
    @property
    def observed(self) -> Sequence[str]: ...
    @property
    def troubled(self) -> bool: ...
    @property
    def binding(self) -> Binding | None: ...
    @property
    def queued(self) -> float: ...
    @property
    def stood_still(self) -> float: ...
    @property
    def started(self) -> float: ...
    @property
    def duration(self) -> float: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def request_id(self) -> str: ...
    @property
    def trace_id(self) -> str: ...
    @property
    def sampled(self) -> bool: ...
    @property
    def fallback(self) -> bool: ...
    @property
    def hedged(self) -> int: ...
    @property
    def mirrored(self) -> str: ...
    @property
    def idempotency(self) -> str: ...
    @property
    def inherited_from(self) -> str: ...
    @property
    def outbox_id(self) -> str: ...
    @property
    def saga(self) -> str: ...
    @property
    def delivers(self) -> bool: ...
    @property
    def fault(self) -> str: ...
    @property
    def attempts(self) -> Sequence[AttemptRecord]: ...


class Gate(Protocol):
    """One listener: its exchanges in flight, its client connections, and open HTTP/2 streams."""

    @property
    def in_flight(self) -> Collection[Exchange]: ...
    @property
    def connections(self) -> Collection[object]: ...
    @property
    def streams(self) -> int: ...


class Gateway(Protocol):
    """The data plane. A reload may replace `config` and `bindings`: read them each time."""

    @property
    def config(self) -> Config: ...
    @property
    def bindings(self) -> Bindings: ...
    @property
    def upstreams(self) -> Upstreams: ...
    @property
    def gates(self) -> Mapping[Listener, Gate]: ...


class Try(Protocol):
    """A try in flight, of an entry of the outbox or of a saga's step. `number` is 1 for the first;
    `step`: name and phase of the saga's step, "" for an entry."""

    @property
    def record(self) -> Exchange: ...
    @property
    def number(self) -> int: ...
    @property
    def step(self) -> str: ...


class QueueFigures(Protocol):
    """One route's entries of the outbox. `outcomes` counts tries."""

    @property
    def route(self) -> str: ...
    @property
    def pending(self) -> int: ...
    @property
    def oldest(self) -> float: ...
    @property
    def dead(self) -> int: ...
    @property
    def outcomes(self) -> Mapping[str, int]: ...


class OutboxFigures(Protocol):
    """The outbox. `left`: entries that the end of the process loses with the pod."""

    @property
    def left(self) -> int: ...
    def figures(self) -> Sequence[QueueFigures]: ...
    @property
    def tries(self) -> Sequence[Try]: ...


class TablesFigures(Protocol):
    """Outbox tables of the service's own. `ready`: whether the rows of each can be delivered."""

    @property
    def tries(self) -> Sequence[Try]: ...
    def figures(self) -> Sequence[QueueFigures]: ...
    def ready(self) -> Mapping[str, bool]: ...


class SagaStats(Protocol):
    """`counts`: sagas by name and state. `steps`: tries by saga, step, phase and outcome."""

    @property
    def counts(self) -> Mapping[tuple[str, str], int]: ...
    @property
    def steps(self) -> Mapping[tuple[str, str, str, str], int]: ...


class SagaFigures(Protocol):
    @property
    def stats(self) -> SagaStats: ...
    @property
    def tries(self) -> Sequence[Try]: ...


class Lifecycle(Protocol):
    """Counts of the process: exchanges cut by a drain, reloads by result.

    `last_reload` has its ``result``, ``applied`` or ``rejected``; None before the first.
    """

    @property
    def drain_cut(self) -> int: ...
    @property
    def reloads(self) -> Mapping[str, int]: ...
    @property
    def last_reload(self) -> Mapping[str, Any] | None: ...
    @property
    def bypass_left(self) -> float:
        """Seconds until the bypass ends; 0 if it is off."""

    @property
    def store(self) -> "Store | None":
        """Where promises are kept; None without a store."""

    @property
    def deliveries(self) -> OutboxFigures | None:
        """The outbox; None without one."""

    @property
    def outbox_tables(self) -> TablesFigures | None:
        """The tables of the service's own; None without one."""

    @property
    def sagas(self) -> SagaFigures | None:
        """The sagas; None without any."""


class Log(Protocol):
    """A writer of lines that counts the lines it could not write."""

    @property
    def dropped(self) -> int: ...
