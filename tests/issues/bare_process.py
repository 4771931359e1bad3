"""`run` without the comforts of `RunningProxy`: its streams, its terminal and its start are the
test's own.
"""

import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from integration.ports import free_port


class Bare:
    """A file for `run`, and the process that runs it."""

    def __init__(self, directory: Path, drain: str = "{delay: 0s, timeout: 5s}") -> None:
        self.outbound, self.inbound, self.admin = free_port(), free_port(), free_port()
        self.file = directory / "proxy.yaml"
        self.file.write_text(
            f"listeners:\n"
            f"  outbound: {{address: '127.0.0.1:{self.outbound}'}}\n"
            f"  inbound: {{address: '127.0.0.1:{self.inbound}'}}\n"
            f"admin: {{address: '127.0.0.1:{self.admin}'}}\n"
            f"drain: {drain}\n"
        )
        self.command = [sys.executable, "-m", "proxy", "run", "--config", str(self.file)]

    @contextmanager
    def running(self, redirections: str = "", **options: Any) -> Iterator[subprocess.Popen[bytes]]:
        """`redirections` are a shell's, such as ``>&-``. Killed at the end if it still runs."""
        command = self.command
        if redirections:
            command = ["sh", "-c", f'exec "$@" {redirections}', "sh", *command]
        with subprocess.Popen(command, env=dict(os.environ), **options) as process:
            try:
                yield process
            finally:
                process.kill()

    def ask(self, method: str, path: str, timeout: float = 5.0) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def wait_until_ready(self, within: float = 60.0) -> None:
        end = time.monotonic() + within
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/health/ready")[0] == 200:
                    return
            assert time.monotonic() < end, f"not ready within {within} s"
            time.sleep(0.02)
