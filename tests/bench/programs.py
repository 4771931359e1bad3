"""The programs a run needs: where they are and which version."""

import functools
import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """An executable that PATH, the system's sbin directories or this Python's own bin may hold."""

    name: str
    version_argument: str

    def path(self) -> Path | None:
        beside_python = Path(sys.executable).parent
        path = f"{beside_python}:/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin"
        found = shutil.which(self.name) or shutil.which(self.name, path=path)
        return Path(found) if found else None

    def argv(self, *arguments: str) -> list[str]:
        """The command line; FileNotFoundError where the program is not installed."""
        path = self.path()
        if path is None:
            raise FileNotFoundError(f"{self.name} is not installed")
        return [str(path), *arguments]

    @functools.cached_property
    def version(self) -> str:
        """The first word with a digit and a dot of what the program says about itself."""
        asked = subprocess.run(
            self.argv(self.version_argument), capture_output=True, text=True, check=False
        )
        return _version_in((asked.stdout + asked.stderr).split())


def _version_in(words: Sequence[str]) -> str:
    for word in words:
        for part in word.split("/"):
            if "." in part and any(character.isdigit() for character in part):
                return part.strip("(),")
    return "unknown"


ENVOY = Program("envoy", "--version")
HAPROXY = Program("haproxy", "-v")
NGINX = Program("nginx", "-v")
WRK = Program("wrk", "-v")
H2LOAD = Program("h2load", "--version")
VALGRIND = Program("valgrind", "--version")
TASKSET = Program("taskset", "--version")

NEEDED = (NGINX, WRK, H2LOAD, TASKSET)
"""Without these nothing can be measured: upstream, load, fixed rate, cores."""


def distribution(name: str) -> str:
    """Version of an installed Python distribution, or ``not installed``."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
