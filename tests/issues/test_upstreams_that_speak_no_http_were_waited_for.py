"""A port of an SSH, SMTP or Redis server cost 15 s and three attempts, and then said 504.

What cannot be HTTP is `upstream-malformed` at once, and the detail says what it looks like.
"""

import re
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from integration.running_proxy import RunningProxy
from integration.settings import Settings, route
from issues.bed import RawUpstream, read_head, wait_for_end

BANNERS = {
    "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
    "imap": (b"* OK [CAPABILITY IMAP4rev1] ready\r\n", "IMAP"),
    "mysql": (b"\x4a\0\0\0\x0a8.0.36\0" + b"x" * 60, "MySQL"),
    "postgresql": (b"E\0\0\0\x8cSFATAL", "PostgreSQL"),
    "memcached": (b"ERROR\r\n", "memcached"),
    "amqp": (b"AMQP\0\0\x09\x01", "AMQP"),
    "vnc": (b"RFB 003.008\n", "VNC"),
    "mongodb": (b"It looks like you are trying to access MongoDB over HTTP", "MongoDB"),
    "document": (b"<html>hello</html>", "without a status line"),
    "rtsp": (b"RTSP/1.0 200 OK\r\n\r\n", "RTSP"),
    "sip": (b"SIP/2.0 200 OK\r\n\r\n", "SIP"),
    "icy": (b"ICY 200 OK\r\nContent-Length: 2\r\n\r\nOK", "SHOUTcast"),
    "http2-line": (b"HTTP/2 200\r\nContent-Length: 2\r\n\r\nOK", "HTTP/2, which has none"),
    "http3-line": (b"HTTP/3 200 OK\r\n\r\n", "other than 1"),
    "pop3": (b"+OK POP3 ready\r\n", "POP3"),
    "unknown": (b"\x01\x02\x03\x04", "another protocol"),
    "smtp": (b"220 mail ESMTP\r\n", "SMTP|FTP"),
    "redis": (b"-ERR unknown\r\n", "Redis|POP3"),
    "tls-alert": (bytes.fromhex("15030300020246"), "TLS"),
    "http2": (bytes.fromhex("000000040000000000"), "HTTP/2"),
    "bare-lf": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nOK", r"\bLF\b|line feed|CR"),
}
WHEN = ("greets", "answers")


def _serve(when: str, banner: bytes, connection: socket.socket) -> None:
    """Say it at once, or when a request has come; and keep the connection open."""
    if when == "answers":
        read_head(connection)
    connection.sendall(banner)
    wait_for_end(connection)


@pytest.fixture(scope="module")
def proxy(module_proxy: Callable[[Settings], RunningProxy]) -> Iterator[RunningProxy]:
    upstreams = {
        f"{when}-{name}": RawUpstream(partial(_serve, when, banner))
        for when in WHEN
        for name, (banner, _) in BANNERS.items()
    }
    yield module_proxy(
        {
            "upstreams": {name: {"endpoints": [one.url]} for name, one in upstreams.items()},
            "routes": [route(name, name) for name in upstreams],
        }
    )
    for upstream in upstreams.values():
        upstream.stop()


@pytest.mark.parametrize("name", BANNERS)
@pytest.mark.parametrize("when", WHEN)
def test_it_is_malformed_at_once(proxy: RunningProxy, name: str, when: str) -> None:
    started = time.monotonic()
    answer = proxy.call("POST", f"/{when}-{name}", body=b"x", request_id=f"{when}-{name}")
    assert time.monotonic() - started < 4  # not `timeouts.attempt`, which is 5 s
    assert (answer.status, answer.why) == (502, "upstream-malformed")
    assert re.search(BANNERS[name][1], answer.problem["detail"]), answer.problem["detail"]
    assert proxy.logged(f"{when}-{name}")["reason"] == "upstream-malformed"
