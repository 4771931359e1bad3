"""Every family of the contract, with its labels, and label values that stay bounded."""

import shutil
import subprocess
from types import SimpleNamespace
from typing import cast

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families
from unit.telemetry.fakes import FakeExchange, FakeGateway, FakeLifecycle, FakeLog, FakeUpstream
from unit.telemetry.promised import PROMISED

from proxy import __version__
from proxy.config.model import Listener
from proxy.delivery.saga_stats import SagaStats
from proxy.exchange.stats import Count
from proxy.policies.bulkhead import BulkheadPermit
from proxy.policies.circuit_breaker import CIRCUIT_BREAKER, CircuitBreaker
from proxy.policies.circuit_breaker_config import CircuitBreakerConfig
from proxy.policies.ejection import Why
from proxy.policies.gate import Ask
from proxy.store.store import StoreStats
from proxy.telemetry.metrics import registry_of
from proxy.telemetry.tracing import Tracing
from proxy.telemetry.transitions import Transitions
from proxy.upstream.standings import StandingCounts
from proxy.upstream.upstream import ConnectionCounts

NOW = 1000.0


class Scraped:
    """What one registry says, time after time."""

    def __init__(self) -> None:
        self.gateway = FakeGateway()
        self.lifecycle = FakeLifecycle()
        self.logs = [FakeLog(), FakeLog()]
        self.tracing = Tracing(lambda line: None, Transitions())
        self.tap = SimpleNamespace(dropped=3)
        self.registry = registry_of(
            self.gateway, self.lifecycle, self.logs, self.tracing, self.tap, lambda: NOW
        )

    @property
    def text(self) -> str:
        return generate_latest(self.registry).decode()

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """Values by label values, the labels in alphabetical order of their names."""
        found = [
            sample
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
            if sample.name == name
        ]
        values = {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for sample in found
        }
        assert len(values) == len(found), "two samples with the same labels"
        return values


@pytest.fixture
def scraped() -> Scraped:
    return Scraped()


def fill(scraped: Scraped) -> None:
    """Something in every family."""
    bindings = scraped.gateway.bindings
    scraped.lifecycle.store = SimpleNamespace(stats=StoreStats(), full=False, failure="")
    for listener, route in ((Listener.OUTBOUND, "stock"), (Listener.INBOUND, "")):
        stats = bindings.add_stats(listener, route)
        stats.count_answer(503, "circuit-open", 0.0004)
        stats.count_answer(200, "", 0.3)
        stats.count_answer(200, "", 99.0)
        outcomes = stats.attempts_at("inventory")
        outcomes.setdefault("2xx", Count()).number += 1
        stats.count_retry("gateway-error")
        stats.count_refused("budget")
        stats.count_observed("timeouts.attempt")
        stats.fallbacks += 4
        stats.count_hedge("won")
        stats.count_mirror("2xx")
        stats.count_idempotency("replayed")
        stats.count_fault("abort")
    bindings.add_breaker("stock").force_open(NOW)
    bindings.add_bulkhead("stock")
    bindings.add_rate_limits("stock")
    bindings.add_bulkhead("payment", learned=True)
    scraped.gateway.upstreams.append(FakeUpstream("inventory", ConnectionCounts(1, 2, 3, 4)))
    judged = FakeUpstream("payment", ConnectionCounts(0, 0, 0, 0))
    counts = StandingCounts()
    counts.ejections[Why.PROBE_FAILED] = 2
    counts.checks["failed"] = 7
    judged.judge(counts, one=True, other=False)
    scraped.gateway.upstreams.append(judged)
    scraped.lifecycle.deliveries = SimpleNamespace(
        left=2,
        figures=lambda: [
            SimpleNamespace(
                route="notify", pending=7, oldest=31.5, dead=1, outcomes={"delivered": 9, "dead": 1}
            )
        ],
    )
    scraped.lifecycle.outbox_tables = SimpleNamespace(
        ready=lambda: {"orders": True, "parcels": False},
        figures=lambda: [
            SimpleNamespace(
                route="table:orders", pending=3, oldest=1.5, dead=0, outcomes={"again": 2}
            )
        ],
    )
    sagas = SagaStats()
    sagas.counts = {("order", "stuck"): 1}
    sagas.count("order", "pay", "undo", "stuck")
    scraped.lifecycle.sagas = SimpleNamespace(stats=sagas)


