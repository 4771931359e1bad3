"""Certificates as files and as contexts of `ssl`."""

import ssl
from pathlib import Path

import trustme


class Pki:
    """A certificate authority, and its certificates as files."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.directory = directory
        self.ca = str(directory / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca)

    def files(self, name: str) -> tuple[str, str]:
        """Paths of a fresh certificate for `name` and its key."""
        issued = self.authority.issue_cert(name)
        cert, key = str(self.directory / f"{name}.crt"), str(self.directory / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(cert)
        issued.private_key_pem.write_to_path(key)
        return cert, key

    def server(self, name: str = "127.0.0.1", *, mutual: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(name).configure_cert(context)
        if mutual:
            self.authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context
