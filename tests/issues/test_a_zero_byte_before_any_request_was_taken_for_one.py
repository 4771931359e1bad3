"""The first bytes that a listener ever got began with a zero byte, and the connection broke off.

They were compared with the head that came last, which stood for nothing before the first request.
"""

from collections.abc import Callable

import pytest
from integration.raw_client import RawClient
from integration.running_proxy import RunningProxy


@pytest.mark.parametrize("first", [b"\0\r\n\r\n", b"\0GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_it_is_answered(start_proxy: Callable[..., RunningProxy], first: bytes) -> None:
    proxy = start_proxy({})
    with RawClient(proxy.outbound) as client:
        client.send(first)
        assert client.read_response().status == 400
    proxy.assert_sound()
