"""Converts a settled exchange to OpenTelemetry spans: one for itself, one for each attempt.

    caller's span ──▶ SERVER  the exchange ──┬──▶ CLIENT  attempt 1 ──▶ the upstream's span
                                             └──▶ CLIENT  attempt 2 ──▶ the upstream's span

Spans are made afterwards, from the record, with the ids that were sent: an exchange that is not
sampled costs nothing, and a sampled one costs the data path two ids. Names and attributes follow
the stable HTTP semantic conventions (1.23 and later); attributes outside them begin with
``resilience_proxy.``. As in the access log, no span contains the value of a header or a query.

This file imports the SDK: import it only if spans are exported.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from random import getrandbits
from typing import TypeAlias

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from proxy import __version__
from proxy.clock import Clock
from proxy.config.model import Listener
from proxy.errors import (
    Blame,
    BulkheadFull,
    CircuitOpen,
    ClientGone,
    QueueTimeout,
    subclasses,
)
from proxy.exchange.record import AttemptRecord, Record
from proxy.grpc_status import FAILURES, OK, UNIMPLEMENTED, name_of
from proxy.http.authority import DEFAULT_PORTS
from proxy.policies.bulkhead import BULKHEAD
from proxy.policies.retry import Retry, Stop
from proxy.telemetry.transitions import Transitions

Attributes: TypeAlias = dict[str, str | int | float | bool]

OWN = "resilience_proxy."

_SCOPE = InstrumentationScope("resilience-proxy", __version__)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)
_PROTOCOLS = {10: "1.0", 11: "1.1", 20: "2"}
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
)
"""The methods of the conventions; any other is ``_OTHER``."""
_CLIENTS_FAULT = frozenset(one.reason for one in subclasses() if one.blame is Blame.CLIENT)
_SERVER_ERRORS = FAILURES | {UNIMPLEMENTED}
"""Codes that make a server's span an error ("Semantic conventions for gRPC")."""
_NOT_PLACED = frozenset({BulkheadFull.reason, QueueTimeout.reason})


