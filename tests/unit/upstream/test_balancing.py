import itertools
import random
from collections import Counter

import pytest

from proxy.config.model import ConnectionsConfig, LoadBalancing
from proxy.upstream.address import Address
from proxy.upstream.balancing import balancer
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.pool import Pool

NOW = 50.0


class NoConnector:
    """Opens nothing."""


def endpoints(count):
    addresses = [Address("http", "a", 80, f"10.0.0.{number}") for number in range(count)]
    return [
        Endpoint(address, Pool(address, ConnectionsConfig(), NoConnector(), NoConnector()))
        for address in addresses
    ]


def never():
    raise AssertionError("no random number is needed")


def script(*numbers):
    return iter(numbers).__next__


@pytest.fixture(params=list(LoadBalancing))
def any_balancer(request):
    return balancer(request.param, random.Random(1).random)


@pytest.mark.parametrize("kind", list(LoadBalancing))
def test_a_lone_endpoint_needs_no_draw_and_is_taken_even_if_tried(kind):
    (only,) = endpoints(1)
    only.pool.avoid_until = NOW + 1
    assert balancer(kind, never).pick([only], {only}, None, NOW) is only


@pytest.mark.parametrize("kind", list(LoadBalancing))
def test_a_lone_endpoint_must_be_admitted(kind):
    (only,) = endpoints(1)
    assert balancer(kind, never).pick([only], (), lambda _: False, NOW) is None


def test_of_none_none_is_picked(any_balancer):
    assert any_balancer.pick([], (), None, NOW) is None


def test_those_tried_are_picked_only_when_no_other_is_left(any_balancer):
    a, b, c = endpoints(3)
    for _ in range(20):
        assert any_balancer.pick([a, b, c], [a, c], None, NOW) is b
    assert any_balancer.pick([a, b, c], [a, b, c], None, NOW) in (a, b, c)


def test_the_order_of_preference(any_balancer):
    fresh, avoided, tried, tried_and_avoided = endpoints(4)
    avoided.pool.avoid_until = tried_and_avoided.pool.avoid_until = NOW + 1
    exclude = {tried, tried_and_avoided}
    everything = [tried_and_avoided, tried, avoided, fresh]
    for left, best in (
        (everything, fresh),
        (everything[:3], avoided),
        (everything[:2], tried),
        (everything[:1], tried_and_avoided),
    ):
        for _ in range(10):
            assert any_balancer.pick(left, exclude, None, NOW) is best


def test_an_avoided_endpoint_comes_back_when_its_time_is_up(any_balancer):
    a, b = endpoints(2)
    a.pool.avoid_until = NOW
    assert {any_balancer.pick([a, b], (), None, NOW) for _ in range(50)} == {a, b}


class AdmitOnly:
    """Admits one endpoint, and remembers which ones it was asked about."""

    def __init__(self, wanted):
        self.wanted = wanted
        self.asked = []

    def __call__(self, endpoint):
        self.asked.append(endpoint)
        return endpoint is self.wanted


def test_admit_is_asked_once_of_each_and_holds_once(any_balancer):
    everything = endpoints(4)
    everything[2].pool.avoid_until = NOW + 1
    for wanted in (*everything, None) * 20:
        admit = AdmitOnly(wanted)
        picked = any_balancer.pick(everything, {everything[1]}, admit, NOW)
        assert picked is wanted
        assert len(admit.asked) == len(set(admit.asked))
        if wanted is None:
            assert set(admit.asked) == set(everything)
        else:
            assert admit.asked[-1] is wanted


def test_least_request_takes_the_less_active_of_two():
    a, b, c = everything = endpoints(3)
    a.pool.lent, b.pool.lent, c.pool.lent = 5, 2, 9
    # first = int(r * 3); second = int(r * 2), one further where that is at or past the first
    least = balancer(LoadBalancing.LEAST_REQUEST, script(0.0, 0.0, 0.7, 0.0, 0.7, 0.9))
    assert least.pick(everything, (), None, NOW) is b  # a and b
    assert least.pick(everything, (), None, NOW) is a  # c and a
    assert least.pick(everything, (), None, NOW) is b  # c and b


def test_least_request_compares_two_different_ones():
    everything = endpoints(5)
    grid = [step / 20 for step in range(20)]
    for first, second in itertools.product(grid, grid):
        everything[0].pool.lent = 1
        least = balancer(LoadBalancing.LEAST_REQUEST, script(first, second))
        assert least.pick(everything, (), None, NOW) is not everything[0]


def test_least_request_breaks_ties_at_random():
    everything = endpoints(2)
    least = balancer(LoadBalancing.LEAST_REQUEST, random.Random(7).random)
    counts = Counter(least.pick(everything, (), None, NOW) for _ in range(1000))
    assert all(400 < counts[endpoint] < 600 for endpoint in everything)


def test_least_request_is_even_over_many():
    everything = endpoints(5)
    least = balancer(LoadBalancing.LEAST_REQUEST, random.Random(7).random)
    counts = Counter(least.pick(everything, (), None, NOW) for _ in range(5000))
    assert all(850 < counts[endpoint] < 1150 for endpoint in everything)


def test_round_robin_takes_turns():
    a, b, c = everything = endpoints(3)
    turns = balancer(LoadBalancing.ROUND_ROBIN, never)
    assert [turns.pick(everything, (), None, NOW) for _ in range(5)] == [a, b, c, a, b]


def test_random_is_even():
    everything = endpoints(4)
    chance = balancer(LoadBalancing.RANDOM, random.Random(3).random)
    counts = Counter(chance.pick(everything, (), None, NOW) for _ in range(4000))
    assert all(850 < counts[endpoint] < 1150 for endpoint in everything)
