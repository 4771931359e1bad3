"""Weights, slow start and what can be used, in an upstream whose addresses change."""

import random
import re
from collections import Counter
from dataclasses import replace

import pytest

from proxy.config.model import EndpointConfig, HealthCheckConfig, LoadBalancing, UpstreamConfig
from proxy.errors import DnsFailure
from proxy.http.hash_key import HashKey, HashSource
from proxy.outcome import Verdict
from proxy.policies.ejection_config import OnNone, OutlierConfig
from proxy.upstream.upstream import Upstream

NAMED = EndpointConfig("http", "inventory", 8080)
ONE, TWO, THREE = "10.0.0.1", "10.0.0.2", "10.0.0.3"
EJECTING = OutlierConfig(consecutive_failures=1, failure_rate=None)


class Bench:
    def __init__(self, scripted, config):
        self.scripted = scripted
        self.loop = scripted.HandLoop()
        self.resolver = scripted.Resolver()
        self.upstream = Upstream(
            config,
            resolver=self.resolver,
            connector=scripted.Connector(self.loop),
            loop=self.loop,
            random=random.Random(5).random,
        )

    def look_up(self, *addresses):
        if not self.resolver.pending:
            self.upstream.pick((), None)
            self.loop.advance(5.0)
        self.resolver.answer(addresses)

    def shares(self, picks=2000, key=lambda number: b""):
        counts = Counter(self.upstream.pick((), None, key(n)).ip for n in range(picks))
        return {ip: round(count / picks, 2) for ip, count in counts.items()}

    def endpoint(self, ip):
        return next(one for one in self.upstream.endpoints if one.ip == ip)

    def fail(self, ip):
        seat = self.endpoint(ip).enter(self.loop.now)
        seat.leave(Verdict.FAILURE, self.loop.now)


@pytest.fixture
def bench(scripted):
    def made(*endpoints, **settings):
        return Bench(scripted, UpstreamConfig("inventory", endpoints or (NAMED,), **settings))

    return made


def test_the_first_endpoints_start_at_once_and_a_new_one_slowly(bench):
    b = bench(slow_start=30.0, load_balancing=LoadBalancing.RANDOM)
    b.look_up(ONE, TWO)
    assert b.shares() == pytest.approx({ONE: 0.5, TWO: 0.5}, abs=0.04)
    b.look_up(ONE, TWO, THREE)
    assert b.endpoint(THREE).weight == pytest.approx(0.1)
    assert b.shares()[THREE] == pytest.approx(0.1 / 2.1, abs=0.02)
    b.loop.advance(15.0)
    assert b.shares()[THREE] == pytest.approx(0.5 / 2.5, abs=0.03)
    b.loop.advance(15.0)
    assert b.shares()[THREE] == pytest.approx(1 / 3, abs=0.04)
    assert b.endpoint(THREE).weight == 1.0


def test_names_whose_first_look_ups_end_one_after_the_other_all_start_at_once(bench):
    other, late = (EndpointConfig("http", name, 8080) for name in ("other", "late"))
    b = bench(EndpointConfig("http", THREE, 8080), NAMED, other, late, slow_start=30.0)
    b.upstream.pick((), None)
    b.resolver.answer((ONE,), "inventory")
    b.loop.advance(0.2)
    b.resolver.answer((TWO,), "other")
    b.resolver.answer(DnsFailure("late has no address."), "late")
    assert {one.ip: one.weight for one in b.upstream.endpoints} == {ONE: 1, TWO: 1, THREE: 1}
    b.upstream.pick((), None)
    b.loop.advance(5.0)
    b.resolver.answer(("10.0.0.4",), "late")
    assert b.endpoint("10.0.0.4").weight == pytest.approx(0.1), "it is new by now"


def test_a_name_that_a_reload_adds_starts_slowly(bench):
    other = EndpointConfig("http", "other", 8080)
    for more in ({}, {"dns_refresh": 9.0}):
        b = bench(slow_start=30.0)
        b.look_up(ONE)
        config = replace(b.upstream.config, endpoints=(NAMED, other), **more)
        upstream = b.upstream
        if not upstream.adopt(config):
            b = Bench(b.scripted, config)
            b.upstream.succeed(upstream)
        assert b.shares() == {ONE: 1.0}
        b.resolver.answer((TWO,), "other")
        assert b.endpoint(TWO).weight == pytest.approx(0.1)


