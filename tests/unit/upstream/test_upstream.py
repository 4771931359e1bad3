import random

import pytest

from proxy.config.model import EndpointConfig, LoadBalancing, UpstreamConfig
from proxy.errors import DnsFailure, Loop
from proxy.upstream.upstream import ConnectionCounts, Upstream


class Bench:
    def __init__(self, scripted, *endpoints, is_own=None, **settings):
        self.loop = scripted.HandLoop()
        self.resolver = scripted.Resolver()
        self.connector = scripted.Connector(self.loop)
        self.answers = scripted.Answers()
        config = UpstreamConfig("inventory", tuple(endpoints), **settings)
        self.upstream = Upstream(
            config,
            resolver=self.resolver,
            connector=self.connector,
            loop=self.loop,
            random=random.Random(5).random,
            is_own=is_own,
        )

    @property
    def labels(self):
        return [endpoint.label for endpoint in self.upstream.endpoints]

    def look_up(self, *addresses):
        """The look-up that is under way, or the next one, gives these."""
        if not self.resolver.pending:
            self.upstream.pick((), None)
            self.loop.advance(5.0)
        self.resolver.answer(addresses)

    def connection(self, endpoint):
        endpoint.pool.request(self.answers, 1.0)
        self.connector.succeed()
        self.loop.run()
        return self.answers[-1]


@pytest.fixture
def bench(scripted):
    return lambda *endpoints, **settings: Bench(scripted, *endpoints, **settings)


NAMED = EndpointConfig("http", "inventory", 8080)


def test_a_literal_address_is_ready_at_once(bench):
    b = bench(EndpointConfig("http", "127.0.0.1", 8080))
    assert b.upstream.ready
    assert b.upstream.pick((), None) is b.upstream.endpoints[0]
    assert b.upstream.pick((), lambda _: False) is None
    assert b.labels == ["127.0.0.1:8080"]
    assert b.loop.timers == []


def is_own(ip, port):
    return (ip, port) == ("10.0.0.1", 8080)


def test_addresses_of_the_proxy_itself_are_passed_over(bench):
    b = bench(NAMED, is_own=is_own)
    b.upstream.resolve(b.answers, 1.0)
    b.look_up("10.0.0.1", "10.0.0.2")
    assert b.answers == [None]
    assert b.labels == ["10.0.0.2:8080"]


def test_a_name_that_stands_for_nothing_else_is_a_loop(bench):
    b = bench(NAMED, is_own=is_own)
    b.upstream.resolve(b.answers, 1.0)
    b.look_up("10.0.0.1")
    (loop,) = b.answers
    assert isinstance(loop, Loop)
    assert "inventory resolves to an address of this proxy itself" in loop.detail
    b.look_up("10.0.0.2")
    assert b.labels == ["10.0.0.2:8080"]
    b.look_up("10.0.0.1")
    assert b.labels == []


def test_brackets_are_not_part_of_the_host(bench):
    b = bench(EndpointConfig("https", "[::1]", 8443))
    (endpoint,) = b.upstream.endpoints
    assert (endpoint.host, endpoint.ip, endpoint.label) == ("::1", "::1", "[::1]:8443")


def test_a_name_is_ready_after_resolve(bench):
    b = bench(NAMED)
    assert not b.upstream.ready
    assert b.upstream.pick((), None) is None
    b.upstream.resolve(b.answers, 1.0)
    assert b.upstream.in_use
    b.resolver.answer(("10.0.0.1", "10.0.0.2"))
    assert b.answers == [None]
    assert b.upstream.ready
    assert b.labels == ["10.0.0.1:8080", "10.0.0.2:8080"]
    assert b.upstream.endpoints[0].host == "inventory"


def test_a_failed_look_up(bench):
    b = bench(NAMED)
    b.upstream.resolve(b.answers, 1.0)
    error = DnsFailure("inventory could not be looked up.")
    b.resolver.answer(error)
    assert b.answers == [error]
    assert not b.upstream.ready


def test_an_endpoint_that_survives_is_the_same_object_in_the_same_place(bench):
    b = bench(NAMED)
    b.upstream.resolve(b.answers, 1.0)
    b.look_up("10.0.0.1", "10.0.0.2")
    one, two = b.upstream.endpoints
    b.look_up("10.0.0.3", "10.0.0.2", "10.0.0.1")
    assert b.upstream.endpoints[:2] == [one, two]
    assert b.labels == ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]


