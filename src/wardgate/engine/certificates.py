"""Certificates for one server process and its one client, made at its start and used by no other.

An authority of its own signs one server and one client certificate; its key is forgotten at once,
so nobody can ever join. Nothing is written to disk.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = dt.timedelta(days=365)
"""How long the certificates hold. The server cannot take new ones while it runs, and its keys are
in no file: a shorter life would only end a gateway that runs on."""
_EARLY = dt.timedelta(minutes=5)
"""Valid from before now: clocks step back."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM of the authority, the server and the client; no `repr` shows a key."""

    ca: bytes
    server: bytes
    server_key: bytes = field(repr=False)
    client: bytes
    client_key: bytes = field(repr=False)


def issue(now: dt.datetime, *, host: str = "127.0.0.1") -> Certificates:
    """Make an authority, a server certificate for the address `host`, and a client certificate.

    ECDSA P-256 (RFC 5480). `now` is in UTC, with its time zone.
    """
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("wardgate engine authority")
    usage = {
        "content_commitment": False, "key_encipherment": False, "data_encipherment": False,
        "key_agreement": False, "encipher_only": False, "decipher_only": False,
    }  # fmt: skip
    ca = (
        _draft(ca_name, ca_name, ca_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **usage),
            critical=True,
        )
        .sign(ca_key, hashes.SHA256())
    )

    def leaf(name: str, use: x509.ObjectIdentifier) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        draft = (
            _draft(_name(name), ca_name, key, now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **usage),
                critical=True,
            )
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
                critical=False,
            )
        )
        if use == ExtendedKeyUsageOID.SERVER_AUTH:
            address = x509.IPAddress(ipaddress.ip_address(host))
            draft = draft.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return _pem(draft.sign(ca_key, hashes.SHA256())), _key_pem(key)

    server, server_key = leaf("wardgate engine", ExtendedKeyUsageOID.SERVER_AUTH)
    client, client_key = leaf("wardgate gateway", ExtendedKeyUsageOID.CLIENT_AUTH)
    return Certificates(_pem(ca), server, server_key, client, client_key)


def _draft(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
