"""``python -m tests.bench.instructions``: instructions that a request takes, counted by callgrind.

Instructions in user space do not depend on what else the machine does, so that two builds can be
told apart by less than a hundredth. The proxy runs under valgrind with one load after the other;
each is sent in a short and in a long run, and the difference divided by the difference in requests
is what one request takes: what a start, a connection or a warm cache costs falls out. The
proxy is fifty times slower under callgrind, so what it does each second would have a larger share
than in traffic: it is counted without requests first, told, and left out.

    python -m tests.bench.instructions                              the installed package
    python -m tests.bench.instructions --package BEFORE AFTER       two directories, compared

A directory is what ``pip install --target DIRECTORY .`` made. The counts go to
tests/bench/results/instructions-NAME.json.
"""

import argparse
import contextlib
import datetime
import json
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from .bed import LOAD_CORE, PEER_CORE
from .check import wait_until_right
from .loads import LOADS, Connections, Heads, Load
from .machine import machine
from .peers import RESILIENCE_PROXY, Site
from .process import Process, free_port
from .programs import VALGRIND
from .upstream import start_nginx

RESULTS = Path(__file__).with_name("results")
CONNECTIONS = 32
WARM_UP, SHORT, LONG = 300, 300, 2_300
"""Requests: before anything is counted, in the short run, in the long one."""
_SILENCE = 10
"""Seconds without a request."""
READY_WITHIN = 180.0
_DUMPED_WITHIN = 60.0
_TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)
_FUNCTION = re.compile(r"^c?fn=\((\d+)\) (uv_run|uv__io_poll)$", re.MULTILINE)
"""A function's name stands where it comes first; then its number is enough."""

COUNTED = tuple(
    load
    for load in LOADS
    if load.name in {"GET 1 KiB", "GET 1 KiB, varied", "POST 1 KiB", "new connections"}
)


@dataclass(frozen=True)
class Count:
    """Instructions of one request of a load, by the package in a directory ("" for installed)."""

    package: str
    load: str
    instructions: float


def request_bytes(load: Load, number: int, fields: str = "", host: str = "127.0.0.1") -> bytes:
    """Request `number` of a load, as wrk sends it (`generator`), with more `fields`."""
    path = ""
    if load.heads is Heads.VARIED:
        path = f"/{number:x}"
        fields += (
            f"X-Request-Id: {number:08x}-7c1a-4e0b-9d55-0000{number:08x}\r\n"
            f"Traceparent: 00-4bf92f3577b34da6{number:016x}-{number + 1:016x}-00\r\n"
        )
    if load.body_bytes:
        fields += f"Content-Length: {load.body_bytes}\r\n"
    if load.connections is Connections.ONE_REQUEST:
        fields += "Connection: close\r\n"
    head = f"{load.method} {load.path}{path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
    return head.encode() + b"x" * load.body_bytes


class ClosedLoop:
    """Connections with one request at a time each, until so many are answered.

    `fields`: the lines of more header fields for the request with this number.
    """

    def __init__(
        self,
        load: Load,
        port: int,
        fields: Callable[[int], str] = lambda number: "",
        host: str = "127.0.0.1",
        connections: int = CONNECTIONS,
    ) -> None:
        self._connections = connections
        self._load, self._port, self._fields, self._host = load, port, fields, host
        self._sent = 0

    def run(self, requests: int) -> None:
        """Raises RuntimeError for an answer that is no 200."""
        left_to_send = left_to_read = requests
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
            for _ in range(min(self._connections, requests)):
                self._open(selector, stack)
                left_to_send -= 1
            while left_to_read:
                for key, _ in selector.select(60):
                    connection: socket.socket = key.fileobj
                    data = connection.recv(256 * 1024)
                    received = key.data
                    received += data
                    if not self._whole(received, ended=not data):
                        continue
                    left_to_read -= 1
                    received.clear()
                    one_request = self._load.connections is Connections.ONE_REQUEST
                    if one_request or not left_to_send:
                        selector.unregister(connection)
                        connection.close()
                    if left_to_send:
                        left_to_send -= 1
                        if one_request:
                            self._open(selector, stack)
                        else:
                            self._send(connection)

    def _open(self, selector: selectors.BaseSelector, stack: contextlib.ExitStack) -> None:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", self._port), 60))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, bytearray())
        self._send(connection)

    def _send(self, connection: socket.socket) -> None:
        self._sent += 1
        fields = self._fields(self._sent)
        connection.sendall(request_bytes(self._load, self._sent, fields, self._host))

    def _whole(self, received: bytearray, *, ended: bool) -> bool:
        end = received.find(b"\r\n\r\n")
        if ended or (end >= 0 and not received.startswith(b"HTTP/1.1 200 ")):
            raise RuntimeError(f"no answer: {bytes(received[:200])!r}")
        if end < 0:
            return False
        length = re.search(rb"\r\ncontent-length: *(\d+)", bytes(received[:end]), re.IGNORECASE)
        if length is None:
            raise RuntimeError(f"an answer without a length: {bytes(received[:end])!r}")
        return len(received) >= end + 4 + int(length[1])


