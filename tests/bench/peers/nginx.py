"""nginx as a reverse proxy, one process: next-upstream retries and passive failure counting on.

Both directions stream like the others do (its default would spool large bodies to disk).
"""

from .. import programs
from .base import Peer, Site

_CONFIG = """\
daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr error;
events {{ worker_connections {workers}; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 75s; tcp_nodelay on;
  client_max_body_size 0;
  client_body_temp_path {directory}/nginx-body; proxy_temp_path {directory}/nginx-proxy;
  fastcgi_temp_path {directory}/nginx-fastcgi; uwsgi_temp_path {directory}/nginx-uwsgi;
  scgi_temp_path {directory}/nginx-scgi;
  upstream bench {{
    least_conn;
    server 127.0.0.1:{upstream_port} max_fails=50 fail_timeout=30s max_conns={connections};
    keepalive 1024; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog={connections}{tls};
    location / {{
      proxy_pass http://bench;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_request_buffering off; proxy_max_temp_file_size 0;
      proxy_connect_timeout 1s;
      proxy_next_upstream error timeout http_502 http_503 http_504;
      proxy_next_upstream_tries 3;
    }}
  }}
}}
"""

_TLS = " ssl; ssl_certificate {certificate.cert}; ssl_certificate_key {certificate.key}"


def _command(site: Site) -> list[str]:
    text = _CONFIG.format(
        directory=site.directory,
        port=site.port,
        upstream_port=site.upstream_port,
        connections=site.connections,
        workers=4 * site.connections,
        tls=_TLS.format(certificate=site.certificate) if site.certificate else "",
    )
    return programs.NGINX.argv("-e", "stderr", "-c", site.write("nginx.conf", text))


def _missing() -> str | None:
    return None if programs.NGINX.path() else "nginx is not installed"


def _version() -> str:
    return programs.NGINX.version


NGINX = Peer("nginx", version=_version, missing=_missing, command=_command, tls=True)
