"""One frozen tree of settings, from `WARDGATE_*` variables and a TOML file; read once.

A nested setting is written `WARDGATE_LIMITS__BODY_BYTES=1048576`, or as `[limits]` `body_bytes` in
the TOML file that `WARDGATE_CONFIG` names. Variables win over the file, flags over variables. An
unknown name is refused: a misspelt limit must not silently be no limit. Values are never printed,
only the names of settings and what was expected.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from wardgate.errors import SettingsInvalid
from wardgate.setting_groups import (
    Admission,
    Audit,
    Auth,
    Deid,
    Engine,
    Limits,
    Registry,
    Server,
    Vault,
    is_loopback,
)

NOT_SETTINGS = frozenset({"WARDGATE_CONFIG", "WARDGATE_TOKEN", "WARDGATE_URL"})
"""Variables of the client commands and the settings loader itself."""


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="WARDGATE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    state: Path = Path(".wardgate")
    """Folder of keys, control store and audit (mode 0700), locked by the running gateway."""
    server: Server = Server()
    """Where the gateway listens."""
    limits: Limits = Limits()
    """How much one request may bring, and how slowly."""
    admission: Admission = Admission()
    """How often one principal may call."""
    auth: Auth = Auth()
    """Who may call."""
    deid: Deid = Deid()
    """How text is de-identified."""
    vault: Vault = Vault()
    """Random codes in place of PHI, and the way back."""
    engine: Engine = Engine()
    """How models run."""
    registry: Registry = Registry()
    """Which models are served."""
    audit: Audit = Audit()
    """The tamper-evident record."""

    @property
    def development_issuer(self) -> bool:
        """Whether the development issuer is on: no issuer named, loopback, and no proxy."""
        server = self.server
        return not self.auth.issuers and is_loopback(server.host) and not server.trusted_proxy

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        server = self.server
        if (server.tls_cert is None) != (server.tls_key is None):
            raise ValueError("server.tls_cert and server.tls_key go together")
        if server.client_ca is not None and server.tls_cert is None:
            raise ValueError("server.client_ca needs server.tls_cert and server.tls_key")
        if not is_loopback(server.host) and server.tls_cert is None and not server.trusted_proxy:
            raise ValueError(
                "server.host is not loopback: give server.tls_cert and server.tls_key, or name the "
                "proxy that ends TLS in server.trusted_proxy"
            )
        if not self.auth.issuers and not self.development_issuer:
            raise ValueError(
                "auth.issuers is empty, and the development issuer is on only on loopback without "
                "a proxy"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- no .env file: secrets leak there
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- no secrets in the tree
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Rank the sources: flags, then variables, then the TOML file."""
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        config = os.environ.get("WARDGATE_CONFIG")
        if config:
            sources += (TomlConfigSettingsSource(settings_cls, Path(config)),)
        return sources


class _Given(Settings):
    """Settings from the values handed in alone."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave out the environment and the file: they were read once, by the supervisor."""
        return (init_settings,)


def given(tree: dict[str, Any]) -> Settings:
    """Return the settings that another process of this gateway has read and checked."""
    return _Given(**tree)


def load(**flags: object) -> Settings:
    """Read and check all settings; `flags` are what the command line gave, by group.

    Raises SettingsInvalid with every wrong setting by name, and never with its value.
    """
    config = os.environ.get("WARDGATE_CONFIG")
    if config and not Path(config).is_file():
        raise SettingsInvalid("WARDGATE_CONFIG names a file that does not exist.")
    unknown = sorted(_unknown_variables())
    if unknown:
        raise SettingsInvalid(
            f"Unknown settings: {', '.join(unknown)}. docs/reference/settings.md lists all."
        )
    try:
        return Settings(**flags)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [
            ": ".join(filter(None, (".".join(map(str, item["loc"])), _said(item["msg"]))))
            for item in error.errors(include_input=False, include_context=False, include_url=False)
        ]
        raise SettingsInvalid("Settings refused: " + "; ".join(lines)) from None
    except ValueError:  # a TOML file or a JSON value that does not parse; its text may be a secret
        raise SettingsInvalid("Settings refused: a file or value does not parse.") from None


def _said(message: str) -> str:
    """Return a message without Pydantic's own prefix."""
    return message.removeprefix("Value error, ")


def _unknown_variables() -> set[str]:
    """Names of `WARDGATE_*` variables that no setting has."""
    known = set(NOT_SETTINGS)
    for name, info in Settings.model_fields.items():
        known.add(f"WARDGATE_{name.upper()}")
        group = info.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            known |= {f"WARDGATE_{name.upper()}__{leaf.upper()}" for leaf in group.model_fields}
    return {name for name in os.environ if name.startswith("WARDGATE_")} - known
