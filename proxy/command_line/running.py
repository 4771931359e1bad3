"""The commands that ask a running proxy, at its admin address."""

from typing import TYPE_CHECKING

from proxy import commands
from proxy.command_line.shared import add, add_admin, add_format
from proxy.command_line.values import count, duration

if TYPE_CHECKING:
    from proxy.command_line.shared import Commands


def add_drain(subparsers: "Commands") -> None:
    command = add(
        subparsers,
        "drain",
        commands.drain,
        "ask a running proxy to drain, and wait until it has",
        "For a container's preStop hook. Status 3: it had to cut requests.",
    )
    add_admin(command)


def add_ready(subparsers: "Commands") -> None:
    command = add(
        subparsers,
        "ready",
        commands.ready,
        "wait until a running proxy accepts requests",
        "For a postStart hook, and for scripts. Status 1: not within that time.",
    )
    add_admin(command)
    command.add_argument(
        "--timeout", type=duration, default=30.0, metavar="TIME", help="how long (default: 30s)"
    )


def add_top(subparsers: "Commands") -> None:
    command = add(
        subparsers,
        "top",
        commands.top,
        "show a running proxy live: rates, latencies, breakers, recent trouble",
        "Keys: q quits, s sorts the routes, 1-7 show one table alone and 0 all, space pauses. "
        "If the output is not a terminal it is printed once, as plain text.",
    )
    add_admin(command)
    command.add_argument(
        "--interval",
        type=duration,
        default=1.0,
        metavar="TIME",
        help="between two samples (default: 1s)",
    )
    times = command.add_mutually_exclusive_group()
    times.add_argument("--once", action="store_true", help="print one sample as text, and end")
    times.add_argument(
        "--iterations", type=count, metavar="N", help="print N samples as text, and end"
    )
    add_format(command)


def add_tap(subparsers: "Commands") -> None:
    command = add(
        subparsers,
        "tap",
        commands.tap,
        "show a running proxy's requests as they settle, one line each",
        "Includes successful ones, until Ctrl-C. All given filters must match.",
    )
    command.add_argument("--route", metavar="NAME", default="", help="only this route")
    command.add_argument(
        "--status",
        metavar="STATUS",
        default="",
        help="only these: 404, 500-503, 5xx; a list separated by ,",
    )
    command.add_argument(
        "--path", metavar="PATH", default="", help="only paths with this beginning"
    )
    command.add_argument("--count", type=count, metavar="N", help="end after N requests")
    add_format(command)
    add_admin(command)


def add_outbox(subparsers: "Commands") -> None:
    command = add(
        subparsers,
        "outbox",
        commands.outbox,
        "show a running proxy's outbox, and give orders to its entries",
        "Without an ID: the queues, the lanes that do not move, and the newest entries. redrive "
        "puts a dead or parked entry back with its id and key, replay sends a delivered one again "
        "as a copy with its own, cancel ends what waits. With --route table:NAME the rows of an "
        "outbox table; such a row has the ID NAME/ROW.",
    )
    orders = ("show", "redrive", "replay", "cancel")
    command.add_argument("id", metavar="ID", nargs="?", default="", help="an entry, or NAME/ROW")
    command.add_argument(
        "order", metavar="ORDER", nargs="?", default="show", choices=orders, help=", ".join(orders)
    )
    command.add_argument("--route", metavar="NAME", default="", help="only this route")
    command.add_argument("--state", metavar="STATE", default="", help="only this state: dead, …")
    command.add_argument(
        "--limit", type=count, default=20, metavar="N", help="entries to list (default: 20)"
    )
    add_format(command)
    add_admin(command)


def add_sagas(subparsers: "Commands") -> None:
    actions = ("list", "show", "resume", "skip", "abort")
    states = ("running", "undoing", "done", "undone", "stuck")
    command = add(
        subparsers,
        "sagas",
        commands.sagas,
        "show a running proxy's sagas, and give orders to stuck ones",
        "resume tries the step that is stuck again, skip takes it as settled and goes on, abort "
        "ends the saga as it is.",
    )
    command.add_argument(
        "action",
        metavar="ACTION",
        nargs="?",
        choices=actions,
        default="list",
        help=f"{', '.join(actions)} (default: list)",
    )
    command.add_argument("id", metavar="ID", nargs="?", help="the saga's id, or its token")
    command.add_argument("--saga", metavar="NAME", default="", help="list only this saga's")
    command.add_argument(
        "--state", choices=states, default="", help="list only those in this state"
    )
    command.add_argument(
        "--limit", type=count, default=100, metavar="N", help="list at most N (default: 100)"
    )
    add_format(command)
    add_admin(command)


def add_breaker(subparsers: "Commands") -> None:
    orders = ("force-open", "disable", "reset")
    command = add(
        subparsers,
        "breaker",
        commands.breaker,
        "give an order to a running proxy's circuit breaker",
        "force-open refuses everything, disable admits everything, reset closes it with an "
        "empty window and ends both. Names: `top`, or /circuit-breakers.",
    )
    command.add_argument("name", metavar="NAME", help="the breaker's name, or all")
    command.add_argument("order", metavar="ORDER", choices=orders, help=", ".join(orders))
    add_admin(command)
