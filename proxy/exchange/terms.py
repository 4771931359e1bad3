"""Terms: one configuration for one listener, immutable.

An exchange keeps the terms that it began with; a reload gives the gate new ones.
"""

import re
from collections.abc import Callable
from os import urandom
from time import monotonic, time
from typing import cast

from proxy.config.model import Config, LimitsConfig, Listener
from proxy.errors import EgressDenied, Loop
from proxy.exchange.binding import Binding
from proxy.exchange.bindings import Bindings
from proxy.exchange.forwarded import FORWARDED_FIELDS, Forwarded
from proxy.exchange.heads import (
    HELD_FOR_EXCHANGE,
    REQUEST_ID,
    REQUEST_ID_FIELD,
    VIA,
)
from proxy.exchange.lineage import Lineage
from proxy.http.authority import Authority
from proxy.http.dates import DateText
from proxy.http.h1.request import RequestParser
from proxy.http.h2.head import RequestReader
from proxy.http.lists import appended, without_comments
from proxy.http.message import OwnField, OwnFields, RequestHead
from proxy.http.problem import ProxyStatus
from proxy.http.request_id import valid_request_id
from proxy.http.tracing import Propagator, TraceContext
from proxy.routing.destination import Destinations
from proxy.routing.egress import EgressRules
from proxy.routing.own_addresses import OwnAddresses
from proxy.routing.table import Route, RouteTable

MAX_PASSES = 5
"""A request that has passed this proxy so many times counts as a loop."""

_NOT_IN_TOKEN = re.compile(r"[^A-Za-z0-9!#$%&'*+.^_`|~-]")


