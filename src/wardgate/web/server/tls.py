"""TLS for the server: modern contexts, ALPN, required client certificates, and reload of files.

A context is made whole from the files and then swapped in: a new connection gets the newest good
one, an open connection keeps its own. Files that cannot be used leave the old context in place.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from wardgate.errors import SettingsInvalid

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2 suites with forward secrecy and authenticated encryption (RFC 9325 §4.2)."""

ALPN = ("h2", "http/1.1")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: certificate chain, its private key, and the authorities of required clients."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Return what changes when a file does: inode, size, time of change. Raises OSError."""
        found = []
        for path in (self.cert, self.key, self.client_ca):
            if path is not None:
                stat = path.stat()
                found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return tuple(found)

    def context(self) -> ssl.SSLContext:
        """Make a server context from the files as they are now.

        Raises SettingsInvalid where a file is missing or not PEM, or key and certificate differ.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(list(ALPN))
        try:
            context.load_cert_chain(self.cert, self.key, password=_no_password)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError):  # ssl.SSLError is an OSError; its text may name a path
            raise SettingsInvalid(
                "The TLS certificate, key or client authorities cannot be used.",
                reason="tls-files",
            ) from None
        return context


def _no_password() -> str:
    """Refuse an encrypted key: OpenSSL would otherwise ask on the terminal and block."""
    raise ValueError


class TlsContexts:
    """The newest good context of a set of files."""

    def __init__(self, files: TlsFiles) -> None:
        """Load the files. Raises SettingsInvalid where they cannot be used."""
        self._files = files
        self.current = files.context()
        self._stamp = files.stamp()

    def reload(self) -> bool:
        """Load the files again where they changed; tell whether they had.

        Raises SettingsInvalid, once for each change, where the new files cannot be used; the old
        context stays. Certificate and key are two files: a check between the two writes fails, and
        the next check finds the second write.
        """
        try:
            stamp = self._files.stamp()
        except OSError:
            stamp = ()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self.current = self._files.context()
        return True


def peer(session: ssl.SSLObject) -> dict[str, Any]:
    """Return the ASGI TLS extension of a connection (asgiref `specs/tls.rst`, version 0.2).

    `client_cert_chain` holds the client's certificate alone, PEM: the interpreter does not give the
    chain. `client_cert_name` is its subject as RFC 4514 writes it.
    """
    der = session.getpeercert(binary_form=True)
    certificate = x509.load_der_x509_certificate(der) if der else None
    return {
        "server_cert": None,
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(der)] if der else [],
        "client_cert_name": certificate.subject.rfc4514_string() if certificate else None,
        "client_cert_error": None,
        "tls_version": {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}.get(session.version() or ""),
        "cipher_suite": None,
    }
