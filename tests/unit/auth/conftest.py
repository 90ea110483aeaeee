from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from wardgate.auth import encoding
from wardgate.types import Principal

NOW = 1_800_000_000.0


class Signer:
    """A private key made at run time, with its JWK and a way to sign anything with it."""

    def __init__(self, algorithm: str, key: Any) -> None:
        self.algorithm = algorithm
        self.key = key
        library = get_default_algorithms()[algorithm]
        self._sign = library.sign
        public = json.loads(library.to_jwk(key.public_key()))
        public.pop("key_ops", None)
        self.jwk: dict[str, Any] = {**public, "kid": f"key-{algorithm}"}

    def raw(self, header: bytes, payload: bytes) -> str:
        signing_input = f"{encoding.encode(header)}.{encoding.encode(payload)}"
        signature = self._sign(signing_input.encode(), self.key)
        return f"{signing_input}.{encoding.encode(signature)}"

    def token(self, payload: bytes | Mapping[str, Any] = b"{}", **header: Any) -> str:
        head = {"alg": self.algorithm, "kid": self.jwk["kid"], "typ": "at+jwt"} | header
        head = {name: value for name, value in head.items() if value is not None}
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.raw(json.dumps(head).encode(), body)


@pytest.fixture(scope="session")
def es256() -> Signer:
    return Signer("ES256", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="session")
def es384() -> Signer:
    return Signer("ES384", ec.generate_private_key(ec.SECP384R1()))


@pytest.fixture(scope="session")
def eddsa() -> Signer:
    return Signer("EdDSA", ed25519.Ed25519PrivateKey.generate())


@pytest.fixture(scope="session")
def rs256() -> Signer:
    return Signer("RS256", rsa.generate_private_key(65_537, 2_048))


@pytest.fixture
def good_claims() -> dict[str, Any]:
    return {
        "iss": "https://issuer.example",
        "aud": "wardgate",
        "sub": "clinician-7",
        "jti": "0d6f7a2e",
        "exp": int(NOW) + 600,
        "iat": int(NOW),
        "client_id": "ward-app",
        "scope": "infer:sentiment deid openid",
        "tenant": "north",
    }


@pytest.fixture(scope="session")
def make_principal() -> Callable[..., Principal]:
    def make(*scopes: str, subject: str = "clinician-7", client: str = "ward-app") -> Principal:
        return Principal(
            issuer="https://issuer.example",
            subject=subject,
            client=client,
            tenant="north",
            scopes=frozenset(scopes),
            token_id="t",
            expires_at=NOW + 600,
        )

    return make
