"""Arbitrary bytes from an upstream, as the answer to one request.

What has to hold whatever they are: no exception but the handled ones and no answer `internal`;
strict llhttp reads what the client gets; a response that looks whole to the client was whole, with
that status and that body, to llhttp reading the upstream's own bytes; a connection that goes back
into the pool has nothing left on it.
"""

import re
from dataclasses import dataclass

from conformance.play import Play
from conformance.strict import Message, Responses
from exchange.stage import Stage

from fuzz.client_side import CONFIG
from fuzz.controls import Controls, End, read_controls

_HOST = b"Host: a\r\n"
SCENES = [
    b"GET /x HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"HEAD /x HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"POST /x HTTP/1.1\r\n" + _HOST + b"Content-Length: 3\r\n\r\nabc",
    b"POST /x HTTP/1.1\r\n" + _HOST + b"Content-Length: 9\r\n\r\nabc",
    b"GET /x HTTP/1.0\r\n" + _HOST + b"\r\n",
    b"GET /x HTTP/1.0\r\n" + _HOST + b"Connection: keep-alive\r\n\r\n",
    b"GET /x HTTP/1.1\r\n" + _HOST + b"Connection: upgrade\r\nUpgrade: echo\r\n\r\n",
    b"GET /x HTTP/1.1\r\n" + _HOST + b"Connection: close\r\n\r\n",
]
"""What the upstream is asked."""
_HEAD, _UPGRADE = 1, 6
_SWITCHED = b"HTTP/1.1 101 "
_LATER = re.compile(rb"\AHTTP/1\.[2-9] ")
_INTERIM = re.compile(rb"HTTP/1\.[0-9] 1\d\d(?s:.*?)\r\n\r\n")
_NEXT = b"HTTP/1.1 299 Next\r\nContent-Length: 0\r\n\r\n"

__all__ = ["CONFIG", "SCENES", "run"]


@dataclass
class _Outcome:
    """What was left when the upstream had ended, before anything else was.

    `reused`: the connection was in the pool when all had been sent.
    """

    came: bytes
    reused: bool
    reset: bool
    hung_up: bool


def run(stage: Stage, data: bytes) -> None:
    """Raises if anything is wrong. The scene: what the upstream was asked."""
    controls = read_controls(data)
    play = Play(stage, answers=False)
    play.send([SCENES[controls.scene]])
    server = play.upstreams[0].server
    for piece in controls.pieces:
        if not server.closed:
            server.send(piece)
    reused = stage.counts("app").idle > 0
    if controls.end is End.RESET:
        server.reset()
    elif controls.end is End.SILENCE:
        stage.pass_time(6)
    else:
        server.close()
    play.turn()
    outcome = _Outcome(
        play.came,
        reused=reused,
        reset=play.client.closed == "abort",
        hung_up=play.hung_up,
    )
    play.end()
    stage.pass_time(30)
    _check(play, controls, outcome)
    stage.clients.clear()
    stage.servers.clear()


def _check(play: Play, controls: Controls, outcome: _Outcome) -> None:
    assert play.client.gone, "the client's connection is still there"
    assert play.stage.loop.timers == 0, "something is still waited for"
    (settled,) = play.settled
    assert settled.reason != "internal"
    if outcome.reused:
        _check_nothing_left(controls)
    came = _after_informational(outcome.came)
    if came.startswith(_SWITCHED):
        tail = controls.sent[controls.sent.index(b"\r\n\r\n") :]
        assert tail.endswith(came.partition(b"\r\n\r\n")[2])
        return
    if controls.scene == _HEAD:
        assert outcome.came.endswith(b"\r\n\r\n") or not outcome.came
        return
    seen = Responses()
    seen.feed(outcome.came)
    assert not seen.fault, (seen.fault, outcome.came)
    final = [message for message in seen.messages if message.first not in range(100, 200)]
    assert len(final) <= 1, outcome.came
    own = any(b"details=" in value for one in final for value in one.values(b"proxy-status"))
    if own:
        assert final[0].whole
        assert final[0].first == settled.status
    elif final and _looks_whole(final[0], outcome):
        _check_was_whole(final[0], controls)


def _after_informational(came: bytes) -> bytes:
    """What follows the informational heads; a 101 is not passed over, for a tunnel follows it."""
    while came.startswith(b"HTTP/1.1 1") and not came.startswith(_SWITCHED):
        came = came.partition(b"\r\n\r\n")[2]
    return came


def _looks_whole(message: Message, outcome: _Outcome) -> bool:
    """To a client, which takes a close for the end where nothing else could be it."""
    if message.values(b"content-length") or message.values(b"transfer-encoding"):
        return message.whole
    return message.whole or (message.head_whole and outcome.hung_up and not outcome.reset)


def _read_upstream(data: bytes) -> tuple[Responses, list[Message]]:
    """llhttp's view, without the informational heads: it reads lengths and ends into those.

    Nor does it know that a later minor version is read as the one that is known.
    """
    while interim := _INTERIM.match(data):
        data = data[interim.end() :]
    seen = Responses()
    seen.feed(_LATER.sub(b"HTTP/1.1 ", data))
    return seen, seen.messages


def _check_was_whole(message: Message, controls: Controls) -> None:
    """llhttp reads the same out of what the upstream sent."""
    _, final = _read_upstream(controls.sent)
    original = final[0]
    assert original.head_whole
    assert original.first == message.first
    assert original.body == message.body
    if not original.whole:  # it lasted until the upstream closed, properly
        assert controls.end in (End.CLOSE, End.CLOSE_TOO)
        assert not original.values(b"content-length")
        assert not original.values(b"transfer-encoding")


def _check_nothing_left(controls: Controls) -> None:
    """The next response on the connection will be read as the next, and as a whole one."""
    if controls.scene == _HEAD:
        assert controls.sent.endswith(b"\r\n\r\n")
        return
    seen, final = _read_upstream(controls.sent + _NEXT)
    assert not seen.fault, seen.fault
    assert [one.whole for one in final] == [True, True]
    assert final[1].first == 299
