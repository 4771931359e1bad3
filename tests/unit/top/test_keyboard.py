"""Keys, and the terminal put back as it was."""

import os
import pty
import sys
import termios

import pytest

from proxy.top.keyboard import Keyboard, keys_of


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        (b"", []),
        (b"q", ["q"]),
        (b"Q s", ["q", "space", "s"]),
        (b"\x1b[A\x1b[B\x1bOA\x1bOB", ["up", "down", "up", "down"]),
        (b"\r\n", ["enter", "enter"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[1;5Aq", ["q"]),
        (b"\x1b[200~x\x1b[201~", ["x"]),
        (b"\x1b[", []),
        (b"\xff", ["ÿ"]),
    ],
)
def test_keys(typed, keys):
    assert keys_of(typed) == keys


@pytest.fixture
def terminal(monkeypatch):
    """The other side of a terminal that is this process' standard input."""
    outer, inner = pty.openpty()
    with open(inner, closefd=False) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield outer
    os.close(outer)
    os.close(inner)


@pytest.fixture
def bell():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_a_key_comes_at_once_and_the_terminal_is_put_back(terminal, bell):
    before = termios.tcgetattr(terminal)
    with Keyboard(bell[0]) as keyboard:
        assert termios.tcgetattr(terminal) != before
        os.write(terminal, b"s")
        assert keyboard.read(5.0) == ["s"]
        assert keyboard.read(0.0) == []
    assert termios.tcgetattr(terminal) == before


def test_it_is_put_back_after_an_error_too(terminal, bell):
    before = termios.tcgetattr(terminal)
    with pytest.raises(KeyboardInterrupt), Keyboard(bell[0]):
        raise KeyboardInterrupt
    assert termios.tcgetattr(terminal) == before


def test_news_end_a_wait(terminal, bell):
    os.write(bell[1], b"!")
    with Keyboard(bell[0]) as keyboard:
        assert keyboard.read(5.0) == []
        os.write(terminal, b"q")
        assert keyboard.read(5.0) == ["q"]


def test_without_a_terminal_there_are_no_keys(monkeypatch, bell):
    with open("/dev/null") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with Keyboard(bell[0]) as keyboard:
            assert keyboard.read(0.0) == []
