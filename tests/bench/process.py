"""One program under measurement: pinned to a core, watched through /proc, ended by its own pid."""

import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

MICROSECONDS_PER_TICK = 1_000_000 // os.sysconf("SC_CLK_TCK")
KIB = 1024

# Below the range from which the kernel takes the ports of outgoing connections: a port that was
# free when it was chosen is still free when its server starts, whatever load runs meanwhile.
_LISTENING_PORTS = range(18000, 32000)
_ports_left = random.sample(_LISTENING_PORTS, len(_LISTENING_PORTS))


def free_port() -> int:
    """A TCP port on loopback that nothing listens on; another one at each call."""
    while _ports_left:
        port = _ports_left.pop()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free any more")


def pinned(core: int, argv: Sequence[str]) -> list[str]:
    """`argv` bound to `core`; taskset executes in place, so the pid stays the program's own."""
    return ["taskset", "-c", str(core), *argv]


class Process:
    """A program that runs while the ``with`` block does. What it prints goes to `log`."""

    __slots__ = ("_popen", "log", "name")

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        core: int,
        log: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                pinned(core, argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=log.parent,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def running(self) -> bool:
        return self._popen.poll() is None

    def last_words(self) -> str:
        """What it printed so far."""
        return self.log.read_text(errors="replace").strip()

    def stop(self, patience: float = 5.0) -> int:
        """SIGTERM, after `patience` seconds SIGKILL; the exit status."""
        if self.running():
            self._popen.send_signal(signal.SIGTERM)
            try:
                self._popen.wait(patience)
            except subprocess.TimeoutExpired:
                self._popen.kill()
        return self._popen.wait()

    def cpu_microseconds(self) -> int:
        """User and system time so far: every thread, every child, reaped ones included."""
        ticks = 0
        for pid in tree(self.pid):
            fields = _stat(pid)
            ticks += sum(map(int, fields[11:15])) if fields else 0
        return ticks * MICROSECONDS_PER_TICK

    def resident_kib(self) -> int:
        """Resident memory of the process and its children."""
        return sum(_resident_kib(pid) for pid in tree(self.pid))


def tree(root: int) -> list[int]:
    """`root` and all its descendants that are alive."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, open_ends = [], [root]
    while open_ends:
        pid = open_ends.pop()
        found.append(pid)
        open_ends += children.get(pid, [])
    return found


def _stat(pid: int) -> list[str]:
    """The fields of proc(5)'s stat from the third, ``state``, on; none if the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text[text.rindex(")") + 2 :].split()


def _resident_kib(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // KIB
