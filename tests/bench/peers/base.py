"""What a peer is: a name, a version, and the command that serves a site."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..certificates import Certificate

MAX_CONNECTIONS = 4096
"""Limit wherever a peer has one: above every load's connections, so it is on and never acts."""


@dataclass(frozen=True)
class Site:
    """Where one peer is to serve, and what it forwards to. Files go into `directory`.

    With a `certificate` it serves TLS. `connections` is the limit wherever it has one.
    """

    directory: Path
    port: int
    upstream_port: int
    certificate: Certificate | None = None
    connections: int = MAX_CONNECTIONS

    def write(self, name: str, text: str) -> str:
        """Writes a file there and returns its path."""
        path = self.directory / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True)
class Peer:
    """`command` writes what it needs and returns the argv; None: clients go straight upstream.

    `missing` says why the peer cannot be measured here, or returns nothing. `tls`: it can serve
    that.
    """

    name: str
    version: Callable[[], str]
    missing: Callable[[], str | None]
    command: Callable[[Site], list[str]] | None
    env: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False
