"""HTTP/2 in the clear and under TLS, on both sides: what a request costs each proxy.

    python -m tests.bench.http2 [--rounds 3] [--scale 1.0] [--only NAME]…

h2load asks, nghttpd answers (apt: nghttp2-client, nghttp2-server; nghttp2-proxy for one more peer).
The proxy has core 0, the others core 1. A cell is the median of the rounds: CPU time of the proxy
in microseconds per request, and its ratio to Envoy's in the same round. "paths": another `:path` in
each request, of 2,000; "ids": x-request-id and traceparent that never come again, "ids, paths": a
`:path` too. For those h2load makes way for a generator of our own (`h2_varied`).
"""

import argparse
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import programs
from .certificates import Certificate, issue
from .peers.base import Site
from .peers.envoy import http2_command as envoy_command
from .peers.haproxy import http2_command as haproxy_command
from .peers.resilience import http2_command as resilience_command
from .process import Process, free_port, pinned

_PATHS = 2000


@dataclass(frozen=True)
class Load:
    """`connections` with `streams` requests at once on each.

    `paths`: each request has its own; `ids`: its own request id and trace.
    """

    name: str
    requests: int
    connections: int
    streams: int
    path: str = "/1k"
    body: int = 0
    paths: bool = False
    ids: bool = False
    tls: bool = False


LOADS = (
    Load("1×1", 5_000, 1, 1),
    Load("1×32", 20_000, 1, 32),
    Load("32×1", 20_000, 32, 1),
    Load("32×4", 20_000, 32, 4),
    Load("1×32 paths", 20_000, 1, 32, paths=True),
    Load("32×4 paths", 20_000, 32, 4, paths=True),
    Load("1×32 ids", 20_000, 1, 32, ids=True),
    Load("1×32 ids, paths", 20_000, 1, 32, ids=True, paths=True),
    Load("32×4 ids, paths", 20_000, 32, 4, ids=True, paths=True),
    Load("POST 128 B 8×8", 20_000, 8, 8, body=128),
    Load("GET 1 MiB 4×2", 400, 4, 2, path="/1m"),
    Load("TLS 1×32", 20_000, 1, 32, tls=True),
    Load("TLS 32×4", 20_000, 32, 4, tls=True),
    Load("TLS GET 1 MiB 4×2", 400, 4, 2, path="/1m", tls=True),
)


@dataclass(frozen=True)
class Peer:
    name: str
    command: Callable[[Site], list[str]]
    missing: Callable[[], bool]


def _nghttpx(site: Site) -> list[str]:
    tls = "" if site.certificate else ";no-tls"
    words = [
        "nghttpx",
        f"--frontend=127.0.0.1,{site.port}{tls}",
        f"--backend=127.0.0.1,{site.upstream_port};;proto=h2",
        "--workers=1",
        "--accesslog-file=/dev/null",
        "--conf=/dev/null",
    ]
    if site.certificate is not None:
        words += [site.certificate.key, site.certificate.cert]
    return words


PEERS = (
    Peer("Envoy", envoy_command, lambda: not programs.ENVOY.path()),
    Peer("HAProxy", haproxy_command, lambda: not programs.HAPROXY.path()),
    Peer("nghttpx", _nghttpx, lambda: shutil.which("nghttpx") is None),
    Peer("resilience-proxy", resilience_command, lambda: False),
)


def wait_for(port: int, process: Process) -> None:
    """Until it listens."""
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if not process.running() or time.monotonic() > end:
                raise SystemExit(f"{process.name}: {process.last_words()}") from None
            time.sleep(0.05)


