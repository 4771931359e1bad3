"""The pool's bookkeeping; cancellation has its own file."""

import pytest

from proxy.errors import ConnectFailed, ConnectRefused, ConnectTimeout
from proxy.upstream.shortages import ConnectShortage


def test_nothing_to_take_at_first(bench):
    assert bench().pool.take() is None


def test_a_request_starts_a_connect_and_is_answered_from_the_loop(bench):
    b = bench()
    answers, _ = b.ask(timeout=0.7)
    assert b.counts == (0, 0, 1, 1)
    assert b.connector.timeouts == [0.7]
    connection = b.connector.succeed()
    assert answers == []
    b.loop.run()
    assert answers == [connection]
    assert b.counts == (1, 0, 0, 0)


def test_the_most_recently_used_connection_is_taken_first(bench):
    b = bench()
    first, second = b.idle(2)
    assert b.pool.take() is second
    assert b.pool.take() is first
    assert b.pool.take() is None


def test_active_counts_who_has_or_awaits_a_connection(bench):
    b = bench(max=1)
    held = b.connection()
    assert b.endpoint.active == 1
    _, ticket = b.ask()
    assert b.endpoint.active == 2
    ticket.cancel()
    b.pool.give_back(held, reusable=True)
    assert b.endpoint.active == 0
    b.pool.take()
    assert b.endpoint.active == 1


def test_giving_back_twice_changes_nothing(bench):
    b = bench()
    held = b.connection()
    b.pool.give_back(held, reusable=True)
    b.pool.give_back(held, reusable=True)
    assert b.counts == (1, 1, 0, 0)
    assert b.endpoint.active == 0


def test_what_is_not_reusable_is_aborted(bench):
    b = bench()
    held = b.connection()
    b.pool.give_back(held, reusable=False)
    b.loop.run()
    assert b.connector.ended_by(held) == "abort"
    assert b.counts == (0, 0, 0, 0)


def test_a_connection_that_saw_its_end_is_not_kept(bench):
    b = bench()
    held = b.connection()
    b.connector.see_end(held)
    b.pool.give_back(held, reusable=True)
    assert not b.connector.open(held)
    assert b.pool.open == 0


def test_max_requests_closes_a_connection_after_its_last_exchange(bench):
    b = bench(max_requests=2)
    held = b.connection()
    b.pool.give_back(held, reusable=True)
    assert b.pool.take() is held
    b.pool.give_back(held, reusable=True)
    assert b.connector.ended_by(held) == "close"
    assert b.pool.take() is None


def test_at_max_exchanges_wait_in_order(bench):
    b = bench(max=1)
    held = b.connection()
    first, _ = b.ask()
    second, _ = b.ask()
    assert b.counts == (1, 0, 0, 2)
    b.pool.give_back(held, reusable=True)
    b.loop.run()
    assert (first, second) == ([held], [])
    b.pool.give_back(held, reusable=True)
    b.loop.run()
    assert second == [held]


def test_a_waiter_at_max_gets_a_connect_of_its_own_when_there_is_room(bench):
    b = bench(max=1)
    held = b.connection()
    answers, _ = b.ask(timeout=0.3)
    b.pool.give_back(held, reusable=False)
    assert b.counts == (0, 0, 1, 1)
    assert b.connector.timeouts[-1] == 0.3
    new = b.connector.succeed()
    b.loop.run()
    assert answers == [new]


def test_a_busy_connection_that_is_lost_makes_room(bench):
    b = bench(max=1)
    held = b.connection()
    b.ask()
    b.connector.lose(held)
    assert b.counts == (0, 0, 1, 1)
    b.pool.give_back(held, reusable=False)
    assert b.endpoint.active == 1


def test_a_connection_given_back_serves_who_waits_for_a_connect(bench):
    b = bench()
    held = b.connection()
    answers, _ = b.ask()
    b.pool.give_back(held, reusable=True)
    b.loop.run()
    assert answers == [held]
    new = b.connector.succeed()
    assert b.counts == (2, 1, 0, 0)
    assert b.pool.take() is new


def test_a_failed_connect_that_nobody_waits_for_is_nobodys_answer(bench):
    b = bench()
    held = b.connection()
    first, _ = b.ask()
    b.pool.give_back(held, reusable=True)
    b.loop.run()
    second, _ = b.ask()
    assert b.pool.connecting == 2
    b.connector.fail(0)
    b.loop.run()
    assert first == [held]
    assert second == []
    assert b.counts == (1, 0, 1, 1)


