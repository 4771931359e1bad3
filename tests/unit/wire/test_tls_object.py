"""What the event loop's TLS layer calls: reads and writes of one connection, in memory."""

import ssl

import pytest
from unit.pki import Pki

from proxy.wire.tls_object import TlsObject

MOST = 256 * 1024
"""What a layer asks for."""


class Ends:
    """A listener's end and a client's. `move` carries all bytes, or the first of them."""

    def __init__(self, pki: Pki, certificate: tuple[str, str] | None = None) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pki.files("orders.shop"))
        context.set_alpn_protocols(["h2"])
        if certificate is not None:
            context.load_verify_locations(pki.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = TlsObject(
            context.wrap_bio(self.incoming, self.outgoing, server_side=True), self.incoming
        )
        client = pki.client(certificate)
        client.set_alpn_protocols(["h2"])
        self.back = ssl.MemoryBIO()
        self.sent = ssl.MemoryBIO()
        self.client = client.wrap_bio(self.back, self.sent, server_hostname="orders.shop")

    def shake(self) -> None:
        with pytest.raises(ssl.SSLWantReadError):
            self.client.do_handshake()
        self.move()
        with pytest.raises(ssl.SSLWantReadError):
            self.server.do_handshake()
        self.move()
        self.client.do_handshake()
        self.move()
        self.server.do_handshake()
        self.move()

    def move(self, most: int = -1) -> None:
        self.incoming.write(self.sent.read(most))
        self.back.write(self.outgoing.read())


@pytest.fixture
def pki(tmp_path):
    return Pki(tmp_path)


@pytest.fixture
def ends(pki):
    both = Ends(pki)
    both.shake()
    return both


def test_it_reads_and_writes(ends):
    ends.client.write(b"a question")
    ends.move()
    assert ends.server.read(MOST) == b"a question"
    assert ends.server.write(b"an answer") == 9
    ends.move()
    assert ends.client.read() == b"an answer"


def test_nothing_there_is_said_every_time(ends):
    for _ in range(3):
        with pytest.raises(ssl.SSLWantReadError):
            ends.server.read(MOST)


def test_a_record_in_two_parts(ends):
    ends.client.write(b"x" * 1000)
    ends.move(500)
    with pytest.raises(ssl.SSLWantReadError):
        ends.server.read(MOST)
    ends.move()
    assert ends.server.read(MOST) == b"x" * 1000


def test_many_records_and_none_of_them_is_lost(ends):
    body = bytes(range(256)) * 400
    ends.client.write(body)
    ends.move()
    received = b""
    while ends.incoming.pending or ends.server.pending():
        received += ends.server.read(MOST)
    assert received == body


def test_what_a_small_read_leaves_is_there(ends):
    ends.client.write(b"0123456789")
    ends.move()
    assert ends.server.read(4) == b"0123"
    assert ends.incoming.pending == 0
    assert ends.server.pending() == 6
    assert ends.server.read(MOST) == b"456789"


def test_a_read_into_a_buffer(ends):
    ends.client.write(b"0123456789")
    ends.move()
    buffer = bytearray(100)
    assert ends.server.read(len(buffer), buffer) == 10
    assert buffer[:10] == b"0123456789"
    with pytest.raises(ssl.SSLWantReadError):
        ends.server.read(len(buffer), buffer)


def test_the_end_is_read_before_it_is_answered(ends):
    with pytest.raises(ssl.SSLWantReadError):
        ends.client.unwrap()
    ends.move()
    assert ends.server.read(MOST) == b""
    ends.server.unwrap()
    ends.move()
    ends.client.unwrap()


def test_the_end_waits_for_the_client(ends):
    with pytest.raises(ssl.SSLWantReadError):
        ends.server.unwrap()
    ends.move()
    assert ends.client.read() == b""
    ends.client.unwrap()
    ends.move()
    with pytest.raises(ssl.SSLZeroReturnError):
        ends.server.read(MOST)
    ends.server.unwrap()


@pytest.mark.parametrize(
    "garbage", [b"\x17\x03\x03\x00\x20" + b"x" * 32, b"GET / HTTP/1.1\r\n\r\n"]
)
def test_garbage_is_an_error(ends, garbage):
    ends.incoming.write(garbage)
    with pytest.raises(ssl.SSLError) as raised:
        ends.server.read(MOST)
    assert not isinstance(raised.value, ssl.SSLWantReadError)


def test_what_was_agreed(ends):
    assert ends.server.selected_alpn_protocol() == "h2"
    assert ends.server.cipher() == ends.client.cipher()
    assert ends.server.getpeercert(binary_form=True) is None


def test_a_client_certificate_is_there_in_der_alone(pki):
    cert, key = pki.files("web.shop")
    ends = Ends(pki, (cert, key))
    ends.shake()
    with open(cert) as file:
        assert ends.server.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(file.read())
    assert ends.server.getpeercert() is None
