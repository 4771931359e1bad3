"""CONNECT to a port outside `egress.connect_ports`: plain HTTP follows, and nothing else.

Contract, section 2. What clients do with it: test_clients.py.
"""

import time
from collections.abc import Callable, Iterator

import pytest
from chaos.upstream import ChaosUpstream
from integration.raw_client import RawClient
from integration.running_proxy import RunningProxy
from integration.settings import Settings

CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + b"\r\n\r\n" + bytes(180)


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    return module_proxy(
        {
            "egress": {"allow": ["127.0.0.1", "routed.test"]},
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [{"name": "r", "match": {"hosts": ["routed.test"]}, "upstream": "chaos"}],
        }
    )


@pytest.fixture
def client(proxy: RunningProxy) -> Iterator[RawClient]:
    with proxy.client() as client:
        yield client


def _connect(client: RawClient, authority: str, behind: bytes = b"", version: str = "1.1") -> None:
    head = f"CONNECT {authority} HTTP/{version}\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
    client.send(head.encode() + behind)
    assert client.read_head().status == 200


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_requests_are_carried_with_their_policies(
    client: RawClient, shared_chaos: ChaosUpstream, proxy: RunningProxy, version: str
) -> None:
    authority = shared_chaos.authority
    _connect(client, authority, version=version)
    first = client.request("GET", "/x", host=authority, chaos="503 | 200")
    second = client.request("GET", f"http://{authority}/y", host="other.test")
    third = client.request("POST", "/z", host=authority, body=b"abc")
    assert [one.status for one in (first, second, third)] == [200, 200, 200]
    assert len(proxy.logged(first.id)["attempts"]) == 2


def test_the_route_of_its_host_takes_a_request(client: RawClient, proxy: RunningProxy) -> None:
    _connect(client, "ROUTED.test:80")
    answers = [client.request("GET", "/x", host=host) for host in ("routed.test", "routed.test:80")]
    assert [proxy.logged(one.id)["route"] for one in answers] == ["r", "r"]


@pytest.mark.parametrize(
    ("behind", "detail"),
    [
        ("GET / HTTP/1.1\r\nHost: routed.test:81", "is for routed.test:81, but the CONNECT was to"),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1:80", "is for 127.0.0.1:80, but the CONNECT was to"),
        ("GET http://127.0.0.1/ HTTP/1.1\r\nHost: routed.test", "is for 127.0.0.1, but"),
        ("CONNECT routed.test:80 HTTP/1.1\r\nHost: routed.test:80", "CONNECT followed the"),
        ("CONNECT routed.test:443 HTTP/1.1\r\nHost: routed.test:443", "CONNECT followed the"),
        ("GET / HTTP/1.0", "names no host"),
        ("GET / HTTP/2.0\r\nHost: routed.test", "HTTP version is not supported"),
    ],
)
def test_what_is_for_another_is_refused(client: RawClient, behind: str, detail: str) -> None:
    _connect(client, "routed.test:80")
    assert client.request("GET", "/x", host="routed.test").status == 200
    client.send(f"{behind}\r\n\r\nGET /x HTTP/1.1\r\nHost: routed.test\r\n\r\n".encode())
    answer = client.read_response()
    assert answer.status == 400
    assert detail in answer.problem["detail"]
    assert client.closed()


@pytest.mark.parametrize(
    ("authority", "status", "reason"),
    [
        ("other.test:80", 403, "egress-denied"),
        ("127.0.0.1:{outbound}", 508, "loop"),
        ("127.0.0.1:{admin}", 508, "loop"),
        ("routed.test", 400, "bad-request"),
    ],
)
def test_its_destination_is_judged_before_it_is_accepted(
    client: RawClient, proxy: RunningProxy, authority: str, status: int, reason: str
) -> None:
    authority = authority.format(outbound=proxy.outbound, admin=proxy.admin)
    client.send(
        f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"
        "GET /x HTTP/1.1\r\nHost: routed.test\r\n\r\n".encode()
    )
    answer = client.read_response()
    assert (answer.status, answer.problem["reason"]) == (status, reason)
    assert client.closed()


@pytest.mark.parametrize(
    ("behind", "answer", "said"),
    [
        (CLIENT_HELLO, bytes.fromhex("15030100020231"), "TLS followed"),
        (CLIENT_HELLO[:1], bytes.fromhex("15030100020231"), "TLS followed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", b"", "other than HTTP"),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", b"", "other than HTTP"),
    ],
)
def test_other_protocols_are_closed_and_logged(
    proxy: RunningProxy, behind: bytes, answer: bytes, said: str
) -> None:
    before = len(_refusals(proxy))
    with proxy.client() as client:
        _connect(client, "routed.test:8443", behind)
        assert client.read_rest() == answer
    end = time.monotonic() + 3
    while len(_refusals(proxy)) == before:
        assert time.monotonic() < end
        time.sleep(0.005)
    detail = _refusals(proxy)[-1]
    assert "CONNECT to routed.test:8443" in detail
    assert "egress.connect_ports" in detail
    assert said in detail


def _refusals(proxy: RunningProxy) -> list[str]:
    return [line["detail"] for line in proxy.log_lines() if line.get("reason") == "egress-denied"]


def test_it_takes_no_place_of_the_bulkhead(
    start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    bulkhead = {"max_concurrent": 1, "max_queue": 0}
    proxy = start_proxy({"policies": {"default": {"bulkhead": bulkhead}}})
    authority = shared_chaos.authority
    with proxy.client() as one, proxy.client() as other:
        _connect(one, authority)
        _connect(other, authority)
        assert other.request("GET", "/x", host=authority).status == 200
        assert one.request("GET", "/x", host=authority).status == 200
