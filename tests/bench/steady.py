"""One normal client: a request every few milliseconds over one connection, each answer timed.

    python steady.py PORT PATH SECONDS INTERVAL

A program of its own, with a priority above the load's where it may have that. With an interval of
0 it asks again as soon as it has its answer. Prints `Seen` as a JSON object.
"""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Seen:
    """`answers`: 200 with the whole body; milliseconds; `wrong`: the first thing that was."""

    requests: int
    answers: int
    p50: float
    p99: float
    worst: float
    wrong: str


def steady(port: int, path: str, seconds: float, interval: float, core: int = 1) -> Seen:
    """Run this program beside whatever else runs."""
    argv = ["taskset", "-c", str(core), sys.executable, str(Path(__file__)), str(port), path]
    done = subprocess.run(
        [*argv, str(seconds), str(interval)], capture_output=True, text=True, check=True
    )
    return Seen(**json.loads(done.stdout))


def _ask(port: int, path: str, seconds: float, interval: float) -> Seen:
    with contextlib.suppress(OSError):
        os.nice(-10)
    latencies: list[float] = []
    requests, wrong = 0, ""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        requests += 1
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == 200:
                latencies.append(1000 * (time.perf_counter() - started))
            else:
                wrong = wrong or f"{answer.status} {body[:200]!r}"
        except (OSError, http.client.HTTPException) as problem:
            wrong = wrong or repr(problem)
            connection.close()
        if interval:
            time.sleep(max(0.0, started + interval - time.perf_counter()))
    latencies.sort()
    count = len(latencies)
    return Seen(
        requests=requests,
        answers=count,
        p50=latencies[count // 2] if count else 0.0,
        p99=latencies[min(count - 1, round(count * 0.99))] if count else 0.0,
        worst=latencies[-1] if count else 0.0,
        wrong=wrong,
    )


if __name__ == "__main__":
    port, path, seconds, interval = sys.argv[1:]
    print(json.dumps(asdict(_ask(int(port), path, float(seconds), float(interval)))))
