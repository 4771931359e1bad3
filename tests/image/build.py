"""The Dockerfile's own steps, performed without an engine.

A directory of its own stands for the image's root: absolute paths in the steps lead into it. Both
stages share it, so that what the second one copies has the path that it had in the first.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from image.dockerfile import Instruction, stages

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile"

_ABSOLUTE = re.compile(r"(?<![\w./$])/(?=(?:src|wheels|opt|etc)\b)")


class Image:
    """What the steps have made in `root`: `bin` is where its programs are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.build, self.final = stages(DOCKERFILE)
        self.workdir = self.inside(self.final.only("WORKDIR").rest)

    def inside(self, text: str) -> str:
        """The text with its absolute paths leading into the directory."""
        return _ABSOLUTE.sub(f"{self.root}/", text)

    def environment(self) -> dict[str, str]:
        """What a process of the image has, and nothing of ours."""
        found = {name: self.inside(text) for name, text in self.final.environment().items()}
        found["PATH"] = found["PATH"].replace(":$PATH", "")
        return found

    def program(self, command: list[str]) -> list[str]:
        """The command with its program's path: nothing is looked up in a PATH of ours."""
        path = shutil.which(command[0], path=self.environment()["PATH"])
        assert path is not None, f"the image has no {command[0]}"
        return [path, *command[1:]]

    def perform(self) -> None:
        """All that the build stage does, and the directories that the final one makes."""
        tools = _tools(self.root / "tools")
        where = self.root
        for one in self.build.instructions:
            if one.word == "WORKDIR":
                where = Path(self.inside(one.rest))
                where.mkdir(parents=True)
            elif one.word == "COPY":
                _copy(one, where)
            elif one.word == "RUN":
                _run(self.inside(one.rest), where, self._environment(one, tools))
            else:
                assert one.word == "ENV", f"{one.word} is not performed here"
        Path(self.workdir).mkdir(parents=True)

    def _environment(self, step: Instruction, tools: Path) -> dict[str, str]:
        """Compilers are there for wheels alone: what is installed has to be ready."""
        kept = {name: text for name, text in os.environ.items() if name.startswith("PIP_")}
        kept["HOME"] = str(self.root)
        path = str(tools)
        if " wheel " in step.rest:
            path += f":{os.environ['PATH']}"
        return {**kept, **self.build.environment(), "PATH": path}

    def seal(self) -> None:
        """From now on nobody may write here; whoever is not root cannot."""
        subprocess.run(["chmod", "-R", "a-w,a+rX", str(self.root)], check=True)


def _tools(directory: Path) -> Path:
    """Python and pip, as the base image has them, and nothing beside."""
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    return directory / "bin"


def _copy(step: Instruction, where: Path) -> None:
    *sources, target = step.rest.split()
    ignored = shutil.ignore_patterns("__pycache__", "*.py[co]", "*.so")
    found = [source for pattern in sources for source in ROOT.glob(pattern)]
    assert found, step.rest
    for source in found:
        if source.is_dir():
            shutil.copytree(source, where / target, ignore=ignored)
        else:
            shutil.copy(source, where / target / (source.name if target.endswith("/") else ""))


def _run(command: str, where: Path, environment: dict[str, str]) -> None:
    run = subprocess.run(
        ["/bin/sh", "-c", command], cwd=where, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, f"{command}\n{run.stdout}{run.stderr}"
