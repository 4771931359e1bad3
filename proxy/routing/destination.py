"""The destination of a request whose route is known: one decision for gateway and `explain`."""

from proxy.errors import EgressDenied, Loop, NoAuthority
from proxy.http.authority import DEFAULT_PORTS, Authority
from proxy.routing.egress import EgressRules
from proxy.routing.own_addresses import OwnAddresses
from proxy.routing.table import Route


class Destinations:
    """Decides destinations for one listener and one configuration."""

    __slots__ = ("_egress", "_inbound", "_own")

    def __init__(self, egress: EgressRules, own: OwnAddresses, *, inbound: bool) -> None:
        self._egress = egress
        self._own = own
        self._inbound = inbound

    def named_by_caller(
        self, route: Route, method: str, scheme: str, authority: Authority | None
    ) -> Authority | None:
        """The authority with port that the caller names as the destination.

        None: the route's own upstream. CONNECT always names its destination, even if plain
        HTTP must follow it (`tunnels_to`). Raises NoAuthority,
        EgressDenied or Loop. An accepted name may still resolve to an address of the proxy:
        `OwnAddresses.covers` checks that when the connection is made.
        """
        if method == "CONNECT":
            if self._inbound:
                raise EgressDenied("CONNECT is available only on the outbound listener.")
        elif route.config.upstream is not None:
            return None
        if authority is None:
            raise NoAuthority("The request names no host, and no route chooses an upstream.")
        host = authority.host
        port = authority.port or DEFAULT_PORTS[scheme]
        if self._own.named(host, port):
            raise own_address(str(authority))
        if not self._egress.allows(host, port):
            raise EgressDenied(f"{Authority(host, port)} is not in egress.allow.")
        return Authority(host, port)

    def tunnels_to(self, port: int) -> bool:
        """Whether a CONNECT to this port opens a tunnel; after any other plain HTTP must follow."""
        return self._egress.connect_port_allowed(port)


def own_address(what: str) -> Loop:
    """The refusal to connect to `what`."""
    return Loop(f"{what} is an address of this proxy itself, and no route matches.")
