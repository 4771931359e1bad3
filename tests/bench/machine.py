"""What the figures were made on: processor, kernel, versions."""

import os
import platform
from pathlib import Path

from . import programs
from .peers import Peer


def machine() -> dict[str, str]:
    return {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 20} MiB",
        "load average at start": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def versions(peers: list[Peer]) -> dict[str, str]:
    found = {peer.name: peer.version() for peer in peers if peer.command}
    found |= {"Python": platform.python_version()}
    found |= {name: programs.distribution(name) for name in ("uvloop", "httptools")}
    found |= {program.name: program.version for program in (programs.WRK, programs.H2LOAD)}
    return found


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()
