"""The attributes that telemetry and admin read, as protocols.

The floors below do not know their observers; these are the shapes that observers rely on.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from proxy.config.model import Config, Listener
from proxy.exchange.binding import Binding
from proxy.exchange.bindings import Bindings
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.retry import Retry, Stop
from proxy.upstream.registry import Upstreams


class AttemptRecord(Protocol):
    """One attempt. `status` is 0 without one, `failure` "" without one, `grpc` the code of a gRPC
    call or `NO_GRPC`; seconds.

    `started` is monotonic, `detail` the failure's sentence, `decision` the retry policy's decision
    afterwards, if any, `breaker` the circuit breaker that the attempt asked.
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
    def started(self) -> float: ...
    @property
    def duration(self) -> float: ...
    @property
    def wait(self) -> float: ...


class Exchange(Protocol):
    """One request. `started` is monotonic; `duration`, `status` and `reason` are set at its end.

    `reason` is "" if the upstream's response was sent complete, `detail` is the sentence of the
    proxy's answer; `path` has no query. `retry_refused` says why there was no other attempt, "" if
    none was considered. A request without a route has no `binding`. `stood_still`: seconds in which
    the client sent its body. `grpc_status`: the name of the status that a gRPC caller got, "" for
    others; `grpc_failed`: it means that the upstream failed.
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
    def binding(self) -> Binding | None: ...
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
    def attempts(self) -> Sequence[AttemptRecord]: ...


class Gate(Protocol):
    """One listener: its exchanges in flight and its client connections."""

    @property
    def in_flight(self) -> Collection[Exchange]: ...
    @property
    def connections(self) -> Collection[object]: ...


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


class Log(Protocol):
    """A writer of lines that counts the lines it could not write."""

    @property
    def dropped(self) -> int: ...
