"""The bodies that callers send and get. Pydantic checks them; its own error texts never leave.

Unknown fields are refused: a misspelt `policy` must not silently be the default. Pydantic's errors
hold what was sent, so `parse` replaces them with a sentence that names known fields alone.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wardgate import collector
from wardgate.errors import BodyInvalid, BodyNotJson, BodyNotUtf8, BodyTooDeep, TextTooLong
from wardgate.flow import Ask
from wardgate.setting_groups import Limits
from wardgate.types import PHI, Priority, RequestContext

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

EXAMPLE_NOTE = (
    "Pt John Smith, seen 03/14/2024 by Dr. Amy Lee. He feels much better on the new dose."
)
EXAMPLE_CLEAN = "Pt [NAME], seen 2024 by Dr. [NAME]. He feels much better on the new dose."


class _Body(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )


class _Ask(_Body):
    """Fields that every route takes besides its own."""

    policy: Annotated[str, Field(pattern=_NAME)] | None = None
    """De-identification policy by name; the default is the gateway's."""
    purpose: Annotated[str, Field(pattern=r"^[A-Z]{2,16}$")] | None = None
    """HL7 v3 PurposeOfUse code, such as `TREAT`."""
    patient: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Opaque patient reference; recorded as a keyed pseudonym alone."""
    priority: Literal["interactive", "bulk"] = "interactive"
    """`bulk` yields to `interactive`, and ages so that it never starves."""
    timeout_ms: Annotated[int, Field(ge=1)] = 10_000
    """How long the caller will wait, milliseconds; capped by the gateway."""
    reference_date: dt.date | None = None
    """The note's own date (YYYY-MM-DD), if known; decides which years show an age over 89."""

    def _context(self, *, timeout_cap_ms: int) -> RequestContext:
        """Return the request context, the timeout capped.

        Raises BodyInvalid for a note of the future: such a date decides nothing.
        """
        if self.reference_date is not None:
            # A day of grace: the caller's calendar may be ahead of UTC.
            latest = dt.datetime.now(tz=dt.UTC).date() + dt.timedelta(days=1)
            if self.reference_date > latest:
                raise BodyInvalid("The reference_date lies in the future.", reason="reference-date")
        return RequestContext(
            purpose=self.purpose,
            patient=PHI(self.patient) if self.patient is not None else None,
            priority=Priority.BULK if self.priority == "bulk" else Priority.INTERACTIVE,
            timeout_ms=min(self.timeout_ms, timeout_cap_ms),
            policy=self.policy,
            reference_date=self.reference_date,
        )

    def _ask(self, texts: list[str], limits: Limits, digest: str, model: str | None = None) -> Ask:
        """Check what the fields cannot say alone; `digest` is the keyed one of the body."""
        if len(texts) > limits.rows:
            raise BodyInvalid(f"The request brings more than {limits.rows} texts.")
        if any(len(text) > limits.text_chars for text in texts):
            raise TextTooLong(f"The text has more than {limits.text_chars} characters.")
        return Ask(
            texts=[PHI(text) for text in texts],
            context=self._context(timeout_cap_ms=limits.timeout_ms),
            body_digest=digest,
            model=model,
        )


class PredictBody(_Ask):
    """What `POST /v1/predict` takes."""

    model: Annotated[str, Field(pattern=_NAME)]
    """Name of a served model."""
    text: str | None = None
    """Clinical text; its raw form never leaves the gateway. This or `texts`."""
    texts: Annotated[list[str], Field(min_length=1)] | None = None
    """Several clinical texts; the reply has a row for each."""

    def ask(self, limits: Limits, *, digest: str) -> Ask:
        """Return the body as the flow takes it. Raises BodyInvalid or TextTooLong."""
        if (self.text is None) == (self.texts is None):
            raise BodyInvalid("The request body was refused: exactly one of text and texts.")
        texts = [self.text] if self.text is not None else self.texts or []
        return self._ask(texts, limits, digest, self.model)


class DeidentifyBody(_Ask):
    """What `POST /v1/deidentify` takes."""

    text: str
    """Clinical text; its raw form never leaves the gateway."""

    def ask(self, limits: Limits, *, digest: str) -> Ask:
        """Return the body as the flow takes it. Raises BodyInvalid or TextTooLong."""
        return self._ask([self.text], limits, digest)


Value = bool | int | float | str
"""A parameter's value in the Open Inference Protocol."""
MOST = 64
"""Input tensors, output tensors, and parameters of each, in one inference request."""
Parameters = Annotated[dict[str, Value], Field(max_length=MOST)]


