"""Rates and percentiles between two looks."""

import pytest
from unit.top.documents import route, status

from proxy.top.looks import Look
from proxy.top.rates import SPAN, Order, RouteRates, Window, ordered
from proxy.top.reading import read


def look(at: float, requests: int = 0, uptime: float | None = None, **over: object) -> Look:
    counts = [0, requests, 0, 0, 0]
    told = route(
        "stock",
        requests=requests,
        durations={"le_ms": [1.0, 10.0, 100.0, 60000.0], "counts": counts},
        **over,
    )
    return read(status(routes=[told], uptime_s=at if uptime is None else uptime), None, at)


def window(*looks: Look) -> Window:
    made = Window()
    for one in looks:
        made.add(one)
    return made


def test_one_look_is_no_rate_yet():
    (stock,) = window(look(100, 7)).routes()
    assert stock == RouteRates("outbound", "stock", 7, 0, None, None, None, None, None, None)


def test_rates_are_those_between_the_looks():
    (stock,) = window(look(100, 100), look(104, 120, errors=5, retries=2)).routes()
    assert (stock.requests, stock.errors, stock.retries, stock.total) == (5.0, 0.25, 0.5, 120)
    assert stock.p50 == pytest.approx(5.5)
    assert stock.p99 == pytest.approx(9.91)


def test_nothing_answered_has_no_share_of_errors_and_no_percentiles():
    (stock,) = window(look(100, 9), look(101, 9)).routes()
    assert (stock.requests, stock.errors, stock.p50, stock.p99) == (0.0, None, None, None)


def test_looks_are_forgotten_when_later_ones_reach_far_enough():
    made = window(*(look(100 + second, 10 * second) for second in range(31)))
    assert made.span == SPAN
    assert made.routes()[0].requests == 10.0


def test_a_rare_look_is_kept_so_that_there_is_something_to_compare_with():
    assert window(look(100), look(160, 60)).routes()[0].requests == 1.0


def test_after_a_restart_it_begins_anew():
    made = window(look(100, 50), look(101, 60), look(102, 3, uptime=0.5))
    assert (made.span, made.routes()[0].requests) == (0.0, None)


def test_a_route_that_a_reload_brought_counts_from_nothing():
    before = read(status(uptime_s=100), None, 100)
    assert window(before, look(102, 8)).routes()[0].requests == 4.0


def test_an_empty_window():
    made = Window()
    assert (made.latest, made.span, made.routes()) == (None, 0.0, [])


def rates(name: str, requests: float, errors: float | None, p99: float | None) -> RouteRates:
    return RouteRates("outbound", name, 0, 0, requests, errors, 0.0, 0.0, 1.0, p99)


def test_orders():
    routes = [
        rates("a", 1.0, None, 5.0),
        rates("b", 9.0, 0.1, None),
        rates("c", 2.0, 1.0, 50.0),
    ]
    told = {order: "".join(one.name for one in ordered(routes, order)) for order in Order}
    assert told == {
        Order.CONFIGURED: "abc",
        Order.REQUESTS: "bca",
        Order.ERRORS: "cba",
        Order.P99: "cab",
    }
    assert Order.P99.next() is Order.CONFIGURED
    assert Order.CONFIGURED.next() is Order.REQUESTS
