"""What several commands have: a place in the help, and the same options."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.command_line.values import DEFAULT_ADMIN, admin_url

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(
    subparsers: "Commands",
    name: str,
    run: Callable[[argparse.Namespace], int],
    does: str,
    more: str = "",
) -> argparse.ArgumentParser:
    command = subparsers.add_parser(
        name,
        help=does,
        description=f"{does[0].upper()}{does[1:]}. {more}".strip(),
        formatter_class=argparse.HelpFormatter,
    )
    command.set_defaults(command=run, misused=command.error)
    return command


def add_config(command: argparse.ArgumentParser, *, required: bool = False) -> None:
    command.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        action="append",
        default=None if required else [],
        required=required,
        help="the configuration: a file, or a directory of *.yaml; repeatable, a later one wins",
    )


def add_format(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--format", choices=("text", "json"), default="text", help="(default: %(default)s)"
    )


def add_admin(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--admin",
        type=admin_url,
        metavar="HOST:PORT",
        help="the proxy's admin address, or its URL (default: $RESILIENCE_PROXY_ADMIN, else "
        f"{DEFAULT_ADMIN.removeprefix('http://')})",
    )
