"""The view as plain text, once or a few times, for pipes, files and CI."""

import json
import sys
import time

from rich.console import Console

from proxy.admin.asking import NoAnswer
from proxy.top.document import document
from proxy.top.picture import View, picture
from proxy.top.rates import Window
from proxy.top.watcher import look_once

WIDTH = 120
"""Columns without a terminal and without COLUMNS."""


def print_looks(
    url: str, interval: float, iterations: int, console: Console, *, as_json: bool = False
) -> bool:
    """Print the view `iterations` times, each over the `interval` seconds before it.

    With `as_json` each is one JSON document on a line. Returns whether the last sample succeeded;
    failures go to standard error.
    """
    view = View(url, Window())
    succeeded = _look(view)  # rates are differences: one sample gives none
    for number in range(iterations):
        if number or succeeded:
            time.sleep(interval)
            succeeded = _look(view)
        if succeeded and as_json:
            print(json.dumps(document(view.window)), flush=True)
        elif succeeded:
            if number:
                console.print()
            console.print(picture(view, time.monotonic(), console.width, None))
    return succeeded


def _look(view: View) -> bool:
    try:
        view.window.add(look_once(view.url).look)
    except NoAnswer as error:
        print(f"top: {error}", file=sys.stderr)
        return False
    return True