def test_a_failed_connect_answers_the_waiter_it_was_begun_for(bench):
    b = bench()
    patient, _ = b.ask(timeout=5)
    hasty, _ = b.ask(timeout=0.1)
    error = ConnectTimeout("10.0.0.1:80 did not answer.")
    b.connector.fail(1, error)
    b.loop.run()
    assert hasty == [error]
    assert patient == []
    b.connector.succeed()
    b.loop.run()
    assert len(patient) == 1


def test_the_first_in_line_takes_anothers_connection_and_leaves_its_own_connect(bench):
    b = bench()
    first, _ = b.ask()
    second, _ = b.ask()
    connection = b.connector.succeed(1)
    b.loop.run()
    assert (first, second) == ([connection], [])
    b.connector.fail(0)
    b.loop.run()
    assert len(second) == 1
    assert isinstance(second[0], ConnectRefused)


def test_every_waiter_at_max_is_answered_when_all_connects_fail(bench):
    b = bench(max=2)
    asked = [b.ask()[0] for _ in range(5)]
    while b.connector.pending:
        assert b.pool.connecting <= 2
        b.connector.fail()
        b.loop.run()
    assert [type(answers[0]) for answers in asked] == [ConnectRefused] * 5
    assert b.counts == (0, 0, 0, 0)
    assert b.endpoint.active == 0


def test_a_connection_that_dies_on_its_way_to_a_waiter_is_replaced(bench):
    b = bench(max=1)
    held = b.connection()
    first, _ = b.ask()
    second, _ = b.ask()
    b.pool.give_back(held, reusable=True)
    b.connector.lose(held)
    b.loop.run()
    assert (first, second) == ([], [])
    new = b.connector.succeed()
    b.loop.run()
    assert (first, second) == ([new], [])


def test_a_connection_that_was_dead_before_it_came_is_a_failed_connect(bench):
    b = bench()
    answers, _ = b.ask()
    _, ticket = b.ask()
    ticket.cancel()
    b.connector.succeed(0, dead=True)
    b.connector.succeed(0, dead=True)
    b.loop.run()
    assert isinstance(answers[0], ConnectFailed)
    assert b.counts == (0, 0, 0, 0)
    assert b.endpoint.avoid_until > b.loop.now


def test_who_lost_its_connect_to_an_older_waiter_stands_before_younger_ones(bench):
    b = bench(max=2)
    held = b.connection()
    asked = [b.ask()[0] for _ in range(3)]  # the first one connects
    b.pool.give_back(held, reusable=True)  # on its way to the first one, whose connect goes on
    b.connector.lose(held)  # so the second one gets a connect, and the first one stands without
    assert b.pool.connecting == 2
    b.loop.run()
    assert [len(answers) for answers in asked] == [0, 0, 0]
    connection = b.connector.succeed(1)  # the second one's: it goes to the first
    b.loop.run()
    assert [len(answers) for answers in asked] == [1, 0, 0]
    assert asked[0] == [connection]
    b.connector.fail()  # nobody's: the room is the second one's, not the third's
    b.connector.fail()
    b.loop.run()
    assert [len(answers) for answers in asked] == [1, 1, 0]


