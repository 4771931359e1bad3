"""A thread that looks at the proxy again and again, so that no key waits for an answer."""

import os
import threading
import time
from typing import NamedTuple

from proxy.admin.asking import NoAnswer, ask
from proxy.top.looks import Document, Look, read

TIMEOUT = 3.0
"""Seconds after which a proxy that says nothing has not answered."""

_RECENT = "/recent"


class Seen(NamedTuple):
    """What one look brought: the numbers and the troubled exchanges as they came."""

    look: Look
    recent: tuple[Document, ...]


def look_once(url: str) -> Seen:
    """Raises NoAnswer."""
    status = ask(url, "/status", TIMEOUT)
    at = time.monotonic()
    recent: Document | None = None
    try:
        recent = ask(url, _RECENT, TIMEOUT)
    except NoAnswer as error:
        if error.status != 404:  # an older proxy has none
            raise
    try:
        look = read(status, recent, at)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NoAnswer(f"what answers at {url} is no resilience proxy") from None
    return Seen(look, tuple(recent["recent"]) if recent is not None else ())


class Watcher:
    """Looks every `interval` seconds from `start` on. `take` gives what is new, once.

    `news` becomes readable whenever there is something to take.
    """

    def __init__(self, url: str, interval: float) -> None:
        self._url = url
        self._interval = interval
        self._latest: Seen | NoAnswer | None = None
        self._ended = threading.Event()
        self.news, self._bell = os.pipe()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The thread ends by itself after the look that it may be at."""
        self._ended.set()

    def take(self) -> Seen | NoAnswer | None:
        latest, self._latest = self._latest, None
        return latest

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            try:
                self._latest = look_once(self._url)
            except NoAnswer as error:
                self._latest = error
            os.write(self._bell, b"!")
            due = max(due + self._interval, time.monotonic())
            self._ended.wait(due - time.monotonic())
