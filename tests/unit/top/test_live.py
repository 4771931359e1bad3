"""What keys and looks make of the view."""

import pytest
from unit.top.documents import status, troubled

from proxy.admin.asking import NoAnswer
from proxy.top.live import Session
from proxy.top.rates import Order
from proxy.top.reading import read
from proxy.top.sections import Name
from proxy.top.watcher import Seen


def seen(at: float, *ids: str) -> Seen:
    recent = [troubled(request_id=one) for one in ids]
    return Seen(read(status(uptime_s=at), recent, at), tuple(recent))


@pytest.fixture
def session() -> Session:
    made = Session("http://127.0.0.1:7072")
    made.see(seen(100, "a", "b", "c"), 100)
    return made


def press(session: Session, *keys: str) -> bool:
    return all(map(session.press, keys))


def test_q_ends_it(session):
    assert press(session, "s", "1", "x", "enter", "up")
    assert not session.press("q")


def test_sorting_and_tables(session):
    assert press(session, "s")
    assert session.view.order is Order.REQUESTS
    press(session, "2")
    assert session.view.alone is Name.BREAKERS
    press(session, "0")
    assert session.view.alone is None
    press(session, "6", "escape")
    assert session.view.alone is None


def test_a_failure_is_shown_from_its_first_moment_until_an_answer(session):
    session.see(NoAnswer("refused"), 103)
    session.see(NoAnswer("still refused"), 104)
    assert (session.view.failure, session.view.failed_at) == ("still refused", 103)
    assert session.view.window.latest is not None
    session.see(seen(105), 105)
    assert session.view.failure == ""


def test_paused_it_takes_nothing_new_but_tells_of_failures(session):
    press(session, "space")
    session.see(seen(105), 105)
    session.see(NoAnswer("refused"), 106)
    assert session.view.window.latest.at == 100
    assert session.view.failure == "refused"
    press(session, "space")
    session.see(seen(107), 107)
    assert session.view.window.latest.at == 107


def test_the_selection_moves_within_the_list(session):
    press(session, "down")
    assert session.view.selected == 0, "only where it is shown"
    press(session, "6", "down", "j", "down", "down")
    assert session.view.selected == 2
    press(session, "up", "k", "k")
    assert session.view.selected == 0


def test_the_selection_stays_with_its_request(session):
    press(session, "6", "down")
    session.see(seen(101, "new", "a", "b", "c"), 101)
    assert session.view.selected == 2
    session.see(seen(102, "new", "newer"), 102)
    assert session.view.selected == 1
    session.see(seen(103), 103)
    assert session.view.selected == 0


def test_enter_tells_the_story_of_the_selected_request(session):
    press(session, "6", "down", "enter")
    assert "request id b, trace t-1" in session.view.story
    press(session, "down", "down", "up")
    assert session.view.scrolled == 1
    press(session, "s", "3")
    assert session.view.story, "other keys do nothing there"
    press(session, "enter")
    assert (session.view.story, session.view.alone) == ((), Name.RECENT)


def test_there_is_no_story_of_nothing(session):
    session.see(seen(101), 101)
    press(session, "6", "enter", "up", "down")
    assert session.view.story == ()
