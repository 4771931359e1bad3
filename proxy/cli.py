"""The command line: ``resilience-proxy COMMAND``, also ``python -m proxy COMMAND``.

Exit status: 0 done, 2 bad usage or configuration (problems on stderr), 3 a drain that had to cut
requests, 1 anything else. This file has the syntax of the commands, `commands` their work.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy import __version__, commands
from proxy.units import UnitError, parse_duration

if TYPE_CHECKING:
    from proxy.config.model import Address

DEFAULT_ADMIN = "http://127.0.0.1:7072"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. ``-h`` and bad usage raise SystemExit."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name can contain any bytes
    words = sys.argv[1:] if arguments is None else arguments
    parser = _parser(next(iter(words), ""), together=any(map(_means_config, words)))
    options, unknown = parser.parse_known_args(words)
    if unknown:
        hint = _did_you_mean(str(words[0]), unknown[0])
        options.misused(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    if getattr(options, "admin", "") is None:
        options.admin = _admin_of_environment(parser)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        status = command(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output is gone (`| head`). Python would report that again when it
        # flushes at exit, so stdout is redirected to /dev/null.
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        return commands.FAILED
    except KeyboardInterrupt:
        return commands.FAILED
    except OSError as error:
        return commands.fail(str(error), commands.FAILED)
    return status


def _address(text: str) -> "Address":
    from proxy.config.names import AddressKind

    try:
        return AddressKind().parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except UnitError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not seconds:
        raise argparse.ArgumentTypeError("must be more than 0s")
    return seconds


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _admin_url(text: str) -> str:
    """``host:port`` or a URL; a listener's wildcard address means this machine."""
    from urllib.parse import urlsplit

    if text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} has no host; write 127.0.0.1:{text}")
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port
    except ValueError:
        good = False
    if not good or parts.path.strip("/"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not HOST:PORT or a URL such as {DEFAULT_ADMIN}"
        )
    for wildcard in ("0.0.0.0", "[::]"):
        if parts.netloc.startswith(f"{wildcard}:"):
            url = url.replace(wildcard, "127.0.0.1", 1)
    return url.rstrip("/")


def _admin_of_environment(parser: argparse.ArgumentParser) -> str:
    from proxy.config.overrides import ADMIN_VARIABLE

    text = os.environ.get(ADMIN_VARIABLE)
    try:
        return _admin_url(text) if text else DEFAULT_ADMIN
    except argparse.ArgumentTypeError as error:
        parser.error(f"${ADMIN_VARIABLE}: {error}")


_MEANT = {
    "--port": "--app PORT for the service's port; --outbound and --inbound HOST:PORT are the "
    "proxy's own",
    "--listen": "--outbound HOST:PORT, or --inbound HOST:PORT",
    "--upstream": "--app PORT",
    "-p": "--app PORT, --outbound HOST:PORT or --inbound HOST:PORT",
    **dict.fromkeys(("-c", "-f", "--file", "--conf-file", "--config-file"), "--config FILE"),
}


def _did_you_mean(command: str, word: str) -> str:
    """Suggest an option of `run` for an unknown word."""
    if command != "run":
        return ""
    option = word.partition("=")[0]
    meant = _MEANT.get(option) or ("" if word.startswith("-") else f"--config {word}")
    return f"; did you mean {meant}?" if meant else ""


def _means_config(word: str) -> bool:
    """Whether the word is --config, or an abbreviation that argparse accepts."""
    option = word.partition("=")[0]
    return len(option) > 2 and "--config".startswith(option)


def _address_text(text: str) -> str:
    return str(_address(text))


