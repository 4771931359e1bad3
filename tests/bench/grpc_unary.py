"""Unary gRPC calls, grpcio on both sides: what a call costs each proxy.

    python -m tests.bench.grpc_unary [--rounds 3] [--scale 1.0]

The proxy has core 0, both ends core 1. A cell is the median of the rounds: CPU time of the proxy in
microseconds per call, and its ratio to Envoy's in the same round. "ids": each call has an
x-request-id and a traceparent of its own.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .http2 import PEERS, Peer, cells, wait_for
from .peers.base import Site
from .process import Process, free_port, pinned

_ENDS = str(Path(__file__).with_name("grpc_ends.py"))


@dataclass(frozen=True)
class Load:
    """`connections` with `streams` calls at once on each."""

    name: str
    calls: int
    connections: int
    streams: int
    ids: bool = False

    def words(self, port: int, scale: float) -> list[str]:
        count = max(int(self.calls * scale), self.connections * self.streams)
        numbers = (port, count, self.connections, self.streams)
        ids = ["--ids"] if self.ids else []
        return [sys.executable, _ENDS, "call", *(str(number) for number in numbers), *ids]


LOADS = (
    Load("1×1", 6_000, 1, 1),
    Load("1×32", 15_000, 1, 32),
    Load("8×4", 15_000, 8, 4),
    Load("1×32 ids", 15_000, 1, 32, ids=True),
    Load("8×4 ids", 15_000, 8, 4, ids=True),
)


def _run(load: Load, port: int, scale: float) -> int:
    """Make the calls; returns how many."""
    words = load.words(port, scale)
    done = subprocess.run(pinned(1, words), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return int(words[4])


def _measure(peer: Peer, load: Load, upstream: int, directory: Path, scale: float) -> float:
    """CPU microseconds per call of a fresh process, after a warm-up."""
    site = Site(Path(tempfile.mkdtemp(dir=directory)), free_port(), upstream)
    with Process(peer.name, peer.command(site), core=0, log=site.directory / "log") as process:
        wait_for(site.port, process)
        time.sleep(0.3)
        _run(load, site.port, scale / 5)
        before = process.cpu_microseconds()
        calls = _run(load, site.port, scale)
        return (process.cpu_microseconds() - before) / calls


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.grpc_unary")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of calls")
    parser.add_argument("--only", action="append", help="a load's name; again for more")
    options = parser.parse_args(arguments)
    peers = [peer for peer in PEERS if not peer.missing()]
    print("| CPU µs per call |", *(f" {peer.name} |" for peer in peers))
    print("|---" * (1 + len(peers)) + "|")
    port = free_port()
    with tempfile.TemporaryDirectory() as text:
        directory = Path(text)
        words = [sys.executable, _ENDS, "serve", str(port)]
        with Process("grpcio", words, core=1, log=directory / "server.log") as server:
            wait_for(port, server)
            for load in LOADS:
                if options.only and load.name not in options.only:
                    continue
                rounds = [
                    [_measure(peer, load, port, directory, options.scale) for peer in peers]
                    for _ in range(options.rounds)
                ]
                print(f"| {load.name} |", *cells(peers, rounds), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
