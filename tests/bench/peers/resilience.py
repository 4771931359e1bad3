"""The proxy itself, by its command: one route to one upstream, the default policy, metrics on."""

import sys
from pathlib import Path

from .. import programs
from ..process import free_port
from .base import MAX_CONNECTIONS, Peer, Site

_CONFIG = """\
service: bench
listeners:
  outbound: {{address: "127.0.0.1:{port}"}}
  inbound: {{address: "127.0.0.1:{inbound}"}}
admin: {{address: "127.0.0.1:{admin}"}}
drain: {{delay: 0s, timeout: 1s}}
upstreams:
  bench: {{endpoints: ["http://127.0.0.1:{upstream}"]}}
policies:
  default: {{bulkhead: {{max_concurrent: {connections}}}}}
routes:
  - {{name: bench, upstream: bench}}
"""


def _command(site: Site) -> list[str]:
    text = _CONFIG.format(
        port=site.port,
        inbound=free_port(),
        admin=free_port(),
        upstream=site.upstream_port,
        connections=MAX_CONNECTIONS,
    )
    return [sys.executable, "-m", "proxy", "run", "--config", site.write("proxy.yaml", text)]


RESILIENCE_PROXY = Peer(
    "resilience-proxy",
    version=lambda: programs.distribution("resilience-proxy"),
    missing=lambda: None,
    command=_command,
    env={"PYTHONPATH": str(Path(__file__).parents[3])},
)
