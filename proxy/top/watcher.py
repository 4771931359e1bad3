"""A thread that polls the proxy, so that no key waits for an answer."""

import os
import threading
import time
from typing import NamedTuple

from proxy.admin.asking import NoAnswer, ask
from proxy.top.looks import Look
from proxy.top.reading import Document, read, troubled_so_far

TIMEOUT = 3.0
"""Timeout of one request to the proxy, seconds."""


class Seen(NamedTuple):
    """The documents of one sample: the numbers and the exchanges with trouble."""

    look: Look
    recent: tuple[Document, ...]


def look_once(url: str, before: Seen | None = None) -> Seen:
    """Raises NoAnswer. `/recent` is requested only if it has changed since `before`."""
    try:
        status = ask(url, "/status", TIMEOUT)
        at = time.monotonic()
        troubled = troubled_so_far(status)
        recent: tuple[Document, ...] | None
        if troubled < 0:
            recent = None
        elif before is not None and _nothing_new(before.look, status, troubled):
            recent = before.recent
        else:
            recent = tuple(ask(url, "/recent", TIMEOUT)["recent"])
        return Seen(read(status, recent, at), recent or ())
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NoAnswer(f"{url} answers, but is not a resilience proxy") from None


def _nothing_new(before: Look, status: Document, troubled: int) -> bool:
    return before.troubled == troubled and before.uptime <= float(status["uptime_s"])


class Watcher:
    """Takes a sample every `interval` seconds from `start` on. `take` returns each sample once.

    `news` becomes readable when there is a sample to take.
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
        """The thread ends by itself after its current sample."""
        self._ended.set()

    def take(self) -> Seen | NoAnswer | None:
        latest, self._latest = self._latest, None
        return latest

    def _run(self) -> None:
        due = time.monotonic()
        seen: Seen | None = None
        while not self._ended.is_set():
            try:
                self._latest = seen = look_once(self._url, seen)
            except NoAnswer as error:
                self._latest = error
            os.write(self._bell, b"!")
            due = max(due + self._interval, time.monotonic())
            self._ended.wait(due - time.monotonic())
