"""Alerts, recording rules and dashboard name metrics, labels and values that the proxy has."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from unit.telemetry.test_metrics import Scraped, fill

from helm.queries import ROOT, Query, alerts, all_queries, evaluable, recorded
from proxy import errors
from proxy.policies.circuit_breaker_answers import BreakerState
from proxy.policies.retry import StopReason
from proxy.policies.saga import SagaState

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)"
)

FROM_PROMETHEUS = {"namespace", "job", "pod", "instance"}
"""Labels of the target, which the scrape adds."""


def reasons(failure: type[errors.ProxyError] = errors.ProxyError) -> Iterator[str]:
    for below in failure.__subclasses__():
        yield from reasons(below)
    if hasattr(failure, "reason"):
        yield failure.reason


VALUES = {
    "state": {state.value for kind in (BreakerState, SagaState) for state in kind}
    | {"active", "idle", "connecting"},
    "to": {state.value for state in BreakerState},
    "why": {why.value for why in StopReason},
    "reason": {"", *reasons()},
    "outcome": {"1xx", "2xx", "3xx", "4xx", "5xx", *reasons()},
    "code": {str(status) for status in range(100, 600)},
    "listener": {"inbound", "outbound"},
    "result": {"passed", "failed"} | {"allowed", "limited", "observed"},
}


@pytest.fixture(scope="module")
def metrics() -> dict[str, set[str]]:
    """Label names by the name of the sample, of everything that is told at /metrics."""
    scraped = Scraped()
    fill(scraped)
    found: dict[str, set[str]] = {}
    for family in scraped.registry.collect():
        assert family.samples, f"{family.name}: nothing to compare with"
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def problems(query: Query, metrics: dict[str, set[str]]) -> list[str]:
    """What is named and does not exist."""
    found = []
    known = set(FROM_PROMETHEUS)
    named = query.metrics()
    if not named:
        found.append("no metric at all")
    for name, matchers in named:
        if name not in metrics:
            found.append(f"no metric {name}")
            continue
        labels = metrics[name] | FROM_PROMETHEUS
        known |= labels
        for label, operator, value in matchers:
            if label not in labels:
                found.append(f"{name} has no label {label}")
            elif not value.startswith("$") and not selects(label, operator, value):
                found.append(f"no {label} of {name} is {value!r}")
    return found + [
        f"no label {one}" for one in (*query.grouped(), *query.shown) if one not in known
    ]


def selects(label: str, operator: str, value: str) -> bool:
    """Whether every alternative of the value is one that the label can have."""
    one_of = value.split("|") if "~" in operator else [re.escape(value)]
    return all(any(re.fullmatch(one, known) for known in VALUES[label]) for one in one_of)


@pytest.mark.parametrize("query", all_queries(), ids=lambda query: query.where)
def test_what_a_query_names_exists(query: Query, metrics: dict[str, set[str]]) -> None:
    assert not problems(query, metrics)


@pytest.mark.parametrize(
    "text",
    [
        "proxy_request_total",
        'proxy_requests_total{upstream="x"}',
        "sum by (upstream) (proxy_requests_total)",
        'proxy_circuit_breaker_state{state="half-open"}',
        'proxy_requests_total{reason=~"bulkhead-full|queue-full"}',
        "vector(0)",
    ],
)
def test_what_does_not_is_found(text: str, metrics: dict[str, set[str]]) -> None:
    assert problems(Query("", text), metrics)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_means(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


@needs_promtool
@pytest.mark.parametrize("name", ["alerts_test.yaml", "resilience4j_test.yaml"])
@pytest.mark.long
def test_rules_do_what_they_should_and_only_then(name: str) -> None:
    tests = Path(__file__).with_name(name)
    run = subprocess.run(
        [PROMTOOL or "", "test", "rules", str(tests)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_alert_is_tested_with_and_without_cause() -> None:
    cases = yaml.safe_load(Path(__file__).with_name("alerts_test.yaml").read_text())["tests"]
    checks = [check for case in cases for check in case["alert_rule_test"]]
    fires = {check["alertname"] for check in checks if check.get("exp_alerts")}
    silent = {check["alertname"] for check in checks if not check.get("exp_alerts")}
    assert fires == silent == {rule["alert"] for rule in alerts()}


def test_every_recording_rule_is_tested() -> None:
    cases = yaml.safe_load(Path(__file__).with_name("resilience4j_test.yaml").read_text())["tests"]
    tested = {check["expr"] for case in cases for check in case["promql_expr_test"]}
    assert tested == {rule["record"] for rule in recorded()}


@needs_promtool
def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": evaluable(query)}
        for number, query in enumerate(all_queries())
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    run = subprocess.run(
        [PROMTOOL or "", "check", "rules", str(file)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
