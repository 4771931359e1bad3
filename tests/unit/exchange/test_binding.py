"""Which policies' state is whose: names, scopes, callers' authorities and their bounds."""

import asyncio

import pytest
from unit.exchange.endpoint_breakers import breaker_at

from proxy.config.loading import load_text
from proxy.config.model import Listener
from proxy.exchange.bindings import MAX_DYNAMIC, Bindings
from proxy.exchange.labels import MAX_LABELS, MAX_UNKNOWN, OTHER
from proxy.http.authority import Authority
from proxy.outcome import Verdict
from proxy.policies.budget import RETRY_BUDGET
from proxy.policies.bulkhead import BULKHEAD
from proxy.policies.circuit_breaker import CIRCUIT_BREAKER
from proxy.policies.gate import Ask
from proxy.routing.table import RouteTable
from proxy.upstream.registry import Upstreams
from proxy.wire.h1.upstream import UpstreamConnection

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
    assert a.gate(BULKHEAD) is b.gate(BULKHEAD)
    assert a.breaker.name == a.gate(BULKHEAD).name == "shared:shop"
    assert a.stats is not b.stats


def test_but_not_by_one_that_changes_the_settings(of):
    own = of("/o")
    assert own.breaker.name == own.gate(BULKHEAD).name == own.gate(RETRY_BUDGET).name == "own"
    assert own.breaker is not of("/a").breaker


def test_a_budget_belongs_to_an_upstream_and_a_policy(of):
    assert of("/a").gate(RETRY_BUDGET) is of("/b").gate(RETRY_BUDGET)
    assert of("/a").gate(RETRY_BUDGET).name == "shared:shop"
    assert of("/a").gate(RETRY_BUDGET) is not of("/e").gate(RETRY_BUDGET)


def test_scope_endpoint(of):
    binding = of("/e")
    assert binding.per_endpoint
    first, second = binding.upstream.endpoints
    assert breaker_at(binding, first) is not breaker_at(binding, second)
    assert breaker_at(binding, first) is breaker_at(binding, first)
    assert breaker_at(binding, first).name == "each:10.0.0.1:80"
    breaker_at(binding, first).force_open(0.0)
    assert binding.allows_retry(0.0)
    breaker_at(binding, second).force_open(0.0)
    assert not binding.allows_retry(0.0)


def test_mode_off(of):
    binding = of("/n")
    assert breaker_at(binding, binding.upstream.endpoints[0]) is None
    assert binding.allows_retry(0.0)


def test_a_fallbacks_upstream_has_its_own_breaker(of, bindings):
    binding = of("/s")
    assert binding.fallback.upstream.name == "backup"
    assert binding.fallback.breaker.name == "spare:backup"
    assert not binding.fallback.request_gates
    assert bindings.gates.of(CIRCUIT_BREAKER)["spare:backup"].upstream == "backup"


def test_authorities_are_told_apart_by_host_port_and_scheme(of_authority):
    one = of_authority("h")
    assert one is of_authority("h", port=80)
    assert one.breaker.name == "default-outbound:h:80"
    others = [of_authority("i"), of_authority("h", port=81), of_authority("h", scheme="https")]
    assert one not in others
    assert len({binding.breaker for binding in (one, *others)}) == 4


def test_labels_are_bounded(of_authority):
    bindings = [of_authority(f"10.0.0.{n}") for n in range(MAX_LABELS + 2)]
    assert [binding.label for binding in bindings[:2]] == ["10.0.0.0:80", "10.0.0.1:80"]
    assert [binding.label for binding in bindings[-2:]] == [OTHER, OTHER]
    assert of_authority("10.0.0.0").label == "10.0.0.0:80"


def test_names_that_do_not_exist_leave_the_labels_to_those_that_do(of_authority, bindings):
    missing = [of_authority(f"missing{n}") for n in range(3 * MAX_LABELS)]
    for binding in missing:
        binding.count_attempt(0, "dns-failure")
    assert [binding.label for binding in missing].count(OTHER) == 3 * MAX_LABELS - MAX_UNKNOWN
    there = of_authority("there")
    assert there.label == OTHER
    there.breaker.force_open(0.0)
    there.upstream.endpoints[:] = of_authority("10.0.0.7").upstream.endpoints
    there.count_attempt(503, "")
    assert there.label == "there:80"
    assert there.stats.attempts["there:80", "5xx"] == 1
    gone = bindings.gates.gone(CIRCUIT_BREAKER)
    assert gone["transitions", ("forced_open",)] == 1, "the sum of the others does not fall"


def test_authorities_are_bounded_and_busy_ones_stay(of_authority, bindings):
    busy = of_authority("busy", now=0.0)
    permit = busy.gate(BULKHEAD).admit(0.0, Ask())
    opened = of_authority("open", now=0.0)
    opened.breaker.force_open(0.0)
    for n in range(3 * MAX_DYNAMIC):
        of_authority(f"h{n}", now=float(n + 1))
    assert len(bindings.gates.of(BULKHEAD)) <= MAX_DYNAMIC
    assert len(bindings.gates.of(CIRCUIT_BREAKER)) <= MAX_DYNAMIC
    assert len(bindings.gates.of(RETRY_BUDGET)) <= MAX_DYNAMIC
    assert of_authority("busy") is busy
    assert of_authority("open") is opened
    busy.gate(BULKHEAD).settle(permit, Verdict.IGNORED, 0.0, 0.0)


def test_breakers_of_endpoints_that_are_gone_are_forgotten(of, bindings):
    binding = of("/e")
    first, second = binding.upstream.endpoints
    breaker_at(binding, first)
    of("/a")
    binding.upstream.endpoints[:] = [second]
    breaker_at(binding, second)
    assert "each:10.0.0.1:80" not in bindings.gates.of(CIRCUIT_BREAKER)
    assert {"each:10.0.0.2:80", "shared:shop"} <= bindings.gates.of(CIRCUIT_BREAKER).keys()


def test_breakers_of_authorities_that_are_dead_are_forgotten(of_authority, bindings):
    for n in range(3 * MAX_DYNAMIC):
        of_authority(f"dead{n}", now=float(n)).breaker.transition_to_open(float(n), 1e9)
    breakers = bindings.gates.of(CIRCUIT_BREAKER)
    assert len(breakers) == MAX_DYNAMIC
    assert f"default-outbound:dead{3 * MAX_DYNAMIC - 1}:80" in breakers
    gone = bindings.gates.gone(CIRCUIT_BREAKER)
    present = [entry for entry in breakers.values() if not bindings.gates.labelled(entry)]
    assert gone["transitions", ("open",)] + len(present) == 3 * MAX_DYNAMIC - MAX_UNKNOWN


def test_a_gate_goes_with_the_last_route_that_shares_it(of_authority, bindings, config):
    table = RouteTable(config)
    route = table.match(Listener.OUTBOUND, Head("/a"))
    tunnel = bindings.of_authority(route, "connect", Authority("h", 443), 0.0)
    plain = bindings.of_authority(route, "https", Authority("h", 443), 0.0)
    assert tunnel.breaker is plain.breaker
    tunnel.release()
    assert bindings.gates.of(CIRCUIT_BREAKER)[plain.breaker.name].gate is plain.breaker
    plain.release()
    assert not bindings.gates.of(CIRCUIT_BREAKER)
