"""Which policies' state is whose: names, scopes, callers' authorities and their bounds."""

import asyncio

import pytest

from proxy.config.loading import load_text
from proxy.config.model import Listener
from proxy.exchange.binding import MAX_DYNAMIC, MAX_LABELS, OTHER, Bindings
from proxy.http.authority import Authority
from proxy.outcome import Verdict
from proxy.policies.gate import Ask
from proxy.routing.table import RouteTable
from proxy.upstream.registry import Upstreams
from proxy.wire.upstream import UpstreamConnection

CONFIG = """
service: s
upstreams:
  shop: {endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80"]}
  backup: {endpoints: ["http://10.0.0.9:80"]}
policies:
  shared: {circuit_breaker: {scope: upstream}, bulkhead: {scope: upstream}}
  each: {circuit_breaker: {scope: endpoint}}
  none: {circuit_breaker: {mode: off}}
  spare: {fallback: {when: [timeout], upstream: backup}}
routes:
  - {name: a, match: {prefix: /a}, upstream: shop, policy: shared}
  - {name: b, match: {prefix: /b}, upstream: shop, policy: shared}
  - {name: own, match: {prefix: /o}, upstream: shop, policy: shared,
     circuit_breaker: {minimum_calls: 3}, bulkhead: {max_concurrent: 3},
     retry: {budget: {ratio: 50%}}}
  - {name: each, match: {prefix: /e}, upstream: shop, policy: each}
  - {name: none, match: {prefix: /n}, upstream: shop, policy: none}
  - {name: spare, match: {prefix: /s}, upstream: shop, policy: spare}
"""


class Head:
    method, host, query = "GET", "h", ""

    def __init__(self, path):
        self.path = path

    def values(self, name):
        return []


@pytest.fixture
def config():
    return load_text(CONFIG, "x.yaml", {}).config


@pytest.fixture
def bindings(config):
    loop = asyncio.new_event_loop()
    yield Bindings(config, Upstreams(config.upstreams, UpstreamConnection, loop=loop), lambda: 0.5)
    loop.close()


@pytest.fixture
def of(config, bindings):
    table = RouteTable(config)
    return lambda path: bindings.of_route(table.match(Listener.OUTBOUND, Head(path)))


@pytest.fixture
def of_authority(config, bindings):
    route = RouteTable(config).match(Listener.OUTBOUND, Head("/"))

    def of(host, now=0.0, port=None, scheme="http"):
        return bindings.of_authority(route, scheme, Authority(host, port), now)

    return of


def test_a_route_has_one_binding(of):
    assert of("/a") is of("/a/b")


def test_scope_upstream_is_shared_by_the_routes_of_a_policy(of):
    a, b = of("/a"), of("/b")
    assert a.breaker is b.breaker
    assert a.bulkhead is b.bulkhead
    assert a.breaker.name == a.bulkhead.name == "shared:shop"
    assert a.stats is not b.stats


def test_but_not_by_one_that_changes_the_settings(of):
    own = of("/o")
    assert own.breaker.name == own.bulkhead.name == own.budget_name == "own"
    assert own.breaker is not of("/a").breaker


def test_a_budget_belongs_to_an_upstream_and_a_policy(of):
    assert of("/a").budget is of("/b").budget
    assert of("/a").budget_name == "shared:shop"
    assert of("/a").budget is not of("/e").budget


def test_scope_endpoint(of):
    binding = of("/e")
    assert binding.per_endpoint
    first, second = binding.upstream.endpoints
    assert binding.breaker_of(first) is not binding.breaker_of(second)
    assert binding.breaker_of(first) is binding.breaker_of(first)
    assert binding.breaker_of(first).name == "each:10.0.0.1:80"
    binding.breaker_of(first).force_open(0.0)
    assert binding.allows_retry(0.0)
    binding.breaker_of(second).force_open(0.0)
    assert not binding.allows_retry(0.0)


def test_mode_off(of):
    binding = of("/n")
    assert binding.breaker_of(binding.upstream.endpoints[0]) is None
    assert binding.allows_retry(0.0)


def test_a_fallbacks_upstream_has_its_own_breaker(of, bindings):
    binding = of("/s")
    assert binding.fallback.upstream.name == "backup"
    assert binding.fallback.breaker.name == "spare:backup"
    assert binding.fallback.bulkhead is binding.bulkhead
    assert bindings.breakers["spare:backup"].upstream == "backup"


def test_authorities_are_told_apart_by_host_port_and_scheme(of_authority):
    one = of_authority("h")
    assert one is of_authority("h", port=80)
    assert one.breaker.name == "default-outbound:h:80"
    others = [of_authority("i"), of_authority("h", port=81), of_authority("h", scheme="https")]
    assert one not in others
    assert len({binding.breaker for binding in (one, *others)}) == 4


def test_labels_are_bounded(of_authority):
    bindings = [of_authority(f"h{n}") for n in range(MAX_LABELS + 2)]
    assert [binding.label for binding in bindings[:2]] == ["h0:80", "h1:80"]
    assert [binding.label for binding in bindings[-2:]] == [OTHER, OTHER]
    assert of_authority("h0").label == "h0:80"


def test_authorities_are_bounded_and_busy_ones_stay(of_authority, bindings):
    busy = of_authority("busy", now=0.0)
    permit = busy.bulkhead.admit(0.0, Ask())
    opened = of_authority("open", now=0.0)
    opened.breaker.force_open(0.0)
    for n in range(3 * MAX_DYNAMIC):
        of_authority(f"h{n}", now=float(n + 1))
    assert len(bindings.bulkheads) <= MAX_DYNAMIC
    assert len(bindings.breakers) <= MAX_DYNAMIC
    assert len(bindings.budgets) <= MAX_DYNAMIC
    assert of_authority("busy") is busy
    assert of_authority("open") is opened
    busy.bulkhead.settle(permit, Verdict.IGNORED, 0.0, 0.0)


def test_breakers_of_endpoints_that_are_gone_are_forgotten(of, bindings):
    binding = of("/e")
    first, second = binding.upstream.endpoints
    binding.breaker_of(first)
    of("/a")
    binding.upstream.endpoints[:] = [second]
    binding.breaker_of(second)
    assert "each:10.0.0.1:80" not in bindings.breakers
    assert {"each:10.0.0.2:80", "shared:shop"} <= bindings.breakers.keys()
