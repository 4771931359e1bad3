"""A shell in which tests type what the documents show, and compare what comes."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from documents.blocks import ROOT, pattern
from integration.running_proxy import RunningProxy


def ports_of(proxy: RunningProxy) -> dict[str, int]:
    """The ports that documents tell, and what they are in this run."""
    return {"7070": proxy.outbound, "7071": proxy.inbound, "7072": proxy.admin}


@dataclass(frozen=True)
class Shell:
    """bash in `directory`, where `resilience-proxy` is the one under test.

    `ports` are those that the documents tell, each with that of this run.
    """

    directory: Path
    ports: Mapping[str, int]

    def here(self, text: str) -> str:
        """The document's words with this run's ports."""
        for told, port in self.ports.items():
            text = re.sub(rf"\b{told}\b", str(port), text)
        return text

    def type(self, command: str) -> str:
        """What it printed. Its exit status must be 0, and nothing on standard error."""
        line = f'resilience-proxy() {{ "{sys.executable}" -m proxy "$@"; }}\n{self.here(command)}'
        environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        environment.pop("INVENTORY_URL", None)
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.directory,
            env=environment | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        return done.stdout


def assert_shown(printed: str, shown: str) -> None:
    """`shown` as the documents have it: ``...`` stands for anything."""
    printed = "\n".join(line.rstrip() for line in printed.splitlines())
    assert pattern(shown).fullmatch(printed), f"{printed}\n--- is not ---\n{shown}"
