"""A gate that the proxy has never heard of: one class, one line of the catalogue, its one key.

It is found everywhere else without an edit: the file and its checks, `/config`, `explain`, the
JSON Schema, reload, metrics, `/status`, `top`, the page's events, answers and fallbacks.
"""

import asyncio
import gc
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from exchange.wires import request
from unit.admin.asking import FakeControls, whole
from unit.telemetry.fakes import FakeLifecycle

from proxy.admin import views
from proxy.admin.live import Live
from proxy.admin.recent import exchange
from proxy.admin.story import story
from proxy.config import effective, provenance
from proxy.config.keys import json_schema
from proxy.config.kinds import Integer
from proxy.config.loading import load_text
from proxy.config.model import Listener
from proxy.config.policy_keys import POLICY
from proxy.config.problems import ConfigError
from proxy.config.record import Field, Record
from proxy.errors import AdmitError, Blame, subclasses
from proxy.outcome import IGNORED
from proxy.policies import catalogue
from proxy.policies.gate import Family, Gate, GateKind, Permit, Refusal, Snapshot
from proxy.routing.explain import describe_request, explain
from proxy.telemetry.flight_recorder import FlightRecorder
from proxy.telemetry.history import History
from proxy.telemetry.metrics import registry_of
from proxy.telemetry.records import Records
from proxy.telemetry.tap import Tap
from proxy.telemetry.tracing import Tracing
from proxy.telemetry.transitions import Transitions
from proxy.top.rates import Order, Window
from proxy.top.reading import read
from proxy.top.sections import Name, sections

pytestmark = pytest.mark.interpreted  # a class in Python with a compiled base is none


# --- the one file that a contributor writes ---------------------------------------------------


@dataclass(frozen=True)
class QuotaConfig:
    """`calls`: how many are let through in all."""

    calls: int = 1000


class QuotaRefusal(Refusal):
    def __init__(self, name, calls):
        super().__init__()
        self.name, self.calls = name, calls

    def error(self):
        for failure in subclasses():
            if failure.reason == "quota-spent":
                return failure(f"Quota {self.name!r} of {self.calls} calls is spent.")
        raise AssertionError


@dataclass(frozen=True)
class QuotaSnapshot(Snapshot):
    name: str
    calls: int
    spent: int
    verdicts: dict[str, int]


class Quota(Gate):
    def __init__(self, name, config):
        super().__init__(name)
        self.config, self.spent, self.verdicts = config, 0, {}

    def admit(self, now, ask):
        if self.spent >= self.config.calls:
            return QuotaRefusal(self.name, self.config.calls)
        self.spent += 1
        return Permit()

    def settle(self, permit, verdict, seconds, now):
        if verdict is not IGNORED:
            self.verdicts[verdict.value] = self.verdicts.get(verdict.value, 0) + 1

    def adopt(self, config):
        return config == self.config

    def succeed(self, former):
        self.verdicts = former.verdicts

    def idle(self, now):
        return True

    def snapshot(self, now):
        return QuotaSnapshot(self.name, self.config.calls, self.spent, dict(self.verdicts))


QUOTA = GateKind(
    "quota",
    make=Quota,
    default=QuotaConfig(),
    member="quotas",
    title="quotas",
    families=(
        Family("spent", "Calls that were let through."),
        Family("verdicts", "Calls that ended.", labels=("verdict",), counter=True),
    ),
)
KEYS = Record(QuotaConfig, {"calls": Field(Integer(1), "Calls in all.")}, definition="quota")


# --- its line in the catalogue, and its key ---------------------------------------------------


@pytest.fixture(params=["REQUEST_GATES", "ATTEMPT_GATES"])
def where(request):
    return request.param


@pytest.fixture(autouse=True)
def known(monkeypatch, where):
    monkeypatch.setattr(catalogue, where, (*getattr(catalogue, where), QUOTA))
    monkeypatch.setitem(POLICY.keys, "quota", Field(KEYS, "How many calls.", ("quota",)))

    class QuotaSpent(AdmitError):
        reason, title, status = "quota-spent", "The quota is spent", 429
        proxy_error = "http_request_denied"
        blame = Blame.CLIENT
        decided_by = "a quota (quota.calls)"
        covered_by = ()

    yield
    del QuotaSpent
    gc.collect()  # a class is forgotten by its base class only then
    assert "quota-spent" not in {failure.reason for failure in subclasses()}


TEXT = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
policies:
  default:
    quota: {calls: 2}
routes:
  - {name: shop, upstream: shop}
  - {name: own, match: {prefix: /own}, upstream: shop, quota: {calls: 7}}