def _port(text: str) -> str:
    from proxy.config.overrides import check_port

    try:
        return str(check_port(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser(called: str | None = None, *, together: bool = False) -> argparse.ArgumentParser:
    """`called`: the command to run; describing those for Kubernetes takes 2 MiB, which other
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
    _add_run(subparsers)
    _add_check(subparsers)
    _add_explain(subparsers, with_file=not together)
    _add_demo(subparsers)
    _add_drain(subparsers)
    _add_ready(subparsers)
    _add_top(subparsers)
    _add_tap(subparsers)
    _add_breaker(subparsers)
    _add_inject(subparsers, described=called in (None, "inject"))
    _add_webhook(subparsers, described=called in (None, "webhook"))
    _add_schema(subparsers)
    _add_completion(subparsers)
    return parser


if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def _add(
    subparsers: "_Commands",
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


def _add_run(subparsers: "_Commands") -> None:
    command = _add(
        subparsers,
        "run",
        commands.run,
        "run the proxy in the foreground",
        f"Without --config the file is ${commands.CONFIG_VARIABLE} (several are separated by :), "
        f"else {commands.DEFAULT_FILE} if it exists, else none: built-in defaults apply. "
        "Flags override the files, and so do $RESILIENCE_PROXY_OUTBOUND, _INBOUND, _APP and "
        "_ADMIN. SIGTERM or SIGINT drains, a second one ends at once; SIGHUP reloads the files.",
    )
    _add_config(command)
    for name, metavar, kind, does in (
        ("outbound", "HOST:PORT", _address_text, "the address for the service's own calls"),
        ("inbound", "HOST:PORT", _address_text, "the address for the service's callers"),
        ("app", "PORT", _port, "the service's own port, on this machine"),
        ("admin", "HOST:PORT", _address_text, "health, metrics, status and the page"),
    ):
        command.add_argument(
            f"--{name}", dest=f"{name}_flag", metavar=metavar, type=kind, help=does
        )


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="the configuration: a file, or a directory of *.yaml; repeatable, a later one wins",
    )


def _add_check(subparsers: "_Commands") -> None:
    command = _add(
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
    _add_config(command)
    command.add_argument("--strict", action="store_true", help="warnings fail (status 2)")
    command.add_argument(
        "--format",
        choices=("text", "json", "github"),
        default="text",
        help="text: problems on stderr; json, github: on stdout (default: %(default)s)",
    )


def _add_explain(subparsers: "_Commands", *, with_file: bool) -> None:
    command = _add(
        subparsers,
        "explain",
        commands.explain,
        "show which route takes a request and its policy, or what happened to a request",
        "With FILE METHOD URL: why the earlier routes do not match, where it goes, and every "
        "value of the effective policy with its source. With --request-id: what a running "
        "proxy did with that request, if it is in flight or recently had trouble.",
    )
    command.usage = (
        "%(prog)s [-h] FILE METHOD URL [-H 'NAME: VALUE'] [--listener {outbound,inbound}]\n"
        "       %(prog)s [-h] --config FILE... METHOD URL\n"
        "       %(prog)s [-h] --request-id ID [--admin URL]"
    )
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
            help="http://host/path, or /path with a Host header; host:port for CONNECT",
        ),
    ]
    _add_config(command)
    command.add_argument(
        "-H",
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        help="a header of the request; repeatable",
    )
    _add_format(command)
    command.add_argument(
        "--listener",
        choices=("outbound", "inbound"),
        default="outbound",
        help="the listener of the request (default: %(default)s)",
    )
    command.add_argument(
        "--request-id",
        metavar="ID",
        action=_RequestId,
        instead_of=described,
        help="the X-Request-Id of a request",
    )
    _add_admin(command)


def _add_format(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--format", choices=("text", "json"), default="text", help="(default: %(default)s)"
    )


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


def _add_demo(subparsers: "_Commands") -> None:
    command = _add(
        subparsers,
        "demo",
        commands.demo,
        "show an order service with failing dependencies, live",
        "Everything runs on this machine; a table at the end compares runs with and without it.",
    )
    command.add_argument(
        "--duration", type=_duration, default=30.0, metavar="TIME", help="how long (default: 30s)"
    )


def _add_drain(subparsers: "_Commands") -> None:
    command = _add(
        subparsers,
        "drain",
        commands.drain,
        "ask a running proxy to drain, and wait until it has",
        "For a container's preStop hook. Status 3: it had to cut requests.",
    )
    _add_admin(command)


def _add_ready(subparsers: "_Commands") -> None:
    command = _add(
        subparsers,
        "ready",
        commands.ready,
        "wait until a running proxy accepts requests",
        "For a postStart hook, and for scripts. Status 1: not within that time.",
    )
    _add_admin(command)
    command.add_argument(
        "--timeout", type=_duration, default=30.0, metavar="TIME", help="how long (default: 30s)"
    )


def _add_inject(subparsers: "_Commands", *, described: bool) -> None:
    command = _add(
        subparsers,
        "inject",
        commands.inject,
        "add the sidecar to Kubernetes manifests",
        "Reads manifests from files or stdin, YAML or JSON, and prints them with the sidecar; "
        "other objects are passed through. Injecting twice gives the same as once.",
    )
    if not described:
        return
    from proxy.kubernetes import command_line

    command_line.file_arguments(command)
    command_line.add_settings(command)


def _add_webhook(subparsers: "_Commands", *, described: bool) -> None:
    command = _add(
        subparsers,
        "webhook",
        commands.webhook,
        "serve the Kubernetes admission webhook that adds the sidecar to pods",
        "POST /inject takes an AdmissionReview; /health/live, /health/ready and /metrics are "
        "served too. Certificates are reloaded when the files change.",
    )
    if not described:
        return
    from proxy.kubernetes import command_line

    command.add_argument("--tls-cert", metavar="FILE", type=Path, required=True, help="PEM")
    command.add_argument("--tls-key", metavar="FILE", type=Path, required=True, help="PEM")
    command.add_argument(
        "--address",
        metavar="HOST:PORT",
        type=_address,
        default="0.0.0.0:8443",
        help="the address to listen on (default: %(default)s)",
    )
    command.add_argument(
        "--drain-delay",
        metavar="TIME",
        type=_duration,
        default=5.0,
        help="how long to answer after SIGTERM (default: 5s)",
    )
    command_line.add_settings(command)


def _add_admin(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--admin",
        type=_admin_url,
        metavar="HOST:PORT",
        help="the proxy's admin address, or its URL (default: $RESILIENCE_PROXY_ADMIN, else "
        f"{DEFAULT_ADMIN.removeprefix('http://')})",
    )


def _add_top(subparsers: "_Commands") -> None:
    command = _add(
        subparsers,
        "top",
        commands.top,
        "show a running proxy live: rates, latencies, breakers, recent trouble",
        "Keys: q quits, s sorts the routes, 1-7 show one table alone and 0 all, space pauses. "
        "If the output is not a terminal it is printed once, as plain text.",
    )
    _add_admin(command)
    command.add_argument(
        "--interval",
        type=_duration,
        default=1.0,
        metavar="TIME",
        help="between two samples (default: 1s)",
    )
    times = command.add_mutually_exclusive_group()
    times.add_argument("--once", action="store_true", help="print one sample as text, and end")
    times.add_argument(
        "--iterations", type=_count, metavar="N", help="print N samples as text, and end"
    )
    _add_format(command)


def _add_tap(subparsers: "_Commands") -> None:
    command = _add(
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
    command.add_argument("--count", type=_count, metavar="N", help="end after N requests")
    _add_format(command)
    _add_admin(command)


def _add_breaker(subparsers: "_Commands") -> None:
    orders = ("force-open", "disable", "reset")
    command = _add(
        subparsers,
        "breaker",
        commands.breaker,
        "give an order to a running proxy's circuit breaker",
        "force-open refuses everything, disable admits everything, reset closes it with an "
        "empty window and ends both. Names: `top`, or /circuit-breakers.",
    )
    command.add_argument("name", metavar="NAME", help="the breaker's name, or all")
    command.add_argument("order", metavar="ORDER", choices=orders, help=", ".join(orders))
    _add_admin(command)


def _completion(options: argparse.Namespace) -> int:
    from proxy.completion import script

    print(script(_parser(), options.shell))
    return commands.OK


def _add_completion(subparsers: "_Commands") -> None:
    command = _add(
        subparsers,
        "completion",
        _completion,
        "print a script that completes commands and options in your shell",
        "bash: source <(resilience-proxy completion bash). zsh: the same, after compinit. fish: "
        "resilience-proxy completion fish | source.",
    )
    command.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="which")


def _add_schema(subparsers: "_Commands") -> None:
    _add(
        subparsers,
        "schema",
        commands.schema,
        "print the JSON Schema of the configuration",
        "For editors with yaml-language-server (VS Code, Neovim, ...): save it as a file, and "
        "begin yours with `# yaml-language-server: $schema=FILE`.",
    )
