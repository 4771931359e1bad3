"""``simulate``: what a configuration would have done with the traffic of an access log."""

import logging
from collections.abc import Sequence
from pathlib import Path

from proxy.config.model import Config
from proxy.simulation.page import as_html
from proxy.simulation.playable import Keys
from proxy.simulation.recorded import read_log
from proxy.simulation.recording import Recording
from proxy.simulation.report import Result, as_json, as_text
from proxy.simulation.tally import Tally, tally, told_by
from proxy.simulation.world import play

LOG = "log"
_STDIN = 0


class Unusable(Exception):
    """A log that says nothing, as a sentence."""


def read(file: Path) -> Recording:
    """The requests of a log; ``-``: standard input. Raises OSError, Unusable."""
    if str(file) == "-":
        with open(_STDIN, encoding="utf-8", errors="replace", closefd=False) as lines:
            recording = read_log(lines)
    else:
        with file.open(encoding="utf-8", errors="replace") as lines:
            recording = read_log(lines)
    if not recording.requests:
        raise Unusable(
            f"{file} has no request: simulate reads an access log in JSON, of a proxy with "
            "access_log: {requests: all}"
        )
    return recording


def simulate(recording: Recording, configs: Sequence[tuple[str, Config]], seed: int) -> Result:
    """Play the recording under each configuration, by the name that it is shown with."""
    since, seconds = recording.requests[0].at, recording.seconds
    tallies: list[Tally] = [
        tally(LOG, seconds, (told_by(request, since) for request in recording.requests))
    ]
    worlds = []
    keys = Keys(recording.requests, [config for _, config in configs])
    log = logging.getLogger("proxy")
    level = log.level
    log.setLevel(logging.ERROR)  # what happens in virtual time stands in the tables
    try:
        for name, config in configs:
            made = tally(name, seconds, ())
            world = play(config, recording, seed, keys, made.count)
            made.ejections = world.ejections()
            worlds.append(world)
            tallies.append(made)
    finally:
        log.setLevel(level)
    return Result(recording, tallies, worlds, [config for _, config in configs], seed)


def show(result: Result, form: str, html: Path | None) -> None:
    """Print the result, and write the page. Raises OSError."""
    print(as_json(result) if form == "json" else as_text(result))
    if html is not None:
        html.write_text(as_html(result), encoding="utf-8")
