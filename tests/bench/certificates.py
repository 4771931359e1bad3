"""The certificate that every peer shows under the TLS loads: P-256, from its own authority."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificate:
    """Paths of files. `both`: certificate and key in one, as HAProxy wants them."""

    cert: str
    key: str
    both: str
    ca: str


def issue(directory: Path) -> Certificate:
    """A fresh one for 127.0.0.1, written into `directory`."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    paths = {name: str(directory / f"{name}.pem") for name in ("cert", "key", "both", "ca")}
    issued.cert_chain_pems[0].write_to_path(paths["cert"])
    issued.private_key_pem.write_to_path(paths["key"])
    issued.private_key_and_cert_chain_pem.write_to_path(paths["both"])
    authority.cert_pem.write_to_path(paths["ca"])
    return Certificate(**paths)
