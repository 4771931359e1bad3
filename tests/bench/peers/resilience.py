"""The proxy itself, by its command: one route to one upstream, the default policy, metrics on.

Once more with one request in a hundred traced: its spans go over OTLP to a collector that takes
them all, so what the table shows is the proxy's share.
"""

import subprocess
import sys
from importlib.util import find_spec

from .. import programs
from ..process import free_port
from .base import Peer, Site

_CONFIG = """\
service: bench
listeners:
  outbound: {{address: "127.0.0.1:{port}"{tls}}}
  inbound: {{address: "127.0.0.1:{inbound}"}}
admin: {{address: "127.0.0.1:{admin}"}}
drain: {{delay: 0s, timeout: 1s}}
upstreams:
  bench: {{endpoints: ["http://127.0.0.1:{upstream}"]{protocol}}}
limits: {{connections: {connections}}}
policies:
  default: {{bulkhead: {{max_concurrent: {connections}}}}}
routes:
  - {{name: bench, upstream: bench}}
"""
_TLS = ", tls: {{cert: {certificate.cert}, key: {certificate.key}}}"
_TRACING = """\
tracing: {sample: 1%, exporter: otlp}
"""


def _command(site: Site) -> list[str]:
    return _run(site, "")


def _traced_command(site: Site) -> list[str]:
    # The upstream takes the spans too: it answers any POST to this path.
    collector = f"http://127.0.0.1:{site.upstream_port}/1k"
    return ["env", f"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={collector}", *_run(site, _TRACING)]


def http2_command(site: Site) -> list[str]:
    """HTTP/2 on both sides."""
    return _run(site, "", ", protocol: http2")


def _run(site: Site, more: str, protocol: str = "") -> list[str]:
    text = more + _CONFIG.format(
        port=site.port,
        inbound=free_port(),
        admin=free_port(),
        upstream=site.upstream_port,
        protocol=protocol,
        connections=site.connections,
        tls=_TLS.format(certificate=site.certificate) if site.certificate else "",
    )
    # The installed one, not the tree's: only that is compiled.
    return [sys.executable, "-P", "-m", "proxy", "run", "--config", site.write("proxy.yaml", text)]


def _missing_exporter() -> str | None:
    if find_spec("opentelemetry.exporter.otlp.proto.http"):
        return None
    return "opentelemetry's OTLP exporter is not installed"


def _version() -> str:
    """With how it runs: that makes more of a difference than most versions do."""
    asked = [sys.executable, "-P", "-c", "import proxy.exchange.exchange as it; print(it.__file__)"]
    file = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    how = "interpreted" if file.endswith(".py") else "compiled"
    return f"{programs.distribution('resilience-proxy')}, {how}"


RESILIENCE_PROXY = Peer(
    "resilience-proxy",
    version=_version,
    missing=lambda: None,
    command=_command,
    tls=True,
)
TRACED = Peer(
    "resilience-proxy, 1 % traced",
    version=lambda: "",
    missing=_missing_exporter,
    command=_traced_command,
)
