"""What bindings go on with after a reload, and what begins anew."""

import asyncio

import pytest
from unit.exchange.endpoint_breakers import breaker_at

from proxy.config.loading import load_text
from proxy.config.model import Listener
from proxy.exchange.bindings import Bindings
from proxy.http.authority import Authority
from proxy.outcome import Verdict
from proxy.policies.budget import RETRY_BUDGET
from proxy.policies.bulkhead import BULKHEAD, BulkheadPermit, BulkheadRefusal
from proxy.policies.circuit_breaker import CIRCUIT_BREAKER
from proxy.policies.circuit_breaker_answers import BreakerState
from proxy.policies.gate import Ask
from proxy.routing.table import RouteTable
from proxy.upstream.registry import Upstreams
from proxy.wire.h1.upstream import UpstreamConnection

CONFIG = """
service: s
upstreams:
  shop: {endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80"]}
  spare: {endpoints: ["http://10.0.0.9:80"]}
policies:
  default: {circuit_breaker: {minimum_calls: 5}}
  shared: {circuit_breaker: {scope: upstream}}
  each: {circuit_breaker: {scope: endpoint}}
routes:
  - {name: a, match: {prefix: /a}, upstream: shop}
  - {name: b, match: {prefix: /b}, upstream: shop, policy: shared}
  - {name: e, match: {prefix: /e}, upstream: shop, policy: each}
"""


class Head:
    method, host, query = "GET", "h", ""

    def __init__(self, path):
        self.path = path

    def values(self, name):
        return []


class Proxy:
    """The bindings of the configuration that was loaded last; `change` replaces text in it."""

    def __init__(self, loop):
        self.text = CONFIG
        self.at_once = True
        config = load_text(CONFIG, "x.yaml", {}).config
        self.upstreams = Upstreams(config.upstreams, UpstreamConnection, loop=loop)
        self.table = RouteTable(config)
        self.bindings = Bindings(config, self.upstreams, lambda: 0.5)

    def change(self, *replacements):
        for old, new in replacements:
            assert old in self.text
            self.text = self.text.replace(old, new)
        config = load_text(self.text, "x.yaml", {}).config
        self.upstreams.reconfigure(config.upstreams)
        before, self.table = self.bindings, RouteTable(config)
        self.bindings = Bindings(config, self.upstreams, lambda: 0.5)
        self.bindings.take_over(before, self.table)
        if self.at_once:
            while self.bindings.bind_on():
                pass

    @property
    def breakers(self):
        return self.bindings.gates.of(CIRCUIT_BREAKER)

    def of(self, path):
        return self.bindings.of_route(self.table.match(Listener.OUTBOUND, Head(path)))

    def of_authority(self, host, scheme="http", path="/"):
        route = self.table.match(Listener.OUTBOUND, Head(path))
        return self.bindings.of_authority(route, scheme, Authority(host, 81), 0.0)


@pytest.fixture
def proxy():
    loop = asyncio.new_event_loop()
    yield Proxy(loop)
    loop.close()


def test_what_did_not_change_goes_on(proxy):
    old = proxy.of("/a")
    old.breaker.force_open(0.0)
    proxy.change(("service: s", "service: t"))
    # There before any request comes: whoever looks at the breakers must not miss it.
    assert proxy.breakers["a"].gate is old.breaker
    new = proxy.of("/a")
    assert new is not old
    assert new.route is not old.route
    assert (new.breaker, new.gate(BULKHEAD), new.gate(RETRY_BUDGET)) == (
        old.breaker,
        old.gate(BULKHEAD),
        old.gate(RETRY_BUDGET),
    )
    assert new.stats is old.stats
    assert new.upstream is old.upstream


def test_again_and_again(proxy):
    old = proxy.of("/a")
    for number in range(3):
        proxy.change(("service: ", f"service: s{number}"))
    assert proxy.of("/a").breaker is old.breaker


def test_a_breaker_with_other_settings_begins_anew_and_goes_on_counting(proxy):
    old = proxy.of("/a")
    old.breaker.force_open(0.0)
    proxy.change(("minimum_calls: 5", "minimum_calls: 6"))
    new = proxy.of("/a")
    assert new.breaker.state(0.0) is BreakerState.CLOSED
    assert new.breaker.config.minimum_calls == 6
    assert new.breaker.transitions[BreakerState.FORCED_OPEN] == 1
    assert (new.gate(BULKHEAD), new.gate(RETRY_BUDGET)) == (
        old.gate(BULKHEAD),
        old.gate(RETRY_BUDGET),
    )


def test_a_breaker_knows_nothing_of_another_upstream(proxy):
    old = proxy.of("/a")
    proxy.change(("match: {prefix: /a}, upstream: shop", "match: {prefix: /a}, upstream: spare"))
    new = proxy.of("/a")
    assert new.breaker is not old.breaker
    assert proxy.breakers["a"].upstream == "spare"
    assert new.gate(BULKHEAD) is old.gate(BULKHEAD)


def test_the_same_upstream_with_other_endpoints_is_the_same(proxy):
    old = proxy.of("/a")
    proxy.change(('"http://10.0.0.1:80", ', ""))
    new = proxy.of("/a")
    assert new.upstream is old.upstream
    assert [endpoint.label for endpoint in new.upstream.endpoints] == ["10.0.0.2:80"]
    assert new.breaker is old.breaker