"""


@pytest.fixture
def shop(make_stage):
    return make_stage(TEXT)


def call(stage):
    client = stage.ask(request())
    if stage.connects:
        stage.accept()
    server = stage.servers[-1]
    server.answer()
    return client.answer()


def spent(stage):
    """A stage whose quota is spent, and the answer to one call too many."""
    assert [call(stage).status for _ in range(2)] == [200, 200]
    return stage.ask(request()).answer()


# --- and there it is --------------------------------------------------------------------------


def test_the_file_gives_it_its_settings_and_policies_are_merged():
    loaded = load_text(TEXT, "f.yaml", {})
    shop, own = loaded.config.routes
    assert shop.policies.settings(QUOTA) == QuotaConfig(2)
    assert own.policies.settings(QUOTA) == QuotaConfig(7)
    assert loaded.config.policies["inbound"].settings(QUOTA) == QuotaConfig(1000)


def test_check_reports_a_mistake_where_it_stands():
    with pytest.raises(ConfigError) as caught:
        load_text(TEXT.replace("calls: 2", "cals: 2"), "f.yaml", {})
    assert "f.yaml:6:13" in str(caught.value)
    assert "'calls'" in str(caught.value)


def test_config_shows_it_and_where_it_comes_from():
    loaded = load_text(TEXT, "f.yaml", {})
    shown = effective(loaded.config)
    assert shown["policies"]["default"]["quota"] == {"calls": 2}
    assert shown["routes"][1]["quota"] == {"calls": 7}
    sources = dict(provenance(loaded.config, loaded.sources))
    assert sources["policies.default.quota.calls"].startswith("f.yaml:6")
    assert sources["routes[1].quota.calls"].startswith("f.yaml:9")


@pytest.mark.parametrize("text", [TEXT, "policies: {default: {}, inbound: {}}"])
def test_what_config_shows_means_the_same_when_it_is_read_again(text):
    config = load_text(text, "f.yaml", {}).config
    assert load_text(json.dumps(effective(config)), "g.yaml", {}).config == config


def test_settings_that_are_the_default_equal_none():
    left_out = load_text("service: stage", "f.yaml", {}).config
    written = load_text(
        "{service: stage, policies: {default: {quota: {calls: 1000}}}}", "f.yaml", {}
    )
    assert written.config == left_out


def test_a_route_can_go_back_to_the_default():
    text = TEXT.replace("quota: {calls: 7}", "quota: {calls: 1000}")
    assert load_text(text, "f.yaml", {}).config.routes[1].policies.settings(QUOTA).calls == 1000


def test_explain_shows_it():
    told = explain(
        load_text(TEXT, "f.yaml", {}), Listener.OUTBOUND, describe_request("GET", "http://h/", [])
    ).text()
    (line,) = [line for line in told.splitlines() if "quota.calls" in line]
    assert "2" in line
    assert "f.yaml:6" in line


def test_the_json_schema_describes_it():
    schema = json_schema()["$defs"]
    assert schema["quota"]["properties"]["calls"]["default"] == 1000
    assert "quota" in schema["policy"]["properties"]


def test_it_answers(shop):
    answer = spent(shop)
    assert (answer.status, answer.reason) == (429, "quota-spent")
    assert b"Quota 'shop' of 2 calls is spent." in answer.body
    assert "http_request_denied" in answer.get("proxy-status")
    assert shop.stats().answers[429, "quota-spent"] == 1
    assert shop.bindings.gates.of(QUOTA)["shop"].gate.verdicts == {"success": 2}


def test_a_fallback_may_cover_its_answer(make_stage):
    fallback = "    fallback: {when: [quota-spent], response: {status: 200, body: later}}\n"
    stage = make_stage(TEXT.replace("routes:", fallback + "routes:"))
    answer = spent(stage)
    assert (answer.status, answer.body) == (200, b"later")


def test_its_state_goes_on_over_a_reload_that_leaves_its_settings(shop):
    spent(shop)
    shop.reload(TEXT.replace("service: stage", "service: other"))
    assert shop.ask(request()).answer().reason == "quota-spent"
    shop.reload(TEXT.replace("calls: 2", "calls: 3"))
    assert call(shop).status == 200
    assert shop.bindings.gates.of(QUOTA)["shop"].gate.verdicts == {"success": 3}, "a counter"


def test_metrics_and_status_show_it(shop, where):
    spent(shop)
    status = status_of(shop)
    assert status["quotas"] == [
        {"name": "shop", "calls": 2, "spent": 2, "verdicts": {"success": 2}}
    ]
    tracing = Tracing(lambda line: None, Transitions())
    registry = registry_of(shop.gateway, FakeLifecycle(), [], tracing, lambda: shop.loop.now)
    assert registry.get_sample_value("proxy_quota_spent", {"name": "shop"}) == 2
    labels = {"name": "shop", "verdict": "success"}
    assert registry.get_sample_value("proxy_quota_verdicts_total", labels) == 2


def test_top_and_the_page_show_it(shop):
    spent(shop)
    window = Window()
    window.add(read(status_of(shop), [], shop.loop.now))
    (section,) = [
        one
        for one in sections(window, window.latest, Order.CONFIGURED, alone=None)
        if one.name is Name.GATES
    ]
    assert [cell.plain for cell in section.rows[0]][:2] == ["shop", "quotas"]
    assert "spent 2" in section.rows[0][2].plain

    config = shop.gateway.config
    tap = Tap(shop.gateway)
    records = Records(FlightRecorder(config), History(shop.gateway), Transitions(), tap)
    live = Live(shop.gateway, FakeControls(), records, lambda: shop.loop.now, lambda: 0.0)
    with ThreadPoolExecutor() as thread:  # its own loop: the stage has one that stands still
        events = thread.submit(asyncio.run, live.next()).result()
    assert b'{"member": "quotas", "title": "quotas"}' in events


def test_the_story_of_a_request_says_that_it_decided(shop):
    recorder = FlightRecorder(shop.gateway.config)
    shop.gateway.observers.append(recorder.record)
    spent(shop)
    (kept,) = recorder.recent()
    told = story(exchange(kept, str))
    assert "decided by: a quota (quota.calls)" in told


def status_of(stage):
    recorder = FlightRecorder(stage.gateway.config)
    return whole(views.status(stage.gateway, FakeControls(), recorder, lambda: stage.loop.now))
