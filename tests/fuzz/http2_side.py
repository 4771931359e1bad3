"""Arbitrary frames from an HTTP/2 client, through the whole data plane, to an upstream.

What has to hold whatever they are: no exception but the handled ones and no answer `internal`;
strict llhttp reads upstream exactly the requests that were carried; what the client gets are lawful
frames, one answer at most for each stream, and a whole one where it ends; and when it has gone,
nothing is left of it.
"""

import struct
from collections import Counter
from dataclasses import dataclass, field

import hpack
from conformance.canonical import count_requests
from conformance.play import Play
from exchange.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW,
    WITH_PRIORITY,
    data,
    frame,
    rst,
    settings,
    window,
)
from exchange.stage import Stage

from fuzz.client_side import CONFIG as CLIENT_CONFIG
from fuzz.controls import End, read_controls, with_controls
from proxy.config.model import Listener
from proxy.http.h2.frames import PREFACE

CONFIG = CLIENT_CONFIG.replace("max_concurrent: 1}", "max_concurrent: 20}")
MAX_FRAME = 16384


@dataclass
class Answers:
    """Reads what the proxy sends; raises for what RFC 9113 forbids it."""

    decoder: hpack.Decoder = field(default_factory=hpack.Decoder)
    statuses: dict[int, list[int]] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    reset: set[int] = field(default_factory=set)
    left: int = 0

    def read(self, raw: bytes) -> None:
        at = 0
        while len(raw) - at >= 9:
            high, low, kind, flags, stream = struct.unpack_from(">BHBBL", raw, at)
            size = high << 16 | low
            assert size <= MAX_FRAME
            assert len(raw) - at >= 9 + size, "half a frame"
            self._take(kind, flags, stream, raw[at + 9 : at + 9 + size])
            at += 9 + size
        assert at == len(raw), "half a frame"

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        assert (stream == 0) == (
            kind in (SETTINGS, PING, GOAWAY) or (kind == WINDOW and not stream)
        )
        if kind in (HEADERS, DATA):
            assert stream % 2 == 1
            assert stream not in self.ended, "a frame behind the end of a stream"
            assert stream not in self.reset, "a frame behind a reset"
        if kind == HEADERS:
            assert flags & END_HEADERS
            fields = self.decoder.decode(payload, raw=True)
            if stream not in self.bodies:
                (status,) = [value for name, value in fields if name == b":status"]
                self.statuses.setdefault(stream, []).append(int(status))
                if int(status) >= 200:
                    self.bodies[stream] = b""
        elif kind == DATA:
            self.bodies[stream] += payload
        elif kind == RST_STREAM:
            self.reset.add(stream)
        elif kind == GOAWAY:
            self.left += 1
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            assert stream in self.bodies, "an end without a head"
            self.ended.add(stream)


def run(stage: Stage, data: bytes) -> None:
    """Raises if anything is wrong. The scene: listener, upstream answers, the preface is there."""
    controls = read_controls(data)
    listener = Listener.INBOUND if controls.scene & 1 else Listener.OUTBOUND
    play = Play(stage, listener=listener, answers=not controls.scene & 2)
    if not controls.scene & 4:
        play.send([PREFACE + settings()])
    play.send(controls.pieces)
    if controls.end is End.RESET:
        play.client.reset()
    elif controls.end is End.SILENCE:
        play.wait(30)
    play.end()
    play.wait(30)
    _check(play, is_http2=not controls.scene & 4)
    stage.clients.clear()
    stage.servers.clear()


def joined(rows: list[bytes]) -> bytes:
    """Rows one behind another, each with streams of its own."""
    made = b""
    for at, row in enumerate(rows):
        place = 0
        while len(row) - place >= 9:
            size = row[place] << 16 | row[place + 1] << 8 | row[place + 2]
            (stream,) = struct.unpack_from(">L", row, place + 5)
            if stream:
                stream = (stream + 10 * at) & 0xFFFFFFFF
            made += row[place : place + 5] + struct.pack(">L", stream)
            made += row[place + 9 : place + 9 + size]
            place += 9 + size
        made += row[place:]
    return made


