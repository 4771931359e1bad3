"""The proxy as one thing: its two gates, and what the exchanges behind them share.

A gate stands behind each listener. It finds a request's binding, gives the heads their fields,
keeps the exchanges that are in flight, and tells the observers of those that are over.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from os import urandom
from time import monotonic, time
from typing import TypeAlias

from proxy.clock import Random
from proxy.config.model import Config, LimitsConfig, Listener, TraceExporter
from proxy.errors import Loop, ProxyError
from proxy.exchange.answers import refusal_answer
from proxy.exchange.binding import Binding, Bindings
from proxy.exchange.exchange import Exchange
from proxy.exchange.heads import (
    FORWARDED_FIELDS,
    HELD_FOR_EXCHANGE,
    REQUEST_ID_FIELD,
    forwarded_lines,
    request_prefix,
)
from proxy.exchange.refusal import Refusal
from proxy.http.problem import ProxyStatus
from proxy.http.random_hex import HexStrip
from proxy.http.request import RequestHead, RequestParser
from proxy.http.request_id import RequestIds, valid_request_id
from proxy.http.tracing import Propagator, TraceContext
from proxy.routing.destination import Destinations
from proxy.routing.egress import EgressRules
from proxy.routing.own_addresses import OwnAddresses
from proxy.routing.table import RouteTable
from proxy.upstream.registry import Upstreams
from proxy.wire.downstream import Downstream

Observer: TypeAlias = Callable[[Exchange | Refusal], None]
"""Told of every exchange that is over; what it raises would be a bug of the proxy."""

MAX_PASSES = 5
"""Times that a request may pass this very gate before it is taken for a loop."""

_log = logging.getLogger("proxy.exchange")

_NOT_IN_TOKEN = re.compile(r"[^A-Za-z0-9!#$%&'*+.^_`|~-]")


class ListenerGate:
    """What stands behind one listener.

    `closing`: every response says that it is the last. `last_active`: when an exchange ended last
    (monotonic seconds).
    """

    def __init__(self, listener: Listener, gateway: "Gateway") -> None:
        self.listener = listener
        self.connections: set[Downstream] = set()
        self.in_flight: set[Exchange] = set()
        self.closing = False
        self.last_active = monotonic()
        self._gateway = gateway
        self._inbound = listener is Listener.INBOUND
        self._scheme = b"http" if gateway.config.listeners.inbound.tls is None else b"https"
        self._configure()

    def renew(self) -> None:
        """The gateway has another configuration: it holds from the next request on."""
        former = FormerGate(self)
        for exchange in self.in_flight:
            if exchange.gate is self:
                exchange.gate = former
        self._configure()

    def _configure(self) -> None:
        gateway, listener = self._gateway, self.listener
        self.limits: LimitsConfig = gateway.config.limits
        self.proxy_status = gateway.proxy_status
        self.propagator = gateway.propagator
        self._via = gateway.via
        self._via_and_id = b"Via: %b\r\nX-Request-Id: " % gateway.via
        self._new_request_id = gateway.request_ids.new
        self._routes = gateway.table.at(listener)
        self._destinations = Destinations(
            EgressRules(gateway.config.egress), gateway.own_addresses, inbound=self._inbound
        )
        held = HELD_FOR_EXCHANGE | gateway.propagator.names
        if self._inbound:
            held |= FORWARDED_FIELDS
        self.parser = RequestParser(
            held, max_url=self.limits.url_bytes, max_fields=self.limits.headers
        )

    # --- what a client's connection asks ------------------------------------------------------

    def begin(self, downstream: Downstream, head: RequestHead, piece: bytes) -> None:
        """Carry a request."""
        exchange = Exchange(self, downstream, head, piece)
        downstream.handler = exchange
        self.in_flight.add(exchange)
        exchange.start(exchange.run())

    def refuse(self, downstream: Downstream, error: ProxyError) -> None:
        """Answer what never became a request, and record it."""
        request_id = self._new_request_id().decode("ascii")
        downstream.write(refusal_answer(self, error, request_id))
        self._gateway.refused(self.listener, downstream.client, error, request_id)

    # --- what an exchange asks ----------------------------------------------------------------

    def bind(self, head: RequestHead) -> Binding:
        """Where a request goes. Raises NoAuthority, EgressDenied or Loop."""
        gateway = self._gateway
        if b"via" in head.held:
            self._check_passes(head)
        route = self._routes.match(head)
        method = head.method
        named = self._destinations.named_by_caller(route, method, head.scheme, head.authority)
        if named is None:
            return gateway.bindings.of_route(route)
        # Connections of tunnels are nobody else's: they stay out of the pools of requests.
        scheme = "connect" if method == "CONNECT" else head.scheme
        return gateway.bindings.of_authority(route, scheme, named, monotonic())

    def _check_passes(self, head: RequestHead) -> None:
        passes = b",".join(head.held[b"via"]).count(self._via)
        if passes >= MAX_PASSES:
            raise Loop(f"The request has passed this proxy {passes} times before (Via).")

    def request_id(self, head: RequestHead) -> bytes:
        """The caller's if it is a usable one, else a new one."""
        given = head.held.get(REQUEST_ID_FIELD)
        if given is not None and valid_request_id(given[0]):
            return given[0]
        return self._new_request_id()

    def trace(self, head: RequestHead) -> TraceContext:
        """The trace that a request belongs to."""
        names = self.propagator.names
        held = head.held
        if names.isdisjoint(held):
            return self.propagator.begin()
        return self.propagator.extract(
            [(name, value) for name in names if name in held for value in held[name]]
        )

    def request_prefix(self, exchange: Exchange) -> bytes:
        """All of the request's head that is the same for each attempt."""
        head = exchange.head
        assert exchange.binding is not None
        route = exchange.binding.route
        rules = exchange.binding.request_rules
        if rules is None and not route.rewrites:
            front = head.unchanged_front
        else:
            front = head.front(
                path=route.rewrite_path(head.path),
                host=head.host_text if route.rewrite_host is None else route.rewrite_host,
                lines=head.lines if rules is None else rules.apply(head.lines),
            )
        return request_prefix(
            head,
            front,
            via=self._via,
            forwarded=forwarded_lines(head, exchange.client, self._scheme)
            if self._inbound
            else b"",
            request_id=exchange.id,
        )

    def response_fields(self, exchange: Exchange, status_field: bytes) -> bytes:
        """The proxy's own fields of a response, and the empty line that ends its head."""
        if self.closing:
            exchange.keep_alive = False
        fields = self._via_and_id + exchange.id
        if status_field:
            fields += b"\r\nProxy-Status: " + status_field
        if not exchange.keep_alive:
            return fields + b"\r\nConnection: close\r\n\r\n"
        if exchange.head.minor == 0:
            return fields + b"\r\nConnection: keep-alive\r\n\r\n"
        return fields + b"\r\n\r\n"

    def tunnel_fields(self, exchange: Exchange) -> bytes:
        """The proxy's own fields of the head that opens a tunnel, and its empty line."""
        return self._via_and_id + exchange.id + b"\r\n\r\n"

    def before_answer(self, exchange: Exchange) -> None:
        """While the gate closes, each response is its connection's last."""
        if self.closing:
            exchange.keep_alive = False

    def date(self) -> bytes:
        """The Date field's value (RFC 9110 section 6.6.1)."""
        return formatdate(time(), usegmt=True).encode("ascii")

    def settled(self, exchange: Exchange, now: float) -> None:
        """An exchange is over: count it, and tell the observers."""
        self.in_flight.discard(exchange)
        self.last_active = now
        gateway = self._gateway
        binding = exchange.binding
        stats = (
            binding.stats
            if binding is not None
            else gateway.bindings.stats_of(self.listener.value, "")
        )
        stats.count_answer(exchange.status, exchange.reason, exchange.duration)
        gateway.tell(exchange)


