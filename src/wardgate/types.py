"""The values handed from step to step: frozen, slotted, and only what crosses a step.

Raw clinical text exists only as `PHI`. Text that may leave the de-identifier exists only as
`CleanText`; the tokenizer and the engines accept nothing else. Both are kept by mypy, and by a lint
that allows `.reveal()` and the making of `CleanText` in `deid/` alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

import numpy as np
from numpy.typing import NDArray

CleanText = NewType("CleanText", str)
"""De-identified text. Made in `deid/` alone."""

DTYPES: Mapping[str, type[np.generic]] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
"""Element types by their names in the Open Inference Protocol."""


class PHI:
    """Raw text of a caller. Shows `PHI(<n> chars)` wherever it is printed, logged or pickled.

    `.reveal()` gives the text and is called in `deid/` alone (kept by lint).
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Return the raw text. For `deid/` alone."""
        return self.__text

    def __len__(self) -> int:
        return len(self.__text)

    def __repr__(self) -> str:
        return f"PHI({len(self.__text)} chars)"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return (str, (repr(self),))


class EntityType(StrEnum):
    """What a span of PHI is; 45 CFR 164.514(b)(2)(i)(A) to (R)."""

    NAME = "NAME"
    DATE = "DATE"
    AGE = "AGE"
    LOCATION = "LOCATION"
    PHONE = "PHONE"
    FAX = "FAX"
    EMAIL = "EMAIL"
    SSN = "SSN"
    MRN = "MRN"
    HEALTH_PLAN = "HEALTH_PLAN"
    ACCOUNT = "ACCOUNT"
    LICENSE = "LICENSE"
    VEHICLE = "VEHICLE"
    DEVICE = "DEVICE"
    URL = "URL"
    IP = "IP"
    BIOMETRIC = "BIOMETRIC"
    PHOTO = "PHOTO"
    OTHER_ID = "OTHER_ID"


class Priority(StrEnum):
    """Who goes first when the engine has a choice; `bulk` ages so that it never starves."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


class Permission(StrEnum):
    """What a route asks of a principal before a byte of the body is read."""

    PUBLIC = "public"
    INFER = "infer"
    DEID = "deid"
    RUN = "run"
    """Run a model of either kind: a text model needs INFER, a tensor model its own scope."""
    METADATA = "metadata"
    """What a model says of itself: its own `infer:` or `tensor:<model>`, or `models:read`."""
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    AUDIT_READ = "audit:read"
    REIDENTIFY = "reidentify"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling, from a verified access token. Identities here are recorded by design."""

    issuer: str
    subject: str
    client: str
    tenant: str
    scopes: frozenset[str]
    token_id: str
    expires_at: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What a caller may say about a request besides its text."""

    purpose: str | None = None
    """HL7 PurposeOfUse code, such as `TREAT`."""
    patient: PHI | None = None
    """Opaque patient reference; PHI; leaves the process only as a keyed pseudonym."""
    priority: Priority = Priority.INTERACTIVE
    timeout_ms: int = 10_000
    policy: str | None = None
    """De-identification policy by name; None takes the default."""
    reference_date: dt.date | None = None
    """The note's own date, where the caller knows it; decides which years show an age over 89."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What `authorize` allowed: the policy to apply and the obligations that come with it."""

    policy: str
    obligations: frozenset[str] = frozenset()
    policy_hash: str = ""
    """SHA-256 of that policy as it was when it was decided, hex."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A run of PHI: `[start, end)` in Unicode code points of the input."""

    start: int
    end: int
    label: EntityType
    score: float
    """Confidence in [0, 1]; 1.0 where a check digit or an exact rule decided."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """A span of the input and where its replacement stands in the output; offsets, never text.

    `[start, end)` in code points of the input became `[out_start, out_end)` of the output.
    """

    start: int
    end: int
    out_start: int
    out_end: int


@dataclass(frozen=True, slots=True)
class Deidentified:
    """De-identified text, the spans found in the input, and the alignment between both."""

    text: CleanText
    spans: tuple[Span, ...]
    """Sorted, disjoint, in code points of the input."""
    alignment: tuple[Replacement, ...]
    """Sorted and disjoint in both texts; what lies between replacements is equal in both."""
    policy: str
    policy_hash: str
    """SHA-256 of the policy's canonical form, hex."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of spans found by entity type."""
        found: dict[str, int] = {}
        for span in self.spans:
            label = span.label.value
            found[label] = found.get(label, 0) + 1
        return found


@dataclass(frozen=True, slots=True)
class Encoding:
    """A note as token ids: one row, or several windows of one note.

    `rows[i]` is a list of int token ids, special tokens included, of 1..max_length entries.
    All entries are attended to; the engine pads and masks.
    """

    rows: tuple[list[int], ...]

    @property
    def windows(self) -> int:
        """How many windows the note took."""
        return len(self.rows)


Logits = NDArray[np.float32]
"""float32 [rows, labels], finite; one row for each row of the encoding."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A label and the softmax scores by label, joined over all windows."""

    label: str
    score: float
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ModelId:
    """A served model: name, version and the SHA-256 of its manifest (hex)."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Intent:
    """What a principal is about to do; recorded before anything derived from the text leaves."""

    request_id: str
    trace_id: str
    principal: Principal
    route: str
    purpose: str | None
    policy: str
    policy_hash: str
    model: ModelId | None
    patient_pseudonym: str | None
    body_digest: str
    """HMAC-SHA-256 of the body under the state's own key, hex."""
    rows: int = 1
    """How many notes the request brings."""
    obligations: frozenset[str] = frozenset()
    reason_digest: str = ""
    """Keyed digest of the reason given for a release of vault codes, hex: it may hold PHI."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an intent ended; one for every intent, also when the caller left."""

    request_id: str
    tenant: str
    status: int
    reason: str
    """`ok`, an error's reason, or `client-left`."""
    phi_counts: Mapping[str, int] = field(default_factory=dict)
    hops_us: Mapping[str, int] = field(default_factory=dict)
    """Microseconds by hop."""
    model: ModelId | None = None
    """The model that answered, where it is not the intent's."""
    fallback: str = ""
    """Why the intent's model did not answer: the reason of its error."""
    patients: tuple[str, ...] = ()
    """Keyed pseudonyms of those whose values were released."""


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A step of a change of what serves; recorded before it is taken."""

    id: str
    """Id of the request that asked for the change; every step of it bears the same."""
    principal: Principal | None
    """Who asked; None for a step that the gateway takes itself."""
    action: str
    stage: str
    state: str
    reason: str
    serves: ModelId
    """What serves after the step."""
    candidate: ModelId | None
    """What may take its place; its digest is empty until the registry has vouched for it."""
    percent: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call turned away before an intent."""

    route: str
    status: int
    reason: str
    principal: Principal | None
    """None where the caller is not known."""
    peer: str | None
    """The caller's address; recorded as its network alone (/24, /64)."""


@dataclass(frozen=True, slots=True)
class CheckState:
    """One readiness check: what was checked, whether it holds, and our own sentence on why not."""

    name: str
    ok: bool
    detail: str = ""
