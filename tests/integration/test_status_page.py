"""The status page in a real browser, at a real proxy, while things happen to it."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from chaos.upstream import ChaosUpstream
from integration.browser import Visit
from integration.conftest import Open, StartProxy
from integration.grpc_service import Caller
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, Settings, breaker, route


@pytest.fixture(scope="module")
def proxy(
    browser: Any, module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    return module_proxy(
        {
            "upstreams": {
                "chaos": {"endpoints": [shared_chaos.url]},
                "nowhere": {"endpoints": ["http://127.0.0.1:1"]},
            },
            "sagas": {
                "order": {
                    "steps": [{"name": "pay", "request": {"upstream": "nowhere", "path": "/"}}]
                }
            },
            "routes": [
                {"name": "orders", "match": {"path": "/orders"}, "saga": "order"},
                route("opens", retry=ONCE, circuit_breaker=breaker(open_for="1500ms")),
                route("retried", timeouts={"attempt": "500ms", "request": "9s"}),
                route("queued", bulkhead={"max_concurrent": 1}),
                route("later", outbox={"mode": "always"}),
            ],
            "store": {"url": "memory:"},
        }
    )


@pytest.fixture
def visit(visit_page: Open, proxy: RunningProxy) -> Open:
    def begin(port: int = proxy.admin, **options: Any) -> Visit:
        return visit_page(port, **options)

    return begin


def test_a_breaker_opens_and_closes_before_one_s_eyes(proxy: RunningProxy, visit: Open) -> None:
    proxy.call("GET", "/opens", chaos="200")
    page = visit().open()
    row = page.locator("#breakers tbody tr", has_text="opens")
    row.locator(".badge:has-text('Closed')").wait_for()
    assert "No change so far" in row.inner_text()
    for _ in range(4):
        proxy.call("GET", "/opens", chaos="503")
    row.locator(".badge:has-text('Open')").wait_for()
    page.locator("#announce:has-text('Circuit breaker opens is open.')").wait_for(state="attached")
    page.locator(".figure", has_text="Breakers not closed").locator(
        "strong:text-is('1')"
    ).wait_for()
    row.locator(".strip [data-state='open']").first.wait_for(state="attached")
    page.wait_for_timeout(1000)  # most of `open_for`
    while proxy.call("GET", "/opens", chaos="200").status != 200:
        page.wait_for_timeout(50)
    row.locator(".badge:has-text('Closed')").wait_for()
    page.locator("#announce:has-text('opens is closed.')").wait_for(state="attached")
    row.locator("summary").click()
    row.locator(".changes li").nth(2).wait_for()
    changes = row.locator(".changes li").all_inner_texts()
    assert [re.sub(r"^[\d:]+ ", "", text).splitlines()[0] for text in changes] == [
        "Half-open → Closed",
        "Open → Half-open",
        "Closed → Open: 75 % failed, 0 % slow of 4 calls",
    ]


def test_from_a_breaker_to_the_requests_that_opened_it_and_back(
    start_proxy: StartProxy, visit: Open, shared_chaos: ChaosUpstream
) -> None:
    proxy = start_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [route("opens", retry=ONCE, circuit_breaker=breaker(open_for="1h"))],
        }
    )
    page = visit(proxy.admin).open()
    proxy.call("GET", "/opens/first", chaos="503", request_id="first")
    for _ in range(3):
        proxy.call("GET", "/opens/later", chaos="502")
    for _ in range(2):
        assert proxy.call("GET", "/opens/refused").status == 503
    row = page.locator("#breakers tbody tr", has_text="opens")
    row.locator("summary:has-text('Open since')").wait_for()
    row.locator("summary:has-text(', first by 503')").wait_for()
    # Nothing is shown of the time before the process began: its strip is nearly empty.
    piece, strip = row.locator(".strip span").first, row.locator(".strip")
    left = piece.evaluate("node => node.offsetLeft")
    assert left > 0.8 * strip.evaluate("node => node.offsetWidth")
    row.locator("summary").click()
    row.locator(".openers:has-text('First 503: GET /opens/first')").wait_for()
    row.locator("button:text-is('Show 4 requests')").click()
    only = page.locator(".trouble-only")
    only.locator("text=Requests that opened opens").wait_for()
    assert page.locator("#trouble-list summary").count() == 4
    page.locator("#trouble-list summary", has_text="/opens/first").click()
    link = page.locator("#trouble .facts a", has_text="opens")
    link.click()
    assert page.evaluate("document.activeElement.id || location.hash").endswith("breaker-opens")
    page.locator("#trouble-list summary", has_text="/opens/first").click()
    only.locator("button").click()
    only.wait_for(state="hidden")
    # Equal trouble is one row: three 502, one 503, and two refusals.
    rows = page.locator("#trouble-list > ul > li")
    page.locator("#trouble-list button:text-is('Show 2 more like it')").wait_for()
    rows.nth(2).wait_for()
    assert rows.count() == 3
    page.keyboard.press("Tab")
    more = page.locator("#trouble-list button:text-is('Show 2 more like it')")
    more.focus()
    page.keyboard.press("Enter")
    page.locator("#trouble-list button:text-is('Hide 2 like it')").wait_for()
    assert rows.count() == 5
    assert page.locator("#trouble-list li[data-member]").count() == 2


def test_a_troubled_exchange_opens_into_its_attempts_by_keyboard(
    proxy: RunningProxy, visit: Open, shared_chaos: ChaosUpstream
) -> None:
    page = visit().open()
    proxy.call("GET", "/retried/a?token=secret", request_id="story", chaos="hang | 503 | 200")
    page.locator("#filter").fill("story")
    summary = page.locator("#trouble summary")
    summary.wait_for()
    assert summary.count() == 1
    assert "/retried/a" in summary.inner_text()
    page.keyboard.press("Tab")
    while not summary.evaluate("node => node === document.activeElement"):
        page.keyboard.press("Tab")
    outline = summary.evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    rows = page.locator(".timeline > li:has(.bar-attempt)")
    rows.nth(2).wait_for()  # the attempts are made by the event that follows the opening
    texts = rows.all_inner_texts()
    assert len(texts) == 3
    assert f"Attempt 1: {shared_chaos.authority}" in texts[0]
    assert "attempt-timeout" in texts[0]
    assert "sent no response head within 0.5 s" in texts[0]
    assert "Retried on timeout." in texts[0]
    assert re.search(r"after a wait of .* 503 in ", texts[1])
    assert "200 in " in texts[2]
    bars = rows.locator(".bar-attempt").evaluate_all(
        "nodes => nodes.map(node => "
        "[node.offsetLeft, node.offsetWidth, node.parentElement.offsetWidth])"
    )
    (record,) = proxy.state("/recent?request_id=story")["recent"]
    for (left, width, track), attempt in zip(bars, record["attempts"], strict=True):
        scale = track / record["duration_ms"]
        assert left == pytest.approx(attempt["started_ms"] * scale, abs=2)
        assert width == pytest.approx(max(3, attempt["duration_ms"] * scale), abs=2)
    facts = page.locator("#trouble .facts").inner_text()
    assert "story" in facts
    assert "secret" not in page.content()
    # It stays open, and where it is, whatever comes.
    proxy.call("GET", "/retried/b", request_id="later-story", chaos="503 | 200")
    page.locator("button:has-text('Show 1 newer')").wait_for()
    assert rows.count() == 3


def test_hedges_faults_and_grpc_statuses_are_told(
    start_proxy: StartProxy, visit: Open, shared_chaos: ChaosUpstream
) -> None:
    endpoints = {"endpoints": [shared_chaos.url]}
    proxy = start_proxy(
        {
            "upstreams": {"chaos": endpoints, "calls": endpoints},
            "routes": [
                route("hedged", timeouts={"attempt": "2s"}, hedge={"delay": "20ms"}),
                route("faulty", retry=ONCE, faults=[{"share": "100%", "abort": 503}]),
                {
                    "name": "calls",
                    "match": {"grpc": {}},
                    "upstream": "calls",
                    "faults": [{"share": "100%", "abort": 504}],
                },
            ],
        }
    )
    page = visit(proxy.admin).open()
    # The first attempt answers after its hedge, and later than half of timeouts.attempt.
    proxy.call("GET", "/hedged/a", chaos="delay=1.1 | delay=1.1")
    proxy.call("GET", "/faulty/a")
    caller = Caller(proxy.outbound)
    caller.failing("Echo")
    caller.close()
    hedged, faulty, call = (
        page.locator("#trouble summary", has_text=text) for text in ("/hedged", "/faulty", "/shop")
    )
    badge = call.locator(".status:has-text('DEADLINE_EXCEEDED')")
    # All are there before one is opened: after that, new ones would wait for a click.
    for told in (
        hedged.locator(".tag:text-is('hedged')"),
        faulty.locator(".tag:text-is('fault')"),
        badge,
    ):
        told.wait_for()
    hedged.click()
    page.locator(".timeline li", has_text="(a hedge): ").wait_for()
    faulty.click()
    page.locator(".line-said", has_text="The proxy injected a fault: abort.").wait_for()
    boxes = [part.bounding_box() for part in (call.locator("time"), badge, call.locator(".what"))]
    edges = [(box["x"], box["x"] + box["width"]) for box in boxes if box]
    assert [end <= begin for (_, end), (begin, _) in pairwise(edges)] == [True, True]
    added = page.locator("#routes tr", has_text="hedged").locator("small:text-is('1 hedge')")
    added.wait_for()
    number = added.locator("xpath=preceding-sibling::span").bounding_box()
    below = added.bounding_box()
    assert number
    assert below
    assert below["y"] >= number["y"] + number["height"] - 1  # else it reads "11 hedge"
    page.locator("#routes tr", has_text="faulty").locator("small:text-is('1 fault')").wait_for()


def test_an_ejected_endpoint_is_seen_at_a_glance(
    start_proxy: StartProxy, visit: Open, shared_chaos: ChaosUpstream
) -> None:
    proxy = start_proxy(
        {
            "upstreams": {
                "chaos": {
                    "endpoints": [shared_chaos.url, "http://127.0.0.1:1"],
                    "load_balancing": "round_robin",
                    "outlier_detection": {
                        "consecutive_failures": 1,
                        "eject_for": {"initial": "4s", "max": "4s"},
                    },
                }
            },
            "routes": [route("a", retry=ONCE)],
        }
    )
    page = visit(proxy.admin).open()
    figure = page.locator(".figure", has_text="Endpoints out")
    figure.locator("small:has-text('of ')").wait_for()
    assert figure.get_attribute("data-tone") is None
    for _ in range(2):  # one of two balanced requests, at the latest, meets the closed port
        proxy.call("GET", "/a", chaos="200")
    figure.locator("strong:text-is('1')").wait_for()
    assert figure.get_attribute("data-tone") == "warn"
    row = page.locator("#upstreams tbody tr", has_text="▲ ejected")
    row.locator("td", has_text=re.compile("consecutive.failures, [1-4] s left")).wait_for()
    row.locator("td", has_text="the next request decides").wait_for()


def test_an_observed_ejection_is_not_shown_as_one(start_proxy: StartProxy, visit: Open) -> None:
    outliers = {"mode": "observe", "consecutive_failures": 1}
    endpoints = ["http://127.0.0.1:1", "http://127.0.0.2:1"]
    proxy = start_proxy(
        {
            "upstreams": {"a": {"endpoints": endpoints, "outlier_detection": outliers}},
            "routes": [route("a", upstream="a", retry=ONCE)],
        }
    )
    page = visit(proxy.admin).open()
    proxy.call("GET", "/a")
    row = page.locator("#upstreams tbody tr", has_text="used; observed: would be ejected")
    row.first.wait_for()
    figure = page.locator(".figure", has_text="Endpoints out")
    assert figure.locator("strong").inner_text() == "0"


def test_plots_begin_with_the_process(start_proxy: StartProxy, visit: Open) -> None:
    page = visit(start_proxy({}).admin).open()
    page.locator("#charts-title:has-text('since the start')").wait_for()


def test_live_requests_from_watch_to_stop(proxy: RunningProxy, visit: Open) -> None:
    page = visit().open()
    form, rows = page.locator("#tap-form"), page.locator("#tap tbody tr")
    page.locator("#tap-status").fill("2xx")
    form.locator("button").click()
    form.locator("button[aria-pressed='true']:text-is('Stop')").wait_for()
    form.locator("[role=status]:text-is('Waiting for requests')").wait_for()
    proxy.call("GET", "/retried/<b>bad</b>", chaos="200 size=1")
    proxy.call("GET", "/retried/not-shown", chaos="404")
    proxy.call("GET", "/retried/second", chaos="503 | 200 size=1")
    rows.nth(1).wait_for()
    assert "/retried/second" in rows.nth(0).inner_text()
    assert "2 attempts" in rows.nth(0).inner_text()
    assert "<b>bad</b>" in rows.nth(1).inner_text()
    assert page.locator("#tap b").count() == 0
    assert rows.count() == 2
    form.locator("button").click()
    form.locator("[role=status]:text-is('Stopped')").wait_for()
    page.locator("#tap-status").fill("oops")
    form.locator("button").click()
    page.locator("#tap-status:invalid").wait_for()
    form.locator("button[aria-pressed='false']:text-is('Watch')").wait_for()


def test_the_outbox(proxy: RunningProxy, visit: Open, shared_chaos: ChaosUpstream) -> None:
    page = visit().open()
    proxy.call("POST", "/later", [("X-Not-Before", "60")], b"x")
    queue = page.locator("#outbox-queues tbody tr", has_text="later")
    queue.locator("td:nth-child(2):text-is('1')").wait_for()
    assert proxy.state("/status")["outbox"]["queues"][0]["pending"] == 1
    shared_chaos.rules["/later/hang"] = "hang"  # the outbox stores no X-Chaos
    entry = json.loads(proxy.call("POST", "/later/hang").body)["id"]
    flying = page.locator("#flight tbody tr", has_text="POST later")
    flying.locator(f"small:text-is('outbox entry {entry}, try 1')").wait_for()
    (told,) = [one for one in proxy.state("/in-flight")["requests"] if one["route"] == "later"]
    assert (told["outbox_id"], told["try"], told["attempt"]) == (entry, 1, 1)
    assert told["endpoint"] == shared_chaos.authority
    (kept,) = proxy.state(f"/recent?outbox_id={entry}")["in_flight"]
    assert (kept["request_id"], kept["delivers"]) == (told["request_id"], True)


def test_sagas_have_a_time_line_for_each_step(proxy: RunningProxy, visit: Open) -> None:
    page = visit().open()
    key = {"Idempotency-Key": "order-<b>1"}
    assert proxy.call("POST", "/orders", key, b"{}").status == 400  # not usable as an id
    assert proxy.call("POST", "/orders", {"Idempotency-Key": "order-1"}, b"{}").status == 202
    saga = page.locator("#saga-list .saga", has_text="order-1")
    saga.locator(".badge:text-is('running')").wait_for()
    saga.locator(".saga-state:has-text('waiting, connect-refused')").wait_for()
    assert saga.locator(".saga-line .bar").count() >= 1


def test_what_requests_say_is_text_and_never_markup(proxy: RunningProxy, visit: Open) -> None:
    page = visit().open()
    path = "/retried/<b>bold</b>'\"<img/src=x:y/onerror=document.title='got'>"
    assert proxy.call("GET", path, chaos="503 | 200").status == 200
    with proxy.client() as client:
        client.send(b"GET /<script>alert(1)</script> HTTP/1.1\r\nbad line\r\n\r\n")
        client.read_response()
    page.locator("#trouble summary", has_text="<b>bold</b>").wait_for()
    for summary in page.locator("#trouble summary").all()[:4]:
        summary.click()
        summary.locator("xpath=../*[@class='inside']").wait_for()
    assert page.locator("#main b, #main script, #main img").count() == 0
    assert page.title() == "orders – Resilience Proxy"


def test_a_route_s_plots(proxy: RunningProxy, visit: Open) -> None:
    page = visit().open()
    proxy.call("GET", "/queued", chaos="200")
    page.get_by_role("button", name="queued").click()
    page.locator("#charts-title:has-text('queued')").wait_for()
    plots = page.locator("#charts [role='img']")
    assert plots.count() == 3
    page.locator("#charts [aria-label*='requests: now']").wait_for()  # a sample: five seconds
    row = page.locator("#routes tbody tr", has_text="queued")

    def times() -> object:
        """The row's; it has them only after a sample in which there were requests."""
        proxy.call("GET", "/queued", chaos="200")
        return re.search(r"\d+(\.\d+)? m?s", row.inner_text())

    eventually(times, 15)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_scrolling_sideways(visit: Open, scheme: str) -> None:
    page = visit(viewport={"width": 360, "height": 700}, color_scheme=scheme).open()
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) <= 360
    ground = "getComputedStyle(document.body).backgroundColor"
    asked = page.evaluate(ground)
    page.get_by_role("button", name="Theme: system").click()
    page.get_by_role("button", name="Theme: light").click()
    page.get_by_role("button", name="Theme: dark").wait_for()
    dark = page.evaluate(ground)
    assert (asked == dark) is (scheme == "dark")
    page.reload()
    page.get_by_role("button", name="Theme: dark").wait_for()
    assert page.evaluate(ground) == dark


def test_the_theme_follows_the_system_until_one_is_chosen(visit: Open) -> None:
    page = visit(color_scheme="light").open()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    eventually(lambda: page.evaluate(ground) != light)
    page.get_by_role("button", name="Theme: system").click()
    page.get_by_role("button", name="Theme: light").wait_for()
    assert page.evaluate(ground) == light


@pytest.mark.long
def test_draining_and_gone(start_proxy: StartProxy, visit: Open) -> None:
    proxy = start_proxy({})
    watching = visit(proxy.admin)
    page = watching.open()
    page.locator("#breakers:has-text('No circuit breaker yet')").wait_for()
    page.locator("#trouble:has-text('No trouble since the proxy started')").wait_for()
    proxy.ask("POST", "/drain")
    page.locator("#phase:has-text('Draining')").wait_for()
    assert "draining" in page.locator(".notice").inner_text()
    proxy.signal()
    assert proxy.wait() == 0  # an open page holds nothing up
    page.locator("#link:has-text('Reconnecting')").wait_for()
    page.locator(".notice:has-text('is lost')").wait_for()
    watching.said.clear()  # the browser itself reports that nobody answers