class SpanMaker:
    """Makes spans for one resource. Only the loop's thread calls it."""

    def __init__(
        self,
        resource: Resource,
        changes: Transitions,
        tls: Collection[Listener] = (),
        clock: Clock = time.monotonic,
        epoch_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`tls`: the listeners that serve TLS. `epoch_ns`: nanoseconds since the Unix epoch."""
        self.resource = resource
        self.changes = changes
        self.tls = tls
        self.clock = clock
        self.epoch_ns = epoch_ns

    def spans_of(self, exchange: Record) -> list[ReadableSpan]:
        """The exchange's own span first, then those of its attempts in order."""
        return list(_Spans(exchange, self).all())


class _Spans:
    """The spans of one exchange."""

    __slots__ = (
        "_changes",
        "_context",
        "_exchange",
        "_head",
        "_method",
        "_now",
        "_resource",
        "_scheme",
        "_shift",
        "_trace",
    )

    def __init__(self, exchange: Record, maker: SpanMaker) -> None:
        self._exchange = exchange
        self._resource = maker.resource
        self._changes = maker.changes
        self._now = maker.clock()
        # Offset from the record's monotonic clock to the wall clock, nanoseconds.
        self._shift = maker.epoch_ns() - int(self._now * 1e9)
        trace, head = exchange.trace, exchange.head
        assert trace is not None, "not sampled"
        assert head is not None, "not sampled"
        self._trace, self._head = trace, head
        state = trace.tracestate
        self._context = SpanContext(
            int(trace.trace_id, 16),
            _id(trace.span_id),
            False,
            _SAMPLED,
            TraceState.from_header([state.decode("latin-1")]) if state else None,
        )
        over_tls = exchange.listener in maker.tls and not head.absolute
        self._scheme = "https" if over_tls else head.scheme
        self._method = exchange.method if exchange.method in _METHODS else "_OTHER"

    def all(self) -> Iterator[ReadableSpan]:
        exchange, context = self._exchange, self._context
        parent = self._trace.parent_id
        yield ReadableSpan(
            self._name(exchange.route),
            context,
            None if parent is None else self._sibling(int(parent, 16), remote=True),
            self._resource,
            self._server_attributes(),
            sorted(self._events(), key=_when),
            self._links(),
            SpanKind.SERVER,
            None,
            self._server_status(),
            self._at(exchange.started),
            self._at(exchange.started + exchange.duration),
            _SCOPE,
        )
        for attempt in exchange.attempts:
            yield self._attempt(attempt)

    def _links(self) -> Sequence[Link]:
        """A delivery is linked to the request that was accepted (long before, perhaps)."""
        exchange, parent = self._exchange, self._trace.parent_id
        if not exchange.delivers or parent is None:
            return ()
        return (Link(self._sibling(int(parent, 16), remote=True)),)

    def _attempt(self, attempt: AttemptRecord) -> ReadableSpan:
        attributes = self._client_attributes(attempt)
        failed = "error.type" in attributes
        return ReadableSpan(
            self._name(attempt.binding.label),
            self._sibling(_id(attempt.span_id)),
            self._context,
            self._resource,
            attributes,
            (),
            (),
            SpanKind.CLIENT,
            None,
            Status(StatusCode.ERROR) if failed else _UNSET,
            self._at(attempt.started),
            self._at(attempt.started + attempt.duration),
            _SCOPE,
        )

    def _at(self, moment: float) -> int:
        """Nanoseconds since the Unix epoch."""
        return int(moment * 1e9) + self._shift

    def _sibling(self, span_id: int, *, remote: bool = False) -> SpanContext:
        """A span of this trace."""
        context = self._context
        return SpanContext(context.trace_id, span_id, remote, _SAMPLED, context.trace_state)

    def _name(self, target: str) -> str:
        """Low cardinality: the method, and a route or upstream by its label in metrics."""
        method = "HTTP" if self._method == "_OTHER" else self._method
        return f"{method} {target}" if target else method

    # --- the exchange -------------------------------------------------------------------------

    def _server_attributes(self) -> Attributes:
        exchange, head = self._exchange, self._head
        attributes: Attributes = {
            "http.request.method": self._method,
            "url.path": exchange.path,
            "url.scheme": self._scheme,
            "network.protocol.version": _PROTOCOLS[head.version],
            f"{OWN}listener": exchange.listener.value,
            f"{OWN}route": exchange.route,
            f"{OWN}upstream": exchange.upstream,
            f"{OWN}request_id": exchange.request_id,
            f"{OWN}attempts": len(exchange.attempts),
        }
        if self._method == "_OTHER":
            attributes["http.request.method_original"] = exchange.method
        if head.authority is not None:
            attributes["server.address"] = head.authority.host
            attributes["server.port"] = head.authority.port or DEFAULT_PORTS[self._scheme]
        if exchange.client:
            attributes["client.address"] = exchange.client
        if exchange.grpc >= 0:
            attributes |= _call(exchange.path, exchange.grpc)
        if self._was_answered():
            attributes["http.response.status_code"] = exchange.status
        if error := self._server_error():
            attributes["error.type"] = error
        self._add_outcome(attributes)
        return attributes

    def _add_outcome(self, attributes: Attributes) -> None:
        exchange = self._exchange
        if exchange.reason:
            attributes[f"{OWN}reason"] = exchange.reason
        if exchange.retry_refused:
            attributes[f"{OWN}retry_refused"] = exchange.retry_refused
        if exchange.inherited_from:
            attributes[f"{OWN}inherited_from"] = exchange.inherited_from
        if exchange.observed:
            attributes[f"{OWN}observed"] = ",".join(exchange.observed)
        if exchange.fallback:
            attributes[f"{OWN}fallback"] = True

    def _was_answered(self) -> bool:
        """Missing if the client left before a response: the record has nginx's 499 then."""
        exchange = self._exchange
        return exchange.answered or exchange.reason != ClientGone.reason

    def _server_error(self) -> str:
        """The reason, or the status; "" if the server did its work.

        That includes 4xx, failures caused by the client ("HTTP spans", status), and fallbacks.
        """
        exchange = self._exchange
        if exchange.status >= 500:
            return exchange.reason or str(exchange.status)
        if exchange.reason and not exchange.fallback and exchange.reason not in _CLIENTS_FAULT:
            return exchange.reason  # after the head, such as upstream-truncated
        if exchange.grpc in _SERVER_ERRORS and not exchange.reason:
            return exchange.grpc_status
        return ""

    def _server_status(self) -> Status:
        if not self._server_error():
            return _UNSET
        return Status(StatusCode.ERROR, self._exchange.detail or None)

    # --- events -------------------------------------------------------------------------------

    def _events(self) -> Iterator[Event]:
        exchange = self._exchange
        yield from self._bulkhead_events()
        for attempt in exchange.attempts:
            if attempt.decision is not None:
                yield self._decision(attempt, attempt.decision)
        yield from self._breaker_events()
        if exchange.fallback:
            yield self._event("fallback", self._fell_back(), {})

    def _decision(self, attempt: AttemptRecord, decision: Retry | Stop) -> Event:
        moment = attempt.started + attempt.duration
        if isinstance(decision, Stop):
            return self._event("retry.refused", moment, {"why": decision.why.value})
        waits: Attributes = {"condition": decision.condition, "wait_ms": _ms(decision.delay)}
        return self._event("retry.wait", moment, waits)

    def _fell_back(self) -> float:
        """When the route's own upstream was given up: the fallback's attempt began, or the end."""
        exchange = self._exchange
        for attempt in exchange.attempts:
            if attempt.binding is not exchange.binding:
                return attempt.started
        return exchange.started + exchange.duration

    def _bulkhead_events(self) -> Iterator[Event]:
        exchange = self._exchange
        binding = exchange.binding
        if binding is None:
            return
        bulkhead = binding.gate(BULKHEAD)
        name: Attributes = {} if bulkhead is None else {"name": bulkhead.name}
        if exchange.queued:
            waited: Attributes = {"wait_ms": _ms(exchange.queued)}
            yield self._event("bulkhead.wait", exchange.started, name | waited)
        if exchange.reason in _NOT_PLACED:
            refused = exchange.started + exchange.queued
            yield self._event("bulkhead.refused", refused, name | {"reason": exchange.reason})

    def _breaker_events(self) -> Iterator[Event]:
        """Refusals, and changes of the route's own breaker while the exchange was in flight."""
        exchange = self._exchange
        binding = exchange.binding
        if binding is None:
            return
        breaker = binding.breaker
        if exchange.reason == CircuitOpen.reason:
            named: Attributes = {"name": breaker.name} if breaker is not None else {}
            yield self._event("circuit_breaker.refused", self._fell_back(), named)
        if breaker is None:
            return
        for change in self._changes.since(breaker, exchange.started):
            changed: Attributes = {
                "name": breaker.name,
                "from": change.left.value,
                "to": change.entered.value,
            }
            yield self._event("circuit_breaker.changed", change.moment, changed)

    def _event(self, name: str, moment: float, attributes: Attributes) -> Event:
        own = {f"{OWN}{key}": value for key, value in attributes.items()}
        return Event(OWN + name, own, self._at(moment))

    # --- an attempt ---------------------------------------------------------------------------

    def _client_attributes(self, attempt: AttemptRecord) -> Attributes:
        exchange = self._exchange
        attributes: Attributes = {
            "http.request.method": self._method,
            **self._target(attempt),
            f"{OWN}upstream": attempt.binding.upstream.name,
            f"{OWN}attempt": attempt.number,
        }
        if attempt.number > 1:
            attributes["http.request.resend_count"] = attempt.number - 1
        if attempt.wait:
            attributes[f"{OWN}wait_ms"] = _ms(attempt.wait)
        if attempt.status:
            attributes["http.response.status_code"] = attempt.status
            attributes["network.protocol.version"] = _PROTOCOLS[attempt.version]
        if attempt.failure or attempt.status >= 400:
            attributes["error.type"] = attempt.failure or str(attempt.status)
        elif attempt.grpc > OK:
            attributes["error.type"] = name_of(attempt.grpc)
        if attempt.grpc >= 0:
            attributes |= _call(exchange.path, attempt.grpc)
        breaker = attempt.breaker
        if breaker is not None:
            state = self._changes.state_at(breaker, attempt.started, self._now)
            attributes[f"{OWN}circuit_breaker.name"] = breaker.name
            attributes[f"{OWN}circuit_breaker.state"] = state.value
        if attempt.binding is not exchange.binding:
            attributes[f"{OWN}fallback"] = True
        return attributes

    def _target(self, attempt: AttemptRecord) -> Attributes:
        """Target and URL: the endpoint as configured, and the address that was used."""
        endpoint = attempt.chosen or next(iter(attempt.binding.upstream.config.endpoints), None)
        if endpoint is None:
            return {}
        found: Attributes = {"server.address": endpoint.host, "server.port": endpoint.port}
        if self._method != "CONNECT":
            host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
            path = attempt.binding.route.rewrite_path(self._exchange.path)
            found["url.full"] = f"{endpoint.scheme}://{host}:{endpoint.port}{path}"
        if attempt.chosen is not None:
            found["network.peer.address"] = attempt.chosen.ip
            found["network.peer.port"] = attempt.chosen.port
        return found


def _id(text: str) -> int:
    """A span's id; a new one for a span whose id was not sent."""
    return int(text, 16) if text else getrandbits(64) or 1


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _when(event: Event) -> int:
    return event.timestamp


def _call(path: str, code: int) -> Attributes:
    """What a gRPC call was, and its status ("Semantic conventions for gRPC")."""
    service, _, method = path.removeprefix("/").rpartition("/")
    return {
        "rpc.system": "grpc",
        "rpc.service": service,
        "rpc.method": method,
        "rpc.grpc.status_code": code,
    }
