"""Rows of the tables again, over real sockets, through the real command: one process for all."""

import socket
from collections.abc import Iterator

import pytest
import yaml
from conformance import test_requests, test_responses
from conformance.play import CONFIG, OK
from conformance.rows import Answer, Cut, Row
from conformance.strict import Requests, Responses
from conformance.test_requests import OWN, without_own
from exchange.chunks import merged
from integration.running_proxy import RunningProxy, eventually
from issues.bed import RawUpstream

TIMEOUT = 5.0
ROWS = [row for table in test_requests.TABLES.values() for row in table]
ANSWERS = [row for table in test_responses.TABLES.values() for row in table if not row.resets]
"""A reset may overtake what was sent before it: what is seen then is no one's to say."""


class Upstream(RawUpstream):
    """Keeps what comes, and answers each whole request with `answer`: bytes, and whether to end.

    `at_once`: it does not wait for the request's body.
    """

    def __init__(self) -> None:
        self.came = b""
        self.answer: tuple[bytes, bool] = (OK, False)
        self.at_once = False
        super().__init__(self._answer_all)

    def _answer_all(self, connection: socket.socket) -> None:
        read, answered = Requests(), 0
        while data := connection.recv(65536):
            self.came += data
            read.feed(data)
            due = read.messages if self.at_once else read.whole
            while answered < len(due):
                answered += 1
                sent, ends = self.answer
                connection.sendall(sent)
                if ends:
                    connection.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[RunningProxy]:
    settings = yaml.safe_load(CONFIG)
    settings["upstreams"]["app"]["endpoints"] = [upstream.url]
    proxy = RunningProxy(tmp_path_factory.mktemp("proxy"), settings)
    yield proxy
    proxy.stop()


def asked(proxy: RunningProxy, sent: bytes, answers: int) -> tuple[bytes, bool]:
    """What came back, up to that many final answers or the end; and whether it ended."""
    seen, came = Responses(), b""
    with socket.create_connection(("127.0.0.1", proxy.outbound), TIMEOUT) as client:
        client.sendall(sent)
        while not answers or sum(one.whole for one in seen.final) < answers:
            try:
                data = client.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return came, True
            came += data
            seen.feed(data)
    return came, False


def check_request(proxy: RunningProxy, upstream: Upstream, row: Row) -> None:
    upstream.came = b""
    if isinstance(row.becomes, str):
        came, ended = asked(proxy, row.sent, 0)
        test_responses.check_answer(came, row.becomes)
        assert ended
        read = Requests()
        read.feed(upstream.came)
        assert not read.whole
    else:
        expected = Requests()
        expected.feed(row.becomes)
        count = len(expected.whole)
        came, ended = asked(proxy, row.sent, 0 if row.closes else count)
        assert came.count(b" 200 OK\r\n") == count
        went = upstream.came.replace(upstream.url[7:].encode(), b"10.0.0.1")
        assert merged(without_own(went, count)) == merged(row.becomes)


def test_requests_over_sockets(proxy: RunningProxy, upstream: Upstream) -> None:
    for row in ROWS:
        try:
            check_request(proxy, upstream, row)
        except (AssertionError, OSError) as error:
            pytest.fail(f"{row}: {error!r}; upstream: {upstream.came!r}")
    proxy.assert_sound()


def check_response(proxy: RunningProxy, upstream: Upstream, row: Answer) -> None:
    upstream.answer, upstream.at_once = (row.sent, row.ends), b"\r\n\r\nab" in row.asked
    to_end = isinstance(row.becomes, Cut) or row.asked.startswith(b"HEAD") or row.closes
    sent = row.asked
    if row.asked.startswith(b"HEAD"):
        # Nothing would tell where the answer to a HEAD ends but the connection's end.
        sent = sent[:-2] + b"Connection: close\r\n\r\n"
    came, ended = asked(proxy, sent, 0 if to_end else 1)
    came = OWN.sub(b"", came)
    if isinstance(row.becomes, Cut):
        assert merged(came) == merged(row.becomes.came)
        assert ended
    elif isinstance(row.becomes, str):
        test_responses.check_answer(came, row.becomes)
    elif row.asked.startswith(b"HEAD"):
        assert came == row.becomes[:-2] + b"Connection: close\r\n\r\n"
    else:
        assert test_responses.read(came) == test_responses.read(row.becomes)


def no_connection(proxy: RunningProxy) -> bool:
    """Whether the proxy has no connection to the upstream."""
    (app,) = [one for one in proxy.state("/upstreams")["upstreams"] if one["name"] == "app"]
    return all(endpoint["connections"]["open"] == 0 for endpoint in app["endpoints"])


def test_responses_over_sockets(proxy: RunningProxy, upstream: Upstream) -> None:
    for row in ANSWERS:
        try:
            check_response(proxy, upstream, row)
        except (AssertionError, OSError) as error:
            pytest.fail(f"{row.name}, {row.sent[:300]!r}: {error!r}")
        if row.ends:  # the next request must not meet a connection whose end is on its way
            eventually(lambda: no_connection(proxy))
    proxy.assert_sound()
