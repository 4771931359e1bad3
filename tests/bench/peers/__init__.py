"""Everything that is measured: each peer one file that writes its configuration and its command."""

from .base import MAX_CONNECTIONS, Peer, Site
from .direct import DIRECT
from .envoy import ENVOY
from .haproxy import HAPROXY
from .nginx import NGINX
from .plain_aiohttp import PLAIN_AIOHTTP
from .resilience import RESILIENCE_PROXY, TRACED

PEERS: tuple[Peer, ...] = (DIRECT, RESILIENCE_PROXY, TRACED, ENVOY, HAPROXY, NGINX, PLAIN_AIOHTTP)
REFERENCES = (ENVOY, HAPROXY)
"""The peers that the ratios in a report are relative to: Envoy has what a sidecar has, HAProxy the
same OpenSSL."""

__all__ = [
    "DIRECT",
    "MAX_CONNECTIONS",
    "NGINX",
    "PEERS",
    "REFERENCES",
    "RESILIENCE_PROXY",
    "Peer",
    "Site",
]
