"""3,000 https names, each reached once, made the process 105 MiB larger: a TLS session of each.

Sessions, contexts and pools of authorities that nobody asks for again are bounded together.
"""

import ssl
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from chaos.upstream import ChaosUpstream
from integration.pki import Pki
from integration.running_proxy import RunningProxy
from issues.bed import MIB

NAMES = 600
FIRST = 100


@pytest.mark.alone
@pytest.mark.long
def test_names_reached_once_leave_little(
    start_plain: Callable[..., RunningProxy],
    start_chaos: Callable[..., ChaosUpstream],
    tmp_path: Path,
) -> None:
    """Addresses of the loopback stand for names: each is an authority of its own."""
    pki = Pki(tmp_path)
    names = [str(IPv4Address("127.1.0.1") + number) for number in range(NAMES)]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pki.authority.issue_cert(*names).configure_cert(context)
    chaos = start_chaos(tls=context, host="0.0.0.0")
    proxy = start_plain({"access_log": {"requests": "none"}}, SSL_CERT_FILE=pki.ca)
    before = 0
    for number, name in enumerate(names):
        if number == FIRST:
            before = proxy.memory
        authority = f"{name}:{chaos.port}"
        answer = proxy.call("GET", f"https://{authority}/", host=authority, chaos="close")
        assert answer.status == 200, answer.body
    assert proxy.memory - before < 8 * MIB
