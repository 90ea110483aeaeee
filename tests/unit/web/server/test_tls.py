import asyncio
import os
import ssl

import httpx
import pytest
from cryptography import x509

from wardgate.errors import SettingsInvalid
from wardgate.web.server.tls import TlsContexts, TlsFiles


async def served_certificate(server, context):
    """Subject of the certificate that a new connection is shown."""
    reader, writer = await asyncio.open_connection(*server.address, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.write(b"GET /echo HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n")
    reply = await reader.read()
    writer.close()
    if not reply:  # under TLS 1.3 a client learns of its refusal after the handshake
        raise ConnectionResetError
    assert reply.startswith(b"HTTP/1.1 200")
    return x509.load_der_x509_certificate(der).subject.rfc4514_string()


async def test_client_certificate_reaches_the_application(serve, authority, recorder):
    server = await serve(tls=authority.files(client_ca=True))
    context = authority.client(*authority.issue("ward-7"))
    for http2 in (False, True):
        async with httpx.AsyncClient(http2=http2, verify=context) as client:
            url = "https://{}:{}/echo".format(*server.address)
            assert (await client.get(url)).status_code == 200
    for scope in recorder.scopes:
        tls = scope["extensions"]["tls"]
        assert tls["client_cert_name"] == "CN=ward-7"
        (pem,) = tls["client_cert_chain"]
        assert x509.load_pem_x509_certificate(pem.encode()).issuer.rfc4514_string() == "CN=hospital"
        assert tls["client_cert_error"] is None
        assert tls["tls_version"] == 0x0304
    assert [scope["http_version"] for scope in recorder.scopes] == ["1.1", "2"]


async def test_client_without_a_certificate_never_reaches_the_application(
    serve, authority, recorder, tmp_path
):
    server = await serve(tls=authority.files(client_ca=True))
    strangers = type(authority)(tmp_path, "strangers")
    for context in (authority.client(), authority.client(*strangers.issue("eve"))):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await served_certificate(server, context)
    assert recorder.scopes == []


async def test_old_protocol_versions_are_refused(serve, authority):
    server = await serve(tls=authority.files())
    context = authority.client()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await served_certificate(server, context) == "CN=localhost"
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(authority.path)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.options &= ~ssl.OP_NO_TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await served_certificate(server, old)


async def test_new_files_are_for_new_connections(serve, connect, authority):
    server = await serve(tls=authority.files())
    context = authority.client()
    kept = await connect(server, ssl=context)
    assert (await kept.ask(b"GET /echo HTTP/1.1\r\nHost: gate\r\n\r\n")).status == 200
    authority.issue("renewed", "localhost")
    assert server.reload_tls()
    assert await served_certificate(server, context) == "CN=renewed"
    assert (await kept.ask(b"GET /echo HTTP/1.1\r\nHost: gate\r\n\r\n")).status == 200


async def test_files_are_looked_at_by_the_server_itself(serve, authority):
    server = await serve(tls=authority.files(), grace_seconds=0.1)
    authority.issue("renewed", "localhost")
    async with asyncio.timeout(10):
        while await served_certificate(server, authority.client()) != "CN=renewed":
            await asyncio.sleep(0.05)


async def test_bad_new_files_keep_the_old(serve, authority, caplog):
    files = authority.files()
    server = await serve(tls=files)
    files.cert.write_text("no certificate")
    assert not server.reload_tls()
    assert "refused" in caplog.text
    assert await served_certificate(server, authority.client()) == "CN=localhost"
    caplog.clear()
    assert not server.reload_tls()
    assert not caplog.text  # said once
    authority.issue("renewed", "localhost")
    assert server.reload_tls()
    assert await served_certificate(server, authority.client()) == "CN=renewed"


def test_new_client_authority_counts(authority, tmp_path):
    files = authority.files(client_ca=True)
    contexts = TlsContexts(files)
    assert contexts.current.verify_mode is ssl.CERT_REQUIRED
    before = contexts.current.get_ca_certs()
    type(authority)(tmp_path, "hospital")  # writes a new authority over the old
    assert contexts.reload()
    assert contexts.current.get_ca_certs() != before
    assert not contexts.reload()


def test_file_that_vanished_keeps_the_old(authority):
    files = authority.files()
    contexts = TlsContexts(files)
    kept = contexts.current
    files.key.unlink()
    with pytest.raises(SettingsInvalid):
        contexts.reload()
    assert contexts.current is kept


def test_unusable_files_stop_a_start(authority, tmp_path):
    cert, key = authority.issue("one")
    _, other = authority.issue("two")
    empty = tmp_path / "empty"
    empty.write_text("")
    for files in (
        TlsFiles(cert, other),
        TlsFiles(cert, tmp_path / "none"),
        TlsFiles(empty, key),
        TlsFiles(cert, key, empty),
    ):
        with pytest.raises(SettingsInvalid) as refused:
            TlsContexts(files)
        assert os.fspath(tmp_path) not in str(refused.value)
