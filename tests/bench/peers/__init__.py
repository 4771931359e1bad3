"""Everything that is measured: each peer one file that writes its configuration and its command."""

from .base import Peer, Site
from .direct import DIRECT
from .envoy import ENVOY
from .haproxy import HAPROXY
from .nginx import NGINX
from .plain_aiohttp import PLAIN_AIOHTTP
from .resilience import RESILIENCE_PROXY, TRACED

PEERS: tuple[Peer, ...] = (DIRECT, RESILIENCE_PROXY, TRACED, ENVOY, HAPROXY, NGINX, PLAIN_AIOHTTP)
REFERENCE = ENVOY
"""The peer that the ratios in a report are relative to."""

__all__ = ["DIRECT", "PEERS", "REFERENCE", "RESILIENCE_PROXY", "Peer", "Site"]