def _argv(load: Load, port: int, directory: Path, scale: float) -> tuple[list[str], int]:
    count = max(int(load.requests * scale), load.connections)
    if load.ids:
        program = str(Path(__file__).with_name("h2_varied.py"))
        words = [sys.executable, program, str(port), str(count), str(load.connections)]
        words += [str(load.streams), load.path, f"{port}.{count}"]
        return [
            *words,
            "paths",
        ] if load.paths else words, count // load.connections * load.connections
    origin = f"{'https' if load.tls else 'http'}://127.0.0.1:{port}"
    words = ["h2load", f"-n{count}", f"-c{load.connections}", f"-m{load.streams}"]
    if load.body:
        body = directory / "body"
        body.write_bytes(b"x" * load.body)
        words.append(f"--data={body}")
    if not load.paths:
        return [*words, origin + load.path], count
    file = directory / f"paths.{port}"
    file.write_text("".join(f"{origin}{load.path}?{number:x}\n" for number in range(_PATHS)))
    return [*words, f"--input-file={file}"], count


def _run(words: list[str], process: Process, *, strict: bool) -> None:
    done = subprocess.run(pinned(1, words), capture_output=True, text=True, check=False)
    if strict and not re.search(r" 0 failed, 0 errored, 0 timeout| answered$", done.stdout.strip()):
        said = process.last_words()[-2000:]
        raise SystemExit(f"{process.name}: {' '.join(words)}\n{done.stdout}{done.stderr}{said}")


def _measure(peer: Peer, load: Load, bed: "Bed", scale: float) -> float:
    """CPU microseconds per request of a fresh process, after a warm-up."""
    port = free_port()
    certificate = bed.certificate if load.tls else None
    directory = Path(tempfile.mkdtemp(dir=bed.directory))
    site = Site(directory, port, bed.upstream_port, certificate)
    log = directory / "log"
    with Process(peer.name, peer.command(site), core=0, log=log) as process:
        wait_for(port, process)
        time.sleep(0.3)
        words, _ = _argv(load, port, directory, scale / 5)
        _run(words, process, strict=False)  # a burst before SETTINGS costs Envoy some
        words, count = _argv(load, port, directory, scale)
        before = process.cpu_microseconds()
        _run(words, process, strict=True)
        return (process.cpu_microseconds() - before) / count


class Bed:
    """The upstream and its files, within a ``with`` block."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificate: Certificate = issue(directory)
        pages = directory / "pages"
        pages.mkdir()
        (pages / "1k").write_bytes(b"x" * 1024)
        (pages / "1m").write_bytes(b"x" * 1024 * 1024)
        self.upstream_port = free_port()
        words = ["nghttpd", "--no-tls", "-d", str(pages), str(self.upstream_port)]
        self._process = Process("nghttpd", words, core=1, log=directory / "nghttpd.log")

    def __enter__(self) -> "Bed":
        wait_for(self.upstream_port, self._process)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.http2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of requests")
    parser.add_argument("--only", action="append", help="a load's name; again for more")
    options = parser.parse_args(arguments)
    for needed in ("h2load", "nghttpd"):
        if shutil.which(needed) is None:
            raise SystemExit(f"{needed} is not installed")
    peers = [peer for peer in PEERS if not peer.missing()]
    print("| CPU µs per request |", *(f" {peer.name} |" for peer in peers))
    print("|---" * (1 + len(peers)) + "|")
    with tempfile.TemporaryDirectory() as text, Bed(Path(text)) as bed:
        for load in LOADS:
            if options.only and load.name not in options.only:
                continue
            rounds = [
                [_measure(peer, load, bed, options.scale) for peer in peers]
                for _ in range(options.rounds)
            ]
            print(f"| {load.name} |", *cells(peers, rounds), flush=True)


def cells(peers: list[Peer], rounds: list[list[float]]) -> list[str]:
    """Medians, and the medians of the ratios to the first peer within a round."""
    cells = []
    for at in range(len(peers)):
        cost = statistics.median(one[at] for one in rounds)
        ratio = statistics.median(one[at] / one[0] for one in rounds)
        cells.append(f" {cost:.1f} |" if at == 0 else f" {cost:.1f} ({ratio:.2f}) |")
    return cells


if __name__ == "__main__":
    main(sys.argv[1:])
