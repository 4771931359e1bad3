"""The final report of `demo --saga`: what was promised, and what really happened."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from proxy.demo.report import percentile
from proxy.demo.saga_callers import PlacedOrder
from proxy.demo.saga_configuration import PAY, RELEASE, RESERVE, RESULTS, SHIP
from proxy.demo.saga_services import Service


@dataclass(frozen=True, slots=True)
class Outcome:
    """The numbers. `unfinished`: sagas that had not ended; `lost`: accepted orders without a saga;
    `repeats`: posts after the first, `unequal` of which got another answer; `twice`: orders for
    which a service did its work more than once; `halves`: ended ones with a part of their effects.
    """

    placed: int
    accepted: int
    done: int
    compensated: int
    unfinished: int
    lost: int
    repeats: int
    unequal: int
    twice: int
    halves: int
    told: int
    known: int
    p50: float | None
    p99: float | None


def outcome(
    orders: Sequence[PlacedOrder], services: Mapping[str, Service], states: Mapping[str, int]
) -> Outcome:
    """From the answers, the services' own records, and the proxy's counts of sagas."""
    accepted = [order for order in orders if order.accepted]
    reserved, released = (services["inventory"].orders(path) for path in (RESERVE, RELEASE))
    paid, shipped = services["payment"].orders(PAY), services["shipping"].orders(SHIP)
    told = services["app"].orders(RESULTS)
    done, undone = states.get("done", 0), states.get("undone", 0)
    ended = [order.id for order in accepted if order.id in told]
    return Outcome(
        placed=len(orders),
        accepted=len(accepted),
        done=done,
        compensated=undone,
        unfinished=sum(states.values()) - done - undone,
        lost=max(0, len(accepted) - sum(states.values())),
        repeats=sum(order.posts - 1 for order in accepted),
        unequal=sum(order.same is False for order in accepted),
        twice=_more_than_once((reserved, released, paid, shipped)),
        halves=sum(not _whole(order, reserved, released, paid, shipped) for order in ended),
        told=len(told),
        known=sum(service.repeats for service in services.values()),
        p50=percentile((order.seconds for order in accepted), 0.50),
        p99=percentile((order.seconds for order in accepted), 0.99),
    )


def _more_than_once(effects: Iterable[Mapping[str, int]]) -> int:
    return len({order for found in effects for order, times in found.items() if times > 1})


def _whole(
    order: str,
    reserved: Mapping[str, int],
    released: Mapping[str, int],
    paid: Mapping[str, int],
    shipped: Mapping[str, int],
) -> bool:
    """Reserved, paid and shipped; or not paid, not shipped, and nothing is reserved any more."""
    if order in paid or order in shipped:
        return order in reserved and order in paid and order in shipped and order not in released
    return (order in reserved) == (order in released)


def print_report(
    console: Console,
    orders: Sequence[PlacedOrder],
    services: Mapping[str, Service],
    states: Mapping[str, int],
    kills: int,
) -> None:
    """The table, and where to read on."""
    found = outcome(orders, services, states)
    table = Table(title="What was promised, and what happened", title_justify="left")
    table.add_column("")
    table.add_column("orders", justify="right")
    rows = (
        ("orders placed", found.placed),
        ("accepted with 202", found.accepted),
        ("median time to the answer", _seconds(found.p50)),
        ("99th percentile, with the restarts", _seconds(found.p99)),
        ("posts repeated with the same key", found.repeats),
        ("of these with another answer", found.unequal),
        ("reserved, paid and shipped", found.done),
        ("compensated: nothing paid, nothing reserved", found.compensated),
        ("results told to the order service", found.told),
        ("not ended yet", found.unfinished),
        ("accepted and lost", found.lost),
        ("placed by halves", found.halves),
        ("done twice at a service", found.twice),
        ("kills of the proxy (kill -9)", kills),
        ("tries that a service knew by their key", found.known),
    )
    for name, value in rows:
        table.add_row(name, str(value))
    console.print()
    console.print(table)
    console.print(
        "The store's file outlived each proxy: what was answered 202 went on. More: docs/sagas.md, "
        "docs/durability.md, config/examples/order-service-async.yaml",
        soft_wrap=True,
        highlight=False,
    )


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value * 1000:.0f} ms"
