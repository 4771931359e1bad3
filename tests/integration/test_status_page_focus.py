"""What is focused or open on the status page stays so while the page refreshes itself."""

from collections.abc import Callable
from typing import Any

import pytest
from chaos.upstream import ChaosUpstream
from integration.conftest import Open
from integration.running_proxy import RunningProxy
from integration.settings import ONCE, Settings, route


@pytest.fixture(scope="module")
def proxy(
    browser: Any, module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    return module_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [route("bad", retry=ONCE), route("other", retry=ONCE)],
        }
    )


def test_newer_trouble_of_the_same_kind_does_not_take_the_focus(
    proxy: RunningProxy, visit_page: Open
) -> None:
    page = visit_page(proxy.admin).open()
    proxy.call("GET", "/bad/first", chaos="503")
    first = page.locator("#trouble-list summary", has_text="/bad/first")
    first.wait_for()
    page.locator("#filter").focus()
    page.keyboard.press("Tab")
    assert first.evaluate("node => node === document.activeElement")
    proxy.call("GET", "/bad/second", chaos="503")
    newer = page.locator("button:text-is('Show 1 newer')")
    newer.wait_for()
    assert first.evaluate("node => node === document.activeElement")
    page.keyboard.press("Enter")
    page.locator(".timeline > li:has(.bar-attempt)").wait_for()
    page.keyboard.press("Enter")
    newer.focus()
    page.keyboard.press("Enter")
    second = page.locator("#trouble-list summary", has_text="/bad/second")
    second.wait_for()
    assert second.evaluate("node => node === document.activeElement")
    # Without the keyboard's focus in it the list follows again.
    page.locator("#filter").focus()
    proxy.call("GET", "/other/third", chaos="503")
    page.locator("#trouble-list summary", has_text="/other/third").wait_for()


def test_a_new_connection_keeps_the_trouble_until_its_own_arrives(
    proxy: RunningProxy, visit_page: Open
) -> None:
    page = visit_page(proxy.admin).open()
    held = page.evaluate(
        """async () => {
            const { Model } = await import("/page/model.js");
            const model = new Model();
            const history = { times: [], routes: [], circuit_breakers: [] };
            model.takeHistory(history);
            model.takeTrouble({ recent: [{ number: 2 }, { number: 1 }] });
            model.takeHistory(history);
            const numbers = () => model.trouble.map((one) => one.number);
            const between = numbers();
            model.takeTrouble({ recent: [{ number: 3 }, { number: 1 }] });
            model.takeTrouble({ recent: [{ number: 4 }] });
            return [between, numbers()];
        }"""
    )
    assert held == [[2, 1], [4, 3, 1]]


def test_a_new_order_leaves_the_focus_where_it_is(proxy: RunningProxy, visit_page: Open) -> None:
    page = visit_page(proxy.admin).open()
    orders = ["dcba", "bcda", "cbae", "acbd", "exacy", "b"]
    asked = [[each, order] for order in orders for each in "abcd" if each in order]
    found = page.evaluate(
        """async (asked) => {
            const { el, keyed } = await import("/page/dom.js");
            return asked.map(([focused, order]) => {
                const list = el("div");
                document.body.append(list);
                const draw = (names) =>
                    keyed(list, [...names], (n) => n, (n) => el("button", { name: n }), () => {});
                draw("abcd");
                list.querySelector(`[name=${focused}]`).focus();
                draw(order);
                const drawn = [...list.children].map((node) => node.name).join("");
                const active = document.activeElement.name;
                list.remove();
                return [active, drawn];
            });
        }""",
        asked,
    )
    assert found == asked
