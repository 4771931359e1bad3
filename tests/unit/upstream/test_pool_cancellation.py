"""Cancelling a ticket at every moment of its life."""

import pytest

from proxy.errors import ConnectRefused


def test_while_connecting_the_connection_is_kept_for_others(bench):
    b = bench()
    answers, ticket = b.ask()
    ticket.cancel()
    assert b.counts == (0, 0, 1, 0)
    assert b.endpoint.active == 0
    connection = b.connector.succeed()
    b.loop.run()
    assert answers == []
    assert b.pool.take() is connection


def test_while_connecting_a_failure_is_nobodys(bench):
    b = bench()
    answers, ticket = b.ask()
    ticket.cancel()
    b.connector.fail()
    b.loop.run()
    assert answers == []
    assert b.counts == (0, 0, 0, 0)


def test_in_the_queue_the_next_one_moves_up(bench):
    b = bench(max=1)
    held = b.connection()
    gone, ticket = b.ask()
    next_one, _ = b.ask()
    ticket.cancel()
    assert b.pool.waiting == 1
    b.pool.give_back(held, reusable=True)
    b.loop.run()
    assert (gone, next_one) == ([], [held])


def test_the_abandoned_connect_serves_who_queues(bench):
    b = bench(max=1)
    gone, ticket = b.ask()
    queued, _ = b.ask()
    ticket.cancel()
    assert b.pool.connecting == 1
    connection = b.connector.succeed()
    b.loop.run()
    assert (gone, queued) == ([], [connection])


def test_the_abandoned_connect_that_fails_makes_room_for_who_queues(bench):
    b = bench(max=1)
    _, ticket = b.ask()
    queued, _ = b.ask()
    ticket.cancel()
    b.connector.fail()
    b.loop.run()
    assert queued == []
    assert b.pool.connecting == 1
    connection = b.connector.succeed()
    b.loop.run()
    assert queued == [connection]


def test_between_connect_and_callback_the_connection_becomes_idle(bench):
    b = bench()
    answers, ticket = b.ask()
    connection = b.connector.succeed()
    ticket.cancel()
    b.loop.run()
    assert answers == []
    assert b.counts == (1, 1, 0, 0)
    assert b.pool.take() is connection


def test_between_give_back_and_callback_the_connection_goes_to_the_next(bench):
    b = bench(max=1)
    held = b.connection()
    gone, ticket = b.ask()
    next_one, _ = b.ask()
    b.pool.give_back(held, reusable=True)
    ticket.cancel()
    b.loop.run()
    assert (gone, next_one) == ([], [held])
    assert b.endpoint.active == 1


def test_between_failure_and_callback_nothing_is_heard(bench):
    b = bench()
    answers, ticket = b.ask()
    b.connector.fail()
    ticket.cancel()
    b.loop.run()
    assert answers == []
    assert b.endpoint.active == 0


def test_after_the_connection_died_on_its_way(bench):
    b = bench()
    answers, ticket = b.ask()
    b.connector.lose(b.connector.succeed())
    ticket.cancel()
    b.loop.run()
    assert answers == []
    assert b.counts == (0, 0, 0, 0)
    assert b.endpoint.active == 0


@pytest.mark.parametrize("fails", [False, True])
def test_after_the_answer_it_changes_nothing(bench, fails):
    b = bench()
    answers, ticket = b.ask()
    if fails:
        b.connector.fail()
    else:
        b.connector.succeed()
    b.loop.run()
    before = b.counts, b.endpoint.active
    ticket.cancel()
    ticket.cancel()
    b.loop.run()
    assert len(answers) == 1
    assert (b.counts, b.endpoint.active) == before


def test_twice_is_once(bench):
    b = bench()
    _, ticket = b.ask()
    ticket.cancel()
    ticket.cancel()
    assert b.endpoint.active == 0
    assert b.pool.waiting == 0


def test_from_within_anothers_callback(bench):
    """Two answers are on their way in one turn; the first to hear cancels the second."""
    b = bench()
    later_answers = []
    heard = []

    def on_first(connection):
        heard.append(connection)
        later.cancel()

    b.pool.request(on_first, 1.0)
    later = b.pool.request(later_answers.append, 1.0)
    b.connector.succeed()
    second = b.connector.succeed()
    b.loop.run()
    assert len(heard) == 1
    assert later_answers == []
    assert b.pool.take() is second


def test_a_callback_may_use_the_pool_at_once(bench):
    b = bench(max=1)
    got = []

    def on_ready(connection):
        got.append(connection)
        b.pool.give_back(connection, reusable=True)
        assert b.pool.take() is connection
        b.pool.give_back(connection, reusable=False)
        b.pool.request(got.append, 1.0)

    b.pool.request(on_ready, 1.0)
    first = b.connector.succeed()
    b.loop.run()
    b.connector.fail()
    b.loop.run()
    assert got[0] is first
    assert isinstance(got[1], ConnectRefused)
    assert b.counts == (0, 0, 0, 0)
