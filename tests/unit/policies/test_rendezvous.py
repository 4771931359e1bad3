"""Rendezvous hashing: the same in every process, evenly spread, independent between places."""

import subprocess
import sys
from collections import Counter
from math import inf

import pytest

from proxy.policies.rendezvous import draw, endpoint_name, hash_of, seed_of, wait

MOST = 1 << 30
PLACES = [b"10.0.0.1:80", b"10.0.0.2:80", b"v1", b"v2"]


def draws(place, count=20_000):
    seed = seed_of(place)
    return [draw(hash_of(b"user-%d" % number), seed) for number in range(count)]


def test_numbers_are_the_same_in_every_process():
    code = "from proxy.policies.rendezvous import draw, hash_of, seed_of; "
    code += "print(hash_of(b'u1'), draw(hash_of(b'u1'), seed_of(b'v1')))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [str(hash_of(b"u1")), str(draw(hash_of(b"u1"), seed_of(b"v1")))]
    assert (hash_of(b"u1"), draw(hash_of(b"u1"), seed_of(b"v1"))) == (38772599, 206405331)


@pytest.mark.parametrize(
    ("scheme", "host", "label", "name"),
    [
        ("http", "shop", "10.0.0.1:80", b"10.0.0.1:80"),
        ("http", "10.0.0.1", "10.0.0.1:80", b"10.0.0.1:80"),
        ("https", "shop", "10.0.0.1:443", b"shop 10.0.0.1:443"),
        ("https", "10.0.0.1", "10.0.0.1:443", b"10.0.0.1:443"),
        ("https", "fd00::1", "[fd00::1]:443", b"[fd00::1]:443"),
    ],
)
def test_an_endpoint_draws_with_its_address_and_over_https_with_its_name(scheme, host, label, name):
    assert endpoint_name(scheme, host, label) == name


def test_numbers_stay_in_their_range():
    for value in (b"", b"\xff" * 40, b"u"):
        assert 0 <= hash_of(value) < MOST
        assert 0 <= draw(hash_of(value), seed_of(b"x")) < MOST
    assert 0 < wait(MOST - 1, 1.0) < wait(0, 1.0) < inf


@pytest.mark.parametrize("place", PLACES)
def test_a_place_draws_evenly(place):
    found = Counter(drawn * 20 // MOST for drawn in draws(place))
    assert set(found) == set(range(20))
    # Chi squared with 19 degrees of freedom: above 43.8 once in a thousand by chance.
    assert sum((count - 1_000) ** 2 / 1_000 for count in found.values()) < 43.8


@pytest.mark.parametrize("bit", range(30))
def test_every_bit_of_a_hash_changes_half_of_a_number(bit):
    seed = seed_of(b"v1")
    changed = Counter()
    for number in range(2_000):
        hashed = hash_of(b"user-%d" % number)
        difference = draw(hashed, seed) ^ draw(hashed ^ 1 << bit, seed)
        changed.update(at for at in range(30) if difference >> at & 1)
    assert all(0.25 < changed[at] / 2_000 < 0.75 for at in range(30)), (bit, changed)


def test_places_draw_independently():
    """Of three places each wins a third, and the loser of two does not say who wins of the rest."""
    one, two, three = (draws(place) for place in PLACES[:3])
    orders = Counter(
        tuple(sorted(range(3), key=numbers.__getitem__))
        for numbers in zip(one, two, three, strict=True)
    )
    assert len(orders) == 6
    assert all(count == pytest.approx(20_000 / 6, rel=0.08) for count in orders.values())


def test_a_split_and_an_endpoint_by_the_same_value_are_independent():
    """Users of one version must not all be at one endpoint of it."""
    v1, v2, one, other = (draws(place) for place in (b"v1", b"v2", *PLACES[:2]))
    at_one = [a > b for x, y, a, b in zip(v1, v2, one, other, strict=True) if x > y]
    assert sum(at_one) / len(at_one) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("values", ["192.168.{0}.{1}", "{0:03d}{1:03d}", "{0}/{1}"])
def test_values_that_look_alike_are_spread_too(values):
    one, other = seed_of(PLACES[0]), seed_of(PLACES[1])
    hashes = [
        hash_of(values.format(high, low).encode()) for high in range(100) for low in range(100)
    ]
    wins = sum(draw(hashed, one) > draw(hashed, other) for hashed in hashes)
    assert wins / len(hashes) == pytest.approx(0.5, abs=0.02)


def test_waits_give_shares_by_weight_and_the_largest_number_wins_of_equal_ones():
    one, other = draws(PLACES[0]), draws(PLACES[1])
    pairs = list(zip(one, other, strict=True))
    first = sum(wait(a, 3.0) < wait(b, 1.0) for a, b in pairs)
    assert first / len(pairs) == pytest.approx(0.75, abs=0.01)
    assert all((wait(a, 2.0) < wait(b, 2.0)) == (a > b) for a, b in pairs)
