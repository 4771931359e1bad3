"""The commands that read configuration files, and the demo."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy import commands
from proxy.command_line.shared import add, add_admin, add_config, add_format
from proxy.command_line.values import address_text, duration, port

if TYPE_CHECKING:
    from proxy.command_line.shared import Commands


def add_run(subparsers: "Commands") -> None:
    command = add(
        subparsers,
        "run",
        commands.run,
        "run the proxy in the foreground",
        f"Without --config the file is ${commands.CONFIG_VARIABLE} (several are separated by :), "
        f"else {commands.DEFAULT_FILE} if it exists, else none: built-in defaults apply. "
        "Flags override the files, and so do $RESILIENCE_PROXY_OUTBOUND, _INBOUND, _APP and "
        "_ADMIN. SIGTERM or SIGINT drains, a second one ends at once; SIGHUP reloads the files.",
    )
    add_config(command)
    for name, metavar, kind, does in (
        ("outbound", "HOST:PORT", address_text, "the address for the service's own calls"),
        ("inbound", "HOST:PORT", address_text, "the address for the service's callers"),
        ("app", "PORT", port, "the service's own port, on this machine"),
        ("admin", "HOST:PORT", address_text, "health, metrics, status and the page"),
    ):
        command.add_argument(
            f"--{name}", dest=f"{name}_flag", metavar=metavar, type=kind, help=does
        )


def add_check(subparsers: "Commands") -> None:
    command = add(
        subparsers,
        "check",
        commands.check,
        "show all problems of files, or a summary of their routes",
        "Starts nothing. Every problem has its line and column; warnings do not fail. A FILE can "
        "be - for standard input, a directory, or a Kubernetes manifest with a ConfigMap.",
    )
    command.usage = (
        "%(prog)s [-h] [--strict] [--format {text,json,github}] FILE...\n"
        "       %(prog)s [-h] [--strict] [--format {text,json,github}] --config FILE..."
    )
    command.add_argument(
        "files", metavar="FILE", type=Path, nargs="*", help="configurations, each checked alone"
    )
    add_config(command)
    command.add_argument("--strict", action="store_true", help="warnings fail (status 2)")
    command.add_argument(
        "--format",
        choices=("text", "json", "github"),
        default="text",
        help="text: problems on stderr; json, github: on stdout (default: %(default)s)",
    )


def add_explain(subparsers: "Commands", *, with_file: bool) -> None:
    command = add(
        subparsers,
        "explain",
        commands.explain,
        "show which route takes a request and its policy, or what happened to a request",
        "With FILE METHOD URL: why the earlier routes do not match, where it goes, and every "
        "value of the effective policy with its source; with --admin also which endpoints are in "
        "use now. With --request-id: what a running "
        "proxy did with that request, if it is in flight or recently had trouble.",
    )
    command.usage = (
        "%(prog)s [-h] FILE METHOD URL [-H 'NAME: VALUE'] [--listener {outbound,inbound}] "
        "[--admin URL]\n"
        "       %(prog)s [-h] --config FILE... METHOD URL\n"
        "       %(prog)s [-h] --request-id ID [--admin URL]"
    )
    described = _add_request(command, with_file=with_file)
    command.add_argument(
        "--request-id",
        metavar="ID",
        action=_RequestId,
        instead_of=described,
        help="the X-Request-Id of a request, or the id of an entry of the outbox or of a saga",
    )
    add_admin(command)


def _add_request(command: argparse.ArgumentParser, *, with_file: bool) -> list[argparse.Action]:
    """A request to explain: FILE METHOD URL, which are returned, and its options."""
    described = []
    if with_file:
        described.append(
            command.add_argument("file", metavar="FILE", type=Path, help="the configuration")
        )
    described += [
        command.add_argument("method", metavar="METHOD", help="GET, POST, ... or CONNECT"),
        command.add_argument(
            "url",
            metavar="URL",
            help="http://host/path, or /path with a Host header; host:port for CONNECT; table:NAME "
            "for the rows of an outbox table",
        ),
    ]
    add_config(command)
    command.add_argument(
        "-H",
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        help="a header of the request; repeatable",
    )
    add_format(command)
    command.add_argument(
        "--listener",
        choices=("outbound", "inbound"),
        default="outbound",
        help="the listener of the request (default: %(default)s)",
    )
    return described


class _RequestId(argparse.Action):
    """An option that replaces the positional arguments `instead_of`."""

    def __init__(self, instead_of: Sequence[argparse.Action], **options: Any) -> None:
        super().__init__(**options)
        self._instead_of = instead_of

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        for action in self._instead_of:
            action.required = False


def add_simulate(subparsers: "Commands") -> None:
    command = add(
        subparsers,
        "simulate",
        commands.simulate,
        "show what changed files would have done with recorded traffic",
        "Plays an access log (access_log: {requests: all}, in JSON) through the policies of a "
        "configuration, in virtual time. Nothing is sent. An attempt that the log does not have "
        "gets an outcome that its endpoint had around that moment, drawn by chance.",
    )
    command.add_argument(
        "--log", metavar="FILE", type=Path, required=True, help="the access log; -: standard input"
    )
    add_config(command, required=True)
    command.add_argument(
        "--against", metavar="FILE", type=Path, help="another configuration, to compare with"
    )
    command.add_argument("--html", metavar="FILE", type=Path, help="write a page with plots")
    command.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of what is drawn (default: 1)"
    )
    add_format(command)


def add_demo(subparsers: "Commands") -> None:
    command = add(
        subparsers,
        "demo",
        commands.demo,
        "show an order service with failing dependencies, live",
        "Everything runs on this machine; a table at the end compares runs with and without it.",
    )
    command.add_argument(
        "--duration", type=duration, default=30.0, metavar="TIME", help="how long (default: 30s)"
    )
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--faults",
        action="store_true",
        help="the dependencies work; the proxy injects faults, and its policies answer them",
    )
    which.add_argument(
        "--saga",
        action="store_true",
        help="orders are accepted at once and placed by a saga, while the proxy is killed",
    )


def add_schema(subparsers: "Commands") -> None:
    add(
        subparsers,
        "schema",
        commands.schema,
        "print the JSON Schema of the configuration",
        "For editors with yaml-language-server (VS Code, Neovim, ...): save it as a file, and "
        "begin yours with `# yaml-language-server: $schema=FILE`.",
    )