def test_who_got_a_dead_connection_stands_first_in_the_queue_again(bench):
    b = bench(max=1)
    held = b.connection()
    asked = [b.ask()[0] for _ in range(3)]
    b.pool.give_back(held, reusable=True)
    b.connector.lose(held)  # the second one gets the room
    b.loop.run()
    order = []
    while b.connector.pending:
        b.connector.fail()
        b.loop.run()
        order.append([len(answers) for answers in asked])
    assert order == [[0, 1, 0], [1, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize("how", ["lost", "end seen"])
def test_a_new_connection_that_dies_on_its_way_fails_the_connect(bench, how):
    b = bench()
    answers, _ = b.ask()
    connection = b.connector.succeed()
    if how == "lost":
        b.connector.lose(connection)
    else:
        b.connector.see_end(connection)
    b.loop.run()
    assert isinstance(answers[0], ConnectFailed)
    assert "closed it at once" in answers[0].detail
    assert not b.connector.open(connection)
    assert b.counts == (0, 0, 0, 0)
    assert b.endpoint.active == 0


def test_an_idle_connection_that_is_lost_leaves_the_pool(bench):
    b = bench()
    first, second = b.idle(2)
    b.connector.lose(second)
    assert b.counts == (1, 1, 0, 0)
    assert b.pool.take() is first


def test_take_passes_over_a_dead_connection_and_closes_it(bench):
    b = bench()
    first, second = b.idle(2)
    b.connector.see_end(second)
    assert b.pool.take() is first
    assert not b.connector.open(second)
    b.loop.run()
    assert b.counts == (1, 0, 0, 0)


def test_idle_connections_are_closed_after_idle_timeout(bench):
    b = bench(idle_timeout=4.0)
    (first,) = b.idle(1)
    b.loop.advance(3.9)
    assert b.connector.open(first)
    b.loop.advance(0.2)
    assert b.connector.ended_by(first) == "close"
    assert b.counts == (0, 0, 0, 0)
    assert b.loop.timers == []


def test_one_timer_serves_all_idle_connections(bench):
    b = bench(idle_timeout=4.0)
    first, second = b.idle(2)
    assert b.pool.take() is second
    b.loop.advance(3.0)
    b.pool.give_back(second, reusable=True)
    assert len(b.loop.timers) == 1
    b.loop.advance(1.5)
    assert (b.connector.open(first), b.connector.open(second)) == (False, True)
    assert len(b.loop.timers) == 1
    b.loop.advance(3.0)
    assert not b.connector.open(second)


def test_take_never_gives_an_expired_connection(bench):
    b = bench(idle_timeout=4.0)
    (first,) = b.idle(1)
    b.loop.now += 4.0  # the timer is late
    assert b.pool.take() is None
    assert not b.connector.open(first)


def test_idle_timeout_zero_keeps_nothing(bench):
    b = bench(idle_timeout=0.0)
    (first,) = b.idle(1)
    assert b.pool.take() is None
    b.loop.advance(0.1)
    assert not b.connector.open(first)


def test_close_ends_idle_connections_and_lets_busy_ones_finish(bench):
    b = bench()
    held = b.connection()
    (idle,) = b.idle(1)
    b.pool.close()
    assert b.connector.ended_by(idle) == "close"
    assert b.connector.open(held)
    b.pool.give_back(held, reusable=True)
    assert b.connector.ended_by(held) == "close"
    assert b.counts == (0, 0, 0, 0)
    assert b.loop.timers == []


def test_a_closed_pool_still_serves_who_asks(bench):
    b = bench(max=1)
    held = b.connection()
    waiting, _ = b.ask()
    b.pool.close()
    b.pool.give_back(held, reusable=True)
    b.loop.run()
    assert waiting == [held]
    late, _ = b.ask()
    b.pool.give_back(held, reusable=False)
    new = b.connector.succeed()
    b.loop.run()
    assert late == [new]


def test_a_connect_that_ends_after_close_unwanted_is_closed(bench):
    b = bench()
    _, ticket = b.ask()
    ticket.cancel()
    b.pool.close()
    connection = b.connector.succeed()
    assert b.connector.ended_by(connection) == "close"
    assert b.pool.open == 0


def fail_a_connect(b):
    b.ask()
    b.connector.fail()
    b.loop.run()


def test_each_failed_connect_after_the_pause_doubles_it_up_to_thirty_seconds(bench):
    b = bench()
    pauses = []
    for _ in range(8):
        fail_a_connect(b)
        pauses.append(b.endpoint.avoid_until - b.loop.now)
        b.loop.advance(pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_connects_that_fail_together_count_once(bench):
    b = bench()
    start = b.loop.now
    for _ in range(3):
        fail_a_connect(b)
        b.loop.advance(0.3)
    assert b.endpoint.avoid_until == start + 1


def test_a_connect_that_succeeds_ends_the_pause(bench):
    b = bench()
    fail_a_connect(b)
    b.loop.advance(1.0)
    fail_a_connect(b)
    b.connection()
    assert b.endpoint.avoid_until == 0
    fail_a_connect(b)
    assert b.endpoint.avoid_until == b.loop.now + 1


def test_what_the_process_itself_lacks_does_not_count_against_the_endpoint(bench):
    b = bench()
    b.ask()
    b.connector.fail(error=ConnectShortage("No file descriptor is left."))
    assert b.endpoint.avoid_until == 0
