"""The groups of the settings tree: what each setting means, its default and its bounds."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, model_validator

_ELSEWHERE = ("triton_ca", "triton_cert", "triton_key", "triton_control", "triton_repository")
"""Settings of a Triton that runs elsewhere."""


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Server(_Group):
    """Where the gateway listens."""

    host: str = "127.0.0.1"
    """Address to listen on. Anything but loopback needs TLS or a trusted proxy."""
    port: int = Field(default=8080, ge=0, le=65535)
    """HTTP port; 0 takes a free one."""
    grpc_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the Open Inference Protocol over gRPC; 0 takes a free one, none serves none."""
    metrics_host: str = "127.0.0.1"
    """Address of the metrics port."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of `/metrics`; 0 takes a free one."""
    workers: int = Field(default=1, ge=1, le=256)
    """Gateway processes. Above 1 a supervisor holds the sockets and one process runs the engine."""
    tls_cert: Path | None = None
    """PEM file of the certificate chain."""
    tls_key: Path | None = None
    """PEM file of the private key."""
    client_ca: Path | None = None
    """PEM file of the authorities whose client certificates are required."""
    trusted_proxy: IPvAnyNetwork | None = None
    """Address or network of the proxy that ends TLS in front; only it may send text."""
    drain_seconds: float = Field(default=30.0, gt=0, le=3600)
    """How long requests in flight may take to end after SIGTERM."""


class Limits(_Group):
    """How much one request may bring, and how slowly."""

    body_bytes: int = Field(default=1 << 20, ge=1024)
    """Largest request body, bytes."""
    text_chars: int = Field(default=200_000, ge=1)
    """Longest text, Unicode code points."""
    rows: int = Field(default=128, ge=1)
    """Texts in one request."""
    nesting: int = Field(default=16, ge=2, le=100)
    """Deepest nesting of arrays and objects in a body."""
    header_bytes: int = Field(default=16_384, ge=1024)
    """Request line and headers together, bytes."""
    token_bytes: int = Field(default=8_192, ge=512)
    """Longest access token, bytes."""
    header_seconds: float = Field(default=10.0, gt=0, le=10.0)
    """Time in which the headers of a request must be complete."""
    body_seconds: float = Field(default=10.0, gt=0)
    """Time in which the body of a request must be complete."""
    idle_seconds: float = Field(default=30.0, gt=0)
    """How long a kept-alive connection may idle."""
    connections: int = Field(default=2048, ge=1)
    """Open connections for each worker."""
    timeout_ms: int = Field(default=60_000, ge=1)
    """Longest `timeout_ms` that a caller may ask for, milliseconds."""


class Admission(_Group):
    """How often one principal may call, for each worker."""

    rate: float = Field(default=2_000.0, gt=0)
    """Requests per second and principal."""
    burst: int = Field(default=4_000, ge=1)
    """Requests that a principal may send at once after a pause."""
    concurrency: int = Field(default=256, ge=1)
    """Requests in flight for each principal."""
    in_flight: int = Field(default=512, ge=1)
    """Requests in flight for all principals together."""
    quota: int = Field(default=0, ge=0)
    """Requests per principal and UTC day; 0 sets no quota."""


class Issuer(_Group):
    """One token issuer and where its keys lie."""

    issuer: str
    """The `iss` of its tokens, byte for byte."""
    audience: str
    """The `aud` that its tokens must name."""
    jwks_file: Path
    """Its JSON Web Key Set."""
    algorithms: tuple[str, ...] = ("ES256", "ES384", "EdDSA", "PS256", "RS256")
    """Signature algorithms accepted from it, as far as a key agrees."""
    token_types: tuple[str, ...] = ("at+jwt", "application/at+jwt")
    """Accepted `typ` headers (RFC 9068 §2.1)."""


class Auth(_Group):
    """Who may call."""

    issuers: tuple[Issuer, ...] = ()
    """Token issuers. With none, on loopback, the development issuer is on."""
    leeway_seconds: int = Field(default=30, ge=0, le=300)
    """Clock difference allowed for `nbf` and `iat`; `exp` gets none."""
    cache_tokens: int = Field(default=4_096, ge=0)
    """Verified tokens kept, for each worker."""


class Deid(_Group):
    """How text is de-identified."""

    policy: str = "safe_harbor"
    """Policy where the request names none."""
    policies: Path | None = None
    """Folder of the site's own policies, `<name>.toml` or `<name>.json`, and of `site.toml`.
    Changes there come into force without a restart."""
    key_file: Path | None = None
    """File of the secret that shifted dates, surrogates, pseudonyms and encrypted numbers come
    from: 32 random bytes, mode 0600; by default `deid.key` in the state folder, made at the first
    start. A file named here must be there already."""
    inline_chars: int = Field(default=8_192, ge=256)
    """Texts above this length go to a process of their own, so that short ones do not wait."""
    processes: int = Field(default=1, ge=0, le=64)
    """Processes for long texts, for each worker; 0 handles all in the worker."""


class Vault(_Group):
    """Random codes in place of PHI, and the way back."""

    key_file: Path | None = None
    """File of the key-encryption key, 32 random bytes, mode 0600; by default `vault.key` in the
    state folder, made with the vault. A file named here must be there already."""
    days: int = Field(default=365, ge=1, le=3650)
    """Days that a code can be turned back. One that is given out again in the second half of its
    life starts anew."""
    codes: int = Field(default=1_000_000, ge=1)
    """Codes of each tenant; above it requests that need new ones are refused."""
    queue: int = Field(default=1_000, ge=1)
    """Requests that may wait for the vault, for each worker; above it they are refused at once."""
    release_codes: int = Field(default=256, ge=1, le=1_000)
    """Codes in one `POST /v1/reidentify`."""


