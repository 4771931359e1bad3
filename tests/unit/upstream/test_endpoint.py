import pytest

from proxy.config.model import ConnectionsConfig, UpstreamProtocol
from proxy.upstream.address import Address
from proxy.upstream.endpoint import HTTP1_SECONDS, Endpoint
from proxy.upstream.pool import Pool

AUTO, HTTP1, HTTP2 = UpstreamProtocol.AUTO, UpstreamProtocol.HTTP1, UpstreamProtocol.HTTP2
GRPC = "application/grpc+proto"


@pytest.mark.parametrize(
    ("host", "ip", "label", "where"),
    [
        ("inventory", "10.0.0.1", "10.0.0.1:80", "10.0.0.1:80 (inventory)"),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1:80", "10.0.0.1:80"),
        ("::1", "::1", "[::1]:80", "[::1]:80"),
        ("localhost", "::1", "[::1]:80", "[::1]:80 (localhost)"),
    ],
)
def test_names(host, ip, label, where):
    address = Address("http", host, 80, ip)
    assert (address.label, address.where) == (label, where)


def endpoint(scripted, protocol, *, auto=False):
    loop = scripted.HandLoop()
    connector = scripted.Connector(loop)

    def pool(address):
        return Pool(address, ConnectionsConfig(), connector, loop)

    address = Address("http", "inventory", 80, "10.0.0.1", protocol)
    return Endpoint(address, pool(address), pool, auto=auto)


@pytest.mark.parametrize(
    ("usual", "auto", "method", "grpc", "protocol"),
    [
        (HTTP1, False, "GET", False, HTTP1),
        (HTTP1, False, "POST", True, HTTP1),
        (HTTP1, True, "GET", False, HTTP1),
        (HTTP1, True, "CONNECT", False, HTTP1),
        (HTTP1, True, "POST", True, HTTP2),
        (HTTP2, False, "GET", False, HTTP2),
        (HTTP2, False, "POST", True, HTTP2),
        (HTTP2, False, "CONNECT", False, HTTP1),
        (AUTO, False, "POST", True, AUTO),
        (AUTO, False, "CONNECT", False, HTTP1),
    ],
)
def test_the_protocol_of_a_request(scripted, usual, auto, method, grpc, protocol):
    made = endpoint(scripted, usual, auto=auto)
    assert made.protocol_for(method, grpc, 1.0) is protocol
    assert made.pool_of(protocol).address.protocol is protocol


def test_each_protocol_has_one_pool_and_they_count_together(scripted):
    made = endpoint(scripted, HTTP2)
    other = made.pool_of(HTTP1)
    assert made.pool_of(HTTP1) is other is not made.pool is made.pool_of(HTTP2)
    assert made.pools == [made.pool, other]
    other.lent, made.pool.lent, other.avoid_until = 2, 1, 7.0
    assert (made.active, made.avoid_until) == (3, 7.0)


def test_a_pool_that_is_made_after_the_end_keeps_nothing(scripted):
    made = endpoint(scripted, HTTP2)
    made.close()
    pool = made.pool_of(HTTP1)
    pool.request(lambda answer: pool.give_back(answer, True), 1.0)
    pool._connector.succeed()
    pool._loop.run()
    assert (pool.idle, pool.open) == (0, 0)


def test_http1_that_was_required_is_remembered_for_a_while(scripted):
    made = endpoint(scripted, HTTP2)
    made.require_http1(100.0)
    assert made.protocol_for("GET", False, 100.0 + HTTP1_SECONDS - 1) is HTTP1
    assert made.protocol_for("GET", False, 100.0 + HTTP1_SECONDS) is HTTP2
    assert made.protocol_for("POST", True, 100.0) is HTTP2  # gRPC has no HTTP/1.1
    made.insist_no_more()
    assert made.protocol_for("GET", False, 100.0) is HTTP2