class InferContext(_Ask):
    """The request context as parameters of the Open Inference Protocol."""

    def context(self, limits: Limits, *, cap_ms: int | None = None) -> RequestContext:
        """Return the request context; `cap_ms` is what the transport's own deadline leaves.

        Raises BodyInvalid.
        """
        cap = limits.timeout_ms if cap_ms is None else min(limits.timeout_ms, max(1, cap_ms))
        return self._context(timeout_cap_ms=cap)


class InferInput(_Body):
    """An input tensor of `InferBody`."""

    name: Annotated[str, Field(max_length=128)]
    """`text` for a text model."""
    datatype: Annotated[str, Field(max_length=16)]
    """`BYTES` for text."""
    shape: list[int]
    """`[rows]` or `[rows, 1]`."""
    parameters: Parameters = {}
    """`binary_data_size` where the data follows the JSON."""
    data: list[Any] | None = None
    """The elements, unless they follow the JSON."""


class InferOutput(_Body):
    """An output that `InferBody` asks for."""

    name: Annotated[str, Field(max_length=128)]
    """One of `label`, `score`, `scores` and `text`."""
    parameters: Parameters = {}
    """`binary_data`: whether its data shall follow the JSON."""


class InferBody(_Body):
    """What `POST /v2/models/{model}/infer` takes."""

    id: str = ""
    """Comes back with the reply: up to 128 letters, digits and `._:-`."""
    parameters: Parameters = {}
    """The request context, and `binary_data_output`."""
    inputs: Annotated[list[InferInput], Field(min_length=1, max_length=MOST)]
    """The input tensors."""
    outputs: Annotated[list[InferOutput], Field(max_length=MOST)] = []
    """The outputs to return; all where left out."""


class PredictReply(_Body):
    """What `POST /v1/predict` returns."""

    label: str
    """The label with the highest score."""
    score: float
    """Its probability in [0, 1]."""
    scores: dict[str, float]
    """Probability by label; they sum to 1."""
    text: str
    """The de-identified text that the model saw."""
    model: str
    """Name of the model."""
    version: str
    """Version of the model that answered."""
    policy: str
    """Policy that was applied."""
    policy_hash: str
    """SHA-256 of that policy, hex."""
    windows: int
    """How many windows of the note the model saw; 1 where it fitted whole."""
    request_id: str
    """Id of the request in the audit record."""


class RowReply(_Body):
    """A row of a reply to `texts`."""

    label: str
    """The label with the highest score."""
    score: float
    """Its probability in [0, 1]."""
    scores: dict[str, float]
    """Probability by label; they sum to 1."""
    text: str
    """The de-identified text that the model saw."""
    windows: int
    """How many windows of the note the model saw; 1 where it fitted whole."""


class BulkReply(_Body):
    """What `POST /v1/predict` returns for `texts`."""

    rows: list[RowReply]
    """A row for each text, in their order."""
    model: str
    """Name of the model."""
    version: str
    """Version of the model that answered."""
    policy: str
    """Policy that was applied."""
    policy_hash: str
    """SHA-256 of that policy, hex."""
    request_id: str
    """Id of the request in the audit record."""


class SpanReply(_Body):
    """A run of PHI in the text that was sent."""

    start: int
    """First Unicode code point of the span, 0-based."""
    end: int
    """Code point after the last of the span."""
    label: str
    """Entity type, such as `NAME`."""
    score: float
    """Confidence in [0, 1]."""


class DeidentifyReply(_Body):
    """What `POST /v1/deidentify` returns."""

    text: str
    """The de-identified text."""
    spans: list[SpanReply]
    """What was found, by position in the text that was sent."""
    policy: str
    """Policy that was applied."""
    policy_hash: str
    """SHA-256 of that policy, hex."""
    request_id: str
    """Id of the request in the audit record."""


class ReadyReply(_Body):
    """What `/readyz` returns, with status 200 or 503."""

    ready: bool
    """Whether every check holds."""
    checks: dict[str, str]
    """`ok`, or our own sentence on what is missing, by check."""


class TokenBody(_Body):
    """What `POST /oauth2/token` takes, as form fields."""

    grant_type: Literal["client_credentials"]
    """The only grant (RFC 6749 §4.4)."""
    scope: str | None = None
    """Scopes, separated by spaces; `infer:sentiment deid models:read` where left out."""


class TokenReply(_Body):
    """What `POST /oauth2/token` returns (RFC 6749 §5.1)."""

    access_token: str
    """The JWT (RFC 9068)."""
    token_type: Literal["Bearer"]
    """How to send it (RFC 6750)."""
    expires_in: int
    """Seconds that it is valid."""
    scope: str
    """Scopes that were granted."""


