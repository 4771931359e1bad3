"""A shell for the documents' commands, whose output tests compare with the documents."""

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
    """The ports of the documents, and those of this run."""
    return {"7070": proxy.outbound, "7071": proxy.inbound, "7072": proxy.admin}


@dataclass(frozen=True)
class Shell:
    """bash in `directory`, with the `resilience-proxy` under test.

    `ports` maps the ports of the documents to those of this run.
    """

    directory: Path
    ports: Mapping[str, int]

    def here(self, text: str) -> str:
        """The text with this run's ports."""
        for told, port in self.ports.items():
            text = re.sub(rf"\b{told}\b", str(port), text)
        return text

    def type(self, command: str) -> str:
        """Run a command; returns its output. Asserts exit status 0 and an empty stderr."""
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
    """Assert that `printed` is as `shown` in a document; ``...`` matches anything."""
    printed = "\n".join(line.rstrip() for line in printed.splitlines())
    assert pattern(shown).fullmatch(printed), f"{printed}\n--- is not ---\n{shown}"
