"""Certificates of one start: they prove each other, and nothing else."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl

import pytest
from cryptography import x509

from wardgate.engine.certificates import LIFE, Certificates, issue

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture(scope="module")
def made() -> Certificates:
    return issue(NOW)


def context(folder, ca: bytes, cert: bytes, key: bytes, *, server: bool) -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    found.load_verify_locations(cadata=ca.decode())
    found.verify_mode = ssl.CERT_REQUIRED
    (folder / "cert").write_bytes(cert)
    (folder / "key").write_bytes(key)
    found.load_cert_chain(folder / "cert", folder / "key")
    return found


async def shake(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "127.0.0.1") -> bytes:
    async def answer(reader, writer) -> None:
        writer.write(await reader.readexactly(4))
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client, server_hostname=host
        )
        try:
            writer.write(b"ping")
            await writer.drain()
            return await reader.readexactly(4)
        finally:
            writer.close()


async def test_server_and_client_of_one_start_accept_each_other(made, tmp_path) -> None:
    server = context(tmp_path, made.ca, made.server, made.server_key, server=True)
    client = context(tmp_path, made.ca, made.client, made.client_key, server=False)
    assert await shake(server, client) == b"ping"


async def test_those_of_another_start_are_refused(made, tmp_path) -> None:
    other = issue(NOW)
    server = context(tmp_path, other.ca, other.server, other.server_key, server=True)
    client = context(tmp_path, made.ca, made.client, made.client_key, server=False)
    with pytest.raises(ssl.SSLCertVerificationError):
        await shake(server, client)


async def test_the_server_certificate_is_for_its_address_alone(made, tmp_path) -> None:
    server = context(tmp_path, made.ca, made.server, made.server_key, server=True)
    client = context(tmp_path, made.ca, made.client, made.client_key, server=False)
    with pytest.raises(ssl.SSLCertVerificationError):
        await shake(server, client, "127.0.0.2")


async def test_the_client_certificate_makes_no_server(made, tmp_path) -> None:
    server = context(tmp_path, made.ca, made.client, made.client_key, server=True)
    client = context(tmp_path, made.ca, made.client, made.client_key, server=False)
    client.check_hostname = False
    with pytest.raises(ssl.SSLCertVerificationError):
        await shake(server, client)


def test_they_hold_from_just_before_now_for_their_life(made) -> None:
    for pem in (made.ca, made.server, made.client):
        found = x509.load_pem_x509_certificate(pem)
        assert found.not_valid_before_utc < NOW < found.not_valid_after_utc <= NOW + LIFE


def test_no_key_is_shown(made) -> None:
    assert "PRIVATE" not in repr(made)
