"""`breaker NAME ORDER`: orders to the circuit breakers of a running proxy."""

import sys
from typing import Any
from urllib.parse import quote

from proxy.admin.asking import NoAnswer, ask

GIVEN, FAILED = 0, 1
"""Exit statuses."""

ALL = "all"

_TIMEOUT = 5.0
_MADE_LATE = "each is created with the first request of its route"


def order(url: str, name: str, what: str) -> int:
    """Give an order to the named breaker, or for ``all`` to every one; returns the exit status.

    Prints each breaker's state afterwards. 1: there is no such breaker, or no proxy answers.
    """
    try:
        names = [one["name"] for one in ask(url, "/circuit-breakers", _TIMEOUT)["circuit_breakers"]]
        if name != ALL and name not in names:
            return _fail(_unknown(name, names))
        if not names:
            return _fail(
                "there is no breaker yet: each is created with the first request of its route"
            )
        for each in names if name == ALL else [name]:
            path = f"/circuit-breakers/{quote(each, safe='')}/{what}"
            print(f"{each}: {_told(ask(url, path, _TIMEOUT, method='POST'))}", flush=True)
    except NoAnswer as error:
        return _fail(str(error))
    except (KeyError, TypeError, ValueError):
        return _fail(f"{url} answers, but is not a resilience proxy")
    return GIVEN


def _told(breaker: dict[str, Any]) -> str:
    mode = "" if breaker["mode"] == "enforce" else f" (mode {breaker['mode']})"
    return f"{breaker['state'].replace('_', ' ')}{mode}"


def _unknown(name: str, names: list[str]) -> str:
    if not names:
        return f"there is no breaker {name!r}: {_MADE_LATE}"
    from proxy.config.suggestions import did_you_mean

    hint = did_you_mean(name, names) or f"; there are {', '.join(sorted(names)[:20])}, and 'all'"
    return f"there is no breaker {name!r}{hint}"


def _fail(message: str) -> int:
    print(f"breaker: {message}", file=sys.stderr)
    return FAILED
