"""What the report of `demo --saga` counts."""

from collections import Counter

from proxy.demo.saga_callers import PlacedOrder
from proxy.demo.saga_configuration import PAY, RELEASE, RESERVE, RESULTS, SHIP
from proxy.demo.saga_report import outcome
from proxy.demo.saga_services import Service


def services(**effects: list[str]) -> dict[str, Service]:
    found = {name: Service({}) for name in ("inventory", "payment", "shipping", "app")}
    places = {
        "reserved": ("inventory", RESERVE),
        "released": ("inventory", RELEASE),
        "paid": ("payment", PAY),
        "shipped": ("shipping", SHIP),
        "told": ("app", RESULTS),
    }
    for what, orders in effects.items():
        name, path = places[what]
        found[name].effects = found[name].effects + Counter((path, order) for order in orders)
    return found


def order(number: int, **over: object) -> PlacedOrder:
    placed = PlacedOrder(number, 1.0, location=f"/sagas/{number}", posts=1, seconds=number / 10)
    for name, value in over.items():
        setattr(placed, name, value)
    return placed


def test_whole_orders() -> None:
    shop = services(
        reserved=["order-1", "order-2"],
        released=["order-2"],
        paid=["order-1"],
        shipped=["order-1"],
        told=["order-1", "order-2"],
    )
    orders = [order(1, posts=3, same=True), order(2), order(3, location="")]
    found = outcome(orders, shop, {"done": 1, "undone": 1})
    assert (found.placed, found.accepted, found.done, found.compensated) == (3, 2, 1, 1)
    assert (found.unfinished, found.lost, found.halves, found.twice) == (0, 0, 0, 0)
    assert (found.repeats, found.unequal, found.told) == (2, 0, 2)
    assert (found.p50, found.p99) == (0.1, 0.2)
    for service in shop.values():
        service._port.release()


def test_what_must_not_be() -> None:
    shop = services(
        reserved=["order-1", "order-2", "order-3"],
        released=["order-2"],
        paid=["order-1", "order-2", "order-1"],
        shipped=["order-2"],
        told=["order-1", "order-2", "order-3"],
    )
    found = outcome([order(n, same=n != 4) for n in range(1, 6)], shop, {"done": 2, "running": 1})
    assert found.twice == 1  # the first is paid twice
    assert found.halves == 3  # paid and not shipped; paid and released; reserved for nothing
    assert (found.unfinished, found.lost, found.unequal) == (1, 2, 1)
    for service in shop.values():
        service._port.release()