def test_weights_rise_without_requests_too(bench):
    b = bench(slow_start=30.0, outlier_detection=EJECTING)
    b.look_up(ONE, TWO)
    b.look_up(ONE, TWO, THREE)
    b.loop.advance(15.0)
    b.upstream.weigh()
    assert b.endpoint(THREE).weight == pytest.approx(0.5)
    b.look_up(THREE)
    b.loop.advance(30.0)
    b.upstream.weigh()
    assert b.endpoint(THREE).weight == 1.0


def test_one_that_comes_back_starts_slowly(bench):
    b = bench(slow_start=30.0, load_balancing=LoadBalancing.RANDOM, outlier_detection=EJECTING)
    b.look_up(ONE, TWO)
    b.fail(ONE)
    assert b.shares() == {TWO: 1.0}
    b.loop.advance(34.0)
    probe = b.upstream.pick((), None)
    assert probe.ip == ONE
    probe.enter(b.loop.now).leave(Verdict.SUCCESS, b.loop.now)
    assert b.shares()[ONE] == pytest.approx(0.1 / 1.1, abs=0.02)
    b.loop.advance(30.0)
    assert b.shares()[ONE] == pytest.approx(0.5, abs=0.04)


def test_an_ejected_endpoint_stays_out_while_other_addresses_change(bench):
    b = bench(outlier_detection=EJECTING)
    b.look_up(ONE, TWO)
    b.fail(ONE)
    b.look_up(ONE, TWO, THREE)
    assert set(b.shares()) == {TWO, THREE}
    b.look_up(ONE, THREE)
    assert set(b.shares()) == {THREE}
    b.look_up(ONE)
    assert set(b.shares()) == {ONE}, "the last one is used"
    assert not b.endpoint(ONE).member.ejected


def test_addresses_that_are_all_new_keep_nobody_in(bench):
    b = bench(outlier_detection=EJECTING)
    b.look_up(ONE, TWO)
    b.fail(ONE)
    late = b.endpoint(TWO).enter(b.loop.now)
    b.look_up(THREE)
    late.leave(Verdict.FAILURE, b.loop.now)
    assert b.shares() == {THREE: 1.0}
    assert sum(b.upstream.choice.standings.counts.ejections.values()) == 1


def test_the_log_tells_each_ejection_and_return_once(bench, caplog):
    caplog.set_level("INFO", "proxy.upstream")
    b = bench(*LITERAL, outlier_detection=EJECTING)
    b.fail(ONE)
    lasts = b.endpoint(ONE).member.until - b.loop.time()
    told = [f"endpoint {ONE}:8080 of inventory is ejected for {lasts:.0f} s: "
            "consecutive-failures, 1 in a row"]  # fmt: skip
    b.fail(TWO)  # no room for another one
    assert caplog.messages == told
    b.loop.advance(lasts)
    b.fail(ONE)
    told.append(f"endpoint {ONE}:8080 of inventory is ejected for 60 s: probe-failed, 2 in a row")
    assert [re.sub(r"(5[4-9]|6[0-6]) s", "60 s", one) for one in caplog.messages] == told
    b.loop.advance(66.0)
    seat = b.endpoint(ONE).enter(b.loop.now)
    seat.leave(Verdict.SUCCESS, b.loop.now)
    assert caplog.messages[2:] == [f"endpoint {ONE}:8080 of inventory is back"]
    b.fail(TWO)
    assert b.upstream.adopt(replace(b.upstream.config, endpoints=LITERAL[2:]))
    assert len(caplog.messages) == 4, "one that has left is not back"


def test_endpoints_that_get_no_requests_are_named(bench):
    b = bench(outlier_detection=EJECTING, health_check=HealthCheckConfig(path="/"))
    b.look_up(ONE, TWO, THREE)
    standings = b.upstream.choice.standings
    assert standings.left_out == ()
    b.fail(ONE)
    b.endpoint(TWO).member.mark(unhealthy=True)
    expected = (f"{ONE}:8080", "ejected: consecutive-failures"), (f"{TWO}:8080", "unhealthy")
    assert standings.left_out == expected
    b.look_up(TWO, THREE)
    assert standings.left_out == expected[1:]
    b.endpoint(TWO).member.mark(unhealthy=False)
    assert standings.left_out == ()