def test_ejections_and_health_checks(scraped: Scraped) -> None:
    fill(scraped)
    assert scraped.samples("proxy_endpoint_ejected") == {
        ("one", "payment"): 1,
        ("other", "payment"): 0,
    }
    assert scraped.samples("proxy_ejections_total") == {
        ("payment", "consecutive-failures"): 0,
        ("payment", "failure-rate"): 0,
        ("payment", "probe-failed"): 2,
    }
    assert scraped.samples("proxy_health_checks_total") == {
        ("failed", "payment"): 7,
        ("passed", "payment"): 0,
    }


def test_the_outbox(scraped: Scraped) -> None:
    assert not [name for name in scraped.text.split() if name.startswith("proxy_outbox")]
    fill(scraped)
    assert scraped.samples("proxy_outbox_pending") == {("notify",): 7, ("table:orders",): 3}
    assert scraped.samples("proxy_outbox_oldest_seconds") == {
        ("notify",): 31.5,
        ("table:orders",): 1.5,
    }
    assert scraped.samples("proxy_outbox_dead") == {("notify",): 1, ("table:orders",): 0}
    assert scraped.samples("proxy_outbox_deliveries_total") == {
        ("delivered", "notify"): 9,
        ("dead", "notify"): 1,
        ("again", "table:orders"): 2,
    }
    assert scraped.samples("proxy_outbox_table_ready") == {("orders",): 1, ("parcels",): 0}
    assert scraped.samples("proxy_outbox_left_total") == {(): 2}


def test_requests(scraped: Scraped) -> None:
    fill(scraped)
    assert scraped.samples("proxy_requests_total") == {
        ("503", "", "outbound", "", "circuit-open", "stock"): 1,
        ("200", "", "outbound", "", "", "stock"): 2,
        ("503", "", "inbound", "", "circuit-open", ""): 1,
        ("200", "", "inbound", "", "", ""): 2,
    }


def test_requests_by_method_and_status_of_the_call(scraped: Scraped) -> None:
    stats = scraped.gateway.bindings.add_stats(Listener.OUTBOUND, "stock")
    stats.count_answer(200, "", 0.1, "POST", 14)
    stats.count_answer(200, "", 0.1, "POST", 0)
    stats.count_answer(200, "", 0.1, "GET")
    assert scraped.samples("proxy_requests_total") == {
        ("200", "UNAVAILABLE", "outbound", "POST", "", "stock"): 1,
        ("200", "OK", "outbound", "POST", "", "stock"): 1,
        ("200", "", "outbound", "GET", "", "stock"): 1,
    }


def test_durations_are_cumulated(scraped: Scraped) -> None:
    fill(scraped)
    buckets = scraped.samples("proxy_request_duration_seconds_bucket")
    of_route = {le: value for (le, _, route), value in buckets.items() if route == "stock"}
    assert of_route == {
        "0.001": 1, "0.0025": 1, "0.005": 1, "0.01": 1, "0.025": 1, "0.05": 1, "0.1": 1,
        "0.25": 1, "0.5": 2, "1.0": 2, "2.5": 2, "5.0": 2, "10.0": 2, "30.0": 2, "60.0": 2,
        "+Inf": 3,
    }  # fmt: skip
    assert scraped.samples("proxy_request_duration_seconds_count")["outbound", "stock"] == 3
    assert scraped.samples("proxy_request_duration_seconds_sum")[
        "outbound", "stock"
    ] == pytest.approx(99.3004)


def test_attempts_retries_refusals_and_fallbacks(scraped: Scraped) -> None:
    fill(scraped)
    assert scraped.samples("proxy_attempts_total")["2xx", "stock", "inventory"] == 1
    assert scraped.samples("proxy_retries_total")["gateway-error", "stock"] == 1
    assert scraped.samples("proxy_retries_refused_total")["stock", "budget"] == 1
    assert scraped.samples("proxy_observed_total")["timeouts", "stock", "attempt"] == 1
    assert scraped.samples("proxy_fallbacks_total") == {("stock",): 4}