class JwksReply(_Body):
    """A JSON Web Key Set (RFC 7517 §5)."""

    keys: list[dict[str, str]]
    """Public keys."""


_KINDS: dict[str, str] = {
    "string_type": "must be a string",
    "string_pattern_mismatch": "does not have the form of this field",
    "string_too_short": "is too short",
    "string_too_long": "is too long",
    "int_type": "must be an integer",
    "greater_than_equal": "is too small",
    "literal_error": "is none of the values allowed",
    "date_from_datetime_parsing": "must be a date as YYYY-MM-DD",
    "date_parsing": "must be a date as YYYY-MM-DD",
    "date_type": "must be a date as YYYY-MM-DD",
    "missing": "is required",
}


_Model = TypeVar("_Model", bound=BaseModel)
_LARGE = 32_768
"""Bytes of a body from which the collector rests while it is parsed."""


def parse(kind: type[_Model], raw: bytes, *, nesting: int) -> _Model:
    """Parse and check one JSON body.

    Raises BodyNotUtf8, BodyNotJson, BodyTooDeep (beyond `nesting` levels) or BodyInvalid, whose
    detail names known fields and what they must be, and nothing of the input. A name that an object
    gives twice, at any depth, is BodyInvalid too.
    """
    try:
        if len(raw) < _LARGE:
            return _checked(kind, raw)
        with collector.paused():
            return _checked(kind, raw)
    except ValidationError as error:
        raise _refusal(kind, raw, error, nesting) from None


def _checked(kind: type[_Model], raw: bytes) -> _Model:
    body = kind.model_validate_json(raw)
    # Each member has a colon: with no more of them than fields no name can be there twice.
    if raw.count(b":") > len(body.model_fields_set):
        _ONCE.decode(raw.decode())
    return body


def _once(members: list[tuple[str, None]]) -> None:
    """Refuse an object that gives a name twice.

    RFC 8259 §4 leaves open which one counts. Pydantic takes the last, others the first: a proxy
    that checks the one and a gateway that acts on the other is how such a body becomes an attack.
    The count is of the names as decoded, so an escape in one hides nothing.
    """
    if len({name for name, _ in members}) != len(members):
        raise BodyInvalid("The request body gives a field twice.", reason="field-twice")


def _nothing(_: str) -> None:
    """Stand for a number; only names matter, and a long one costs nothing."""


# A walk of its own, since Pydantic keeps no duplicates to look at; it has bounded the nesting.
# It costs 1 to 2 microseconds for a note of 1 kB and under 1 ms for a body of 1 MB.
_ONCE = json.JSONDecoder(object_pairs_hook=_once, parse_int=_nothing, parse_float=_nothing)


def _refusal(
    kind: type[BaseModel], raw: bytes, error: ValidationError, nesting: int
) -> BodyInvalid | BodyNotJson | BodyNotUtf8 | BodyTooDeep:
    """Return the refusal for what Pydantic found, in our own words."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return BodyNotUtf8()
    if _nests_deeper(raw, nesting):
        return BodyTooDeep(f"The request body nests deeper than {nesting} levels.")
    items: list[Any] = list(
        error.errors(include_input=False, include_context=False, include_url=False)
    )
    if any(item["type"] == "json_invalid" for item in items):
        return BodyNotJson()
    fields = kind.model_fields
    found: list[str] = []
    for item in items:
        name = item["loc"][0] if item["loc"] else None
        if item["type"] == "extra_forbidden":
            found.append(f"unknown field (known: {', '.join(fields)})")
        elif name in fields:
            found.append(f"{name} {_KINDS.get(item['type'], 'is not valid')}")
        else:
            found.append("the body must be a JSON object")
    return BodyInvalid("The request body was refused: " + "; ".join(dict.fromkeys(found)) + ".")


# A string, also one that never ends: without that, each quote in it would be tried as a beginning.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _nests_deeper(raw: bytes, limit: int) -> bool:
    """Tell whether brackets nest deeper than `limit`; linear in the body, without recursion."""
    brackets = _STRING.sub(b"", raw).translate(None, _NOT_BRACKETS)
    brackets = brackets.translate(bytes.maketrans(b"{}", b"[]"))
    for _ in range(limit):  # each pass takes away the innermost level
        brackets = brackets.replace(b"[]", b"")
    return len(brackets.partition(b"]")[0]) > 0 if b"[]" in brackets else len(brackets) > limit
