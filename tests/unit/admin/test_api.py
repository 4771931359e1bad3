"""The endpoints: shapes, statuses, names in paths, and errors that are documents."""

import asyncio
import gc
import json
import logging
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from aiohttp import web
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families
from unit.admin.asking import Admin, Answer
from unit.telemetry.fakes import FakeExchange

from proxy.admin.controls import Rejection, Reload
from proxy.config.match import MatchConfig, ValueMatch
from proxy.config.model import Config, HeaderRules, RouteConfig
from proxy.policies.bulkhead import BULKHEAD
from proxy.telemetry import process_log

PATHS = [
    "/", "/health/live", "/health/ready", "/metrics", "/status", "/in-flight",
    "/circuit-breakers", "/bulkheads", "/retries", "/upstreams", "/routes", "/config", "/recent",
    "/history",
]  # fmt: skip


def assert_problem(answer: Answer, status: int) -> str:
    """It is a problem document; its detail."""
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json["status"] == status
    assert answer.json.keys() == {"type", "title", "status", "detail"}
    assert "Traceback" not in answer.body
    return str(answer.json["detail"])


@pytest.mark.parametrize("path", PATHS)
async def test_every_endpoint_answers_get_and_head(admin: Admin, path: str) -> None:
    got = await admin.ask("GET", path)
    assert got.status == 200
    assert got.headers["Cache-Control"] == "no-store"
    assert got.headers["Server"] == "resilience-proxy"
    head = await admin.ask("HEAD", path)
    assert (head.status, head.body) == (200, "")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]


async def test_the_index_lists_them_all(admin: Admin) -> None:
    listed = (await admin.ask("GET", "/")).body
    for path in [
        *PATHS[1:],
        "/drain",
        "/reload",
        "/circuit-breakers/{name}/{force-open|disable|reset}",
    ]:
        assert f" {path}\n" in listed


# --- health ---------------------------------------------------------------------------------------


async def test_ready(admin: Admin) -> None:
    admin.controls.ready = False
    starting = await admin.ask("GET", "/health/ready")
    assert (starting.status, starting.json) == (503, {"status": "starting"})
    admin.controls.ready = True
    ready = await admin.ask("GET", "/health/ready")
    assert (ready.status, ready.json) == (200, {"status": "ready"})
    admin.controls.draining = True
    draining = await admin.ask("GET", "/health/ready")
    assert (draining.status, draining.json) == (503, {"status": "draining"})
    assert (await admin.ask("GET", "/health/live")).status == 200


# --- metrics --------------------------------------------------------------------------------------


