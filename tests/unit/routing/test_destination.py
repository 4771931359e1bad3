"""The one decision about where a request goes."""

import pytest

from proxy.config.model import Config, EgressConfig, Listener
from proxy.errors import EgressDenied, Loop, NoAuthority
from proxy.http.authority import parse_authority
from proxy.routing.destination import Destinations
from proxy.routing.egress import EgressRules
from proxy.routing.own_addresses import OwnAddresses
from proxy.routing.table import RouteTable

TABLE = RouteTable(Config("me"))


@pytest.fixture
def named():
    own = OwnAddresses(lambda address: False)
    own.add("127.0.0.1", 7072)
    egress = EgressRules(EgressConfig(("shop", "127.0.0.1"), frozenset({443, 7072})))

    def decide(authority, method="GET", listener=Listener.OUTBOUND, route=Listener.OUTBOUND):
        destinations = Destinations(egress, own, inbound=listener is Listener.INBOUND)
        given = parse_authority(authority) if authority else None
        return destinations.named_by_caller(TABLE.default(route), method, "https", given)

    return decide


def test_the_port_is_filled_in(named):
    assert named("SHOP.") == ("shop", 443)
    assert named("shop:81") == ("shop", 81)
    assert named("shop:443", "CONNECT") == ("shop", 443)


def test_a_route_with_an_upstream_needs_no_authority(named):
    assert named(None, route=Listener.INBOUND) is None
    assert named("127.0.0.1:7072", route=Listener.INBOUND) is None


@pytest.mark.parametrize(
    ("authority", "method", "listener", "error"),
    [
        (None, "GET", Listener.OUTBOUND, NoAuthority),
        ("other", "GET", Listener.OUTBOUND, EgressDenied),
        ("127.1:7072", "GET", Listener.OUTBOUND, Loop),
        ("127.0.0.1:7072", "CONNECT", Listener.OUTBOUND, Loop),
        ("other:80", "CONNECT", Listener.OUTBOUND, EgressDenied),
        ("shop:443", "CONNECT", Listener.INBOUND, EgressDenied),
        (None, "CONNECT", Listener.OUTBOUND, NoAuthority),
    ],
)
def test_refused(named, authority, method, listener, error):
    with pytest.raises(error):
        named(authority, method, listener)
