"""The programs that make a load: wrk for saturation, h2load for a fixed rate, and one of our own
for TLS handshakes (`handshakes`).
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .certificates import Certificate
from .loads import Burst, Connections, Heads, Load
from .process import pinned
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


_VARIED = """\
local number = os.time() % 1000000 * 4294967296
request = function()
  number = number + 1
  local low, high = number % 4294967296, math.floor(number / 4294967296)
  return string.format(
    "%s %s/%x%08x HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n" ..
    "X-Request-Id: %08x-7c1a-4e0b-9d55-0000%08x\\r\\n" ..
    "Traceparent: 00-4bf92f3577b34da6%08x%08x-%08x%08x-00\\r\\n\\r\\n",
    wrk.method, wrk.path, high, low, high, low, high, low, low, high)
end
"""
"""Another path, request id and trace in every request; none of them ever comes again."""

_ONE_REQUEST = 'wrk.headers["Connection"] = "close"\n'

HANDSHAKING = 8
"""Connections at once where each is a handshake of our own program."""


class LoadFailed(Exception):
    """The load generator itself gave up."""


@dataclass(frozen=True)
class LoadGenerator:
    """One load towards one port, from one core. `certificate`: of a peer that serves TLS."""

    load: Load
    port: int
    core: int
    directory: Path
    certificate: Certificate | None = None

    def saturate(self, connections: int, seconds: float) -> Burst:
        """As many requests as `connections` can carry, one at a time each."""
        if self.load.tls and self.load.connections is not Connections.KEPT:
            return self._handshake(seconds)
        return self._wrk(connections, seconds)

    def _handshake(self, seconds: float) -> Burst:
        """A TLS connection for each request; raises LoadFailed where it did not resume as asked."""
        assert self.certificate is not None
        resume = self.load.connections is Connections.RESUMED
        argv = [sys.executable, str(Path(__file__).with_name("handshakes.py")), str(self.port)]
        argv += [self.load.path, self.certificate.ca, str(seconds), str(HANDSHAKING)]
        result = json.loads(self._run([*argv, "resumed" if resume else "whole"], seconds))
        resumed = result.pop("resumed")
        if not result["requests"]:
            raise LoadFailed(f"no handshake came to its end within {seconds:g} s")
        # The first one of each caller has no session yet.
        if resume != (resumed + HANDSHAKING > 0.9 * result["requests"]):
            raise LoadFailed(f"{resumed} of {result['requests']} handshakes were resumed")
        return Burst(**result)

    def _wrk(self, connections: int, seconds: float) -> Burst:
        script = self.directory / "load.lua"
        size = self.load.body_bytes
        body = f'wrk.body = string.rep("x", {size})\n' if size else ""
        if self.load.heads is Heads.VARIED:
            body += _VARIED
        if self.load.connections is Connections.ONE_REQUEST:
            body += _ONE_REQUEST
        script.write_text(_WRK_SCRIPT.format(method=self.load.method, body=body))
        argv = WRK.argv(
            *("-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"),
            *("-s", str(script), self._url),
        )
        output = self._run(argv, seconds)
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

    def at_fixed_rate(self, seconds: float) -> Burst:
        """`FIXED_RATE` requests/s over `FIXED_RATE_CONNECTIONS`, every latency recorded.

        One connection opens each millisecond and keeps its own beat, so that the requests are
        spread evenly; opened together they would come in bursts, and measure queueing.
        """
        log = self.directory / "h2load.log"
        log.unlink(missing_ok=True)
        argv = H2LOAD.argv(
            *("--h1", "-t1", f"-c{FIXED_RATE_CONNECTIONS}", f"-n{round(FIXED_RATE * seconds)}"),
            *("-r1", "--rate-period=1ms"),
            *(f"--rps={FIXED_RATE / FIXED_RATE_CONNECTIONS:g}", f"--log-file={log}"),
        )
        if self.load.body_bytes:
            body = self.directory / "body"
            body.write_bytes(b"x" * self.load.body_bytes)
            argv += ["-d", str(body)]
        self._run([*argv, self._url], seconds)
        return _from_log(log, seconds)

    @property
    def _url(self) -> str:
        scheme = "https" if self.load.tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}{self.load.path}"

    def _run(self, argv: list[str], seconds: float) -> str:
        done = subprocess.run(
            pinned(self.core, argv),
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
        if done.returncode:
            raise LoadFailed(f"{argv[0]}: {(done.stderr or done.stdout).strip()}")
        return done.stdout


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