def test_an_endpoint_that_vanished_lets_busy_connections_finish(bench):
    b = bench(NAMED)
    b.upstream.resolve(b.answers, 1.0)
    b.look_up("10.0.0.1")
    (old,) = b.upstream.endpoints
    busy, idle = b.connection(old), b.connection(old)
    old.pool.give_back(idle, reusable=True)
    b.look_up("10.0.0.2")
    assert old not in b.upstream.endpoints
    assert b.labels == ["10.0.0.2:8080"]
    assert (b.connector.open(busy), b.connector.open(idle)) == (True, False)
    assert b.upstream.connections() == ConnectionCounts(1, 0, 0, 0, 1)
    assert b.upstream.in_use
    old.pool.give_back(busy, reusable=True)
    assert b.connector.ended_by(busy) == "close"
    assert not b.upstream.in_use
    assert b.upstream.connections() == ConnectionCounts(0, 0, 0, 0, 0)


def test_an_address_that_comes_back_is_a_new_endpoint(bench):
    b = bench(NAMED)
    b.upstream.resolve(b.answers, 1.0)
    b.look_up("10.0.0.1")
    (old,) = b.upstream.endpoints
    b.look_up("10.0.0.2")
    b.look_up("10.0.0.1")
    (new,) = b.upstream.endpoints
    assert new is not old
    kept = b.connection(new)
    new.pool.give_back(kept, reusable=True)
    assert new.pool.take() is kept


def test_the_same_address_twice_is_one_endpoint(bench):
    literal = EndpointConfig("http", "10.0.0.1", 80)
    other_port = EndpointConfig("http", "10.0.0.1", 81)
    assert bench(literal, literal, other_port).labels == ["10.0.0.1:80", "10.0.0.1:81"]


def test_names_beside_a_literal_address_are_looked_up_on_use(bench):
    b = bench(EndpointConfig("http", "10.0.0.1", 80), NAMED)
    assert b.upstream.ready
    b.upstream.pick((), None)
    b.resolver.answer(("10.0.0.9",))
    assert b.labels == ["10.0.0.1:80", "10.0.0.9:8080"]


def test_another_attempt_prefers_another_endpoint(bench):
    b = bench(
        EndpointConfig("http", "10.0.0.1", 80),
        EndpointConfig("http", "10.0.0.2", 80),
        load_balancing=LoadBalancing.ROUND_ROBIN,
    )
    first = b.upstream.pick((), None)
    for _ in range(5):
        assert b.upstream.pick([first], None) is not first


def test_a_dead_endpoint_does_not_draw_the_traffic_to_itself(bench):
    b = bench(EndpointConfig("http", "10.0.0.1", 80), EndpointConfig("http", "10.0.0.2", 80))
    dead, alive = b.upstream.endpoints
    for _ in range(5):
        b.connection(alive)
    dead.pool.request(b.answers, 1.0)
    b.connector.fail()
    assert all(b.upstream.pick((), None) is alive for _ in range(20))
    b.loop.advance(1.0)
    assert any(b.upstream.pick((), None) is dead for _ in range(20))


def test_connections_are_counted_by_state(bench):
    b = bench(EndpointConfig("http", "10.0.0.1", 80), EndpointConfig("http", "10.0.0.2", 80))
    one, two = b.upstream.endpoints
    b.connection(one)
    one.pool.give_back(b.connection(one), reusable=True)
    two.pool.request(b.answers, 1.0)
    assert b.upstream.connections() == ConnectionCounts(
        active=1, idle=1, connecting=1, waiting=1, streams=1
    )


def test_a_closed_upstream_keeps_nothing_and_still_serves(bench):
    b = bench(NAMED)
    b.upstream.resolve(b.answers, 1.0)
    b.upstream.close()
    b.resolver.answer(("10.0.0.1",))
    endpoint = b.upstream.pick((), None)
    connection = b.connection(endpoint)
    endpoint.pool.give_back(connection, reusable=True)
    assert not b.connector.open(connection)
    assert b.loop.timers == []