def test_of_many_endpoints_that_get_no_requests_a_few_are_named(bench):
    b = bench(health_check=HealthCheckConfig(path="/"))
    b.look_up(*[f"10.0.0.{number}" for number in range(1, 21)])
    for endpoint in b.upstream.endpoints:
        endpoint.member.mark(unhealthy=True)
    out = b.upstream.choice.standings.left_out
    assert (len(out), out[-1][0]) == (8, "13 others")


def test_a_weight_that_a_reload_changes_holds_at_once(bench):
    a, z = (EndpointConfig("http", ip, 80, weight) for ip, weight in ((ONE, 1), (TWO, 3)))
    b = bench(a, z, load_balancing=LoadBalancing.RANDOM)
    assert b.shares()[TWO] == pytest.approx(0.75, abs=0.04)
    first = b.upstream.endpoints
    config = replace(b.upstream.config, endpoints=(replace(a, weight=3), z))
    assert b.upstream.adopt(config)
    assert b.shares()[TWO] == pytest.approx(0.5, abs=0.04)
    assert b.upstream.endpoints == first


@pytest.mark.parametrize(
    "change",
    [
        {"endpoints": (EndpointConfig("http", "other", 8080),)},
        {"dns_refresh": 1.0},
        {"name": "else"},
    ],
)
def test_what_connections_depend_on_needs_another_upstream(bench, change):
    b = bench()
    before = b.upstream.config
    assert not b.upstream.adopt(replace(before, **change))
    assert b.upstream.config is before


def test_of_two_names_of_one_address_the_first_ones_weight_holds_after_a_reload_too(bench):
    light, heavy = (EndpointConfig("http", name, 80, weight) for name, weight in NAMES)
    b = bench(light, heavy, EndpointConfig("http", THREE, 80), load_balancing=LoadBalancing.RANDOM)
    b.upstream.pick((), None)
    for name, _ in NAMES:
        b.resolver.answer((ONE,), name)
    assert b.shares()[ONE] == pytest.approx(0.5, abs=0.04)
    config = replace(b.upstream.config, endpoints=(heavy, light, b.upstream.config.endpoints[2]))
    assert b.upstream.adopt(config)
    assert b.shares()[ONE] == pytest.approx(0.75, abs=0.04)


NAMES = (("light", 1), ("heavy", 3))
LITERAL = tuple(EndpointConfig("http", ip, 8080) for ip in (ONE, TWO, THREE))


def test_an_endpoint_that_a_reload_adds_starts_slowly_and_an_ejected_one_stays_out(bench):
    b = bench(*LITERAL[:2], slow_start=30.0, outlier_detection=EJECTING)
    b.fail(ONE)
    first = list(b.upstream.endpoints)
    assert b.upstream.adopt(replace(b.upstream.config, endpoints=LITERAL))
    assert b.upstream.endpoints[:2] == first
    assert b.endpoint(ONE).member.ejected
    assert b.endpoint(THREE).weight == pytest.approx(0.1)
    assert set(b.shares()) == {TWO, THREE}


def test_an_endpoint_that_a_reload_removes_is_gone_and_the_last_one_is_back(bench):
    b = bench(*LITERAL[:2], outlier_detection=EJECTING)
    b.fail(ONE)
    assert b.upstream.adopt(replace(b.upstream.config, endpoints=LITERAL[:1]))
    assert b.shares() == {ONE: 1.0}
    assert not b.endpoint(ONE).member.ejected


def test_a_name_that_a_reload_adds_is_looked_up_and_a_known_one_stays_known(bench):
    b = bench(health_check=HealthCheckConfig("/health"))
    b.look_up(ONE)
    other = EndpointConfig("http", "other", 8080)
    assert b.upstream.adopt(replace(b.upstream.config, endpoints=(NAMED, other, LITERAL[2])))
    assert set(b.shares()) == {ONE, THREE}
    assert [name for name, _ in b.resolver.pending] == ["inventory", "other"]
    b.upstream.close()