class Counted(Protocol):
    """What `Callgrind.count` runs."""

    def run(self, requests: int) -> None: ...


class _Silence:
    """So many seconds without a request."""

    def run(self, seconds: int) -> None:
        time.sleep(seconds)


class Callgrind:
    """The proxy of one package under callgrind.

    `each_second`: instructions per second without requests; 0 until `listen` has counted them.
    """

    def __init__(self, process: Process, directory: Path) -> None:
        self._process, self._directory = process, directory
        self._dumps = 0
        self.each_second = 0.0

    def listen(self) -> float:
        """Count what the proxy does each second without requests."""
        counted, _, seconds = self._measure(_Silence(), _SILENCE)
        self.each_second = counted / seconds
        return self.each_second

    def count(self, load: Counted, requests: int) -> float:
        """What so many requests make it execute, without what it does each second."""
        counted, _, seconds = self._measure(load, requests)
        return counted - self.each_second * seconds

    def divided(self, load: Counted, requests: int) -> tuple[float, float]:
        """The same in two parts: for events of connections, and all the rest.

        The rest is timers, callbacks of the next turn, and threads. Most of it is what the proxy
        does each second, which is subtracted, so it is less exact.
        """
        counted, of_events, seconds = self._measure(load, requests)
        return of_events, counted - of_events - self.each_second * seconds

    def _measure(self, load: Counted, requests: int) -> tuple[int, int, float]:
        self._dump()
        began = time.monotonic()
        load.run(requests)
        text = self._dump()
        return _total(text), _of_events(text), time.monotonic() - began

    def _dump(self) -> str:
        """Write the counts since the last dump and set them to nought; what was written."""
        self._dumps += 1
        pid = str(self._process.pid)
        subprocess.run(
            ["callgrind_control", f"--dump=step{self._dumps}", pid], check=True, capture_output=True
        )
        file = self._directory / f"callgrind.{self._dumps}"
        end = time.monotonic() + _DUMPED_WITHIN
        while time.monotonic() < end:
            with contextlib.suppress(FileNotFoundError):
                if _TOTAL.search(text := file.read_text()):
                    return text
            time.sleep(0.05)
        raise RuntimeError(f"callgrind did not write {file}")


def _total(dump: str) -> int:
    found = _TOTAL.search(dump)
    assert found is not None
    return int(found[1])


def _of_events(dump: str) -> int:
    """What libuv executed for events of connections: `uv_run` calls `uv__io_poll` for all."""
    numbers = {name: f"({number})" for number, name in _FUNCTION.findall(dump)}
    caller, called = numbers["uv_run"], numbers["uv__io_poll"]
    calls = re.findall(rf"^fn={re.escape(caller)}.*?(?=^fn=|\Z)", dump, re.MULTILINE | re.DOTALL)
    cost = rf"^cfn={re.escape(called)}.*\ncalls=.*\n\S+ (\d+)"
    return sum(int(one) for one in re.findall(cost, "\n".join(calls), re.MULTILINE))


