"""Does a peer answer right? Asked before anything is measured."""

import http.client
import ssl
import time

from .certificates import Certificate
from .loads import Load
from .process import Process
from .upstream import BODY_SIZES

READY_WITHIN = 15.0


class WrongAnswer(Exception):
    """A peer that would be measured doing something else than the others."""


def wait_until_right(
    load: Load,
    port: int,
    peer: Process | None,
    certificate: Certificate | None = None,
    within: float = READY_WITHIN,
) -> None:
    """Returns once `load` is answered as upstream does; WrongAnswer where it never is."""
    deadline = time.monotonic() + within
    while True:
        try:
            _ask_twice(load, port, certificate)
            return
        except (OSError, http.client.HTTPException, WrongAnswer) as problem:
            gone = peer is not None and not peer.running()
            if gone or time.monotonic() > deadline:
                raise WrongAnswer(_explain(problem, peer)) from problem
        time.sleep(0.01)


def _explain(problem: Exception, peer: Process | None) -> str:
    """What was wrong, and the last line that the peer printed."""
    printed = peer.last_words().splitlines() if peer else []
    return " · ".join([str(problem), *printed[-1:]])


def _connection(port: int, certificate: Certificate | None) -> http.client.HTTPConnection:
    if certificate is None:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    context = ssl.create_default_context(cafile=certificate.ca)
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)


def _ask_twice(load: Load, port: int, certificate: Certificate | None) -> None:
    """Two requests over one connection: the peer has to keep it open."""
    connection = _connection(port, certificate)
    try:
        connection.connect()
        connected = connection.sock
        for _ in range(2):
            _ask(load, connection)
        if connection.sock is not connected:
            raise WrongAnswer("the connection was closed after an answer")
    finally:
        connection.close()


def _ask(load: Load, connection: http.client.HTTPConnection) -> None:
    body = b"x" * load.body_bytes if load.body_bytes else None
    connection.request(load.method, load.path, body=body)
    answer = connection.getresponse()
    received = answer.read()
    expected = b"x" * BODY_SIZES.get(load.path, BODY_SIZES["/1k"])
    if answer.status != 200 or received != expected:
        raise WrongAnswer(f"{answer.status}, {len(received)} bytes: {received[:200]!r}")
    if load.sink and answer.headers["X-Received"] != str(load.body_bytes):
        raise WrongAnswer(f"upstream received {answer.headers['X-Received']} bytes")