def test_a_reload_without_health_checks_forgets_what_they_said(bench):
    b = bench(*LITERAL[:2], outlier_detection=EJECTING, health_check=HealthCheckConfig("/health"))
    b.endpoint(ONE).member.mark(unhealthy=True)
    b.endpoint(ONE).check = "503"
    assert b.shares() == {TWO: 1.0}
    assert b.upstream.adopt(replace(b.upstream.config, health_check=None))
    assert set(b.shares()) == {ONE, TWO}
    assert (b.endpoint(ONE).check, b.endpoint(ONE).member.checked) == ("", False)


@pytest.mark.parametrize("outliers", [None, replace(EJECTING, consecutive_failures=9)])
def test_other_thresholds_keep_what_health_checks_said(bench, outliers):
    b = bench(*LITERAL, outlier_detection=EJECTING, health_check=HealthCheckConfig("/health"))
    b.endpoint(ONE).member.mark(unhealthy=True)
    b.fail(TWO)
    assert b.shares() == {THREE: 1.0}
    assert b.upstream.adopt(replace(b.upstream.config, outlier_detection=outliers))
    assert set(b.shares()) == {TWO, THREE}, "its outcomes start anew"
    assert b.endpoint(ONE).member.checked
    b.upstream.close()


def test_endpoints_that_are_not_known_yet_need_another_upstream(bench):
    b = bench()
    assert not b.upstream.adopt(replace(b.upstream.config, endpoints=(NAMED, *LITERAL)))
    assert b.upstream.config.endpoints == (NAMED,)


def test_another_balancer_takes_over_what_is_known(bench):
    b = bench(load_balancing=LoadBalancing.EWMA)
    b.look_up(ONE, TWO)
    latency = b.endpoint(ONE).latency
    assert latency is not None
    config = b.upstream.config
    key = HashKey(HashSource.HEADER, b"user")
    hashed = replace(config, load_balancing=LoadBalancing.CONSISTENT_HASH, hash=key)
    assert b.upstream.adopt(hashed)
    assert b.upstream.choice.hash_key == key
    assert not b.endpoint(ONE).watched
    assert set(b.shares(key=lambda number: b"always")) in ({ONE}, {TWO})
    assert b.upstream.adopt(config)
    assert b.upstream.choice.hash_key is None
    assert b.endpoint(ONE).watched


def test_none_left(bench):
    check = HealthCheckConfig("/health")
    refusing = OutlierConfig(on_none=OnNone.REFUSE)
    checked_alone = replace(refusing, consecutive_failures=0, failure_rate=None)
    for outliers, picked in (
        (None, {ONE, TWO}),
        (EJECTING, {ONE, TWO}),
        (refusing, set()),
        (checked_alone, set()),
    ):
        b = bench(health_check=check, outlier_detection=outliers)
        b.look_up(ONE, TWO)
        for ip in (ONE, TWO):
            b.endpoint(ip).member.mark(unhealthy=True)
        found = {b.upstream.pick((), None) for _ in range(50)}
        assert {one.ip for one in found if one is not None} == picked
        if not picked:
            assert b.upstream.none_left().reason == "no-healthy-endpoint"
        b.upstream.close()


def test_an_address_of_the_same_name_that_is_ejected_is_no_alternative(bench):
    b = bench(outlier_detection=EJECTING)
    b.look_up(ONE, TWO, THREE)
    b.fail(TWO)
    tried = [b.endpoint(ONE)]
    assert b.upstream.alternative(tried).ip == THREE
    assert b.upstream.alternative([*tried, b.endpoint(THREE)]) is None


def test_where_none_can_be_used_every_address_of_the_name_is_an_alternative(bench):
    b = bench(health_check=HealthCheckConfig(path="/"))
    b.look_up(ONE, TWO)
    for ip in (ONE, TWO):
        b.endpoint(ip).member.mark(unhealthy=True)
    assert b.upstream.alternative([b.endpoint(ONE)]).ip == TWO
    b.upstream.close()


def test_an_upstream_without_any_of_this_has_no_standings_and_watches_nothing(bench):
    b = bench()
    b.look_up(ONE, TWO)
    assert b.upstream.choice.standings is None
    assert not any(one.watched or one.member or one.latency for one in b.upstream.endpoints)
    assert len(b.loop.timers) == 1, "the next look-up"