def test_what_has_no_listener_label_is_summed_over_both(scraped: Scraped) -> None:
    for listener in Listener:
        stats = scraped.gateway.bindings.add_stats(listener, "same")
        outcomes = stats.attempts_at("inventory")
        outcomes.setdefault("2xx", Count()).number += 1
        stats.fallbacks += 1
    assert scraped.samples("proxy_attempts_total") == {("2xx", "same", "inventory"): 2}
    assert scraped.samples("proxy_fallbacks_total") == {("same",): 2}


def test_breakers(scraped: Scraped) -> None:
    breaker = scraped.gateway.bindings.add_breaker("stock")
    breaker.force_open(NOW)
    breaker.reset(NOW)
    breaker.force_open(NOW)
    assert scraped.samples("proxy_circuit_breaker_state") == {
        ("stock", "closed"): 0,
        ("stock", "open"): 0,
        ("stock", "half_open"): 0,
        ("stock", "forced_open"): 1,
        ("stock", "disabled"): 0,
    }
    assert scraped.samples("proxy_circuit_breaker_transitions_total") == {
        ("stock", "closed"): 1,
        ("stock", "open"): 0,
        ("stock", "half_open"): 0,
        ("stock", "forced_open"): 2,
        ("stock", "disabled"): 0,
    }
    assert scraped.samples("proxy_circuit_breaker_results_total") == {
        ("failed", "stock"): 0,
        ("successful", "stock"): 0,
    }


def test_breakers_without_a_label_are_one_sum_that_never_falls(scraped: Scraped) -> None:
    bindings = scraped.gateway.bindings

    def forced_open() -> float:
        return scraped.samples("proxy_circuit_breaker_transitions_total")["other", "forced_open"]

    a, b = (
        bindings.add(CIRCUIT_BREAKER, name, CircuitBreakerConfig(), name)
        for name in ("out:a:1", "out:b:1")
    )
    for entry in (a, b):
        cast(CircuitBreaker, entry.gate).force_open(NOW)
    assert forced_open() == 2
    assert scraped.samples("proxy_circuit_breaker_state") == {}
    bindings.gates.release(b)
    assert forced_open() == 2, "forgotten breakers stay counted"
    bindings.add_breaker("out:b:1", labelled=False).force_open(NOW)
    assert forced_open() == 3, "one that was made again begins at 0 itself"


def test_bulkheads(scraped: Scraped) -> None:
    bulkhead = scraped.gateway.bindings.add_bulkhead("stock", limit=1, queue=5)
    assert isinstance(bulkhead.admit(NOW, Ask()), BulkheadPermit)
    bulkhead.admit(NOW, Ask())
    bulkhead.admit(NOW, Ask())
    assert scraped.samples("proxy_bulkhead_in_use") == {("stock",): 1}
    assert scraped.samples("proxy_bulkhead_limit") == {("stock",): 1}
    assert scraped.samples("proxy_bulkhead_queued") == {("stock",): 2}


def test_names_that_callers_made_up_are_bounded(scraped: Scraped) -> None:
    bindings = scraped.gateway.bindings
    bindings.labels.claim("known.test:80", found=True)
    bindings.add_bulkhead("stock", limit=3)
    bindings.add_bulkhead("default:app", limit=3)
    for authority in ("known.test:80", "[::1]:80", "x.test:80"):
        bindings.add_bulkhead(f"out:{authority}", limit=3, authority=authority)
    scraped.gateway.upstreams += [
        FakeUpstream(name, ConnectionCounts(1, 1, 1, 0))
        for name in ("app", "known.test:80", "[::1]:80", "x.test:80")
    ]
    assert scraped.samples("proxy_bulkhead_limit") == {
        ("stock",): 3,
        ("default:app",): 3,
        ("out:known.test:80",): 3,
        ("other",): 6,
    }
    active = {
        upstream: count
        for (state, upstream), count in scraped.samples("proxy_upstream_connections").items()
        if state == "active"
    }
    assert active == {"app": 1, "known.test:80": 1, "other": 2}


