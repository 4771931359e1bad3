"""The TLS of a listener, handshakes in memory."""

import logging
import ssl
from pathlib import Path

import pytest
from unit.pki import Pki, handshake

from proxy.config.server_model import ListenerTls
from proxy.wire.tls import ListenerContext, UnusableTls

KEY = "listeners.inbound.tls"


@pytest.fixture
def pki(tmp_path):
    return Pki(tmp_path / "ours")


@pytest.fixture
def other(tmp_path):
    return Pki(tmp_path / "theirs")


def serial(listener, client):
    return handshake(listener.context, client)[1].getpeercert()["serialNumber"]


def test_what_is_offered(pki):
    listener = ListenerContext(KEY, ListenerTls(*pki.files("orders.shop")))
    client = pki.client()
    client.set_alpn_protocols(["h2", "http/1.1"])
    server_side, client_side = handshake(listener.context, client)
    assert client_side.selected_alpn_protocol() == "http/1.1"
    assert server_side.version() in ("TLSv1.2", "TLSv1.3")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_nothing_older_than_tls_1_2(pki):
    listener = ListenerContext(KEY, ListenerTls(*pki.files("orders.shop")))
    old = pki.client()
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        handshake(listener.context, old)


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES256-SHA384", "ECDHE-RSA-AES128-SHA256"])
def test_no_cbc_in_tls_1_2(pki, suite):
    listener = ListenerContext(KEY, ListenerTls(*pki.files("orders.shop")))
    client = pki.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(suite)
    with pytest.raises(ssl.SSLError):
        handshake(listener.context, client)
    offered = [cipher["name"] for cipher in listener.context.get_ciphers()]
    assert [name for name in offered if "GCM" not in name and "POLY1305" not in name] == []


@pytest.mark.parametrize(
    "order",
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ],
)
def test_the_client_chooses_among_the_ciphers(pki, order):
    # Of TLS 1.2: Python cannot set a client's order of those of TLS 1.3.
    listener = ListenerContext(KEY, ListenerTls(*pki.files("orders.shop")))
    client = pki.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(":".join(order))
    server_side, _ = handshake(listener.context, client)
    assert server_side.cipher()[0] == order[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_mutual(pki, other, version):
    listener = ListenerContext(KEY, ListenerTls(*pki.files("orders.shop"), pki.ca))
    known = pki.client(pki.files("web.shop"))
    known.maximum_version = version
    server_side, _ = handshake(listener.context, known)
    assert server_side.getpeercert()["subjectAltName"] == (("DNS", "web.shop"),)
    for stranger in (pki.client(), pki.client(other.files("web.shop"))):
        stranger.maximum_version = version
        with pytest.raises(ssl.SSLError):
            handshake(listener.context, stranger)


def test_new_files_hold_from_the_next_handshake(pki, caplog):
    listener = ListenerContext(KEY, ListenerTls(*pki.files("orders.shop")))
    before = serial(listener, pki.client())
    listener.renew()
    assert serial(listener, pki.client()) == before
    pki.files("orders.shop")
    assert serial(listener, pki.client()) == before
    with caplog.at_level(logging.INFO, "proxy"):
        listener.renew()
    assert serial(listener, pki.client()) != before
    assert [record.getMessage() for record in caplog.records] == [
        f"{KEY}: new files, in use from the next handshake"
    ]


def test_half_a_pair_changes_nothing_and_is_said_once(pki, caplog):
    cert, key = pki.files("orders.shop")
    listener = ListenerContext(KEY, ListenerTls(cert, key))
    before = serial(listener, pki.client())
    old_key = Path(key).read_bytes()
    pki.files("orders.shop")
    new_key = Path(key).read_bytes()
    Path(key).write_bytes(old_key)
    for _ in range(3):
        listener.renew()
    assert serial(listener, pki.client()) == before
    (warning,) = caplog.records
    assert warning.levelname == "WARNING"
    assert f"{KEY}: the certificate {cert} with the key {key}" in warning.getMessage()
    assert "key values mismatch" in warning.getMessage()
    Path(key).write_bytes(new_key)
    listener.renew()
    assert serial(listener, pki.client()) != before


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ca_that_is_replaced_is_trusted_no_more(pki, other, version):
    listener = ListenerContext(KEY, ListenerTls(*pki.files("orders.shop"), pki.ca))
    ours, theirs = pki.client(pki.files("web.shop")), pki.client(other.files("web.shop"))
    ours.maximum_version = theirs.maximum_version = version
    handshake(listener.context, ours)
    Path(pki.ca).write_bytes(Path(other.ca).read_bytes())
    listener.renew()
    handshake(listener.context, theirs)
    with pytest.raises(ssl.SSLError):
        handshake(listener.context, ours)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_does_not_outlive_its_ca(pki, other, version):
    """A resumed session is not verified again."""
    listener = ListenerContext(KEY, ListenerTls(*pki.files("orders.shop"), pki.ca))
    client = pki.client(pki.files("web.shop"))
    client.maximum_version = version
    server_side, first = handshake(listener.context, client)
    server_side.write(b"x")
    assert first.read(1) == b"x"  # TLS 1.3 sends tickets after the handshake
    assert not first.session.has_ticket
    session = first.session
    Path(pki.ca).write_bytes(Path(other.ca).read_bytes())
    listener.renew()
    with pytest.raises(ssl.SSLError):
        handshake(listener.context, client, session=session)


def test_other_files_by_configuration(pki):
    listener = ListenerContext(KEY, ListenerTls(*pki.files("orders.shop")))
    before = serial(listener, pki.client())
    aside = Pki(pki.directory / "aside")
    listener.use(ListenerTls(*aside.files("orders.shop")))
    assert serial(listener, pki.client()) == before
    listener.renew()
    serial(listener, aside.client())


@pytest.mark.parametrize("wrong", ["cert", "key", "client_ca"])
@pytest.mark.parametrize("content", [None, "", "no PEM"])
def test_a_file_that_cannot_be_used_is_named(pki, wrong, content):
    cert, key = pki.files("orders.shop")
    files = {"cert": cert, "key": key, "client_ca": pki.ca}
    files[wrong] = str(pki.directory / "wrong")
    if content is not None:
        Path(files[wrong]).write_text(content)
    with pytest.raises(UnusableTls) as caught:
        ListenerContext(KEY, ListenerTls(**files))
    said = str(caught.value)
    assert said.startswith(f"{KEY}.client_ca: " if wrong == "client_ca" else f"{KEY}: ")
    assert files[wrong] in said
    assert content is not None or "No such file or directory" in said


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(pki):
    files = pki.files("orders.shop", password=b"secret")
    with pytest.raises(UnusableTls, match="the key is encrypted"):
        ListenerContext(KEY, ListenerTls(*files))
