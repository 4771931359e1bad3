"""What SIGHUP means, by what became of the terminal; the standard streams are tested for real in
tests/issues.
"""

import signal
from collections.abc import Iterator

import pytest

from proxy.startup import Hangup, Hangups


@pytest.fixture(autouse=True)
def disposition() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup starts the tests without
    yield
    signal.signal(signal.SIGHUP, before)


class Terminal:
    there = True

    def __call__(self) -> bool:
        return self.there


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def test_a_signal_is_held(terminal: Terminal) -> None:
    hangups = Hangups(terminal)
    hangups.hold()
    assert not hangups.held
    signal.raise_signal(signal.SIGHUP)
    assert hangups.held


@pytest.mark.parametrize(
    ("at_start", "now", "before", "meaning"),
    [
        (True, True, signal.SIG_DFL, Hangup.RELOAD),
        (True, False, signal.SIG_DFL, Hangup.TERMINAL_CLOSED),
        (False, False, signal.SIG_DFL, Hangup.RELOAD),
        (True, True, signal.SIG_IGN, Hangup.RELOAD),
        (True, False, signal.SIG_IGN, Hangup.NOTHING),
        (False, False, signal.SIG_IGN, Hangup.RELOAD),
    ],
)
def test_what_it_means(
    terminal: Terminal, at_start: bool, now: bool, before: signal.Handlers, meaning: Hangup
) -> None:
    signal.signal(signal.SIGHUP, before)
    terminal.there = at_start
    hangups = Hangups(terminal)
    hangups.hold()
    terminal.there = now
    assert hangups.meaning() is meaning


def test_holding_twice_is_holding_once(terminal: Terminal) -> None:
    hangups = Hangups(terminal)
    hangups.hold()
    terminal.there = False
    hangups.hold()
    assert hangups.meaning() is Hangup.TERMINAL_CLOSED