def test_upstream_connections_by_state(scraped: Scraped) -> None:
    fill(scraped)
    for name in ("inventory", "payment"):
        scraped.gateway.bindings.labels.claim(name, found=True)
    assert scraped.samples("proxy_upstream_connections") == {
        ("active", "inventory"): 1,
        ("idle", "inventory"): 2,
        ("connecting", "inventory"): 3,
        ("active", "payment"): 0,
        ("idle", "payment"): 0,
        ("connecting", "payment"): 0,
    }


def test_listeners_are_there_from_the_start(scraped: Scraped) -> None:
    assert scraped.samples("proxy_in_flight") == {("inbound",): 0, ("outbound",): 0}
    assert scraped.samples("proxy_connections") == {("inbound",): 0, ("outbound",): 0}
    gate = scraped.gateway.gates[Listener.INBOUND]
    gate.in_flight.update((FakeExchange(), FakeExchange()))
    gate.connections.add(object())
    assert scraped.samples("proxy_in_flight") == {("inbound",): 2, ("outbound",): 0}
    assert scraped.samples("proxy_connections") == {("inbound",): 1, ("outbound",): 0}
    gate.streams = 3
    assert scraped.samples("proxy_streams") == {("inbound",): 3, ("outbound",): 0}


def test_the_process(scraped: Scraped) -> None:
    scraped.lifecycle.drain_cut = 3
    scraped.lifecycle.reloads["rejected"] = 1
    scraped.logs[0].dropped, scraped.logs[1].dropped = 2, 5
    assert scraped.samples("proxy_drain_cut_total") == {(): 3}
    assert scraped.samples("proxy_config_reloads_total") == {("applied",): 0, ("rejected",): 1}
    assert scraped.samples("proxy_log_dropped_total") == {(): 7}
    scraped.tracing.counts.dropped = 4
    scraped.tracing.counts.ended(3, exported=True)
    scraped.tracing.counts.ended(2, exported=False)
    assert scraped.samples("proxy_spans_total") == {
        ("exported",): 3,
        ("failed",): 2,
        ("dropped",): 4,
    }
    assert scraped.samples("proxy_build_info") == {(__version__,): 1}
    assert scraped.samples("process_resident_memory_bytes")[()] > 0


@pytest.mark.parametrize(
    ("last", "successful"), [(None, 1), ({"result": "applied"}, 1), ({"result": "rejected"}, 0)]
)
def test_whether_the_last_reload_was_taken(
    scraped: Scraped, last: dict[str, str] | None, successful: int
) -> None:
    scraped.lifecycle.last_reload = last
    assert scraped.samples("proxy_config_last_reload_successful") == {(): successful}


def test_two_registries_do_not_meet(scraped: Scraped) -> None:
    assert Scraped().text.count("# TYPE") == scraped.text.count("# TYPE")


def test_openmetrics(scraped: Scraped) -> None:
    fill(scraped)
    names = {
        family.name
        for family in parse_openmetrics(openmetrics.generate_latest(scraped.registry).decode())
    }
    assert {"proxy_requests", "proxy_request_duration_seconds", "proxy_build"} <= names


def test_exemplars_are_in_openmetrics_alone(scraped: Scraped) -> None:
    fill(scraped)
    scraped.tracing.exemplars.record(FakeExchange(sampled=True, duration=0.3))
    families = parse_openmetrics(openmetrics.generate_latest(scraped.registry).decode())
    found = [
        (sample.labels["le"], sample.exemplar.labels["trace_id"], sample.exemplar.value)
        for family in families
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert found == [("0.5", FakeExchange().trace_id, 0.3)]
    assert FakeExchange().trace_id not in scraped.text


def test_names_and_labels_are_those_that_were_promised(scraped: Scraped) -> None:
    fill(scraped)
    found = {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(scraped.text)
        for sample in family.samples
        if sample.name.startswith("proxy_")
    }
    promised = {name: set(labels.split()) for name, labels in PROMISED.items()}
    assert promised == {name: labels for name, labels in found.items() if name in promised}


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)
def test_promtool_has_nothing_to_say(scraped: Scraped) -> None:
    fill(scraped)
    check = subprocess.run(
        ["promtool", "check", "metrics"], input=scraped.text, capture_output=True, text=True
    )
    assert (check.returncode, check.stdout + check.stderr) == (0, "")
