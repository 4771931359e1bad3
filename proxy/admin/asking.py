"""Reads documents from a running proxy's admin address, for commands.

It uses only the standard library, so that commands start fast, and ignores HTTP_PROXY, which in
pods points to the proxy itself.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

_opener = build_opener(ProxyHandler({}))


_ELSEWHERE = "; start it with run, or name its admin address with --admin HOST:PORT"


class NoAnswer(Exception):
    """No document; the text says why. `status` 0: there was no HTTP response."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


def ask(url: str, path: str, timeout: float, *, method: str = "GET") -> dict[str, Any]:
    """The JSON document at `path` of the admin address `url` (``http://127.0.0.1:7072``).

    Blocks for `timeout` seconds at most for each step of the exchange. Raises NoAnswer.
    """
    try:
        request = Request(url + path, method=method)
        with _opener.open(request, timeout=timeout) as response:
            document = json.load(response)
    except HTTPError as error:
        raise NoAnswer(f"{url} refuses: {detail_of(error)}", error.code) from None
    except TimeoutError:
        raise NoAnswer(f"{url} does not answer within {timeout:g} s") from None
    except (OSError, HTTPException) as error:
        raise NoAnswer(f"no proxy answers at {url}: {_cause(error)}{_ELSEWHERE}") from None
    except ValueError:
        raise NoAnswer(f"{url} answers, but is not a resilience proxy") from None
    if not isinstance(document, dict):
        raise NoAnswer(f"{url} answers, but is not a resilience proxy")
    return document


@contextmanager
def stream(url: str, path: str, timeout: float) -> Iterator[Iterable[bytes]]:
    """The lines of an endless answer; `timeout` seconds at most for each.

    Raises HTTPError for a refusal, NoAnswer if no proxy answers.
    """
    try:
        response = _opener.open(url + path, timeout=timeout)
    except HTTPError:
        raise
    except (OSError, HTTPException) as error:
        raise NoAnswer(f"no proxy answers at {url}: {_cause(error)}{_ELSEWHERE}") from None
    with response:
        yield response


def detail_of(error: HTTPError) -> str:
    """The problem document's detail, else the status.

    Only answers of the data path have a route: then `error` comes from a listener.
    """
    try:
        document = json.load(error)
        if "route" in document:
            return "this is the address of a listener; --admin is the proxy's admin address"
        return str(document["detail"])
    except (ValueError, KeyError, TypeError, OSError, HTTPException):
        return f"status {error.code}; is this the proxy's admin address?"
    finally:
        error.close()


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or str(reason) or type(error).__name__
