import itertools
import random
from collections import Counter

import pytest

from proxy.config.model import ConnectionsConfig, LoadBalancing
from proxy.policies.ewma import PeakEwma
from proxy.policies.rendezvous import endpoint_name
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


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 1, 1, 1, 1), (1, 1, 2), (1, 2, 3, 1)])
@pytest.mark.parametrize("dead", [0, 1, 2])
def test_round_robin_gives_an_unreachable_ones_turns_to_all_others(weights, dead):
    everything = endpoints(len(weights))
    for endpoint, weight in zip(everything, weights, strict=True):
        endpoint.weight = weight
    everything[dead].pool.avoid_until = NOW + 1
    turns = balancer(LoadBalancing.ROUND_ROBIN, never)
    turns.weighted = len(set(weights)) > 1
    counts = Counter(turns.pick(everything, (), None, NOW) for _ in range(6000))
    left = sum(weights) - weights[dead]
    shares = {endpoint: counts[endpoint] / 6000 for endpoint in everything}
    expected = [0 if n == dead else weight / left for n, weight in enumerate(weights)]
    assert list(shares.values()) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1), (1, 2), (2, 1, 1)])
def test_round_robin_gives_a_failing_one_no_more_first_attempts_than_its_turns(weights):
    everything = endpoints(len(weights))
    for endpoint, weight in zip(everything, weights, strict=True):
        endpoint.weight = weight
    turns = balancer(LoadBalancing.ROUND_ROBIN, never)
    turns.weighted = len(set(weights)) > 1
    failing, first = everything[0], Counter()
    for _ in range(1200):
        endpoint = turns.pick(everything, (), None, NOW)
        first[endpoint] += 1
        if endpoint is failing:
            assert turns.pick(everything, [failing], None, NOW) is not failing
    assert first[failing] == 1200 * weights[0] / sum(weights)


def test_random_is_even():
    everything = endpoints(4)
    chance = balancer(LoadBalancing.RANDOM, random.Random(3).random)
    counts = Counter(chance.pick(everything, (), None, NOW) for _ in range(4000))
    assert all(850 < counts[endpoint] < 1150 for endpoint in everything)


# --- weights ------------------------------------------------------------------------------------


def weighted(kind, *weights, seed=1):
    everything = endpoints(len(weights))
    for endpoint, weight in zip(everything, weights, strict=True):
        endpoint.weight = float(weight)
    found = balancer(kind, random.Random(seed).random)
    found.weighted = True
    return found, everything


def shares(found, everything, picks, *, at=lambda number: NOW, key=lambda number: b""):
    counts = Counter()
    for number in range(picks):
        counts[found.pick(everything, (), None, at(number), key(number)).label] += 1
    return [counts[endpoint.label] / picks for endpoint in everything]


@pytest.mark.parametrize("kind", list(LoadBalancing))
def test_idle_endpoints_get_their_weights(kind):
    found, everything = weighted(kind, 3, 1, 6)
    for endpoint in everything:
        endpoint.watch(PeakEwma(), None)
        endpoint.latency.note(0.01, NOW)
    measured = shares(found, everything, 20_000, key=lambda number: b"user-%d" % number)
    assert measured == pytest.approx([0.3, 0.1, 0.6], abs=0.015)


@pytest.mark.parametrize("kind", [LoadBalancing.LEAST_REQUEST, LoadBalancing.EWMA])
@pytest.mark.parametrize("flying", [4, 40, 400])
def test_under_load_the_weights_hold_too(kind, flying):
    """`flying` requests are always under way; each takes as long as any other."""
    found, everything = weighted(kind, 3, 1)
    for endpoint in everything:
        endpoint.watch(PeakEwma(), None)
        endpoint.latency.note(0.01, NOW)
    source = random.Random(3)
    busy, counts = [], Counter()
    for _ in range(8_000):
        if len(busy) == flying:
            position = source.randrange(flying)
            busy[position], busy[-1] = busy[-1], busy[position]
            busy.pop().pool.lent -= 1
        chosen = found.pick(everything, (), None, NOW)
        chosen.pool.lent += 1
        busy.append(chosen)
        counts[chosen.label] += 1
    assert counts[everything[0].label] / 8_000 == pytest.approx(0.75, abs=0.05)


def test_least_request_leaves_out_one_that_hangs_whatever_its_weight():
    found, (heavy, light) = weighted(LoadBalancing.LEAST_REQUEST, 3, 1)
    heavy.pool.lent = 100
    assert shares(found, [heavy, light], 1_000)[0] == 0


def test_round_robin_with_weights_takes_turns():
    found, everything = weighted(LoadBalancing.ROUND_ROBIN, 5, 1, 1)
    order = [found.pick(everything, (), None, NOW) for _ in range(7)]
    assert [everything.index(one) for one in order] == [0, 0, 1, 0, 2, 0, 0]


# --- ewma ---------------------------------------------------------------------------------------


