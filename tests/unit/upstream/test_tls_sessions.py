"""Connections of one context take up each other's sessions; those of another do not."""

import asyncio
import ssl
from pathlib import Path
from typing import cast

import pytest
import trustme
import uvloop

from proxy.config.model import UpstreamTls
from proxy.upstream.tls import client_context
from proxy.upstream.tls_sessions import MOST_NAMES, SessionReads, Sessions, resume_sessions

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Server:
    """Answers a byte with a byte; `resumed` tells of each connection whether its session was."""

    def __init__(self, authority: trustme.CA, version: ssl.TLSVersion) -> None:
        self.resumed: list[bool] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = self.context.maximum_version = version
        authority.issue_cert("a.shop", "b.shop").configure_cert(self.context)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.resumed.append(writer.get_extra_info("ssl_object").session_reused)
        writer.write(await reader.readexactly(1))
        await reader.read()
        writer.close()


class Client(asyncio.Protocol):
    def __init__(self) -> None:
        self.answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(b"x")

    def data_received(self, data: bytes) -> None:
        self.answered.set_result(data)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> UpstreamTls:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return UpstreamTls(ca=str(file))


def resuming(tls: UpstreamTls, reads: SessionReads | None = None) -> ssl.SSLContext:
    context = client_context(tls)
    resume_sessions(context, reads or SessionReads())
    return context


def _connect(server: Server, plan: list[tuple[ssl.SSLContext, str]]) -> list[bool]:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=server.context)
        host, port = listener.sockets[0].getsockname()
        for context, name in plan:
            transport, protocol = await loop.create_connection(
                Client, host, port, ssl=context, server_hostname=name
            )
            assert await asyncio.wait_for(protocol.answered, 5) == b"x"
            transport.close()
        listener.close()

    uvloop.run(run())
    return server.resumed


@pytest.mark.parametrize("version", VERSIONS)
def test_the_next_connection_resumes(
    authority: trustme.CA, tls: UpstreamTls, version: ssl.TLSVersion
) -> None:
    context = resuming(tls)
    plan = [(context, "a.shop")] * 4
    assert _connect(Server(authority, version), plan) == [False, True, True, True]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_name_and_a_context_have_their_own(
    authority: trustme.CA, tls: UpstreamTls, version: ssl.TLSVersion
) -> None:
    """Nothing that was verified by another context, or for another name, counts."""
    one, other = resuming(tls), resuming(tls)
    plan = [(one, "a.shop"), (one, "b.shop"), (other, "a.shop"), (one, "a.shop")]
    assert _connect(Server(authority, version), plan) == [False, False, False, True]


def test_a_server_that_forgot_shakes_hands_anew(authority: trustme.CA, tls: UpstreamTls) -> None:
    context = resuming(tls)
    before = Server(authority, ssl.TLSVersion.TLSv1_3)
    assert _connect(before, [(context, "a.shop")]) == [False]
    restarted = Server(authority, ssl.TLSVersion.TLSv1_3)
    assert _connect(restarted, [(context, "a.shop")] * 2) == [False, True]


def test_a_session_serves_many_connections_and_is_read_once(
    authority: trustme.CA, tls: UpstreamTls
) -> None:
    reads = SessionReads(10)
    plan = [(resuming(tls, reads), "a.shop")] * 6
    assert _connect(Server(authority, ssl.TLSVersion.TLSv1_3), plan) == [False] + [True] * 5
    assert reads.left == 9


def test_when_no_session_may_be_read_any_more_handshakes_are_full(
    authority: trustme.CA, tls: UpstreamTls
) -> None:
    plan = [(resuming(tls, SessionReads(0)), "a.shop")] * 3
    assert _connect(Server(authority, ssl.TLSVersion.TLSv1_3), plan) == [False] * 3


def test_a_server_that_never_resumes_is_not_asked_each_time(
    authority: trustme.CA, tls: UpstreamTls
) -> None:
    reads = SessionReads(10)
    context = resuming(tls, reads)
    servers = [Server(authority, ssl.TLSVersion.TLSv1_3) for _ in range(4)]
    for server in servers:  # as behind a load balancer, each with a key of its own
        assert _connect(server, [(context, "a.shop")]) == [False]
    assert reads.left == 8


class Connection:
    """What `Sessions` needs of one."""

    session = None

    def __init__(self, name: str) -> None:
        self.server_hostname = name


def test_names_are_bounded_and_the_least_recently_used_goes() -> None:
    sessions = Sessions(SessionReads(None))
    for number in range(3000):
        sessions.offer(cast(ssl.SSLObject, Connection(f"h{number}.shop")))
    assert len(sessions) == MOST_NAMES