class Terms:
    """The configuration of the exchanges of one listener."""

    __slots__ = (
        "_dates",
        "_destinations",
        "_forwarded",
        "_inbound",
        "_name",
        "_routes",
        "_scheme",
        "_via",
        "_via_11",
        "bindings",
        "body_rate",
        "limits",
        "lineage",
        "listener",
        "new_request_id",
        "parser",
        "propagator",
        "protocols",
        "proxy_status",
        "reader",
    )

    def __init__(
        self,
        listener: Listener,
        config: Config,
        *,
        table: RouteTable,
        bindings: Bindings,
        own_addresses: OwnAddresses,
        propagator: Propagator,
        new_request_id: Callable[[], bytes],
        scheme: bytes,
        lineage: Lineage | None = None,
    ) -> None:
        """`scheme`: the scheme of this listener's clients. `lineage`: where inbound requests are
        noted for outbound calls; None: no route inherits."""
        self.lineage = lineage
        self.listener = listener
        self.limits: LimitsConfig = config.limits
        self.body_rate = config.limits.body_rate if listener is Listener.INBOUND else 0
        self.bindings = bindings
        self.propagator = propagator
        self.proxy_status = ProxyStatus(config.service)
        self.new_request_id = new_request_id
        self._inbound = listener is Listener.INBOUND
        self._dates = DateText()
        self._destinations = Destinations(
            EgressRules(config.egress), own_addresses, inbound=self._inbound
        )
        self._scheme = scheme
        self._routes = table.at(listener)
        self._name = (_NOT_IN_TOKEN.sub("-", config.service) or "proxy").encode("ascii")
        self._via_11: OwnField = (VIA, b"1.1 " + self._name)
        self._via: dict[int, OwnField] = {
            10: (VIA, b"1.0 " + self._name),
            11: self._via_11,
            20: (VIA, b"2.0 " + self._name),
        }
        held = HELD_FOR_EXCHANGE | propagator.names
        if self._inbound:
            held |= FORWARDED_FIELDS
        listening = config.listeners.of(listener)
        self.protocols = listening.protocols
        self._forwarded = Forwarded(listening.forwarded.trust)
        keeps_out = self._forwarded.keeps_out if self._inbound else None
        self.parser = RequestParser(
            held,
            max_url=config.limits.url_bytes,
            max_fields=config.limits.headers,
            keeps_out=keeps_out,
        )
        self.reader = RequestReader(
            held, max_url=config.limits.url_bytes, new_bytes=urandom, keeps_out=keeps_out
        )

    # --- destinations -----------------------------------------------------------------------------

    def bind(self, head: RequestHead, peer: str) -> Binding:
        """The destination of a request. Raises NoAuthority, EgressDenied or Loop.

        `peer`: the address of its client's connection.
        """
        if b"via" in head.held:
            self._check_passes(head)
        route = self._routes.match(head)
        if route.alone:
            return self._bind_fixed(route, head)
        return self.bind_to(route, head, peer)

    def bind_to(self, route: Route, head: RequestHead, peer: str) -> Binding:
        """The destination of a request that takes this route. Raises like `bind`."""
        method = head.method
        named = self._destinations.named_by_caller(route, method, head.scheme, head.authority)
        if named is None:
            if route.split is not None:
                return self._bind_split(route, head, peer)
            return self.bindings.of_route(route)
        if method == "CONNECT":
            return self._bind_connect(route, named, head, peer)
        return self.bindings.of_authority(route, head.scheme, named, monotonic())

    def _bind_fixed(self, route: Route, head: RequestHead) -> Binding:
        """The binding of a route without an upstream. A tunnel to it cannot exist."""
        fixed = route.respond
        if fixed is not None and head.method == "CONNECT" and fixed.status < 300:
            raise EgressDenied(f"Route {route.name!r} has a fixed answer (respond): no tunnel.")
        return self.bindings.of_route(route)

    def _bind_split(self, route: Route, head: RequestHead, peer: str) -> Binding:
        """The binding of one of several upstreams: for the whole request, retries included."""
        by = route.config.split_by
        value = b"" if by is None else by.of(head, self.client(head, peer))
        return self.bindings.of_split(route, value)

    def _bind_connect(
        self, route: Route, named: Authority, head: RequestHead, peer: str
    ) -> Binding:
        """The binding of a tunnel; if plain HTTP follows, the binding of its requests."""
        if self._destinations.tunnels_to(cast(int, named.port)):
            # Connections of tunnels are never reused, so they are not in the pools of requests.
            return self.bindings.of_authority(route, "connect", named, monotonic())
        if head.version == 20:
            raise EgressDenied(
                f"{named} is a tunnel to a port that is not in egress.connect_ports: plain HTTP "
                "can follow a CONNECT only on an HTTP/1.1 connection."
            )
        if route.split is not None:
            return self._bind_split(route, head, peer)
        if route.config.upstream is not None:
            return self.bindings.of_route(route)
        return self.bindings.of_authority(route, "http", named, monotonic())

    def expects_plain_http(self, head: RequestHead) -> bool:
        """Whether plain HTTP must follow this CONNECT, if its destination is allowed."""
        named = head.authority
        if self._inbound or named is None or named.port is None or head.version == 20:
            return False
        return not self._destinations.tunnels_to(named.port)

    def _check_passes(self, head: RequestHead) -> None:
        """Counts whole members of Via: another proxy's name may begin like this one's."""
        members = without_comments(b",".join(head.held[b"via"])).split(b",")
        passes = sum(member.split()[1:2] == [self._name] for member in members)
        if passes >= MAX_PASSES:
            raise Loop(f"The request has passed this proxy {passes} times before (Via).")

    # --- fields of heads --------------------------------------------------------------------------

    def request_id(self, head: RequestHead) -> bytes:
        """The caller's id if it is usable, else a new one."""
        given = head.held.get(REQUEST_ID_FIELD)
        if given is not None and valid_request_id(given[0]):
            return given[0]
        return self.new_request_id()

    def trace(self, head: RequestHead) -> TraceContext:
        """The trace context of a request."""
        return self.propagator.of_request(head.held)

    def request_fields(self, head: RequestHead, client: str, request_id: bytes) -> OwnFields:
        """The proxy's own fields that are the same for each attempt."""
        via = self._via_11 if head.version == 11 else self._via[head.version]
        if b"via" in head.held:
            via = (VIA, appended(head.held[b"via"], via[1]))  # RFC 9110 section 7.6.3
        own: OwnFields = [via]
        if self._inbound:
            self._forwarded.add_to(own, head, client, self._scheme)
        own.append((REQUEST_ID, request_id))
        return own

    def client(self, head: RequestHead, peer: str) -> str:
        """Who the client is where limits tell clients apart."""
        return self._forwarded.client(head, peer) if self._inbound else peer

    def response_fields(self, version: int, request_id: bytes) -> OwnFields:
        """The proxy's own fields of an upstream's response of HTTP `version`."""
        via = self._via_11 if version == 11 else self._via[version]
        return [via, (REQUEST_ID, request_id)]

    def date(self) -> bytes:
        """The Date field's value (RFC 9110 section 6.6.1)."""
        return self._dates.at(time())


def request_to(head: RequestHead, binding: Binding) -> RequestHead:
    """The request's head after the route's rules, for its upstream."""
    route = binding.route
    rules = binding.request_rules
    host = head.host_text if route.rewrite_host is None else route.rewrite_host
    if not host and b"host" not in head.held:
        host = binding.upstream.authority  # HTTP/1.0 may come without (RFC 9112 section 3.2)
    elif rules is None and not route.rewrites:
        return head
    return head.changed(
        path=route.rewrite_path(head.path),
        host_text=host,
        fields=head.fields if rules is None else rules.apply(head.fields),
    )
