"""The preStop hook: exit statuses, what is printed, and no proxy in between."""

import asyncio
import socket
import subprocess
import sys

import pytest
from unit.admin.asking import Admin
from unit.telemetry.fakes import FakeExchange

from proxy.admin import client
from proxy.config.model import Listener


async def drain(admin: Admin) -> int:
    return await asyncio.to_thread(client.drain, f"http://127.0.0.1:{admin.port}")


async def test_nothing_lost(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    admin.gateway.gates[Listener.INBOUND].in_flight.add(FakeExchange())
    client_run = asyncio.create_task(drain(admin))
    await admin.controls.again.wait()
    admin.controls.end.set()
    assert await client_run == 0
    assert capsys.readouterr() == (
        "draining: 1 inbound, 0 outbound in flight\n"
        "drained: nothing lost; the process stays up until SIGTERM\n",
        "",
    )


async def test_some_were_cut(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    admin.controls.drain_cut = 2
    admin.controls.end.set()
    assert await drain(admin) == 3
    assert (
        capsys.readouterr().out == "drained: 2 requests cut; the process stays up until SIGTERM\n"
    )


async def test_it_keeps_asking_while_the_drain_goes_on(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client, "_WAIT", 0.01)
    client_run = asyncio.create_task(drain(admin))
    await admin.controls.again.wait()
    await asyncio.sleep(0.1)
    assert not client_run.done()
    admin.controls.end.set()
    assert await client_run == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2, "what has not changed is not said again"


async def test_variables_of_the_pod_do_not_send_it_through_a_proxy(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    admin.controls.end.set()
    assert await drain(admin) == 0


def test_it_starts_fast() -> None:
    """As a preStop hook it should not take the drain's time for imports."""
    code = "import sys, proxy.admin.client; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


async def test_an_address_without_a_scheme(admin: Admin) -> None:
    admin.controls.end.set()
    assert await asyncio.to_thread(client.drain, f"127.0.0.1:{admin.port}/") == 0


async def test_a_proxy_that_has_ended_meanwhile_has_drained(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM came as well, and its drain, the same one, is over."""
    monkeypatch.setattr(client, "_WAIT", 0.01)
    client_run = asyncio.create_task(drain(admin))
    await admin.controls.again.wait()
    await admin.server.stop()
    assert await client_run == 0
    assert capsys.readouterr().out.endswith("drain: the proxy has ended\n")


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert client.drain(url) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"drain: no proxy answers at {url}: ")
    assert err.count("\n") == 1


async def test_a_refusal_is_passed_on(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{admin.port}/nowhere"
    assert await asyncio.to_thread(client.drain, url) == 1
    assert capsys.readouterr().err == (
        f"drain: {url} refuses to drain: There is no such endpoint; GET / lists all endpoints.\n"
    )


@pytest.mark.parametrize("body", [b"hello", b"[]", b"{}", b'{"status": "draining", "cut": "x"}'])
async def test_something_else_answers_there(
    body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await asyncio.to_thread(client.drain, f"http://127.0.0.1:{port}") == 1
    assert "not a resilience proxy" in capsys.readouterr().err
    server.close()
    await server.wait_closed()


async def test_a_proxy_that_says_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client, "_TIMEOUT", 0.05)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        assert await asyncio.to_thread(client.drain, url) == 1
    assert "does not answer" in capsys.readouterr().err


# --- ready --------------------------------------------------------------------------------------


async def ready(admin: Admin, within: float) -> int:
    return await asyncio.to_thread(client.ready, f"http://127.0.0.1:{admin.port}", within)


async def test_ready_waits_until_it_is(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    admin.controls.ready = False
    waiting = asyncio.create_task(ready(admin, 10))
    await asyncio.sleep(0.15)
    assert not waiting.done()
    admin.controls.ready = True
    assert await waiting == 0
    assert capsys.readouterr() == ("", "")


async def test_not_ready_in_time(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    admin.controls.draining = True
    assert await ready(admin, 0.01) == 1
    assert capsys.readouterr().err == (
        f"ready: not within 0.01 s; http://127.0.0.1:{admin.port} answers 503\n"
    )


def test_nobody_is_ever_ready(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert client.ready(url, 0.15) == 1
    assert f"no proxy answers at {url}" in capsys.readouterr().err
