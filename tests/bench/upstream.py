"""What the peers forward to: cheap, and on the load generator's core: hardly ever the limit.

Downloads and small posts come from nginx; uploads go to a sink that answers when the whole body has
arrived (nginx's ``return`` would answer before, and a proxy may rightly close on that).
"""

import sys
from pathlib import Path

from .process import KIB, Process, free_port
from .programs import NGINX

BODY_SIZES = {"/1k": KIB, "/64k": 64 * KIB, "/1m": 1024 * KIB}

_NGINX = """\
daemon off; master_process off; pid {directory}/upstream.pid; error_log stderr error;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  sendfile off; output_buffers 2 512k; open_file_cache max=16; default_type text/plain;
  client_body_temp_path {directory}/upstream-body; proxy_temp_path {directory}/upstream-proxy;
  fastcgi_temp_path {directory}/upstream-fastcgi; uwsgi_temp_path {directory}/upstream-uwsgi;
  scgi_temp_path {directory}/upstream-scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {directory}/www;
    location /1k {{ return 200 "{small}"; }}
    location = /upload {{ proxy_pass http://127.0.0.1:{port}/1k; }}
  }}
}}
"""


def start_nginx(directory: Path, core: int) -> tuple[Process, int]:
    """An nginx that answers GETs of `BODY_SIZES` and any POST to /1k, and its port.

    A POST to /upload is answered when its whole body has arrived.
    """
    port = free_port()
    www = directory / "www"
    www.mkdir()
    for path, size in BODY_SIZES.items():
        (www / path[1:]).write_bytes(b"x" * size)
    config = directory / "upstream.conf"
    config.write_text(_NGINX.format(directory=directory, port=port, small="x" * BODY_SIZES["/1k"]))
    argv = NGINX.argv("-e", "stderr", "-c", str(config))
    return Process("upstream", argv, core=core, log=directory / "upstream.log"), port


def start_sink(directory: Path, core: int) -> tuple[Process, int]:
    """A server that reads whole uploads and answers 1 KiB, and its port."""
    port = free_port()
    argv = [sys.executable, str(Path(__file__).with_name("sink.py")), str(port)]
    return Process("sink", argv, core=core, log=directory / "sink.log"), port
