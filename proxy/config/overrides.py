"""Overrides of all files: flags of ``run``, and environment variables.

    --outbound ADDRESS  $RESILIENCE_PROXY_OUTBOUND   listeners.outbound.address
    --inbound ADDRESS   $RESILIENCE_PROXY_INBOUND    listeners.inbound.address
    --app PORT          $RESILIENCE_PROXY_APP        upstreams.app.endpoints, on 127.0.0.1
    --admin ADDRESS     $RESILIENCE_PROXY_ADMIN      admin.address

A flag overrides a variable; an empty variable counts as unset. $RESILIENCE_PROXY_APP_PORT is
different: the file overrides it; injection sets it.
"""

from collections.abc import Mapping as Strings
from typing import NamedTuple

from proxy.config.document import Mapping, Node, Scalar, Sequence
from proxy.config.problems import Mark, Path

ADMIN_VARIABLE = "RESILIENCE_PROXY_ADMIN"
"""Also used by commands that ask a running proxy."""

OUTBOUND, INBOUND, APP, ADMIN = FLAGS = ("outbound", "inbound", "app", "admin")

_PATHS: dict[str, Path] = {
    OUTBOUND: ("listeners", "outbound", "address"),
    INBOUND: ("listeners", "inbound", "address"),
    APP: ("upstreams", "app", "endpoints"),
    ADMIN: ("admin", "address"),
}


def variable_of(flag: str) -> str:
    return f"RESILIENCE_PROXY_{flag.upper()}"


class Override(NamedTuple):
    """One override. `source` names it for people."""

    source: str
    flag: str
    text: str

    def layer(self, file: int) -> Mapping:
        """A document that has this one value. Raises ValueError for an invalid port."""
        mark = Mark(0, 0, file)
        node: Node
        if self.flag == APP:
            endpoint = f"http://127.0.0.1:{check_port(self.text)}"
            node = Sequence(mark, [Scalar(mark, endpoint, True)])
        else:
            node = Scalar(mark, _address(self.text), True)
        for key in reversed(_PATHS[self.flag]):
            node = Mapping(mark, {str(key): (mark, node)})
        assert isinstance(node, Mapping)
        return node

    @property
    def path(self) -> Path:
        return _PATHS[self.flag]


def overrides(flags: Strings[str, str], environ: Strings[str, str]) -> list[Override]:
    """`flags` by their names without dashes. At most one override per key."""
    found = []
    for flag in FLAGS:
        variable = variable_of(flag)
        if flag in flags:
            found.append(Override(f"--{flag}", flag, flags[flag]))
        elif environ.get(variable):
            found.append(Override(f"${variable}", flag, environ[variable]))
    return found


def check_port(text: str) -> int:
    """A port to connect to. Raises ValueError with a sentence."""
    if text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535:
        return int(text)
    host, colon, port = text.rpartition(":")
    hint = f"; write {port}" if colon and port.isdigit() and host else " such as 8080"
    raise ValueError(f"{text!r} is not a port{hint}: the service is on this machine")


def _address(text: str) -> str:
    """$RESILIENCE_PROXY_ADMIN can be a URL, which other commands accept."""
    return text.removeprefix("http://").rstrip("/")