def test_a_bulkhead_is_resized_with_who_is_in_it(proxy):
    old = proxy.of("/a").gate(BULKHEAD)
    permit = old.admit(0.0, Ask())
    proxy.change(("upstream: shop}\n", "upstream: shop, bulkhead: {max_concurrent: 1}}\n"))
    new = proxy.of("/a").gate(BULKHEAD)
    assert (new.in_use, new.limit) == (1, 1)
    assert isinstance(new.admit(0.0, Ask()), BulkheadRefusal)
    old.settle(permit, Verdict.IGNORED, 0.0, 0.0)  # by an exchange that began before
    assert isinstance(new.admit(0.0, Ask()), BulkheadPermit)


def test_a_budget_with_other_settings_begins_anew(proxy):
    old = proxy.of("/a")
    old.gate(RETRY_BUDGET).record_request(0.0)
    proxy.change(("default: {", "default: {retry: {budget: {ratio: 50%}}, "))
    new = proxy.of("/a")
    assert new.gate(RETRY_BUDGET) is not old.gate(RETRY_BUDGET)
    assert new.gate(RETRY_BUDGET).snapshot(0.0).requests == 0
    assert new.breaker is old.breaker


def test_a_renamed_route_keeps_what_it_shares(proxy):
    old = proxy.of("/b")
    proxy.change(("name: b", "name: c"))
    assert "shared:shop" not in proxy.breakers
    new = proxy.of("/b")
    assert (new.breaker, new.gate(RETRY_BUDGET)) == (old.breaker, old.gate(RETRY_BUDGET))
    assert new.gate(BULKHEAD) is not old.gate(BULKHEAD)
    assert new.stats is not old.stats


def test_what_nobody_uses_any_more_is_not_shown(proxy):
    proxy.of("/a")
    proxy.change(("  - {name: a, match: {prefix: /a}, upstream: shop}\n", ""))
    assert not proxy.breakers
    assert not proxy.bindings.gates.of(BULKHEAD)
    assert not proxy.bindings.gates.of(RETRY_BUDGET)


def test_but_its_counters_stay(proxy):
    proxy.of("/a").stats.count_answer(200, "", 0.1)
    proxy.change(("  - {name: a, match: {prefix: /a}, upstream: shop}\n", ""))
    assert proxy.bindings.stats["outbound", "a"].answers == {(200, ""): 1}


def test_breakers_of_endpoints(proxy):
    old = proxy.of("/e")
    first, second = (breaker_at(old, endpoint) for endpoint in old.upstream.endpoints)
    proxy.change(("10.0.0.1:80", "10.0.0.3:80"))
    new = proxy.of("/e")
    assert set(proxy.breakers) == {"e:10.0.0.2:80"}
    same, other = sorted(new.upstream.endpoints, key=lambda endpoint: endpoint.label)
    assert breaker_at(new, same) is second
    assert breaker_at(new, other) not in (first, second)


def test_an_exchange_under_way_settles_where_it_was_admitted(proxy):
    old = proxy.of("/e")
    (endpoint, _) = old.upstream.endpoints
    before = breaker_at(old, endpoint)
    proxy.change(("service: s", "service: t"))
    assert breaker_at(old, endpoint) is before
    assert breaker_at(proxy.of("/e"), endpoint) is before


def test_authorities_that_callers_named(proxy):
    old, tunnel = proxy.of_authority("h"), proxy.of_authority("h", "connect", "/a")
    proxy.change(("service: s", "service: t"))
    assert set(proxy.breakers) == {"default-outbound:h:81", "a:h:81"}
    assert "h:81" in proxy.bindings.labels
    assert proxy.of_authority("h").breaker is old.breaker
    assert proxy.of_authority("h").upstream is old.upstream
    assert proxy.of_authority("h", "connect", "/a").breaker is tunnel.breaker


def test_a_route_that_names_its_upstream_now_has_no_authorities(proxy):
    proxy.change(("upstream: shop}\n  - {name: b", "policy: default}\n  - {name: b"))
    proxy.of_authority("h", path="/a")
    proxy.change(("policy: default}\n  - {name: b", "upstream: spare}\n  - {name: b"))
    assert not proxy.breakers
    assert proxy.of("/a").upstream.name == "spare"


@pytest.mark.interpreted
def test_many_routes_are_taken_over_in_parts(proxy, monkeypatch):
    """A request that comes meanwhile finds what its route had; none waits for all the others."""
    monkeypatch.setattr("proxy.exchange.bindings.BOUND_AT_ONCE", 1)
    a, b = proxy.of("/a"), proxy.of("/b")
    authority = proxy.of_authority("shop.test")
    proxy.at_once = False
    proxy.change(("service: s", "service: t"))
    assert not proxy.breakers
    assert proxy.of("/a").breaker is a.breaker
    assert proxy.bindings.bind_on()
    assert proxy.bindings.bind_on()
    assert proxy.of("/b").breaker is b.breaker
    proxy.change(("service: t", "service: u"))  # another one before it is complete
    assert proxy.of("/a").gate(BULKHEAD) is a.gate(BULKHEAD)
    assert proxy.of_authority("shop.test").gate(BULKHEAD) is authority.gate(BULKHEAD)
