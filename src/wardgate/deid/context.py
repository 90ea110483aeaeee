"""Context: what the words left of a number say that it is.

Reads a bounded window, nearest word first. A label word (`MRN`, `account`) decides; words that may
stand between a label and its number (`number`, `is`, `#`) are passed over; anything else ends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from wardgate.types import EntityType

WINDOW = 40
"""Code points read left of a number."""
_TOKENS = re.compile(r"[a-z]+|[0-9]+|[#:=]|[\n\];|]")

_E = EntityType
STRONG: dict[str, EntityType] = {
    **dict.fromkeys(("mrn", "mr", "urn", "emrn", "mpi", "medrec"), _E.MRN),
    **dict.fromkeys(("ssn", "ss", "social"), _E.SSN),
    **dict.fromkeys(("npi", "dea", "upin", "rn", "lic", "nmc", "gmc"), _E.LICENSE),
    **dict.fromkeys(("vin", "plate", "plates"), _E.VEHICLE),
    **dict.fromkeys(("udi", "serial", "sn", "imei", "s/n"), _E.DEVICE),
    **dict.fromkeys(("phone", "tel", "telephone", "cell", "mobile", "ph", "pager", "cellphone", "call", "called",
                     "callback", "reach", "reached", "beeper", "whatsapp", "text"), _E.PHONE),
    **dict.fromkeys(("fax", "faxed", "facsimile"), _E.FAX),
    **dict.fromkeys(("acct", "iban", "routing", "aba", "swift", "bic"), _E.ACCOUNT),
    **dict.fromkeys(("mbi", "hicn", "medicare", "medicaid", "subscriber", "hicno"), _E.HEALTH_PLAN),
    **dict.fromkeys(("accession", "encounter", "csn", "har", "fin", "specimen", "acc", "barcode", "requisition",
                     "confirmation", "passport", "badge", "employee", "student"), _E.OTHER_ID),
    **dict.fromkeys(("zip", "zipcode", "postal", "postcode"), _E.LOCATION),
    **dict.fromkeys(("biometric", "fingerprint", "retinal", "iris", "voiceprint", "retina"), _E.BIOMETRIC),
}  # fmt: skip
"""Words after which a number of four characters or more is what they say."""

WEAK: dict[str, EntityType] = {
    **dict.fromkeys(("record", "chart", "patient", "pt", "hospital"), _E.MRN),
    **dict.fromkeys(("account", "card", "billing", "visa", "mastercard", "amex", "guarantor", "bank",
                     "invoice", "bill", "checking", "credit", "debit", "payment", "receipt"), _E.ACCOUNT),
    **dict.fromkeys(("member", "policy", "plan", "group", "insurance", "beneficiary", "payer", "ins", "health",
                     "bcbs", "aetna", "cigna", "humana", "uhc", "kaiser", "authorization", "auth", "insured",
                     "coverage", "grp", "nhs", "carrier"), _E.HEALTH_PLAN),
    **dict.fromkeys(("license", "licence", "licensed", "certificate", "registration", "cert", "driver", "drivers",
                     "dl", "permit", "prescriber", "provider"), _E.LICENSE),
    **dict.fromkeys(("vehicle", "car", "tag"), _E.VEHICLE),
    **dict.fromkeys(("device", "implant", "lot", "pacemaker", "model", "pump", "defibrillator", "icd", "catalog",
                     "ref", "stent", "prosthesis", "batch"), _E.DEVICE),
    **dict.fromkeys(("order", "visit", "case", "claim", "reference", "sample", "ticket", "appointment", "study",
                     "referral", "tracking", "rx", "prescription", "report", "document", "transaction", "user",
                     "username", "login", "userid", "locker", "episode", "admission", "exam", "file", "trial",
                     "protocol", "slide", "tube", "incident", "application", "applications", "nos", "participant", "subject",
                     "registry", "pin", "passcode", "password", "unit", "donor", "bag"), _E.OTHER_ID),
    **dict.fromkeys(("contact", "at", "home", "work", "emergency", "office", "line", "dial", "extension", "ext", "direct"), _E.PHONE),
}  # fmt: skip
"""Words that say so only with a mark of a number (`#`, `no`, `id`, `:`) or for a code of six or more."""

_MARKS = frozenset(
    {
        "#",
        ":",
        "=",
        "no",
        "num",
        "number",
        "numbers",
        "nbr",
        "nr",
        "id",
        "ids",
        "identifier",
        "code",
        "numero",
        "ending",
        "ssn",
    }
)
_FILLERS = _MARKS | frozenset(
    {"is", "was", "the", "of", "in", "on", "for", "with", "last", "four", "digits", "s", "his", "her",
     "my", "their", "your", "a", "to", "me", "us", "him", "them", "security", "as", "same", "new", "old", "current", "ends", "ended"}
)  # fmt: skip
_LAST_FOUR = frozenset({"4", "four"})
_MOST_PASSED = 7
_NEAR = 24
_SIGNS = frozenset(":#=")
_AFTER_WORD = " :.,(-"


def label_left(lowered: str, start: int) -> tuple[EntityType | None, bool, bool]:
    """Say what the words left of `start` in lower-cased text make of a number there.

    Returns the label or None, whether the label is strong, and whether a mark of a number stands
    between label and number. (None, False, True) is a mark without a label: `ID: ...`, `# ...`.
    """
    near = lowered[start - 2 : start] if start > 1 else ""
    if near[:1].isdigit() and lowered[start - 7 : start - 2] != "last ":
        return None, False, False
    # the usual case, without a regex: the word right before says it, or says that nothing does
    marked = False
    left = lowered[start - _NEAR if start > _NEAR else 0 : start].rstrip(" ")
    if left[-1:] in _SIGNS:
        marked = bool(left)
        left = left.rstrip(" :#=")
    _, gap, word = left.rpartition(" ")
    if (gap or start <= _NEAR) and word.isalpha() and word.isascii():
        label = STRONG.get(word)
        if label is not None:
            return label, True, marked
        label = WEAK.get(word)
        if label is not None:
            return label, False, marked
        if word not in _FILLERS and word not in _LAST_FOUR:
            return None, False, marked
    marked = False
    passed = 0
    tokens = _TOKENS.findall(lowered, start - WINDOW if start > WINDOW else 0, start)
    tokens.reverse()
    for token in tokens:
        label = STRONG.get(token)
        if label is not None:
            return label, True, marked
        label = WEAK.get(token)
        if label is not None:
            return label, False, marked
        if token in _FILLERS:
            if token in _MARKS:
                marked = True
        elif token not in _LAST_FOUR and not (token == "\n" and marked):
            break
        passed += 1
        if passed > _MOST_PASSED:
            break
    return None, False, marked


def last_word(lowered: str, start: int) -> str:
    """Return the word left of `start` on its line, without the marks between; "" at a line's start."""
    left = lowered[start - 16 if start > 16 else 0 : start].rstrip(_AFTER_WORD)
    if "\n" in left:
        left = left.rpartition("\n")[2]
    return left.rpartition(" ")[2].lstrip("(")


def has_any(lowered: str, words: Iterable[str]) -> bool:
    """Whether any of a few words is in the text: a gate that costs less than a pass of a pattern."""
    for word in words:  # noqa: SIM110 -- a generator costs twice as much
        if word in lowered:
            return True
    return False
