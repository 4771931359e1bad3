"""The command line: ``resilience-proxy COMMAND``, also ``python -m proxy COMMAND``.

Exit status: 0 done, 2 bad usage or configuration (problems on stderr), 3 a drain that had to cut
requests, 1 anything else. Each command imports what it needs when it is called, so that ``check``
costs no event loop and ``-h`` nothing at all.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy import __version__
from proxy.units import UnitError, parse_duration

if TYPE_CHECKING:
    from proxy.config import Loaded
    from proxy.config.model import Address

OK, FAILED, USAGE = 0, 1, 2

CONFIG_VARIABLE = "RESILIENCE_PROXY_CONFIG"
DEFAULT_FILE = Path("config/proxy.yaml")
DEFAULT_ADMIN = "http://127.0.0.1:7072"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. ``-h`` and bad usage raise SystemExit."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name can be any bytes
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        status = command(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`). Python would complain once more when it
        # flushes at exit, so stdout is pointed at nothing.
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return FAILED
    except OSError as error:
        return _fail(str(error), FAILED)
    return status


def _fail(message: str, status: int) -> int:
    print(f"resilience-proxy: {message}", file=sys.stderr)
    return status


def _load(path: Path | None) -> "Loaded | None":
    """The configuration, its warnings on stderr; None when its problems have been printed."""
    from proxy.config import ConfigError, load

    try:
        loaded = load(path, os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return None
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)
    return loaded


def _run(options: argparse.Namespace) -> int:
    path = config_file(options.config)
    loaded = _load(path)
    if loaded is None:
        return USAGE
    with _without_default_cas():
        from proxy import app

    return app.run(loaded, path)


@contextmanager
def _without_default_cas() -> Iterator[None]:
    """aiohttp's client, which the proxy does not use, loads the system's CAs when it is imported:
    2 MiB, and a tenth of the time until the proxy is ready."""
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def config_file(given: Path | None) -> Path | None:
    """The file to run: the one given, the environment's, ``config/proxy.yaml`` if there is one,
    else None for the embedded default."""
    if given is not None:
        return given
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _check(options: argparse.Namespace) -> int:
    loaded = _load(options.file)
    if loaded is None:
        return USAGE
    from proxy.config.summary import summary

    print(summary(loaded))
    return OK


def _explain(options: argparse.Namespace) -> int:
    if options.request_id is not None:
        if options.file is not None:
            return _fail("explain takes FILE METHOD URL or --request-id ID, not both", USAGE)
        from proxy.admin.past import explain_request

        return explain_request(options.admin, options.request_id)
    from proxy.config.model import Listener
    from proxy.routing.explain import describe_request, explain

    try:
        request = describe_request(options.method, options.url, options.header)
    except ValueError as error:
        return _fail(str(error), USAGE)
    loaded = _load(options.file)
    if loaded is None:
        return USAGE
    print(explain(loaded, Listener(options.listener), request))
    return OK


def _demo(options: argparse.Namespace) -> int:
    from proxy import demo

    return demo.run(options.duration)


def _drain(options: argparse.Namespace) -> int:
    from proxy.admin import client

    return client.drain(options.admin)


def _ready(options: argparse.Namespace) -> int:
    from proxy.admin import client

    return client.ready(options.admin, options.timeout)


def _top(options: argparse.Namespace) -> int:
    from proxy import top

    return top.run(options.admin, options.interval, 1 if options.once else options.iterations)


def _inject(options: argparse.Namespace) -> int:
    from proxy.kubernetes import command_line

    return command_line.inject(options)


def _webhook(options: argparse.Namespace) -> int:
    from proxy import webhook_server
    from proxy.config.model import ListenerTls
    from proxy.kubernetes import command_line

    tls = ListenerTls(str(options.tls_cert), str(options.tls_key))
    settings = command_line.settings_of(options)
    return webhook_server.run(
        webhook_server.Options(options.address, tls, options.drain_delay, settings)
    )


def _address(text: str) -> "Address":
    from proxy.config.names import AddressKind

    try:
        return AddressKind().parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _schema(options: argparse.Namespace) -> int:
    from proxy.config import json_schema

    print(json.dumps(json_schema(), indent=2))
    return OK


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
    scheme, _, rest = text.partition("://")
    if scheme not in ("http", "https") or not rest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL such as {DEFAULT_ADMIN}")
    return text.rstrip("/")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="resilience-proxy",
        description="A sidecar that carries a service's HTTP calls through trouble: retries, "
        "circuit breakers, deadlines, bulkheads, fallbacks, and a drain that loses nothing.",
        epilog="Exit status: 0 done, 2 bad usage or configuration, 3 a drain that had to cut "
        "requests, 1 anything else.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_check(commands)
    _add_explain(commands)
    _add_demo(commands)
    _add_drain(commands)
    _add_ready(commands)
    _add_top(commands)
    _add_inject(commands)
    _add_webhook(commands)
    _add_schema(commands)
    return parser


if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def _add(
    commands: "_Commands",
    name: str,
    run: Callable[[argparse.Namespace], int],
    does: str,
    more: str = "",
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=does,
        description=f"{does[0].upper()}{does[1:]}. {more}".strip(),
        formatter_class=argparse.HelpFormatter,
    )
    command.set_defaults(command=run)
    return command


def _add_run(commands: "_Commands") -> None:
    command = _add(
        commands,
        "run",
        _run,
        "run the proxy in the foreground",
        f"Without --config the file is ${CONFIG_VARIABLE}, else {DEFAULT_FILE} if it exists, else "
        "none: then built-in defaults apply. SIGTERM or SIGINT drains, a second one ends at once; "
        "SIGHUP reloads the file.",
    )
    command.add_argument("--config", metavar="FILE", type=Path, help="the configuration")


def _add_check(commands: "_Commands") -> None:
    command = _add(
        commands,
        "check",
        _check,
        "show all problems of a file, or a summary of its routes",
        "Starts nothing. Every problem has its line and column; warnings do not fail.",
    )
    command.add_argument("file", metavar="FILE", type=Path, help="the configuration")


def _add_explain(commands: "_Commands") -> None:
    command = _add(
        commands,
        "explain",
        _explain,
        "show which route takes a request and on which terms, or what became of one",
        "With FILE METHOD URL: why the earlier routes do not take it, where it goes, and every "
        "value of the policy in effect with the place it comes from. With --request-id: what a "
        "running proxy did with that request, if it is under way or had trouble lately.",
    )
    command.usage = (
        "%(prog)s [-h] FILE METHOD URL [-H 'NAME: VALUE'] [--listener {outbound,inbound}]\n"
        "       %(prog)s [-h] --request-id ID [--admin URL]"
    )
    described = [
        command.add_argument("file", metavar="FILE", type=Path, help="the configuration"),
        command.add_argument("method", metavar="METHOD", help="GET, POST, ... or CONNECT"),
        command.add_argument(
            "url",
            metavar="URL",
            help="http://host/path, or /path with a Host header; host:port for CONNECT",
        ),
    ]
    command.add_argument(
        "-H",
        "--header",
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        help="a header of the request; may be given several times",
    )
    command.add_argument(
        "--listener",
        choices=("outbound", "inbound"),
        default="outbound",
        help="where the request comes in (default: %(default)s)",
    )
    command.add_argument(
        "--request-id",
        metavar="ID",
        action=_RequestId,
        instead_of=described,
        help="the X-Request-Id of a request that was carried",
    )
    _add_admin(command)


class _RequestId(argparse.Action):
    """An option that makes the positional arguments `instead_of` superfluous."""

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


def _add_demo(commands: "_Commands") -> None:
    command = _add(
        commands,
        "demo",
        _demo,
        "show an order service and its troubled dependencies, live",
        "Everything runs on this machine; a table at the end compares it with no proxy.",
    )
    command.add_argument(
        "--duration", type=_duration, default=30.0, metavar="TIME", help="how long (default: 30s)"
    )


def _add_drain(commands: "_Commands") -> None:
    command = _add(
        commands,
        "drain",
        _drain,
        "ask a running proxy to drain, and wait until it has",
        "For a container's preStop hook. Status 3: it had to cut requests.",
    )
    _add_admin(command)


def _add_ready(commands: "_Commands") -> None:
    command = _add(
        commands,
        "ready",
        _ready,
        "wait until a running proxy takes requests",
        "For a postStart hook, and for scripts. Status 1: not in that time.",
    )
    _add_admin(command)
    command.add_argument(
        "--timeout", type=_duration, default=30.0, metavar="TIME", help="how long (default: 30s)"
    )


def _add_inject(commands: "_Commands") -> None:
    from proxy.kubernetes import command_line

    command = _add(
        commands,
        "inject",
        _inject,
        "add the sidecar to Kubernetes manifests",
        "Manifests on stdin, YAML or JSON, and the same with the sidecar on stdout; what has no "
        "pod is passed through. Twice is the same as once.",
    )
    command_line.file_argument(command)
    command_line.add_settings(command)


def _add_webhook(commands: "_Commands") -> None:
    from proxy.kubernetes import command_line

    command = _add(
        commands,
        "webhook",
        _webhook,
        "serve the Kubernetes admission webhook that adds the sidecar to pods",
        "POST /inject takes an AdmissionReview; /health/live, /health/ready and /metrics are "
        "there too. Certificates are loaded again when the files change.",
    )
    command.add_argument("--tls-cert", metavar="FILE", type=Path, required=True, help="PEM")
    command.add_argument("--tls-key", metavar="FILE", type=Path, required=True, help="PEM")
    command.add_argument(
        "--address",
        metavar="HOST:PORT",
        type=_address,
        default="0.0.0.0:8443",
        help="where to listen (default: %(default)s)",
    )
    command.add_argument(
        "--drain-delay",
        metavar="TIME",
        type=_duration,
        default=5.0,
        help="how long it still answers after SIGTERM (default: 5s)",
    )
    command_line.add_settings(command)


def _add_admin(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--admin",
        type=_admin_url,
        default=DEFAULT_ADMIN,
        metavar="URL",
        help="the proxy's admin address (default: %(default)s)",
    )


def _add_top(commands: "_Commands") -> None:
    command = _add(
        commands,
        "top",
        _top,
        "show a running proxy live: rates, latencies, breakers, recent trouble",
        "Keys: q quits, s sorts the routes, 1-6 show one table alone and 0 all, space pauses. "
        "Where the output is no terminal it is printed once, as plain text.",
    )
    _add_admin(command)
    command.add_argument(
        "--interval",
        type=_duration,
        default=1.0,
        metavar="TIME",
        help="between two looks (default: 1s)",
    )
    times = command.add_mutually_exclusive_group()
    times.add_argument("--once", action="store_true", help="print one look as text, and end")
    times.add_argument(
        "--iterations", type=_count, metavar="N", help="print N looks as text, and end"
    )


def _add_schema(commands: "_Commands") -> None:
    _add(
        commands,
        "schema",
        _schema,
        "print the JSON Schema of the configuration",
        "For editors: in VS Code, set yaml.schemas to where you keep it.",
    )
