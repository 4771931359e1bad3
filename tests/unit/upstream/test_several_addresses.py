"""Names with several addresses: what happens when these come, go, and belong to two names."""

import random

import pytest

from proxy.config.model import EndpointConfig, HealthCheckConfig, LoadBalancing, UpstreamConfig
from proxy.errors import DnsFailure
from proxy.http.hash_key import HashKey, HashSource
from proxy.outcome import Verdict
from proxy.policies.ejection_config import OutlierConfig
from proxy.upstream.upstream import Upstream

ONE, TWO, THREE, FOUR = (f"10.0.0.{number}" for number in range(1, 5))
EJECTING = OutlierConfig(consecutive_failures=1, failure_rate=None)
KEYS = [b"user-%d" % number for number in range(400)]
HASHED = {
    "load_balancing": LoadBalancing.CONSISTENT_HASH,
    "hash": HashKey(HashSource.HEADER, b"user-id"),
}


class Bench:
    def __init__(self, scripted, *endpoints, **settings):
        self.loop = scripted.HandLoop()
        self.resolver = scripted.Resolver()
        self.upstream = Upstream(
            UpstreamConfig("shop", endpoints, **settings),
            resolver=self.resolver,
            connector=scripted.Connector(self.loop),
            loop=self.loop,
            random=random.Random(5).random,
        )

    @property
    def labels(self):
        return [one.label for one in self.upstream.endpoints]

    def look_up(self, *answers):
        """The next look-up of each name, in the order of the file, has these results."""
        self.upstream.pick((), None)
        self.loop.advance(5.0)
        for answer in answers:
            self.resolver.answer(tuple(answer) if isinstance(answer, list) else answer)

    def endpoint(self, ip):
        (only,) = [one for one in self.upstream.endpoints if one.ip == ip]
        return only

    def fail(self, ip):
        self.endpoint(ip).enter(self.loop.now).leave(Verdict.FAILURE, self.loop.now)

    def owners(self):
        return {key: self.upstream.pick((), None, key).ip for key in KEYS}


@pytest.fixture
def bench(scripted):
    return lambda *endpoints, **settings: Bench(scripted, *endpoints, **settings)


def named(host, weight=1, scheme="http"):
    return EndpointConfig(scheme, host, 80, weight)


# --- two names with the same address --------------------------------------------------------------


def test_an_address_of_two_names_is_one_endpoint_with_the_first_ones_weight(bench):
    b = bench(named("a", weight=3), named("b"))
    b.look_up([ONE, TWO], [TWO, THREE])
    assert b.labels == [f"{ONE}:80", f"{TWO}:80", f"{THREE}:80"]
    assert [one.full_weight for one in b.upstream.endpoints] == [3.0, 3.0, 1.0]


def test_a_repeated_attempt_goes_to_another_address_not_to_another_name(bench):
    b = bench(named("a"), named("b"), **HASHED)
    b.look_up([ONE, TWO], [TWO, ONE])
    for key in KEYS[:20]:
        first = b.upstream.pick((), None, key)
        assert b.upstream.pick([first], None, key).ip != first.ip


def test_an_address_stays_the_same_endpoint_while_one_of_its_names_has_it(bench):
    b = bench(named("a"), named("b"), outlier_detection=EJECTING)
    b.look_up([ONE, TWO], [TWO, THREE])
    before = b.endpoint(TWO)
    b.fail(TWO)
    b.look_up([ONE], [TWO, THREE])
    assert b.endpoint(TWO) is before
    assert before.member.ejected
    b.look_up([ONE], [THREE])
    assert b.labels == [f"{ONE}:80", f"{THREE}:80"]


def test_a_literal_address_and_a_name_with_it_are_one_endpoint(bench):
    b = bench(named(ONE), named("a"))
    b.look_up([ONE, TWO])
    assert b.labels == [f"{ONE}:80", f"{TWO}:80"]


def test_with_tls_two_names_of_an_address_are_two_services(bench):
    """The certificate and the service behind the address depend on the name (SNI)."""
    b = bench(named("a", scheme="https"), named("b", scheme="https"))
    b.look_up([ONE], [ONE])
    assert [(one.host, one.ip) for one in b.upstream.endpoints] == [("a", ONE), ("b", ONE)]
    assert b.labels == [f"{ONE}:80 (a)", f"{ONE}:80 (b)"]


def test_only_endpoints_that_share_an_address_are_labelled_with_their_names(bench):
    b = bench(named("a", scheme="https"), named("b", scheme="https"))
    b.look_up([ONE, TWO], [TWO, THREE])
    assert b.labels == [f"{ONE}:80", f"{TWO}:80 (a)", f"{TWO}:80 (b)", f"{THREE}:80"]


def test_a_label_with_a_name_stays_when_the_other_name_moves(bench):
    """What has the label as its name (a breaker, a metric) would begin again with every look-up."""
    b = bench(named("a", scheme="https"), named("b", scheme="https"))
    b.look_up([ONE], [ONE])
    b.look_up([ONE], [TWO])
    assert b.labels == [f"{ONE}:80 (a)", f"{TWO}:80"]


