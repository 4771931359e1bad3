import pytest

from proxy.upstream.endpoint import Endpoint


@pytest.mark.parametrize(
    ("host", "ip", "label", "where"),
    [
        ("inventory", "10.0.0.1", "10.0.0.1:80", "10.0.0.1:80 (inventory)"),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1:80", "10.0.0.1:80"),
        ("::1", "::1", "[::1]:80", "[::1]:80"),
        ("localhost", "::1", "[::1]:80", "[::1]:80 (localhost)"),
    ],
)
def test_names(host, ip, label, where):
    endpoint = Endpoint("http", host, 80, ip)
    assert (endpoint.label, endpoint.where) == (label, where)


def test_each_failure_after_the_pause_doubles_it_up_to_thirty_seconds():
    endpoint = Endpoint("http", "a", 80, "10.0.0.1")
    now, pauses = 0.0, []
    for _ in range(8):
        endpoint.note_connect_failed(now)
        pauses.append(endpoint.avoid_until - now)
        now = endpoint.avoid_until
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_failures_together_count_once():
    endpoint = Endpoint("http", "a", 80, "10.0.0.1")
    for now in (0.0, 0.1, 0.9):
        endpoint.note_connect_failed(now)
    assert endpoint.avoid_until == 1.0


def test_a_success_clears_it():
    endpoint = Endpoint("http", "a", 80, "10.0.0.1")
    endpoint.note_connect_failed(0.0)
    endpoint.note_connect_failed(5.0)
    endpoint.note_connected()
    assert endpoint.avoid_until == 0.0
    endpoint.note_connect_failed(10.0)
    assert endpoint.avoid_until == 11.0