async def test_metrics_as_text(admin: Admin) -> None:
    answer = await admin.ask("GET", "/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = {family.name for family in text_string_to_metric_families(answer.body)}
    assert {"proxy_requests", "proxy_in_flight", "process_open_fds"} <= names


async def test_metrics_as_openmetrics(admin: Admin) -> None:
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    answer = await admin.ask("GET", "/metrics", accept)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert {family.name for family in parse_openmetrics(answer.body)} >= {"proxy_in_flight"}


# --- breakers by hand -----------------------------------------------------------------------------

NAMES = [
    "stock",
    "default-outbound:127.0.0.1:9000",
    "default-outbound:[::1]:80",
    "each:[fe80::1%eth0]:80",
    "a/b:c",
    "100%25 sure",
    "grüße",
    "x/reset",
]


@pytest.mark.parametrize("name", NAMES)
async def test_any_name_can_be_written_in_a_path(admin: Admin, name: str) -> None:
    admin.gateway.bindings.add_breaker(name)
    other = admin.gateway.bindings.add_breaker(name + "x")
    path = f"/circuit-breakers/{quote(name, safe='')}"
    forced = await admin.ask("POST", f"{path}/force-open")
    assert (forced.status, forced.json["name"], forced.json["state"]) == (200, name, "forced_open")
    assert (await admin.ask("POST", f"{path}/disable")).json["state"] == "disabled"
    assert (await admin.ask("POST", f"{path}/reset")).json["state"] == "closed"
    assert sum(other.transitions.values()) == 0


@pytest.mark.parametrize("name", ["out:127.0.0.1:9000", "out:[::1]:80", "a/b:c"])
async def test_names_as_people_type_them(admin: Admin, name: str) -> None:
    admin.gateway.bindings.add_breaker(name)
    answer = await admin.ask("POST", f"/circuit-breakers/{name}/force-open")
    assert (answer.status, answer.json["name"]) == (200, name)


async def test_unknown_breakers_and_orders(admin: Admin) -> None:
    admin.gateway.bindings.add_breaker("stock")
    detail = assert_problem(await admin.ask("POST", "/circuit-breakers/none/reset"), 404)
    assert "'none'" in detail
    detail = assert_problem(await admin.ask("POST", "/circuit-breakers/stock/explode"), 404)
    assert "force-open, disable, reset" in detail
    answer = await admin.ask("GET", "/circuit-breakers/stock/reset")
    assert_problem(answer, 405)
    assert answer.headers["Allow"] == "POST"


# --- the reload ---------------------------------------------------------------------------------


async def test_a_reload_that_was_applied(admin: Admin) -> None:
    admin.outcome = Reload(("x.yaml:1:1: warning: y",), None)
    answer = await admin.ask("POST", "/reload")
    assert (answer.status, answer.json) == (
        200,
        {"result": "applied", "problems": ["x.yaml:1:1: warning: y"]},
    )
    assert admin.reloads == ["POST /reload"]


@pytest.mark.parametrize(
    ("rejection", "status"),
    [(Rejection.INVALID, 422), (Rejection.NEEDS_RESTART, 409), (Rejection.NO_FILE, 409)],
)
async def test_a_reload_that_was_rejected(admin: Admin, rejection: Rejection, status: int) -> None:
    admin.outcome = Reload(("one", "two"), rejection)
    answer = await admin.ask("POST", "/reload")
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json["problems"] == ["one", "two"]
    assert answer.json["detail"] == f"Nothing has changed: {rejection.value}."


async def test_a_reload_is_not_to_be_had_by_reading(admin: Admin) -> None:
    assert_problem(await admin.ask("GET", "/reload"), 405)
    assert admin.reloads == []


# --- the drain ------------------------------------------------------------------------------------


async def test_a_pre_stop_hook_of_the_service_is_held_back_while_requests_may_come(
    admin: Admin,
) -> None:
    serving = await admin.ask("GET", "/health/inbound-drained")
    assert (serving.status, serving.json) == (200, {"status": "serving"})
    admin.controls.draining = True
    waiting = asyncio.create_task(admin.ask("GET", "/health/inbound-drained"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    admin.controls.end.set()
    drained = await waiting
    assert (drained.status, drained.json) == (200, {"status": "drained"})


async def test_drain_answers_at_once(admin: Admin) -> None:
    admin.gateway.gates[FakeExchange.listener].in_flight.add(FakeExchange())
    answer = await admin.ask("POST", "/drain")
    assert answer.status == 202
    assert answer.json == {
        "status": "draining",
        "cut": 0,
        "in_flight": {"inbound": 0, "outbound": 1},
    }
    assert admin.controls.draining


async def test_drain_waits_if_asked_to(admin: Admin) -> None:
    waiting = asyncio.create_task(admin.ask("POST", "/drain?wait=10s"))
    await admin.controls.begun.wait()
    assert not waiting.done()
    admin.controls.drain_cut = 2
    admin.controls.end.set()
    answer = await waiting
    assert (answer.status, answer.json["status"], answer.json["cut"]) == (200, "drained", 2)


async def test_a_wait_ends_though_the_drain_does_not(admin: Admin) -> None:
    answer = await admin.ask("POST", "/drain?wait=10ms")
    assert (answer.status, answer.json["status"]) == (202, "draining")


async def test_a_drain_that_has_ended_is_known_without_a_wait(admin: Admin) -> None:
    admin.controls.end.set()
    for query in ("", "?wait=1s", "?wait"):
        answer = await admin.ask("POST", "/drain" + query)
        assert (answer.status, answer.json["status"]) == (200, "drained")


@pytest.mark.parametrize("wait", ["10", "soon", "-1s"])
async def test_a_wait_that_is_none_drains_nothing(admin: Admin, wait: str) -> None:
    assert_problem(await admin.ask("POST", f"/drain?wait={wait}"), 400)
    assert not admin.controls.draining


# --- errors ---------------------------------------------------------------------------------------


async def test_unknown_paths_and_methods(admin: Admin) -> None:
    assert_problem(await admin.ask("GET", "/nothing"), 404)
    assert_problem(await admin.ask("POST", "/health/live/"), 404)
    for method, path in (("GET", "/drain"), ("POST", "/status"), ("DELETE", "/config")):
        answer = await admin.ask(method, path)
        assert method in assert_problem(answer, 405)
        assert answer.headers["Allow"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("POST", "/status")])
async def test_a_refused_request_leaves_no_cycle(admin: Admin, method: str, path: str) -> None:
    """A scanner's requests would make the garbage collector run, which stops the data plane."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            await admin.ask(method, path)
        alive = [one for one in gc.get_objects() if isinstance(one, web.Request)]
    finally:
        gc.enable()
    assert len(alive) <= 1, "that of the open connection"


async def test_a_bug_is_a_document_outside_and_a_traceback_in_the_log(
    admin: Admin, caplog: pytest.LogCaptureFixture
) -> None:
    admin.gateway.bindings.gates.of(BULKHEAD)["broken"] = None
    answer = await admin.ask("GET", "/bulkheads")
    assert_problem(answer, 500)
    (record,) = [one for one in caplog.records if one.name == "proxy"]
    assert record.exc_info is not None


async def test_what_is_no_http_is_no_event(admin: Admin, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for garbage in ("\x16\x03\x01\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost b\r\n\r\n"):
        answer = await admin.send(garbage)
        assert "not a valid HTTP request" in assert_problem(answer, 400)
        assert answer.headers["Server"] == "resilience-proxy"
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("GET", "/" + "a" * 20_000, {}, 400),
        ("GET", "/status", {"X-Long": "a" * 20_000}, 400),
        ("POST", "/reload", {"Expect": "a miracle"}, 417),
        ("PATCH", "/status", {}, 405),
        ("POST", "/drain?wait=soon", {}, 400),
        ("HEAD", "/events", {}, 405),
    ],
)
async def test_whatever_goes_wrong_is_told_in_a_document(
    admin: Admin, method: str, target: str, headers: dict[str, str], status: int
) -> None:
    answer = await admin.ask(method, target, headers)
    if method == "HEAD":
        assert (answer.status, answer.body) == (status, "")
        assert answer.headers["Content-Type"].startswith("application/problem+json")
    else:
        assert_problem(answer, status)
    assert answer.headers["Cache-Control"] == "no-store"
    assert admin.controls.draining is False
    assert admin.reloads == []


async def test_the_configuration_without_its_secrets(admin: Admin) -> None:
    match = MatchConfig(headers=(("x-key", ValueMatch(exact="s3cr3t")),))
    rules = HeaderRules((("authorization", "Bearer s3cr3t"),))
    route = RouteConfig("stock", match=match, request_headers=rules)
    admin.gateway.config = Config("orders", routes=(route,))
    for path in ("/config", "/routes", "/status"):
        answer = await admin.ask("GET", path)
        assert "stock" in json.dumps(answer.json)
        assert "s3cr3t" not in answer.body
    assert (await admin.ask("GET", "/config")).json["service"] == "orders"


# --- the log's level ------------------------------------------------------------------------------


@pytest.fixture
def log_level() -> Iterator[None]:
    before = process_log.level()
    yield
    process_log.set_level(before)


@pytest.mark.usefixtures("log_level")
@pytest.mark.parametrize("body", ["debug", '"debug"', " debug\n"])
async def test_the_logs_level_is_changed(admin: Admin, body: str) -> None:
    answer = await admin.post("/log-level", body)
    assert (answer.status, answer.json) == (200, {"log_level": "debug"})
    assert logging.getLogger("proxy").isEnabledFor(logging.DEBUG)
    assert (await admin.ask("GET", "/status")).json["log_level"] == "debug"


@pytest.mark.usefixtures("log_level")
@pytest.mark.parametrize("body", ["", "loud", "DEBUG", "\xff"])
async def test_a_level_that_is_none_changes_nothing(admin: Admin, body: str) -> None:
    before = process_log.level()
    detail = assert_problem(await admin.post("/log-level", body), 400)
    assert "debug, info, warning, error" in detail
    assert process_log.level() is before


async def test_a_body_that_is_too_long_is_refused(admin: Admin) -> None:
    assert_problem(await admin.post("/log-level", "x" * 2000), 413)


# --- the bypass -----------------------------------------------------------------------------------


async def test_the_bypass_is_turned_on_and_off(admin: Admin) -> None:
    on = await admin.post("/bypass", "on")
    assert (on.status, on.json) == (200, {"bypass": {"on": True, "ends_in_s": 600.0}})
    assert (await admin.ask("GET", "/status")).json["bypass"]["on"] is True
    off = await admin.post("/bypass", "off\n")
    assert (off.status, off.json) == (200, {"bypass": {"on": False, "ends_in_s": 0.0}})


@pytest.mark.parametrize("body", ["", "yes", "ON"])
async def test_another_word_is_no_order(admin: Admin, body: str) -> None:
    assert "on or off" in assert_problem(await admin.post("/bypass", body), 400)
    assert admin.controls.bypass_left == 0


# --- large documents ------------------------------------------------------------------------------


async def test_documents_of_many_slices_come_whole(admin: Admin) -> None:
    for number in range(3000):
        admin.gateway.bindings.add_breaker(f"b{number}")
    got = await admin.ask("GET", "/circuit-breakers")
    assert int(got.headers["Content-Length"]) == len(got.body)
    names = [one["name"] for one in got.json["circuit_breakers"]]
    assert names == [f"b{number}" for number in range(3000)]
    assert got.headers["Cache-Control"] == "no-store"
    head = await admin.ask("HEAD", "/circuit-breakers")
    assert (head.status, head.body) == (200, "")
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
