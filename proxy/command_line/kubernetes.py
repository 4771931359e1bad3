"""The commands for Kubernetes."""

from pathlib import Path
from typing import TYPE_CHECKING

from proxy import commands
from proxy.command_line.shared import add
from proxy.command_line.values import address, duration

if TYPE_CHECKING:
    from proxy.command_line.shared import Commands


def add_inject(subparsers: "Commands", *, described: bool) -> None:
    command = add(
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


def add_webhook(subparsers: "Commands", *, described: bool) -> None:
    command = add(
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
        type=address,
        default="0.0.0.0:8443",
        help="the address to listen on (default: %(default)s)",
    )
    command.add_argument(
        "--drain-delay",
        metavar="TIME",
        type=duration,
        default=5.0,
        help="how long to answer after SIGTERM (default: 5s)",
    )
    command_line.add_settings(command)
