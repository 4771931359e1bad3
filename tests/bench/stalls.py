"""``python -m tests.bench.stalls``: how long orders and questions hold up the event loop.

A proxy with thousands of routes, each of which has been used, is asked for every document of the
admin API, told to reload and to turn the bypass, and watched by an open page. Exit status 1 where
a step of its loop takes more than 20 ms of CPU time (`loop_watch`).
"""

import argparse
import contextlib
import http.client
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .bed import LOAD_CORE, PEER_CORE
from .loop_watch import ask_watch
from .process import Process, free_port
from .upstream import start_nginx

MAY_HOLD = 20.0
"""Milliseconds of CPU time."""
ROUTES = 5_000
_DOCUMENTS = (
    *("/status", "/routes", "/config", "/circuit-breakers", "/bulkheads", "/retries"),
    *("/upstreams", "/in-flight", "/recent", "/history", "/metrics", "/health/ready"),
)
_ORDERS = (("/bypass", "on"), ("/bypass", "off"), ("/reload", ""), ("/bypass", "on"))
_WATCHED = 10.0
"""Seconds of an open page."""


@dataclass(frozen=True)
class Site:
    process: Process
    outbound: int
    admin: int
    watch: int

    def longest_step(self) -> float:
        """Milliseconds of CPU time since the last call."""
        return ask_watch(self.watch)

    def ask(self, method: str, path: str, body: str = "") -> int:
        """The bytes of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=120)
        with contextlib.closing(connection):
            connection.request(method, path, body=body or None)
            answer = connection.getresponse()
            read = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{method} {path}: {answer.status} {read[:200]!r}")
            return len(read)


@contextmanager
def _site(routes: int) -> Iterator[Site]:
    with TemporaryDirectory(prefix="proxy-stalls-") as name, ExitStack() as running:
        directory = Path(name)
        upstream, port = start_nginx(directory, LOAD_CORE)
        running.enter_context(upstream)
        outbound, inbound, admin, watch = (free_port() for _ in range(4))
        file = directory / "proxy.yaml"
        numbers = range(routes)
        endpoint = f"{{endpoints: ['http://127.0.0.1:{port}']}}"
        file.write_text(
            "\n".join(
                [
                    f"listeners: {{outbound: {{address: '127.0.0.1:{outbound}'}},",
                    f"            inbound: {{address: '127.0.0.1:{inbound}'}}}}",
                    f"admin: {{address: '127.0.0.1:{admin}'}}",
                    "drain: {delay: 0s, timeout: 1s}",
                    "upstreams:",
                    *(f"  u{n}: {endpoint}" for n in numbers),
                    "routes:",
                    *(
                        f"  - {{name: r{n}, match: {{hosts: [h{n}]}}, upstream: u{n}}}"
                        for n in numbers
                    ),
                ]
            )
        )
        program = Path(__file__).with_name("loop_watch.py")
        argv = [sys.executable, "-P", str(program), str(watch), "run", "--config", str(file)]
        log = directory / "proxy.log"
        process = running.enter_context(Process("proxy", argv, core=PEER_CORE, log=log))
        site = Site(process, outbound, admin, watch)
        _wait_for(site)
        _use(site, routes)
        yield site


def _wait_for(site: Site) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and site.process.running():
        with contextlib.suppress(OSError):
            site.longest_step()
            return
        time.sleep(0.2)
    raise SystemExit(f"the proxy does not serve: {site.process.last_words()}")


def _use(site: Site, routes: int) -> None:
    """A request on every route: what is not used is not kept."""
    connection = http.client.HTTPConnection("127.0.0.1", site.outbound, timeout=30)
    for number in range(routes):
        connection.request("GET", "/1k", headers={"Host": f"h{number}"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"route r{number}: {answer.status}")
    connection.close()


def _watched(site: Site, seconds: float) -> int:
    """The bytes that an open page gets."""
    with socket.create_connection(("127.0.0.1", site.admin), timeout=1) as page:
        page.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        end, read = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                read += len(page.recv(1 << 20))
        return read


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stalls", description=__doc__)
    parser.add_argument("--routes", type=int, default=ROUTES, help=f"default: {ROUTES}")
    options = parser.parse_args(arguments)
    worst = 0.0
    with _site(options.routes) as site:
        site.longest_step()

        def told(what: str, size: int) -> None:
            nonlocal worst
            step = site.longest_step()
            worst = max(worst, step)
            print(f"{what:<24} {size:>12,} bytes   longest step {step:6.2f} ms", flush=True)

        for path in _DOCUMENTS:
            told(f"GET {path}", site.ask("GET", path))
        for path, body in _ORDERS:
            size = site.ask("POST", path, body)
            time.sleep(1.0)  # what is bound afterwards counts too
            told(f"POST {path} {body}", size)
        told("an open page", _watched(site, _WATCHED))
    if worst > MAY_HOLD:
        print(f"BROKEN  a step of {worst:.1f} ms, more than {MAY_HOLD:g}")
    return 1 if worst > MAY_HOLD else 0


if __name__ == "__main__":
    sys.exit(main())
