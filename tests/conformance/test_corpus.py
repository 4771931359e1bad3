"""Other projects' request smuggling: none of it is taken, and none gets past as something else.

The corpus belongs to other projects and is read where it is, in `shared/cases` beside the
checkout or above it. Skipped where it is not.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conformance.play import Play
from exchange.stage import Stage, staged
from exchange.wires import request

from proxy.config.model import Listener

_FILE = "shared/cases/http1_corpus.jsonl"
FOUND = [path for above in Path(__file__).parents if (path := above / _FILE).is_file()]
pytestmark = pytest.mark.skipif(not FOUND, reason=f"no {_FILE} beside this checkout")

CONFIG = """
service: stage
limits: {headers: 100, header_bytes: 8KiB}
upstreams:
  app: {endpoints: ["http://10.0.0.1:80"]}
policies:
  default: {retry: {attempts: 1}, circuit_breaker: {mode: "off"}}
routes:
  - {name: app, upstream: app}
"""
"""Three entries are about limits: these are the ones of the server whose tests they come from."""
GOOD = request("GET /good HTTP/1.1")


@cache
def corpus() -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in FOUND[0].read_text().splitlines()]
    for entry in entries:
        entry["raw"] = base64.b64decode(entry["b64"])
    return entries


def whole(raw: bytes) -> list[bytes]:
    return [raw]


def by_line(raw: bytes) -> list[bytes]:
    return raw.splitlines(keepends=True)


def inside_the_line_ends(raw: bytes) -> list[bytes]:
    return [piece for piece in re.split(rb"(?<=\r)", raw) if piece]


def byte_by_byte(raw: bytes) -> list[bytes]:
    return [raw[at : at + 1] for at in range(len(raw))]


def behind_another(raw: bytes) -> list[bytes]:
    return [GOOD + raw]


def behind_another_and_cut(raw: bytes) -> list[bytes]:
    both = GOOD + raw
    middle = len(GOOD) + len(raw) // 2
    return [both[: len(GOOD) + 1], both[len(GOOD) + 1 : middle], both[middle:]]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged(CONFIG) as stage:
        yield stage


OUTBOUND, INBOUND = Listener.OUTBOUND, Listener.INBOUND


@pytest.mark.parametrize(
    ("cut", "listener"),
    [
        (whole, OUTBOUND),
        (whole, INBOUND),
        (by_line, OUTBOUND),
        (inside_the_line_ends, OUTBOUND),
        (byte_by_byte, OUTBOUND),
        (behind_another, OUTBOUND),
        (behind_another_and_cut, INBOUND),
    ],
)
def test_nothing_of_it_gets_past(
    stage: Stage, cut: Callable[[bytes], list[bytes]], listener: Listener
) -> None:
    forwarded = 0
    entries = corpus()
    if cut is byte_by_byte:  # ten times the work, and the unknown ones are much alike
        entries = [one for at, one in enumerate(entries) if one["expect"] == "reject" or not at % 5]
    for entry in entries:
        play = Play(stage, listener=listener)
        play.send(cut(entry["raw"]))
        play.end()
        play.assert_strict()
        answers = re.findall(rb"HTTP/1\.1 (2\d\d) ", play.came)
        good = [one for one in play.settled if one.target == "/good"]
        assert len(answers) == sum(one.status == 200 for one in play.settled), play.came
        if entry["expect"] == "reject":
            assert len(answers) == len(good), (entry["name"], entry["raw"], play.came)
        forwarded += len(play.forwarded) - len(good)
        assert all(one.reason != "internal" for one in play.settled)
    if cut is not byte_by_byte:
        assert forwarded > 0, "nothing was taken at all: the comparison would be an empty one"
