"""The loads, and the programs that make them: wrk for saturation, h2load for a fixed rate."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .process import KIB, pinned
from .programs import H2LOAD, WRK

FIXED_RATE = 1000
FIXED_RATE_CONNECTIONS = 32

_WRK_SCRIPT = """\
wrk.method = "{method}"
{body}
function done(summary, latency, requests)
  local errors = summary.errors
  io.write("\\nRESULT ", string.format(
    '{{"requests": %d, "microseconds": %d, "p50": %.1f, "p99": %.1f, "errors": %d}}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout), "\\n")
end
"""


@dataclass(frozen=True)
class Load:
    """One kind of request. `fixed_rate`: measured at that too; `sink`: needs that upstream."""

    name: str
    method: str
    path: str
    body_bytes: int = 0
    fixed_rate: bool = False
    sink: bool = False


LOADS = (
    Load("GET 1 KiB", "GET", "/1k", fixed_rate=True),
    Load("POST 1 KiB", "POST", "/1k", body_bytes=KIB, fixed_rate=True),
    Load("GET 64 KiB", "GET", "/64k"),
    Load("GET 1 MiB", "GET", "/1m"),
    Load("upload 1 MiB", "POST", "/upload", body_bytes=1024 * KIB, sink=True),
)
QUICK_LOADS = LOADS[:2]


@dataclass(frozen=True)
class Burst:
    """What a load generator saw; latencies in microseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class LoadFailed(Exception):
    """The load generator itself gave up."""


def saturate(
    load: Load, port: int, *, connections: int, seconds: float, core: int, directory: Path
) -> Burst:
    """As many requests as `connections` can carry, one at a time each."""
    script = directory / "load.lua"
    body = f'wrk.body = string.rep("x", {load.body_bytes})' if load.body_bytes else ""
    script.write_text(_WRK_SCRIPT.format(method=load.method, body=body))
    argv = WRK.argv(
        *("-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"),
        *("-s", str(script), f"http://127.0.0.1:{port}{load.path}"),
    )
    output = _run(argv, core, seconds)
    result = json.loads(output[output.index("RESULT ") + len("RESULT ") :].splitlines()[0])
    if not result["requests"]:
        raise LoadFailed(f"no request came to its end within {seconds:g} s")
    return Burst(
        requests=result["requests"],
        seconds=result["microseconds"] / 1e6,
        p50=result["p50"],
        p99=result["p99"],
        errors=result["errors"],
    )


def at_fixed_rate(load: Load, port: int, *, seconds: float, core: int, directory: Path) -> Burst:
    """`FIXED_RATE` requests/s over `FIXED_RATE_CONNECTIONS`, every latency recorded.

    One connection opens each millisecond and keeps its own beat, so that the requests are spread
    evenly; opened together they would come in bursts, and measure queueing.
    """
    log = directory / "h2load.log"
    log.unlink(missing_ok=True)
    argv = H2LOAD.argv(
        *("--h1", "-t1", f"-c{FIXED_RATE_CONNECTIONS}", f"-n{round(FIXED_RATE * seconds)}"),
        *("-r1", "--rate-period=1ms"),
        *(f"--rps={FIXED_RATE / FIXED_RATE_CONNECTIONS:g}", f"--log-file={log}"),
    )
    if load.body_bytes:
        body = directory / "body"
        body.write_bytes(b"x" * load.body_bytes)
        argv += ["-d", str(body)]
    _run([*argv, f"http://127.0.0.1:{port}{load.path}"], core, seconds)
    return _from_log(log, seconds)


def _from_log(log: Path, seconds: float) -> Burst:
    """Lines of h2load's log: start time, HTTP status, microseconds."""
    latencies, errors = [], 0
    for line in log.read_text().splitlines():
        _, status, microseconds = line.split("\t")
        if status == "200":
            latencies.append(float(microseconds))
        else:
            errors += 1
    if not latencies:
        raise LoadFailed("h2load had no answer at all")
    latencies.sort()
    return Burst(
        requests=len(latencies),
        seconds=seconds,
        p50=latencies[len(latencies) // 2],
        p99=latencies[min(len(latencies) - 1, round(len(latencies) * 0.99))],
        errors=errors,
    )


def _run(argv: list[str], core: int, seconds: float) -> str:
    done = subprocess.run(
        pinned(core, argv), capture_output=True, text=True, timeout=seconds + 60, check=False
    )
    if done.returncode:
        raise LoadFailed(f"{argv[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
