"""Opening all addresses, or saying once which of them cannot be had, and the mend."""

import errno

import pytest

from proxy.config.server_model import Address
from proxy.listening import CannotListen, Listening, banner

SOURCES = {"outbound": "proxy.yaml:3", "inbound": "built-in default", "admin": "--admin"}


def refusing(number):
    async def opener(address):
        raise OSError(number, "words of the system")

    return opener


async def bound(address):
    return address.host, address.port or 4711


async def test_what_is_bound_is_told():
    listening = Listening()
    assert await listening.open("admin", Address("::", 0), bound) == Address("::", 4711)
    listening.complete(SOURCES)
    assert listening.bound == {"admin": [Address("::", 4711)]}


async def test_all_that_are_taken_are_told_at_once():
    listening = Listening()
    in_use = refusing(errno.EADDRINUSE)
    assert await listening.open("admin", Address("0.0.0.0", 7072), in_use) is None
    await listening.open("outbound", Address("127.0.0.1", 7070), in_use)
    await listening.open("inbound", Address("0.0.0.0", 7071), bound)
    with pytest.raises(CannotListen) as raised:
        listening.complete(SOURCES)
    assert str(raised.value).splitlines() == [
        "cannot listen on 0.0.0.0:7072 (admin.address, --admin): another process listens there",
        "cannot listen on 127.0.0.1:7070 (listeners.outbound.address, proxy.yaml:3): another "
        "process listens there",
        "choose another address: run --admin 0.0.0.0:17072 --outbound 127.0.0.1:17070 (also "
        "$RESILIENCE_PROXY_ADMIN or $RESILIENCE_PROXY_OUTBOUND, or in the file)",
    ]


async def test_the_proposed_port_is_not_the_refused_one():
    listening = Listening()
    taken = Address("127.0.0.1", 17070)
    await listening.open("outbound", taken, refusing(errno.EADDRINUSE))
    with pytest.raises(CannotListen, match=r"run --outbound 127\.0\.0\.1:18070 "):
        listening.complete(SOURCES)


@pytest.mark.parametrize(
    ("number", "reason", "advice"),
    [
        (errno.EADDRNOTAVAIL, "this machine has no such address", "--inbound 127.0.0.1:80 "),
        (errno.EACCES, "ports below 1024 need a privilege", "--inbound 10.9.9.9:17071 "),
        (errno.EMFILE, "words of the system", "--inbound 10.9.9.9:17071 "),
    ],
)
async def test_each_reason_has_its_words(number, reason, advice):
    listening = Listening()
    await listening.open("inbound", Address("10.9.9.9", 80), refusing(number))
    with pytest.raises(CannotListen) as raised:
        listening.complete(SOURCES)
    assert reason in str(raised.value)
    assert advice in str(raised.value)


def test_the_banner_names_the_status_page_by_url():
    addresses = {
        "outbound": [Address("127.0.0.1", 1), Address("::1", 2)],
        "inbound": [Address("0.0.0.0", 3)],
        "admin": [Address("::", 4)],
    }
    shown = list(banner(addresses, "http://127.0.0.1:8080", "https", "proxy.yaml"))
    assert shown[0] == "resilience-proxy is serving (configuration: proxy.yaml)"
    assert "127.0.0.1:1, [::1]:2   " in shown[1]
    assert "export HTTP_PROXY=https://127.0.0.1:1" in shown[1]
    assert "status page:  http://127.0.0.1:4/" in shown[3]
