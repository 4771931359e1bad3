"""A configuration file that became a FIFO made `POST /reload` and SIGTERM hang."""

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from issues.bare_process import Bare


def become_a_fifo(proxy: Bare) -> None:
    proxy.file.unlink()
    os.mkfifo(proxy.file)


def test_a_reload_is_refused_and_a_signal_ends_it(tmp_path: Path) -> None:
    proxy = Bare(tmp_path)
    with proxy.running() as process:
        proxy.wait_until_ready()
        become_a_fifo(proxy)
        status, body = proxy.ask("POST", "/reload")
        assert status == 422
        assert "it is not a regular file, and nothing was written to it for 2s" in body
        assert proxy.ask("GET", "/health/ready")[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


def test_a_signal_during_the_reload_ends_it(tmp_path: Path) -> None:
    proxy = Bare(tmp_path)
    with proxy.running() as process:
        proxy.wait_until_ready()
        become_a_fifo(proxy)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


def test_a_signal_during_the_start_ends_it(tmp_path: Path) -> None:
    proxy = Bare(tmp_path)
    become_a_fifo(proxy)
    with proxy.running() as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == -signal.SIGTERM


def test_a_pipe_that_is_written_to_is_a_configuration(tmp_path: Path) -> None:
    """What a shell makes of ``--config <(...)``."""
    proxy = Bare(tmp_path)
    text = proxy.file.read_text()
    become_a_fifo(proxy)
    writer = threading.Thread(target=proxy.file.write_text, args=[text], daemon=True)
    writer.start()
    with proxy.running() as process:
        proxy.wait_until_ready()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
