"""The bodies of `POST /v1/reidentify`; see `web/schemas.py` for how they are checked."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LONGEST_REASON = 500


class _Body(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )


class ReidentifyBody(_Body):
    """What `POST /v1/reidentify` takes."""

    text: str | None = None
    """A text that holds codes. This or `codes`."""
    codes: (
        Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=1_000)]
        | None
    ) = None
    """Codes as they stand in a reply, brackets included."""
    purpose: Annotated[str, Field(pattern=r"^[A-Z]{2,16}$")]
    """HL7 v3 PurposeOfUse code, such as `TREAT`."""
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]
    """Why, in words; recorded as a keyed digest alone."""
    timeout_ms: Annotated[int, Field(ge=1)] = 10_000
    """How long the caller will wait, milliseconds; capped by the gateway."""


class ValueReply(_Body):
    """A code and what it stands for."""

    code: str
    """The code."""
    value: str
    """The value, as it was first sent."""


class ReidentifyReply(_Body):
    """What `POST /v1/reidentify` returns."""

    text: str | None
    """The text with its codes turned back; null where codes were sent."""
    values: list[ValueReply]
    """Each code with its value."""
    request_id: str
    """Id of the request in the audit record."""
