"""Arbitrary bytes from a client, through parser, downstream and exchange, to an upstream.

What has to hold whatever they are: no exception but the handled ones and no answer `internal`;
strict llhttp reads upstream exactly the requests that were carried; the client gets one
well-formed answer for each of them, in their order; and when it has gone, nothing is left of it.
"""

from conformance.play import Play, Settled
from conformance.strict import Responses
from exchange.stage import Stage

from fuzz.controls import End, read_controls
from proxy.config.model import Listener
from proxy.errors import EgressDenied
from proxy.wire.h1.head_writer import ESTABLISHED
from proxy.wire.h1.plain_connect import ACCESS_DENIED

CONFIG = """
service: stage
upstreams:
  app: {endpoints: ["http://10.0.0.1:80"]}
egress: {connect_ports: [1]}
limits: {header_bytes: 2KiB, url_bytes: 500B, headers: 20, body_bytes: 300B,
         header_timeout: 10s, idle_timeout: 20s}
policies:
  default:
    timeouts: {attempt: 5s, request: 5s, idle: 5s}
    retry: {attempts: 1}
    circuit_breaker: {mode: "off"}
    bulkhead: {max_concurrent: 1}
routes:
  - {name: app, upstream: app}
"""
_UNANSWERED = {"client-gone", "upstream-truncated", "drain-cut"}

_ESTABLISHED = ESTABLISHED + b"\r\n"


def dropped(one: Settled) -> bool:
    """Whether it was no HTTP behind a CONNECT for plain HTTP."""
    return not one.method and one.reason == EgressDenied.reason


def run(stage: Stage, data: bytes) -> None:
    """Raises if anything is wrong. The scene: the listener, and whether the upstream answers."""
    controls = read_controls(data)
    listener = Listener.INBOUND if controls.scene & 1 else Listener.OUTBOUND
    play = Play(stage, listener=listener, answers=not controls.scene & 2)
    play.send(controls.pieces)
    if controls.end is End.RESET:
        play.client.reset()
    elif controls.end is End.SILENCE:
        play.wait(30)
    play.end()
    play.wait(30)
    _check(play)
    stage.clients.clear()
    stage.servers.clear()


def _check(play: Play) -> None:
    assert play.client.gone, "the client's connection is still there"
    assert not any(gate.connections for gate in play.stage.gateway.gates.values())
    assert play.stage.loop.timers == 0, "something is still waited for"
    assert "internal" not in {one.reason for one in play.settled}
    if any(one.method == "CONNECT" and one.sent for one in play.settled):
        return  # a tunnel: what passes through it are no requests
    play.assert_strict()
    if any(one.method == "HEAD" for one in play.settled):
        return  # its answers have lengths and no bodies: more than llhttp can be told of
    answers = Responses()
    # llhttp cannot be told that the answer to a CONNECT for plain HTTP has no body; and a TLS hello
    # behind it is answered in TLS.
    came = play.came.removesuffix(ACCESS_DENIED)
    answers.feed(came.replace(_ESTABLISHED, _ESTABLISHED + b"Content-Length: 0\r\n"))
    assert not answers.fault, (answers.fault, play.came)
    assert all(message.whole for message in answers.messages), play.came
    due = [one.status for one in play.settled if one.reason not in _UNANSWERED and not dropped(one)]
    assert [message.first for message in answers.messages] == due, (due, play.came)