def fast_and_slow(*latencies):
    everything = endpoints(len(latencies))
    for endpoint, latency in zip(everything, latencies, strict=True):
        endpoint.watch(PeakEwma(), None)
        if latency:
            endpoint.latency.note(latency, NOW)
    return balancer(LoadBalancing.EWMA, random.Random(1).random), everything


def test_ewma_takes_the_faster_of_two():
    ewma, everything = fast_and_slow(0.010, 0.100)
    assert shares(ewma, everything, 100) == [1, 0]


def test_ewma_takes_the_slower_one_when_the_faster_is_busy():
    ewma, everything = fast_and_slow(0.010, 0.050)
    everything[0].pool.lent = 3
    assert shares(ewma, everything, 100) == [1, 0]
    everything[0].pool.lent = 5
    assert shares(ewma, everything, 100) == [0, 1]


def test_ewma_tries_an_unknown_endpoint_with_one_request_at_a_time():
    ewma, (known, unknown) = fast_and_slow(0.010, 0)
    assert ewma.pick([known, unknown], (), None, NOW) is unknown
    unknown.pool.lent = 1
    assert shares(ewma, [known, unknown], 100) == [1, 0]


def test_ewma_without_any_sample_spreads():
    ewma, everything = fast_and_slow(0, 0, 0)
    assert all(share > 0.2 for share in shares(ewma, everything, 1_000))


def test_with_weights_ewma_still_leaves_a_slow_one_alone():
    """Its share falls with the square of its latency: 2/100 beside 1."""
    found, (slow, quick) = weighted(LoadBalancing.EWMA, 2, 1)
    for endpoint, latency in ((slow, 0.1), (quick, 0.01)):
        endpoint.watch(PeakEwma(), None)
        endpoint.latency.note(latency, NOW)
    assert shares(found, [slow, quick], 20_000)[0] == pytest.approx(0.02, abs=0.005)


# --- consistent hash ----------------------------------------------------------------------------


def owners(found, everything, keys=5_000):
    return [found.pick(everything, (), None, NOW, b"user-%d" % key) for key in range(keys)]


def test_a_key_keeps_its_endpoint():
    found, everything = weighted(LoadBalancing.CONSISTENT_HASH, 1, 1, 1, 1)
    first = owners(found, everything)
    assert owners(found, everything) == first
    assert owners(found, everything[::-1]) == first
    other = balancer(LoadBalancing.CONSISTENT_HASH, random.Random(9).random)
    assert owners(other, everything) == first


def test_only_the_keys_of_a_missing_endpoint_move_and_to_all_others():
    found, everything = weighted(LoadBalancing.CONSISTENT_HASH, 1, 1, 1, 1, 1)
    before = owners(found, everything)
    after = owners(found, everything[1:])
    gone = everything[0]
    moved = Counter(new.label for old, new in zip(before, after, strict=True) if old is not new)
    assert sum(moved.values()) == before.count(gone) == pytest.approx(1_000, rel=0.12)
    assert set(moved) == {endpoint.label for endpoint in everything[1:]}
    assert all(200 < count < 300 for count in moved.values())


def test_two_names_with_one_address_share_the_keys_where_the_name_decides():
    def owned(scheme):
        addresses = [Address(scheme, name, 443, "10.0.0.1") for name in ("a.shop", "b.shop")]
        everything = [
            Endpoint(one, Pool(one, ConnectionsConfig(), None, None)) for one in addresses
        ]
        found = balancer(LoadBalancing.CONSISTENT_HASH, random.Random(1).random)
        return [owners(found, everything, 1_000).count(one) for one in everything]

    assert owned("https") == pytest.approx([500, 500], abs=60)
    only = Address("https", "10.0.0.1", 443, "10.0.0.1")
    assert endpoint_name(only.scheme, only.host, only.label) == b"10.0.0.1:443"
    six = Address("https", "fd00::1", 443, "fd00::1")
    assert endpoint_name(six.scheme, six.host, six.label) == b"[fd00::1]:443"


def test_a_new_endpoint_takes_its_share_and_no_other_key_moves():
    found, everything = weighted(LoadBalancing.CONSISTENT_HASH, 1, 1, 1, 1)
    before, after = owners(found, everything[:3]), owners(found, everything)
    moved = {new.label for old, new in zip(before, after, strict=True) if old is not new}
    assert moved == {everything[3].label}


def test_a_retry_goes_to_the_keys_second_endpoint():
    found, everything = weighted(LoadBalancing.CONSISTENT_HASH, 1, 1, 1)
    first = found.pick(everything, (), None, NOW, b"u1")
    second = found.pick(everything, [first], None, NOW, b"u1")
    others = [endpoint for endpoint in everything if endpoint is not first]
    assert second is found.pick(others, (), None, NOW, b"u1")


def test_without_a_key_the_load_decides():
    found, everything = weighted(LoadBalancing.CONSISTENT_HASH, 1, 1)
    everything[0].pool.lent = 5
    assert shares(found, everything, 100) == [0, 1]
