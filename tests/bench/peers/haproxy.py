"""HAProxy, one thread: retries, a connection limit and passive observation of the server on."""

from .. import programs
from .base import Peer, Site

_CONFIG = """\
global
  nbthread 1
  maxconn {connections}
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  timeout http-request 10s
  retries 2
  retry-on conn-failure empty-response 502 503 504
  option redispatch
  option forwardfor
  http-reuse always
frontend bench
  bind 127.0.0.1:{port} backlog {connections}{tls}
  unique-id-format %{{+X}}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid
  unique-id-header X-Request-Id
  default_backend bench
backend bench
  balance leastconn
  server upstream 127.0.0.1:{upstream_port} maxconn {connections} pool-max-conn -1 \
check inter 10s observe layer7 error-limit 50 on-error mark-down
"""


def _command(site: Site) -> list[str]:
    text = _CONFIG.format(
        port=site.port,
        upstream_port=site.upstream_port,
        connections=site.connections,
        tls=f" ssl crt {site.certificate.both} alpn http/1.1" if site.certificate else "",
    )
    return programs.HAPROXY.argv("-db", "-q", "-f", site.write("haproxy.cfg", text))


def http2_command(site: Site) -> list[str]:
    """HTTP/2 on both sides."""
    tls = f" ssl crt {site.certificate.both} alpn h2" if site.certificate else " proto h2"
    text = _CONFIG.format(
        port=site.port,
        upstream_port=site.upstream_port,
        connections=site.connections,
        tls=tls,
    ).replace("pool-max-conn -1", "pool-max-conn -1 proto h2")
    return programs.HAPROXY.argv("-db", "-q", "-f", site.write("haproxy.cfg", text))


def _missing() -> str | None:
    return None if programs.HAPROXY.path() else "haproxy is not installed"


def _version() -> str:
    return programs.HAPROXY.version


HAPROXY = Peer("HAProxy", version=_version, missing=_missing, command=_command, tls=True)
