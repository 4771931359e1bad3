"""The proxy one would write oneself: aiohttp in front, aiohttp's client behind, nothing else."""

import sys
from pathlib import Path

from .. import programs
from .base import Peer, Site

_SCRIPT = Path(__file__).parents[1] / "plain_aiohttp_proxy.py"


def _command(site: Site) -> list[str]:
    return [sys.executable, str(_SCRIPT), str(site.port), str(site.upstream_port)]


PLAIN_AIOHTTP = Peer(
    "plain aiohttp",
    version=lambda: programs.distribution("aiohttp"),
    missing=lambda: None,
    command=_command,
)
