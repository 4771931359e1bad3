"""The status page's views of the store, the outbox and sagas, while something needs an operator."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from chaos.upstream import ChaosUpstream
from integration.conftest import Open
from integration.running_proxy import RunningProxy
from integration.settings import Settings, route


@pytest.fixture(scope="module")
def proxy(
    browser: Any, module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    """With a dead entry, a lane behind a parked one, a stuck saga, and a key that was repeated."""
    shared_chaos.rules["/notify/bad"] = shared_chaos.rules["/lane/bad"] = "404"
    shared_chaos.rules["/refuses"] = "400"
    step = {"request": {"upstream": "chaos", "path": "/refuses"}, "dead_on": [400]}
    first = {
        "request": {"upstream": "chaos", "path": "/works"},
        "undo": {"upstream": "chaos", "path": "/refuses"},
    }
    lane = {"mode": "always", "order_by": "header:x-customer", "on_dead": "block"}
    proxy = module_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "sagas": {"order": {"steps": [{"name": "reserve", **first}, {"name": "pay", **step}]}},
            "routes": [
                {"name": "orders", "match": {"path": "/orders"}, "saga": "order"},
                route("notify", outbox={"mode": "always"}),
                route("lane", outbox=lane),
                route("pay", idempotency={"mode": "required"}),
            ],
            "store": {"url": "memory:"},
        }
    )
    proxy.call("POST", "/notify/bad", body=b"{}")
    for _ in range(3):
        proxy.call("POST", "/lane/bad", {"X-Customer": "c-1"}, b"{}")
    proxy.call("POST", "/orders", {"Idempotency-Key": "order-1"}, b"{}")
    for _ in range(3):
        proxy.call("POST", "/pay", {"Idempotency-Key": "k"}, b"{}")
    proxy.call("POST", "/pay", {"Idempotency-Key": "k"}, b"[]")
    proxy.call("POST", "/pay", {}, b"[]")
    return proxy


def test_the_store_and_the_keys(proxy: RunningProxy, visit_page: Open) -> None:
    page = visit_page(proxy.admin).open()
    facts = page.locator("#store-card .facts")
    facts.locator("dd:text-matches('per second, p99 [0-9.]+ ms')").wait_for()
    texts = facts.locator("dd").all_inner_texts()
    assert texts[0] == "memory, lost with the pod"
    assert texts[1] == "open"
    assert page.locator("#store-card .hint").is_hidden()
    row = page.locator("#store-card tbody tr", has_text="pay")
    cells = [int(text) for text in row.locator("td").all_inner_texts()]
    assert cells == [0, 1, 2, 1, 0, 1]  # open, remembered, replayed, conflicts, unknown, bad key


def test_the_outbox_says_what_to_do(proxy: RunningProxy, visit_page: Open) -> None:
    page = visit_page(proxy.admin).open()
    card = page.locator("#outbox-queues")
    card.locator("tr", has_text="notify").locator("td[data-tone='bad']:text-is('▲ 1')").wait_for()
    hint = card.locator(".hint")
    assert "Dead entries are not tried again" in hint.inner_text()
    assert hint.locator("code").all_inner_texts() == [
        "resilience-proxy outbox --state dead",
        "resilience-proxy outbox ID redrive",
    ]
    blocked = card.locator("tr", has_text="c-1")
    blocked.locator("td:has-text('parked: waits for an order')").wait_for()
    (lane,) = proxy.state("/outbox")["blocked_lanes"]
    assert blocked.locator("td").all_inner_texts()[-2:] == ["2", lane["head"]]


def test_a_stuck_saga_says_what_to_do(proxy: RunningProxy, visit_page: Open) -> None:
    page = visit_page(proxy.admin, viewport={"width": 360, "height": 700}).open()
    section = page.locator("#sagas")
    section.locator(".badge:text-is('stuck')").wait_for()
    (unfinished,) = proxy.state("/status")["sagas"]["unfinished"]
    assert unfinished == unfinished | {"saga": "order", "running": 0, "undoing": 0, "stuck": 1}
    assert 0 < unfinished["oldest_s"] < 60
    section.locator("tr", has_text="order").locator("td:text-is('▲ 1')").wait_for()
    token = json.loads(proxy.ask("GET", "/sagas?state=stuck")[1])["sagas"][0]["token"]
    assert section.locator(".hint code").all_inner_texts() == [
        f"resilience-proxy sagas show {token}",
        f"resilience-proxy sagas resume {token}",
    ]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_tables_of_the_service_s_own(proxy: RunningProxy, visit_page: Open) -> None:
    """Drawn from documents: the page needs no database for it."""
    page = visit_page(proxy.admin).open()
    drawn = page.evaluate(
        """async () => {
            const { outbox } = await import("/page/outbox.js");
            const place = document.createElement("div");
            document.body.append(place);
            const draw = outbox(place);
            const table = {
                name: "orders", to: "upstream events", state: "ready", why: null, pending: 3,
                failed: 1, delivering: 2, held: 5, oldest_s: 700, dead: 0,
            };
            const told = () => [
                [...place.querySelectorAll("tbody td")].map((cell) => cell.textContent),
                place.querySelector(".hint").textContent,
            ];
            draw({ status: { outbox_tables: [table] } });
            const well = told();
            const lost = { ...table, state: "unreachable", why: "No route" };
            draw({ status: { outbox_tables: [lost] } });
            const broken = told();
            draw({ status: { outbox_tables: [{ ...table, dead: 2 }] } });
            const dead = told();
            place.remove();
            return [well, broken, dead];
        }"""
    )
    (well, none), (broken, wrong), (dead, why) = drawn
    assert well == ["upstream events", "ready", "4", "2", "5", "▲ 11 min 40 s", "0"]
    assert none == ""
    assert broken[1] == "▲ unreachable: No route"
    assert "No row of table orders is delivered" in wrong
    assert dead[-1] == "▲ 2"
    assert "resilience-proxy outbox --route table:orders --state dead" in why