class FormerGate(ListenerGate):
    """A gate as it was before a reload, for the exchanges that had begun by then.

    They finish with the names and trace headers that they began with; what is of the listener
    itself is its gate's.
    """

    def __init__(self, gate: ListenerGate) -> None:
        self._gate = gate
        self._gateway = gate._gateway
        self.listener = gate.listener
        # What `_configure` made of the configuration they began with.
        self.limits = gate.limits
        self.proxy_status = gate.proxy_status
        self.propagator = gate.propagator
        self._inbound = gate._inbound
        self._scheme = gate._scheme
        self._via = gate._via
        self._via_and_id = gate._via_and_id
        # Its own to look at, for `response_fields`: what closes is the gate, see `before_answer`.
        self.closing = False

    def response_fields(self, exchange: Exchange, status_field: bytes) -> bytes:
        self._gate.before_answer(exchange)
        return super().response_fields(exchange, status_field)

    def before_answer(self, exchange: Exchange) -> None:
        self._gate.before_answer(exchange)

    def settled(self, exchange: Exchange, now: float) -> None:
        self._gate.settled(exchange, now)


class Gateway:
    """Everything that carries requests, under one configuration at a time."""

    def __init__(
        self,
        config: Config,
        *,
        table: RouteTable,
        upstreams: Upstreams,
        bindings: Bindings,
        own_addresses: OwnAddresses,
        random: Random,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.upstreams = upstreams
        self.observers = list(observers)
        self.own_addresses = own_addresses
        self.random_hex = HexStrip(urandom).draw
        self.request_ids = RequestIds(urandom)
        self._random = random
        self._configure(config, table, bindings)
        self.gates: Mapping[Listener, ListenerGate] = {
            listener: ListenerGate(listener, self) for listener in Listener
        }

    def adopt(
        self,
        config: Config,
        *,
        table: RouteTable,
        bindings: Bindings,
        observers: Sequence[Observer],
    ) -> None:
        """Go on under another configuration, from the next request of every connection on.

        Exchanges that have begun finish under the one they began with. `bindings` have taken over
        from the present ones, and the upstreams are reconfigured.
        """
        self.observers = list(observers)
        self._configure(config, table, bindings)
        for gate in self.gates.values():
            gate.renew()

    def _configure(self, config: Config, table: RouteTable, bindings: Bindings) -> None:
        self.config = config
        self.table = table
        self.bindings = bindings
        self.proxy_status = ProxyStatus(config.service)
        self.via = b"1.1 " + (_NOT_IN_TOKEN.sub("-", config.service) or "proxy").encode("ascii")
        self.propagator = Propagator(
            [form.value for form in config.tracing.propagate],
            config.tracing.sample,
            random_hex=self.random_hex,
            random=self._random,
            records=config.tracing.exporter is not TraceExporter.NONE,
        )

    def refused(self, listener: Listener, client: str, error: ProxyError, request_id: str) -> None:
        """Count and report what never became a request."""
        self.bindings.stats_of(listener.value, "").count_answer(error.status, error.reason, 0.0)
        refusal = Refusal(listener, client, error, request_id, monotonic())
        self.tell(refusal)

    def tell(self, record: Exchange | Refusal) -> None:
        """Tell the observers. A bug in one of them costs its own record, and no exchange."""
        for observer in self.observers:
            try:
                observer(record)
            except Exception:  # noqa: BLE001 - see above
                _log.exception("internal error in the record of request %s", record.request_id)
