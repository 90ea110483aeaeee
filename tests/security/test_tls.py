"""TLS, client certificates and HTTP/2, from end to end."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import socket
import ssl
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.e2e.processes import Gateway, command, gateway, until

NOTE = {"model": "sentiment", "text": "Dr. Thaddeus Okonkwo was kind."}


@dataclass
class Authority:
    """An authority that lives as long as a test."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(self.name, self.key, self)
        self.file = self._pem(self.name, self.certificate)

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the files of a certificate for loopback, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = self.folder / f"{name}.key"
        path.write_bytes(pem)
        path.chmod(0o600)
        return self._pem(name, self._sign(name, key, self)), path

    def _pem(self, name: str, certificate: x509.Certificate) -> Path:
        path = self.folder / f"{name}.pem"
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        return path

    def _sign(
        self, name: str, key: ec.EllipticCurvePrivateKey, authority: Authority
    ) -> x509.Certificate:
        own = key is authority.key
        now = dt.datetime.now(dt.UTC)

        def called(who: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)])

        return (
            x509.CertificateBuilder()
            .subject_name(called(name))
            .issuer_name(called(authority.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=own, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .sign(authority.key, hashes.SHA256())
        )


@dataclass
class Secured:
    """A gateway under TLS, and the ways to call it."""

    gateway: Gateway
    authority: Authority
    client_files: tuple[Path, Path]
    stranger_files: tuple[Path, Path]

    def context(self, files: tuple[Path, Path] | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority.file)
        if files is not None:
            context.load_cert_chain(*files)
        return context

    def client(self, files: tuple[Path, Path] | None, *, http2: bool = False) -> httpx.Client:
        return self.gateway.client(
            verify=self.context(files), http2=http2, headers=self.gateway.bearer()
        )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    authority, other = Authority(folder, "ours"), Authority(folder, "theirs")
    cert, key = authority.issue("server")
    flags = ("--tls-cert", str(cert), "--tls-key", str(key), "--client-ca", str(authority.file))
    with gateway(folder / "home", *flags, WARDGATE_DEID__PROCESSES="0") as found:
        assert found.url.startswith("https://")
        yield Secured(found, authority, authority.issue("client"), other.issue("stranger"))


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_a_client_with_a_certificate_is_served(secured: Secured, *, http2: bool) -> None:
    with secured.client(secured.client_files, http2=http2) as client:
        reply = client.post("/v1/predict", json=NOTE)
        assert reply.status_code == 200
        assert "Okonkwo" not in reply.text
        assert reply.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        reply = client.post("/v1/predict", content=b"[" * 1_000)
        assert reply.status_code == 415
        reply = client.post("/v1/predict", json=NOTE, headers={"authorization": "Bearer x"})
        assert reply.status_code == 401
        assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("files", ["none", "of another authority"])
def test_a_client_without_one_gets_no_answer_at_all(secured: Secured, files: str) -> None:
    given = None if files == "none" else secured.stranger_files
    with secured.client(given) as client, pytest.raises(httpx.HTTPError):
        client.get("/livez")


def test_plain_http_gets_no_answer(secured: Secured) -> None:
    address = httpx.URL(secured.gateway.url)
    with socket.create_connection((address.host, address.port), timeout=10) as wire:
        wire.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        try:
            received = wire.recv(65_536)
        except ConnectionError:
            received = b""
    assert b"HTTP" not in received


def test_an_old_tls_version_is_refused(secured: Secured) -> None:
    context = secured.context(secured.client_files)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    address = httpx.URL(secured.gateway.url)
    with (
        socket.create_connection((address.host, address.port), timeout=10) as wire,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        context.wrap_socket(wire, server_hostname="127.0.0.1")


def test_a_new_certificate_is_taken_up_without_a_restart(secured: Secured) -> None:
    address = httpx.URL(secured.gateway.url)

    def serial() -> str:
        context = secured.context(secured.client_files)
        with (
            socket.create_connection((address.host, address.port), timeout=10) as wire,
            context.wrap_socket(wire, server_hostname="127.0.0.1") as session,
        ):
            return str(session.getpeercert()["serialNumber"])  # type: ignore[index]

    before = serial()
    secured.authority.issue("server")  # over the same two files
    until(lambda: serial() != before, 15, "the new certificate")
    with secured.client(secured.client_files) as client:
        assert client.get("/readyz").status_code == 200


def test_the_client_command_checks_the_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ours")
    cert, key = authority.issue("server")
    flags = ("--tls-cert", str(cert), "--tls-key", str(key))
    with gateway(tmp_path / "home", *flags, WARDGATE_DEID__PROCESSES="0") as found:
        state = ("--state", str(found.state))
        good = command("predict", NOTE["text"], "--ca", str(authority.file), *state)
        assert good.returncode == 0, good.stderr
        assert json.loads(good.stdout)["model"] == "sentiment"
        bad = command("predict", NOTE["text"], *state)
        assert bad.returncode == 1
        assert "Okonkwo" not in bad.stderr
        assert len(bad.stderr.splitlines()) == 1


def test_tls_files_that_cannot_be_used_stop_the_start(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ours")
    cert, key = authority.issue("server")
    _, other = authority.issue("other")
    broken = tmp_path / "broken.pem"
    broken.write_text("no PEM")
    for flags in (
        ("--tls-cert", str(cert)),
        ("--tls-cert", str(cert), "--tls-key", str(other)),
        ("--tls-cert", str(broken), "--tls-key", str(key)),
        ("--client-ca", str(authority.file)),
        ("--tls-cert", str(cert), "--tls-key", str(tmp_path / "missing")),
    ):
        result = command("serve", "--port", "0", "--state", str(tmp_path / "state"), *flags)
        assert result.returncode == 2, result.stderr
        assert "Traceback" not in result.stderr
