"""`drain`: asks a running proxy to drain, and waits until it has. The preStop hook.
`ready`: waits until a proxy accepts requests. The postStart hook of legacy sidecars.

They use only the standard library, so that they start fast, and ignore HTTP_PROXY, which in pods
points to the proxy itself.
"""

import json
import sys
import time
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

from proxy.admin.asking import detail_of

DRAINED = READY = 0
UNREACHABLE = NOT_READY = 1
CUT = 3
"""Exit statuses."""

_WAIT = 2
"""Seconds that the proxy may delay one answer; progress is shown at least this often."""
_TIMEOUT = 10.0
"""Timeout of one request to the proxy, seconds."""
_ASK_EVERY = 0.1
"""Seconds between two checks whether a proxy is ready."""


def drain(url: str) -> int:
    """Ask the admin address `url` (``http://127.0.0.1:7072``) to drain; returns the exit status.

    0: drained, nothing lost; 3: some requests were cut; 1: no proxy answers there, or it refuses.
    If a draining proxy disappears, its drain has ended; its last count of cut requests counts.
    """
    opener = build_opener(ProxyHandler({}))
    address = (url if "://" in url else f"http://{url}").rstrip("/") + "/drain"
    answer: dict[str, Any] | None = None
    shown = ""
    while answer is None or answer["status"] != "drained":
        query = "" if answer is None else f"?wait={_WAIT}s"
        try:
            answer = _ask(opener, address + query)
        except HTTPError as error:
            return _fail(f"{url} refuses to drain: {detail_of(error)}")
        except TimeoutError:
            return _fail(f"{url} does not answer within {_TIMEOUT:g} s")
        except (OSError, HTTPException) as error:
            if answer is None:
                return _fail(f"no proxy answers at {url}: {getattr(error, 'reason', error)}")
            print("drain: the proxy has ended", flush=True)
            break
        except (ValueError, KeyError, TypeError):
            return _fail(f"{url} answers, but is not a resilience proxy")
        shown = _show(answer, shown)
    return CUT if answer["cut"] else DRAINED


def ready(url: str, timeout: float) -> int:
    """Wait until the proxy with the admin address `url` is ready; returns the exit status.

    0: it is; 1: not within `timeout` seconds, and stderr has its last answer. It is asked at least
    once.
    """
    opener = build_opener(ProxyHandler({}))
    end = time.monotonic() + timeout
    while True:
        left = end - time.monotonic()
        try:
            opener.open(f"{url}/health/ready", timeout=min(max(left, _ASK_EVERY), _TIMEOUT)).close()
        except HTTPError as error:
            answer = f"{url} answers {error.code}"
            error.close()
        except (OSError, HTTPException) as error:
            answer = f"no proxy answers at {url}: {getattr(error, 'reason', error)}"
        else:
            return READY
        if time.monotonic() + _ASK_EVERY >= end:
            print(f"ready: not within {timeout:g} s; {answer}", file=sys.stderr)
            return NOT_READY
        time.sleep(_ASK_EVERY)


def _ask(opener: OpenerDirector, address: str) -> dict[str, Any]:
    """One answer. Raises OSError, HTTPException, ValueError, KeyError or TypeError otherwise."""
    with opener.open(Request(address, method="POST"), timeout=_TIMEOUT) as response:
        document = json.load(response)
    flying = document["in_flight"]
    return {
        "status": str(document["status"]),
        "cut": int(document["cut"]),
        "inbound": int(flying["inbound"]),
        "outbound": int(flying["outbound"]),
    }


def _show(answer: dict[str, Any], shown: str) -> str:
    """Print the progress, unless it equals the last line."""
    if answer["status"] == "drained":
        result = f"{answer['cut']} requests cut" if answer["cut"] else "nothing lost"
        line = f"drained: {result}; the process stays up until SIGTERM"
    else:
        line = f"draining: {answer['inbound']} inbound, {answer['outbound']} outbound in flight"
    if line != shown:
        print(line, flush=True)
    return line


def _fail(message: str) -> int:
    print(f"drain: {message}", file=sys.stderr)
    return UNREACHABLE