@contextlib.contextmanager
def under_callgrind(
    package: str, command: Callable[[Site], Sequence[str]] | None = RESILIENCE_PROXY.command
) -> Iterator[tuple[Callgrind, int]]:
    """The proxy of `package`, started by `command`, and its port, once it answers."""
    assert command is not None
    with TemporaryDirectory(prefix="proxy-callgrind-") as name:
        directory = Path(name)
        upstream, upstream_port = start_nginx(directory, LOAD_CORE)
        site = Site(directory, free_port(), upstream_port)
        argv = [
            *VALGRIND.argv("--tool=callgrind", f"--callgrind-out-file={directory}/callgrind"),
            *command(site),
        ]
        # The same order of every dict and set in every run.
        env = {"PYTHONHASHSEED": "0"} | ({"PYTHONPATH": package} if package else {})
        log = directory / "proxy.log"
        with upstream, Process("proxy", argv, core=PEER_CORE, log=log, env=env) as process:
            wait_until_right(COUNTED[0], site.port, process, within=READY_WITHIN)
            yield Callgrind(process, directory), site.port


def count(package: str, loads: Sequence[Load]) -> list[Count]:
    """What one request of each load takes."""
    counts = []
    with under_callgrind(package) as (callgrind, port):
        print(f"{package or 'installed'}: each second: {callgrind.listen():,.0f}")
        for load in loads:
            requests = ClosedLoop(load, port)
            requests.run(WARM_UP)
            short, long = (callgrind.count(requests, number) for number in (SHORT, LONG))
            counts.append(Count(package, load.name, (long - short) / (LONG - SHORT)))
            print(f"{package or 'installed'}: {load.name}: {counts[-1].instructions:,.0f}")
    return counts


def as_table(counts: Sequence[Count]) -> str:
    """A row for each load; with two packages, the second one's share of the first."""
    packages = list(dict.fromkeys(one.package for one in counts))
    by = {(one.package, one.load): one.instructions for one in counts}
    lines = ["| load | " + " | ".join(name or "installed" for name in packages) + " |"]
    lines.append("| --- |" + " ---: |" * len(packages))
    for load in dict.fromkeys(one.load for one in counts):
        cells = [f"{by[package, load]:,.0f}" for package in packages]
        for position in range(1, len(packages)):
            cells[position] += f" (× {by[packages[position], load] / by[packages[0], load]:.3f})"
        lines.append(f"| {load} | {' | '.join(cells)} |")
    return "\n".join(lines)


def package_in(directory: str) -> str:
    """The type of an option: the absolute path of a directory with an installed package."""
    if not (Path(directory) / "proxy").is_dir():
        raise argparse.ArgumentTypeError(f"no package proxy in {directory}")
    return str(Path(directory).absolute())


def options_of(name: str, description: str | None) -> argparse.ArgumentParser:
    """For a command that counts under callgrind and writes its results; see `parsed`, `write`."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.bench.{name}", description=description)
    parser.add_argument("--name", help="of the file of results; default: the date")
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"default: {RESULTS}")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    options = parser.parse_args()
    if VALGRIND.path() is None:
        parser.error("valgrind is not installed")
    return options


def write(options: argparse.Namespace, kind: str, **counted: Sequence[object]) -> None:
    """Write the file of results: dataclasses in lists, and the machine."""
    started = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H%M%S")
    document = {"started": started, "machine": machine(), **counted}
    file = options.output / f"{kind}-{options.name or started}.json"
    file.write_text(json.dumps(document, indent=1, default=asdict) + "\n")
    print(file)


def main() -> int:
    parser = options_of("instructions", __doc__)
    parser.add_argument("--package", nargs="+", type=package_in, default=[""], metavar="DIR")
    parser.add_argument("--loads", nargs="+", choices=[load.name for load in COUNTED])
    options = parsed(parser)
    loads = [load for load in COUNTED if not options.loads or load.name in options.loads]
    counts = [one for package in options.package for one in count(package, loads)]
    named = [replace(one, package=Path(one.package).name) for one in counts]
    print(as_table(named))
    write(options, "instructions", counts=named)
    return 0


if __name__ == "__main__":
    sys.exit(main())
