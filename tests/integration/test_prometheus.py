"""A real Prometheus scrapes the running proxy, in both formats, and takes everything."""

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from chaos.upstream import ChaosUpstream
from integration.ports import free_port
from integration.running_proxy import RunningProxy, eventually
from integration.settings import breaker, route
from unit.telemetry.promised import PROMISED

PROMETHEUS = shutil.which("prometheus")
TRACE = "0af7651916cd43dd8448eb211c80319c"

pytestmark = pytest.mark.skipif(
    PROMETHEUS is None, reason="prometheus is not installed (Debian: prometheus)"
)


class Prometheus:
    """One that scrapes `targets` (name to HOST:PORT) five times a second."""

    def __init__(self, directory: Path, targets: dict[str, str]) -> None:
        self.port = free_port()
        config = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
            "scrape_configs": [
                {"job_name": name, "static_configs": [{"targets": [target]}]}
                for name, target in targets.items()
            ],
        }
        file = directory / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        self.log = directory / "prometheus.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    str(PROMETHEUS),
                    f"--config.file={file}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--enable-feature=exemplar-storage",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer of its API; None while it does not answer."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def scraped(self, jobs: int) -> bool:
        """Whether it has scraped every job, and each without an error."""
        targets = (self.ask("targets") or {}).get("activeTargets", [])
        for target in targets:
            assert not target["lastError"], target["lastError"]
        return [target["health"] for target in targets] == ["up"] * jobs

    def value(self, query: str) -> float:
        result = self.ask("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else -1.0


@contextmanager
def as_text(proxy: RunningProxy) -> Iterator[str]:
    """Where the text format is for whoever would rather have OpenMetrics."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, text = proxy.ask("GET", "/metrics", {"Accept": "text/plain"})
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.long
def test_it_takes_everything(
    tmp_path: Path, start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    proxy = start_proxy(
        {
            "store": {"url": "memory:"},
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [
                route("kept", idempotency={"mode": "optional"}),
                route("copied", mirror={"upstream": "chaos"}),
                route("p", circuit_breaker=breaker(calls=100)),
                route("f", fallback={"when": [500], "response": {"status": 200}}),
                route(
                    "limits",
                    rate_limits=[{"name": "all", "key": "route", "rate": "100/s"}],
                    bulkhead={"limit": "gradient"},
                    faults=[{"share": "100%", "delay": "100ms"}],
                    hedge={"delay": "10ms", "max": 1},
                ),
                route("observed", retry={"mode": "observe"}),
            ],
        }
    )
    sampled = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    for script in ("200", "503 | 200", "500"):
        proxy.call("GET", "/p", sampled, chaos=script)
    proxy.call("GET", "/f", chaos="500")
    proxy.call("GET", "/limits", chaos="200 | 200")
    proxy.call("GET", "/observed", chaos="503")
    proxy.call("POST", "/kept", {"Idempotency-Key": "one"})
    proxy.call("GET", "/copied")
    with as_text(proxy) as text:
        jobs = {"openmetrics": f"127.0.0.1:{proxy.admin}", "text": text}
        prometheus = Prometheus(tmp_path, jobs)
        try:
            eventually(lambda: prometheus.scraped(len(jobs)), timeout=15.0)
            time.sleep(0.25)  # some scrapes more, none of which may be told as an error
            for job in jobs:
                names = prometheus.ask("label/__name__/values", **{"match[]": f'{{job="{job}"}}'})
                assert set(PROMISED) <= set(names), job
                ok = f'sum(proxy_requests_total{{job="{job}",route="p",code="200"}})'
                assert prometheus.value(ok) == 2
                seconds = f'proxy_request_duration_seconds_count{{job="{job}",route="p"}}'
                assert prometheus.value(seconds) == 3
            found = prometheus.ask(
                "query_exemplars",
                query='proxy_request_duration_seconds_bucket{job="openmetrics"}',
                start=str(time.time() - 60),
                end=str(time.time() + 60),
            )
            exemplars = [one["labels"] for series in found for one in series["exemplars"]]
            assert exemplars
            assert all(labels == {"trace_id": TRACE} for labels in exemplars)
            assert b"level=error" not in prometheus.log.read_bytes()
            assert b"Error on ingesting" not in prometheus.log.read_bytes()
        finally:
            prometheus.process.terminate()
            prometheus.process.wait(10)
