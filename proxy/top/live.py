"""The view on a terminal: redrawn for every new sample and every key."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from proxy.admin.asking import NoAnswer
from proxy.admin.story import story
from proxy.top.keyboard import Keyboard
from proxy.top.picture import View, picture
from proxy.top.rates import Window
from proxy.top.reading import Document
from proxy.top.sections import Name
from proxy.top.watcher import Seen, Watcher

_REDRAW = 0.5
"""Seconds until a redraw without a new sample: ages change, and so may the terminal's size."""

_STEPS = {"up": -1, "down": 1, "k": -1, "j": 1}


class Session:
    """Updates the view for keys and samples. It knows neither terminal nor network."""

    __slots__ = ("recent", "view")

    def __init__(self, url: str) -> None:
        self.view = View(url, Window())
        self.recent: tuple[Document, ...] = ()

    def see(self, seen: Seen | NoAnswer, now: float) -> None:
        """Apply a sample. While paused only failures count."""
        view = self.view
        if isinstance(seen, NoAnswer):
            if not view.failure:
                view.failed_at = now
            view.failure = str(seen)
            return
        view.failure = ""
        if not view.paused:
            view.window.add(seen.look)
            self._keep_selection(seen.recent)

    def _keep_selection(self, recent: tuple[Document, ...]) -> None:
        """Keep the selected request selected when new ones appear above it."""
        view = self.view
        if view.alone is Name.RECENT and view.selected and view.selected < len(self.recent):
            chosen = self.recent[view.selected]["request_id"]
            for number, one in enumerate(recent):
                if one["request_id"] == chosen:
                    view.selected = number
                    break
        self.recent = recent
        view.selected = min(view.selected, max(0, len(recent) - 1))

    def press(self, key: str) -> bool:
        """Handle a key; False ends the view."""
        view = self.view
        if key == "q":
            return False
        if view.story:
            self._press_in_story(key)
        elif key == "s":
            view.order = view.order.next()
        elif key == "space":
            view.paused = not view.paused
        elif key in ("0", "escape"):
            view.alone = None
        elif key in _DIGITS:
            view.alone, view.selected = _DIGITS[key], 0
        elif view.alone is Name.RECENT:
            self._press_in_recent(key)
        return True

    def _press_in_recent(self, key: str) -> None:
        view = self.view
        if key in _STEPS:
            last = max(0, len(self.recent) - 1)
            view.selected = min(last, max(0, view.selected + _STEPS[key]))
        elif key == "enter" and self.recent:
            view.story, view.scrolled = tuple(story(self.recent[view.selected])), 0

    def _press_in_story(self, key: str) -> None:
        view = self.view
        if key in _STEPS:
            view.scrolled = min(len(view.story), max(0, view.scrolled + _STEPS[key]))
        elif key in ("0", "escape", "enter"):
            view.story = ()


_DIGITS = {str(number): name for number, name in enumerate(Name, 1)}


def live(url: str, interval: float, console: Console) -> None:
    """Run until Q or Ctrl-C. A proxy that does not answer is asked again."""
    session = Session(url)
    watcher = Watcher(url, interval)
    with (
        _told_to_end() as told,
        Keyboard(watcher.news) as keyboard,
        Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as drawn,
    ):
        watcher.start()
        try:
            goes_on = True
            while goes_on and not told:
                width, height = console.size
                now = time.monotonic()
                drawn.update(picture(session.view, now, width, height), refresh=True)
                goes_on = all(map(session.press, keyboard.read(_REDRAW)))
                seen = watcher.take()
                if seen is not None:
                    session.see(seen, time.monotonic())
        finally:
            watcher.stop()


@contextmanager
def _told_to_end() -> Iterator[list[int]]:
    """Records Ctrl-C and SIGTERM, and ignores Ctrl-Z, which would leave the terminal changed.
    Signals are recorded, not raised: an exception at an arbitrary moment may occur where Python
    drops it, such as in a finaliser.
    """
    told: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: told.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        yield told
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
