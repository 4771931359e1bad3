"""The parser of all commands."""

import argparse
from typing import TYPE_CHECKING

from proxy import __version__, commands
from proxy.command_line.files import (
    add_check,
    add_demo,
    add_explain,
    add_run,
    add_schema,
    add_simulate,
)
from proxy.command_line.kubernetes import add_inject, add_webhook
from proxy.command_line.running import (
    add_breaker,
    add_drain,
    add_outbox,
    add_ready,
    add_sagas,
    add_tap,
    add_top,
)
from proxy.command_line.shared import add
from proxy.command_line.stores import add_store

if TYPE_CHECKING:
    from proxy.command_line.shared import Commands

SHELLS = ("bash", "zsh", "fish")
"""Those with a `completion`."""


def make_parser(called: str | None = None, *, together: bool = False) -> argparse.ArgumentParser:
    """The parser of all commands.

    `called`: the command to run; describing those for Kubernetes takes 2 MiB, which other
    commands, such as ``run``, do not need. None: describe all.

    `together`: the files are given with --config.
    """
    parser = argparse.ArgumentParser(
        prog="resilience-proxy",
        description="A proxy beside one service that adds retries, circuit breakers, deadlines, "
        "bulkheads, fallbacks and a graceful drain to its HTTP calls.",
        epilog="Exit status: 0 done, 2 bad usage or configuration, 3 a drain that had to cut "
        "requests, 1 anything else.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_run(subparsers)
    add_check(subparsers)
    add_explain(subparsers, with_file=not together)
    add_simulate(subparsers)
    add_demo(subparsers)
    add_drain(subparsers)
    add_ready(subparsers)
    add_top(subparsers)
    add_tap(subparsers)
    add_breaker(subparsers)
    add_outbox(subparsers)
    add_sagas(subparsers)
    add_store(subparsers)
    add_inject(subparsers, described=called in (None, "inject"))
    add_webhook(subparsers, described=called in (None, "webhook"))
    add_schema(subparsers)
    add_completion(subparsers)
    return parser


def _completion(options: argparse.Namespace) -> int:
    from proxy.completion import script

    print(script(make_parser(), options.shell))
    return commands.OK


def add_completion(subparsers: "Commands") -> None:
    command = add(
        subparsers,
        "completion",
        _completion,
        "print a script that completes commands and options in your shell",
        "bash: source <(resilience-proxy completion bash). zsh: the same, after compinit. fish: "
        "resilience-proxy completion fish | source.",
    )
    command.add_argument("shell", metavar="SHELL", choices=SHELLS, help="which")