@pytest.mark.parametrize("order", [("http", "https"), ("https", "http")])
def test_one_port_with_and_without_tls_is_two_endpoints_with_two_labels(bench, order):
    b = bench(*(named(ONE, scheme=scheme) for scheme in order))
    labels = {one.scheme: one.label for one in b.upstream.endpoints}
    assert labels == {"http": f"{ONE}:80", "https": f"{ONE}:80 ({ONE})"}


# --- addresses that go and come -------------------------------------------------------------------


def test_an_address_that_goes_while_it_is_ejected_comes_back_as_a_new_one(bench):
    b = bench(named("a"), outlier_detection=EJECTING)
    b.look_up([ONE, TWO, THREE])
    b.fail(ONE)
    late = b.endpoint(ONE).enter(b.loop.now)
    b.look_up([TWO, THREE])
    late.leave(Verdict.FAILURE, b.loop.now)
    assert b.upstream.choice.standings.left_out == ()
    b.look_up([ONE, TWO, THREE])
    assert not b.endpoint(ONE).member.ejected
    assert {b.upstream.pick((), None).ip for _ in range(100)} == {ONE, TWO, THREE}


def test_the_only_usable_address_goes_and_the_ejected_one_is_used(bench):
    b = bench(named("a"), outlier_detection=EJECTING)
    b.look_up([ONE, TWO])
    b.fail(ONE)
    b.look_up([ONE])
    assert b.upstream.pick((), None).ip == ONE
    assert not b.endpoint(ONE).member.ejected


def test_a_name_that_no_longer_exists_keeps_its_addresses_and_their_state(bench):
    b = bench(named("a"), outlier_detection=EJECTING)
    b.look_up([ONE, TWO])
    b.fail(ONE)
    b.look_up(DnsFailure("gone"))
    assert (b.labels, b.endpoint(ONE).member.ejected) == ([f"{ONE}:80", f"{TWO}:80"], True)
    assert {b.upstream.pick((), None).ip for _ in range(50)} == {TWO}


def test_an_address_that_comes_is_used_until_its_health_checks_fail(bench):
    b = bench(named("a"), health_check=HealthCheckConfig(path="/"))
    b.look_up([ONE])
    b.endpoint(ONE).member.mark(unhealthy=True)
    b.look_up([ONE, TWO])
    assert {b.upstream.pick((), None).ip for _ in range(50)} == {TWO}


# --- keys and weights over addresses --------------------------------------------------------------


@pytest.mark.parametrize("weight", [1, 3])
def test_an_address_that_goes_moves_its_own_keys_only(bench, weight):
    b = bench(named("a", weight), named(FOUR), **HASHED)
    b.look_up([ONE, TWO, THREE])
    before = b.owners()
    share = sum(ip == TWO for ip in before.values()) / len(KEYS)
    assert share == pytest.approx(weight / (3 * weight + 1), abs=0.07)
    b.look_up([THREE, ONE])
    after = b.owners()
    assert all(after[key] == before[key] for key in KEYS if before[key] != TWO)
    b.look_up([THREE, TWO, ONE])
    assert b.owners() == before, "in whatever order the addresses come"


def test_an_address_that_replaces_another_gets_about_its_keys(bench):
    b = bench(named("a"), **HASHED)
    b.look_up([ONE, TWO, THREE])
    before = b.owners()
    b.look_up([ONE, TWO, FOUR])
    moved = [key for key, ip in b.owners().items() if before[key] not in (ip, THREE)]
    assert len(moved) < 0.35 * len(KEYS)
    assert {b.owners()[key] for key in moved} == {FOUR}


@pytest.mark.parametrize("balancing", [one for one in LoadBalancing if one.value != "ewma"])
def test_each_address_of_a_name_has_its_weight(bench, balancing):
    b = bench(named("a", 3), named(FOUR), load_balancing=balancing)
    b.look_up([ONE, TWO])
    found = [b.upstream.pick((), None).ip for _ in range(2100)]
    shares = [round(found.count(ip) / len(found), 2) for ip in (ONE, TWO, FOUR)]
    assert shares == pytest.approx([3 / 7, 3 / 7, 1 / 7], abs=0.04)


# --- a reload while a look-up is under way --------------------------------------------------------


def test_a_look_up_from_before_a_reload_changes_nothing_later(bench):
    b = bench(named("a"))
    b.look_up([ONE])
    b.loop.advance(5.0)
    assert b.resolver.pending
    config = UpstreamConfig("shop", (named("a"), named(FOUR)))
    assert b.upstream.adopt(config)
    b.resolver.answer((TWO,))
    assert b.labels == [f"{ONE}:80", f"{FOUR}:80"]
    b.look_up([THREE])
    assert b.labels == [f"{FOUR}:80", f"{THREE}:80"]