class Engine(_Group):
    """How models run."""

    kind: Literal["onnx", "triton"] = "onnx"
    """`onnx` runs models in the gateway, `triton` in a Triton server: one of the gateway's own
    (`pip install wardgate[triton]`), or the one that `triton_url` names."""
    sessions: int = Field(default=0, ge=0, le=256)
    """Sessions that run batches side by side; 0 lets the warm-up choose."""
    threads: int = Field(default=0, ge=0, le=256)
    """Threads of each session; 0 lets the warm-up choose."""
    queue_tokens: int = Field(default=65_536, ge=512)
    """Tokens that may wait for a batch; above it requests are refused at once."""
    tensor_threads: int = Field(default=1, ge=1, le=64)
    """Runs of tensor models side by side, for each worker."""
    tensor_queue: int = Field(default=64, ge=1, le=10_000)
    """Calls of tensor models that a worker takes; above it they are refused at once."""
    bulk_age_seconds: float = Field(default=2.0, gt=0)
    """Waiting this long makes a bulk row as urgent as an interactive one."""
    triton_url: str | None = None
    """HOST:PORT of the gRPC service of a Triton that runs elsewhere."""
    triton_ca: Path | None = None
    """PEM file of the authorities that sign its certificate."""
    triton_cert: Path | None = None
    """PEM file of the certificate that the gateway shows it."""
    triton_key: Path | None = None
    """PEM file of that certificate's key."""
    triton_control: Path | None = None
    """File with one line `header: secret` that opens Triton's restricted protocols, so that the
    gateway loads and unloads models. Without it they must be loaded there already."""
    triton_repository: Path | None = None
    """Folder of the models of a Triton that the gateway controls, as the gateway sees it."""
    triton_insecure_plaintext: bool = False
    """Speak to another host without TLS. De-identified text crosses the network readably: for a
    network that is encrypted by other means alone."""
    triton_keepalive_seconds: float = Field(default=20.0, ge=1, le=3600)
    """A connection without an answer for so long is probed, and given up if that fails too."""
    triton_message_bytes: int = Field(default=64 << 20, ge=1 << 20, le=1 << 30)
    """Largest message to or from Triton, bytes."""
    triton_cancel: bool = False
    """Cancel calls at Triton whose callers have all left. For a Triton that has pull requests 7840
    and 8078 of triton-inference-server/server; an earlier one can crash on it."""

    @model_validator(mode="after")
    def _triton(self) -> Engine:
        given = [name for name in _ELSEWHERE if getattr(self, name) is not None]
        given += ["triton_cancel"] * self.triton_cancel
        if self.triton_url is None:
            if given:
                raise ValueError(f"{given[0]} needs triton_url")
            return self
        if self.kind != "triton":
            raise ValueError("triton_url needs kind 'triton'")
        host, separator, port = self.triton_url.rpartition(":")
        if not separator or not host or not port.isascii() or not port.isdigit():
            raise ValueError("triton_url: expected HOST:PORT")
        if (self.triton_cert is None) != (self.triton_key is None):
            raise ValueError("triton_cert and triton_key go together")
        if self.triton_cert is not None and self.triton_ca is None:
            raise ValueError("triton_cert needs triton_ca")
        if self.triton_control is not None and self.triton_repository is None:
            raise ValueError("triton_control needs triton_repository")
        local = is_loopback(host.strip("[]"))
        if self.triton_ca is None and not local and not self.triton_insecure_plaintext:
            raise ValueError(
                "triton_url is not on loopback: give triton_ca, or set triton_insecure_plaintext"
            )
        return self


class Registry(_Group):
    """Which models are served."""

    models: tuple[str, ...] = ("sentiment",)
    """Names of the models to serve."""
    tensor_models: tuple[str, ...] = ()
    """Names of the tensor models to serve, which each worker runs on its own processor. Their
    manifests say `phi_free`, and a trusted key has signed them."""
    folder: Path | None = None
    """Folder of models besides the shipped ones: `<folder>/<name>/<version>/manifest.json`; by
    default `registry` in the state folder."""
    url: str | None = None
    """fsspec URL with the same layout, such as `s3://bucket/models`; needs `wardgate[remote]`."""
    trusted_keys: tuple[str, ...] = ()
    """Public keys whose models are served: base64 of raw Ed25519 keys, as `wardgate models keygen`
    prints them. Shipped models need none."""
    insecure_allow_unsigned: bool = False
    """Serve text models that no trusted key has signed. Whoever can write to the folder decides
    then what runs: for trying out alone. Never a tensor model."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all models to serve."""
        return self.models + self.tensor_models

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if len(set(self.names)) != len(self.names):
            raise ValueError("models and tensor_models: expected different names")
        return self


class Audit(_Group):
    """The tamper-evident record."""

    folder: Path | None = None
    """Folder of the audit store; by default `audit` in the state folder."""
    queue: int = Field(default=10_000, ge=100)
    """Records that may wait for a commit; above it requests are refused at once."""


def is_loopback(host: str) -> bool:
    """Tell whether an address names this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
