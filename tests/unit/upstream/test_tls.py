import asyncio
import shutil
import ssl

import pytest
from unit.pki import Pki, handshake

from proxy.config.model import UpstreamTls
from proxy.errors import TlsFailure
from proxy.upstream import tls as module
from proxy.upstream.tls import TlsContexts, client_context, tls_failure


def test_the_default_verifies_against_the_systems_cas():
    context = client_context(None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_verification_off():
    context = client_context(UpstreamTls(verify=False))
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path, content):
    path = tmp_path / "ca.crt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TlsFailure) as caught:
        client_context(UpstreamTls(ca=str(path)))
    assert caught.value.detail.startswith(f"The CA file {path} cannot be used: ")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_client_certificate_that_cannot_be_used_is_named(tmp_path, content):
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    if content is not None:
        cert.write_text(content)
        key.write_text(content)
    with pytest.raises(TlsFailure) as caught:
        client_context(UpstreamTls(cert=str(cert), key=str(key)))
    assert f"The client certificate {cert} with the key {key} cannot be used" in (
        caught.value.detail
    )


async def test_a_context_is_built_once_however_many_ask(monkeypatch):
    built = []

    def build(tls, protocol):
        built.append(tls)
        return client_context(tls, protocol)

    monkeypatch.setattr(module, "client_context", build)
    contexts = TlsContexts()
    settings = UpstreamTls(verify=False)
    first, *others = await asyncio.gather(*(contexts.get(settings) for _ in range(5)))
    assert all(other is first for other in others)
    assert await contexts.get(UpstreamTls(verify=False)) is first
    assert await contexts.get(None) is not first
    assert built == [settings, None]


async def test_one_that_gives_up_does_not_spoil_it_for_another():
    contexts = TlsContexts()
    hasty = asyncio.create_task(contexts.get(None))
    patient = asyncio.create_task(contexts.get(None))
    await asyncio.sleep(0)
    hasty.cancel()
    assert isinstance(await patient, ssl.SSLContext)


async def test_a_failure_is_not_kept(tmp_path):
    contexts = TlsContexts()
    settings = UpstreamTls(ca=str(tmp_path / "ca.crt"))
    for _ in range(2):
        with pytest.raises(TlsFailure):
            await contexts.get(settings)


def refusal(code, message="why"):
    error = ssl.SSLCertVerificationError(1, "refused")
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (refusal(9), "tls_certificate_error", "not valid yet"),
        (refusal(10), "tls_certificate_error", "has expired"),
        (refusal(18), "tls_certificate_error", "CA that is not trusted here (why)"),
        (refusal(20), "tls_certificate_error", "CA that is not trusted here (why)"),
        (refusal(62), "tls_certificate_error", "is not for inventory.shop"),
        (refusal(64), "tls_certificate_error", "is not for inventory.shop"),
        (refusal(23, "certificate revoked"), "tls_certificate_error", "certificate revoked"),
        (ssl.CertificateError("odd name"), "tls_certificate_error", "was refused: "),
        (ssl.SSLError(1, "bad"), "tls_protocol_error", "failed (bad)"),
        (ConnectionResetError(), "tls_protocol_error", "closed the connection during"),
    ],
)
def test_what_a_failed_handshake_means(error, kind, said):
    failure = tls_failure(error, "10.0.0.1:443 (inventory)", "inventory.shop")
    assert failure.proxy_error == kind
    assert failure.reason == "tls-failure"
    assert said in failure.detail
    assert "10.0.0.1:443 (inventory)" in failure.detail


async def test_new_files_are_for_the_connections_to_come(tmp_path):
    ours, theirs = Pki(tmp_path / "ours"), Pki(tmp_path / "theirs")
    contexts = TlsContexts()
    settings = UpstreamTls(ca=ours.ca)
    before = await contexts.get(settings)
    await contexts.renew()
    assert await contexts.get(settings) is before
    shutil.copyfile(theirs.ca, ours.ca)
    await contexts.renew()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*theirs.files("orders.shop"))
    handshake(server, await contexts.get(settings))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, before)


async def test_half_a_pair_changes_nothing_and_is_said_once(tmp_path, caplog):
    pki = Pki(tmp_path / "pki")
    cert, key = pki.files("web.shop")
    contexts = TlsContexts()
    settings = UpstreamTls(ca=pki.ca, cert=cert, key=key)
    before = await contexts.get(settings)
    new = Pki(tmp_path / "new").files("web.shop")
    shutil.copyfile(new[0], cert)
    for _ in range(3):
        await contexts.renew()
    assert await contexts.get(settings) is before
    (warning,) = caplog.records
    assert f"The client certificate {cert} with the key {key}" in warning.getMessage()
    shutil.copyfile(new[1], key)
    await contexts.renew()
    assert await contexts.get(settings) is not before
