"""A terminal that was closed left the proxy running, with its ports taken."""

import contextlib
import os
import pty
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from issues.bare_process import Bare

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    yield master, slave
    for descriptor in (master, slave):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def take_terminal() -> None:
    """In the child: lead a session whose controlling terminal standard input is."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup


def take_terminal_and_outlive_it() -> None:
    """As nohup does."""
    take_terminal()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_it_drains_and_ends(tmp_path: Path, terminal: tuple[int, int]) -> None:
    proxy = Bare(tmp_path)
    master, slave = terminal
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    with proxy.running(preexec_fn=take_terminal, **streams) as process:
        os.close(slave)
        proxy.wait_until_ready()
        os.close(master)
        try:
            assert process.wait(10) == 0
        except subprocess.TimeoutExpired:
            # Its streams went with the terminal: only the admin address can say what it does.
            raise AssertionError(proxy.ask("GET", "/status")[1]) from None


def test_a_hangup_with_the_terminal_still_there_is_a_reload(
    tmp_path: Path, terminal: tuple[int, int]
) -> None:
    proxy = Bare(tmp_path)
    streams = {"stdin": terminal[1], "stdout": terminal[1], "stderr": terminal[1]}
    with proxy.running(preexec_fn=take_terminal, **streams) as process:
        proxy.wait_until_ready()
        process.send_signal(signal.SIGHUP)
        while '"trigger": "SIGHUP"' not in proxy.ask("GET", "/status")[1]:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_nohup_outlives_its_terminal(tmp_path: Path, terminal: tuple[int, int]) -> None:
    proxy = Bare(tmp_path)
    master, slave = terminal
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    with proxy.running(preexec_fn=take_terminal_and_outlive_it, **streams) as process:
        os.close(slave)
        proxy.wait_until_ready()
        os.close(master)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        assert proxy.ask("GET", "/health/ready")[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
