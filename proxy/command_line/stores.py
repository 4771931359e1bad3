"""The commands that look at a store's file."""

from pathlib import Path
from typing import TYPE_CHECKING

from proxy import commands
from proxy.command_line.shared import add

if TYPE_CHECKING:
    from proxy.command_line.shared import Commands


def add_store(subparsers: "Commands") -> None:
    command = add(
        subparsers,
        "store",
        commands.store,
        "check or export the file of a store that no process uses",
        "check: whether the file is sound, and how much is in it; status 1 if it is damaged. "
        "export: every record as one line of JSON, stored requests and responses included.",
    )
    command.add_argument(
        "what", metavar="check|export", choices=("check", "export"), help="check, export"
    )
    command.add_argument("file", metavar="FILE", type=Path, help="the file, as in store.url")
