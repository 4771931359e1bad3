"""A SIGHUP that came while the proxy was starting killed it."""

import json
import signal
import subprocess
import time
from pathlib import Path

from integration.running_proxy import eventually
from issues.bare_process import Bare


def handles_hangups(process: "subprocess.Popen[bytes]") -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(caught, 16) >> (signal.SIGHUP - 1) & 1)


def cpu_seconds(process: "subprocess.Popen[bytes]") -> float:
    """Unlike time, it says how far the start is on a machine that does other work."""
    fields = Path(f"/proc/{process.pid}/schedstat").read_text().split()
    return int(fields[0]) / 1e9


def test_it_serves_and_reloads_after(tmp_path: Path) -> None:
    proxy = Bare(tmp_path)
    started = time.monotonic()
    with proxy.running() as process:
        eventually(lambda: handles_hangups(process), timeout=10)
        held_back = time.monotonic() - started
        used = cpu_seconds(process)
        process.send_signal(signal.SIGHUP)
        proxy.wait_until_ready()
        took = time.monotonic() - started
        eventually(lambda: json.loads(proxy.ask("GET", "/status")[1])["config"]["last_reload"])
        last = json.loads(proxy.ask("GET", "/status")[1])["config"]["last_reload"]
        assert (last["result"], last["trigger"]) == ("applied", "SIGHUP")
        assert held_back < took / 2, "it is held back from early on"
        assert used < 0.25 * cpu_seconds(process), "before most of the imports"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