def _check(play: Play, *, is_http2: bool) -> None:
    assert play.client.gone, "the client's connection is still there"
    assert not any(gate.connections for gate in play.stage.gateway.gates.values())
    assert play.stage.loop.timers == 0, "something is still waited for"
    assert "internal" not in {one.reason for one in play.settled}
    for upstream in play.upstreams:
        assert not upstream.read.fault, (upstream.read.fault, upstream.came)
        assert all(message.head_whole for message in upstream.read.messages), upstream.came
        assert count_requests(upstream.came) == len(upstream.read.whole), upstream.came
    sent = Counter((one.method, one.target) for one in play.settled if one.sent)
    came = Counter(message.first for message in play.forwarded)
    assert came <= sent, (came, sent)
    if not is_http2:
        return
    answers = Answers()
    answers.read(play.came)
    assert answers.left <= 3
    whole = Counter(answers.statuses[stream][-1] for stream in answers.ended)
    told = Counter(one.status for one in play.settled)
    assert whole <= told, (whole, told)


def seeds() -> list[bytes]:
    """Lawful and unlawful frames behind the preface: the mutations make the rest."""
    get = b"\x82\x86\x04\x02/x\x01\x04shop"
    post = b"\x83\x86\x04\x02/x\x01\x04shop"
    inserted = b"\x40\x06x-kind\x03new"
    ended = END_HEADERS | END_STREAM
    rows = [
        frame(HEADERS, ended, 1, get),
        frame(HEADERS, ended, 1, get + inserted) + frame(HEADERS, ended, 3, get + b"\xbe"),
        frame(HEADERS, END_HEADERS, 1, post) + data(1, b"hello", ended=True),
        frame(HEADERS, END_HEADERS, 1, post) + data(1, b"a") + data(1, b"b") + rst(1),
        frame(HEADERS, END_HEADERS, 1, post + b"\x0f\x0d\x015") + data(1, b"hello", ended=True),
        frame(HEADERS, END_HEADERS, 1, post)
        + data(1, b"a")
        + frame(HEADERS, ended, 1, b"\x00\x03x-t\x01y"),
        frame(HEADERS, END_STREAM, 1, get[:4])
        + frame(CONTINUATION, 0, 1, get[4:7])
        + frame(CONTINUATION, END_HEADERS, 1, get[7:]),
        frame(HEADERS, ended | PADDED, 1, b"\x03" + get + bytes(3)),
        frame(HEADERS, ended | WITH_PRIORITY, 1, bytes(5) + get),
        frame(HEADERS, END_HEADERS, 1, post) + frame(DATA, PADDED, 1, b"\x02ab\0\0"),
        frame(HEADERS, ended, 1, get) + rst(1) + frame(HEADERS, ended, 3, get),
        frame(HEADERS, ended, 1, get) + window(1, 0),
        frame(HEADERS, ended, 1, get) + window(0, 100) + window(1, 2**31 - 1),
        frame(HEADERS, ended, 1, b"\x82\x87\x85\x01\x04shop\x0f\x1c\x03a=b"),
        frame(HEADERS, ended, 1, b"\x42\x04HEAD\x86\x84\x01\x04shop"),
        frame(HEADERS, END_HEADERS, 1, b"\x02\x07CONNECT\x01\x03a:1")
        + data(1, b"GET / HTTP/1.1\r\n"),
        frame(HEADERS, END_HEADERS, 1, b"\x02\x07CONNECT\x00\x09:protocol\x09websocket" + get[1:]),
        settings((4, 0)) + frame(HEADERS, ended, 1, get) + window(1, 1) + settings((4, 9)),
        settings((1, 0), (3, 1), (5, 16384)) + frame(SETTINGS, ACK) + frame(HEADERS, ended, 1, get),
        frame(PING, 0, 0, bytes(8)) + frame(PING, ACK, 0, bytes(8)),
        frame(PRIORITY, 0, 1, bytes(5)) + frame(0xEE, 0xFF, 1, b"x"),
        frame(GOAWAY, 0, 0, bytes(8)) + frame(HEADERS, ended, 1, get),
        frame(HEADERS, END_HEADERS, 1, post) + data(1) + data(1),
    ]
    made = [with_controls(row, scene=at % 4) for at, row in enumerate(rows)]
    whole = PREFACE + settings() + rows[0]
    return [*made, with_controls(whole, scene=4), with_controls(whole, scene=5, cutting=1)]
