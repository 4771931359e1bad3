"""Certificates as files, for tests."""

import ssl

import trustme
from cryptography.hazmat.primitives import serialization


class Pki:
    """A CA in a directory of its own; `ca` is its file."""

    def __init__(self, directory):
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.authority = trustme.CA()
        self.ca = str(directory / "ca.crt")
        self.authority.cert_pem.write_to_path(self.ca)

    def files(self, name, *, password=None):
        """Paths of a fresh certificate and its key; written over those of the same name."""
        issued = self.authority.issue_cert(name)
        cert, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        issued.cert_chain_pems[0].write_to_path(str(cert))
        issued.private_key_pem.write_to_path(str(key))
        if password is not None:
            plain = serialization.load_pem_private_key(key.read_bytes(), None)
            key.write_bytes(
                plain.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.BestAvailableEncryption(password),
                )
            )
        return str(cert), str(key)

    def client(self, certificate=None):
        context = ssl.create_default_context(cafile=self.ca)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context


def handshake(server, client, server_name="orders.shop", *, session=None):
    """Both sides of one, in memory; (the server's, the client's) SSLObject once both are through.

    ssl.SSLError: one of them refused the other.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname=server_name, session=session),
    ]
    waiting = sides[:]
    while waiting:
        for side in tuple(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    return sides
