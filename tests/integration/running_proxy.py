"""The real command, started on free ports of the loopback, asked and ended by the tests."""

import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from integration.ports import free_port
from integration.raw_client import RawClient, Response
from integration.settings import Settings, merged
from prometheus_client.parser import text_string_to_metric_families

READY_WITHIN = 60.0
"""Seconds; a start is mostly imports, and a busy machine takes many times as long for them."""


class RunningProxy:
    """`python -m proxy run --config FILE` with `settings` on picked ports, ready when it returns.

    What the file leaves out is filled in for tests: every exchange is logged, a drain is short,
    and no budget or breaker of the default policy stands in the way of what is being tested.
    """

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        *,
        file_limits: tuple[int, int] | None = None,
        stdout: int | None = None,
        prefix: Sequence[str] = (),
        **environment: str,
    ) -> None:
        """`file_limits`: soft and hard limit of open files to start with. `stdout`: a descriptor
        instead of the file that `output` and `log_lines` read. `prefix`: a command that becomes
        the proxy.
        """
        self.directory = directory
        self.outbound, self.inbound, self.admin = free_port(), free_port(), free_port()
        self.config = merged(self._base(), settings)
        self._read_ports()
        self.file = directory / "proxy.yaml"
        self.write()
        self._stdout, self._stderr = directory / "stdout", directory / "stderr"
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "proxy", "run", "--config", str(self.file)],
                stdout=out if stdout is None else stdout,
                stderr=err,
                stdin=subprocess.DEVNULL,
                env=_without_addresses() | environment,
                preexec_fn=file_limits
                and partial(resource.setrlimit, resource.RLIMIT_NOFILE, file_limits),
            )
        try:
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _read_ports(self) -> None:
        """`settings` may name addresses of their own."""
        listeners = self.config["listeners"]
        self.outbound = _port(listeners["outbound"])
        self.inbound = _port(listeners["inbound"])
        self.admin = _port(self.config["admin"])

    def _base(self) -> Settings:
        return {
            "service": "orders",
            "listeners": {
                "outbound": {"address": f"127.0.0.1:{self.outbound}"},
                "inbound": {"address": f"127.0.0.1:{self.inbound}"},
            },
            "admin": {"address": f"127.0.0.1:{self.admin}"},
            "drain": {"delay": "0s", "timeout": "200ms"},
            "access_log": {"requests": "all"},
            "policies": {
                "default": {
                    "retry": {
                        "backoff": {"initial": "1ms", "max": "5ms"},
                        "budget": {"min_per_second": 10000},
                    },
                    "circuit_breaker": {"mode": "off"},
                },
            },
        }

    def write(self) -> None:
        """Put `config` into the file, whole at once as an editor or a ConfigMap does."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(yaml.safe_dump(self.config, sort_keys=False))
        fresh.replace(self.file)

    def reconfigure(self, settings: Settings) -> None:
        """Other settings from now on, as `start` would have had them; not other addresses."""
        self.config = merged(self._base(), settings)
        self.write()
        status, answer = self.ask("POST", "/reload")
        assert status == 200, (status, answer)

    # --- life ---------------------------------------------------------------------------------

    def wait_until_ready(self) -> None:
        end = time.monotonic() + READY_WITHIN
        while time.monotonic() < end:
            assert self.process.poll() is None, f"exit {self.process.returncode}: {self.errors}"
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/health/ready")[0] == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"not ready within {READY_WITHIN} s: {self.errors}")

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = 10.0) -> int:
        """The exit status, once it has ended by itself."""
        return self.process.wait(timeout)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(5)

    def stop(self) -> None:
        """End it if it still runs, and make sure that it had no accident in all its life."""
        if self.process.poll() is None:
            self.signal()
            try:
                self.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"still there after SIGTERM: {self.errors}") from None
        assert self.process.returncode in (0, 3), (self.process.returncode, self.errors)
        self.assert_sound()

    def assert_sound(self) -> None:
        """No traceback, no internal error, up to now."""
        for text in (self.errors, self.output):
            assert "Traceback" not in text, text
            assert "never retrieved" not in text, text
        assert not [line for line in self.log_lines() if line.get("reason") == "internal"]

    @property
    def errors(self) -> str:
        return self._stderr.read_text(errors="replace")

    @property
    def output(self) -> str:
        return self._stdout.read_text(errors="replace")

    @property
    def memory(self) -> int:
        """Resident bytes."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # --- asking -------------------------------------------------------------------------------

    def client(self, listener: str = "outbound", **options: Any) -> RawClient:
        return RawClient(self.outbound if listener == "outbound" else self.inbound, **options)

    def call(self, *args: Any, listener: str = "outbound", **kwargs: Any) -> Response:
        """One request on a connection of its own; the arguments are those of `request_bytes`."""
        with self.client(listener) as client:
            return client.request(*args, **kwargs)

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """The admin address's status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=5)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def state(self, path: str) -> Any:
        """A JSON document of the admin address."""
        status, body = self.ask("GET", path)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def breaker(self, name: str) -> dict[str, Any]:
        found = self.state("/circuit-breakers")["circuit_breakers"]
        (only,) = [entry for entry in found if entry["name"] == name]
        result: dict[str, Any] = only
        return result

    def bulkhead(self, name: str) -> dict[str, Any]:
        found = self.state("/bulkheads")["bulkheads"]
        (only,) = [entry for entry in found if entry["name"] == name]
        result: dict[str, Any] = only
        return result

    def in_flight(self) -> int:
        state = self.state("/in-flight")
        return int(state["inbound"] + state["outbound"])

    def metric(self, name: str, /, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels; 0 where there is none."""
        status, text = self.ask("GET", "/metrics")
        assert status == 200
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    # --- logs ---------------------------------------------------------------------------------

    def log_lines(self) -> list[dict[str, Any]]:
        """What was logged on stdout so far; a line that is being written is left out."""
        lines = self.output.split("\n")[:-1]
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if isinstance(line, dict)]

    def logged(self, request_id: str, timeout: float = 3.0) -> dict[str, Any]:
        """The access-log line of a request, once it is there; two of them fail the test."""
        lines: list[dict[str, Any]] = []

        def written() -> bool:
            lines[:] = [one for one in self.log_lines() if one.get("request_id") == request_id]
            return bool(lines)

        eventually(written, timeout)
        assert len(lines) == 1, lines
        return lines[0]


def _without_addresses() -> dict[str, str]:
    """The environment without what would override the file."""
    return {k: v for k, v in os.environ.items() if not k.startswith("RESILIENCE_PROXY_")}


def _port(settings: Settings) -> int:
    return int(settings["address"].rpartition(":")[2])


def eventually(condition: Callable[[], object], timeout: float = 10.0) -> None:
    """Wait until `condition` holds, for something that stays: a moment may pass unseen."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"{condition} did not come true within {timeout} s"
        time.sleep(0.01)


def accepts(port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
