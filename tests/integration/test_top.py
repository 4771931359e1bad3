"""`resilience-proxy top` beside a proxy with an open breaker: as text, and live on a terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from chaos.upstream import ChaosUpstream
from integration.ports import free_port
from integration.running_proxy import RunningProxy
from integration.settings import Settings, breaker, route

StartProxy = Callable[..., RunningProxy]


def settings(chaos: ChaosUpstream) -> Settings:
    once = {"attempts": 1}
    return {
        "upstreams": {"chaos": {"endpoints": [chaos.url]}},
        "routes": [
            route("broken", retry=once, circuit_breaker=breaker(open_for="60s")),
            route("fine"),
        ],
    }


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    """One whose breaker 'broken' is open."""
    proxy = module_proxy(settings(shared_chaos))
    for _ in range(5):
        proxy.call("GET", "/broken/stock", chaos="503")
    assert proxy.breaker("broken")["state"] == "open"
    return proxy


def command(proxy: RunningProxy, *more: str) -> list[str]:
    admin = f"http://127.0.0.1:{proxy.admin}"
    return [sys.executable, "-m", "proxy", "top", "--admin", admin, *more]


def run(proxy: RunningProxy, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(proxy, *more), capture_output=True, text=True, timeout=20)


def rows(text: str, first: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.split()[:1] == [first]]


@contextmanager
def traffic(proxy: RunningProxy) -> Iterator[None]:
    """Calls that go well, until it is left."""
    over = threading.Event()

    def call() -> None:
        with proxy.client() as client:
            while not over.wait(0.01):
                client.request("GET", "/fine/x")

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_once_shows_rates_breakers_endpoints_and_the_trouble(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    with traffic(proxy):
        done = run(proxy, "--once", "--interval", "1s")
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout
    assert "\x1b" not in text, "plain text"
    assert re.match(r"orders  \S+  up \d+s  ready  in flight 0 in, \d+ out\n", text)
    (fine,) = rows(text, "fine")
    assert float(fine[2]) > 0, "requests per second"
    assert fine[3] == "0%"
    assert re.fullmatch(r"\d+(\.\d)?ms", fine[6]), "the 99th percentile"
    totals, state = rows(text, "broken")
    assert totals[-1] == "5"
    assert state[:3] == ["broken", "open", "100%"]
    assert state[5] == "1", "one was refused"
    assert float(state[6].removesuffix("s")) > 50, "seconds until the next probe"
    assert rows(text, shared_chaos.authority)[0][1:3] == ["chaos", "usable"]
    assert re.search(r"1x GET /broken/stock +broken +503 circuit-open +0 ", text)
    assert re.search(r"4x GET /broken/stock +broken +503 no retry: attempts +1 ", text)


def test_iterations(proxy: RunningProxy) -> None:
    done = run(proxy, "--iterations", "3", "--interval", "10ms")
    assert done.returncode == 0
    assert done.stdout.count("rates of the last") == 3


def test_without_a_terminal_it_is_printed_once(proxy: RunningProxy) -> None:
    assert run(proxy, "--interval", "10ms").stdout.count("rates of the last") == 1


def test_nobody_there() -> None:
    admin = f"http://127.0.0.1:{free_port()}"
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "top", "--once", "--admin", admin],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"top: no proxy answers at {admin}: Connection refused; start it with run, or name its "
        "admin address with --admin HOST:PORT\n"
    )


class Terminal:
    """A terminal of 80 columns and 24 lines, and the live view on it."""

    def __init__(self, arguments: list[str], **environment: str) -> None:
        self.outer, inner = pty.openpty()
        self.resize(80, 24)
        self.before = termios.tcgetattr(self.outer)
        self.process = subprocess.Popen(
            arguments,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=os.environ | {"TERM": "xterm-256color"} | environment,
            start_new_session=True,
        )
        os.close(inner)
        self.shown = ""

    def resize(self, columns: int, lines: int) -> None:
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.outer, termios.TIOCSWINSZ, size)

    def wait_for(self, text: str, seconds: float = 10.0) -> str:
        """All that was written since the last call, up to `text` at least."""
        end = time.monotonic() + seconds
        while text not in self.shown:
            left = end - time.monotonic()
            assert left > 0, f"no {text!r} in {self.shown!r}"
            if select.select([self.outer], [], [], left)[0]:
                try:
                    self.shown += os.read(self.outer, 65536).decode()
                except OSError:  # what wrote to it has ended
                    assert text in self.shown, self.shown
        shown, self.shown = self.shown, ""
        return shown

    def type(self, keys: str) -> None:
        os.write(self.outer, keys.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)
        os.close(self.outer)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(arguments: list[str], **environment: str) -> Terminal:
        opened.append(Terminal(arguments, **environment))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


LEFT = "\x1b[?1049l"
"""Ends the alternate screen: what was there before `top` is there again."""

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38;)")


def test_live_with_keys_until_q(proxy: RunningProxy, terminal: Callable[..., Terminal]) -> None:
    top = terminal(command(proxy, "--interval", "100ms"))
    shown = top.wait_for("circuit breaker")
    assert "\x1b[?1049h" in shown
    shown += top.wait_for("open")
    top.type("6")
    top.wait_for("up/down select")
    top.type("\r")
    story = top.wait_for("0 back")
    assert "look next: docs/runbook.md#" in story
    assert COLOUR.search(shown)
    top.type("00")
    top.wait_for("1-9 one table")
    top.resize(120, 40)
    top.process.send_signal(signal.SIGWINCH)
    top.wait_for("recent trouble")
    top.type("q")
    assert LEFT in top.wait_for(LEFT)
    assert top.process.wait(5) == 0
    assert termios.tcgetattr(top.outer) == top.before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(
    proxy: RunningProxy, terminal: Callable[..., Terminal], number: int
) -> None:
    top = terminal(command(proxy, "--interval", "100ms"), NO_COLOR="1", TERM="")
    shown = top.wait_for("recent trouble")
    assert not COLOUR.search(shown), "NO_COLOR"
    top.process.send_signal(number)
    shown = top.wait_for(LEFT)
    assert top.process.wait(5) == 0
    assert "Traceback" not in shown
    assert termios.tcgetattr(top.outer) == top.before


def test_a_proxy_that_goes_is_told_and_asked_on(
    start_proxy: StartProxy, shared_chaos: ChaosUpstream, terminal: Callable[..., Terminal]
) -> None:
    proxy = start_proxy(settings(shared_chaos))
    top = terminal(command(proxy, "--interval", "100ms"))
    top.wait_for("ready")
    proxy.signal()
    proxy.wait()
    top.wait_for("NO ANSWER")
    start_proxy(settings(shared_chaos) | {"admin": {"address": f"127.0.0.1:{proxy.admin}"}})
    top.wait_for("rates of")
    top.type("q")
    assert top.process.wait(5) == 0
