"""Numbers and codes: phone, SSN, record, plan, account, licence, vehicle, device and other numbers.

A number is taken for its shape and check digit, or for the words left of it (`context.py`). Vital
signs, doses, laboratory values, spine levels and billing codes are none of these and stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import ascii_letters

from wardgate.deid import checks, patterns
from wardgate.deid.context import label_left
from wardgate.deid.spans import Candidate, Place
from wardgate.types import EntityType as E

_DIGITS = re.compile(r"[0-9]")
_FEWEST_DIGITS = 3
_FEWEST_IN_GROUPS = 7
_SHORT_CASE = 7
_SHORTEST_CHECKED = 11
_JOINT = re.compile(r"[-_]")
_UNITS = re.compile(
    r"[ -]?(?:mg|mcg|ug|g|kg|ml|cc|l|dl|units?|iu|meq|mmol|mmhg|mm|cm|m|bpm|cells?|kcal|calories|steps|hours?|hrs?"
    r"|minutes?|mins?|seconds?|days?|weeks?|months?|years?|yrs?|lbs?|pounds|oz|ounces|fr|french|gy|cgy"
    r"|percent|x10|thou|k|ng|pg|dollars|patients|times|feet|ft|miles|copies|puffs|tabs?|tablets?)\b|[ ]?[%/]"
)
_USER = re.compile(r"[a-z]{2,20}[._]?[a-z]{3,20}[0-9]{2,4}\Z")
_PREFIXES: dict[str, E] = {
    "MRN": E.MRN, "MR": E.MRN, "PT": E.MRN, "PAT": E.MRN, "PID": E.MRN, "SSN": E.SSN, "NPI": E.LICENSE, "DEA": E.LICENSE,
    "LIC": E.LICENSE, "RN": E.LICENSE, "MD": E.LICENSE, "ACC": E.OTHER_ID, "ACCT": E.ACCOUNT,
    "ACT": E.ACCOUNT, "INS": E.HEALTH_PLAN, "POL": E.HEALTH_PLAN, "HPN": E.HEALTH_PLAN, "MBR": E.HEALTH_PLAN,
    "MEM": E.HEALTH_PLAN, "GRP": E.HEALTH_PLAN, "SN": E.DEVICE, "DEV": E.DEVICE, "SER": E.DEVICE, "UDI": E.DEVICE,
    "BIO": E.BIOMETRIC, "FP": E.BIOMETRIC, "VIN": E.VEHICLE, "CLM": E.OTHER_ID, "ENC": E.OTHER_ID,
    "ORD": E.OTHER_ID, "CSN": E.OTHER_ID, "SPEC": E.OTHER_ID, "CASE": E.OTHER_ID, "REF": E.OTHER_ID,
    "INV": E.ACCOUNT, "EMP": E.OTHER_ID, "USR": E.OTHER_ID, "ID": E.OTHER_ID,
}  # fmt: skip
_NOT_IDS = re.compile(
    r"(?i:rs[0-9]|nct[0-9]|bms-|loinc|icd|cpt|ndc|hcpcs|covid|sars|cyp|brca|hla|gpt|iso|en-?[0-9]|tnm|(?:[ctlspq]|pt)[0-9]{1,2}[a-c]?(?![0-9a-z]|-[0-9]{3})|interleukin"
    r"|grade|stage|type|level|phase|vitamin|omega|[0-9]{1,6}(?:x[0-9]|st|nd|rd|th|mg|ml|mcg|g|kg|cm|mm|cc|hr|h|wk|mo|d|yo|y|s|lb|in|ft|k|am|pm|bid|tid)\b"
    r"|[0-9]{1,6}-(?:year|month|week|day|hour|minute|fold|point|lead|item|french|mg|ml|cm|mm|gauge|pound))"
)
_HEADER_CODES = frozenset(
    {
        "cpt",
        "icd",
        "loinc",
        "ndc",
        "hcpcs",
        "snomed",
        "rxnorm",
        "drg",
        "codes",
        "code",
        "cvx",
        "orpha",
        "omim",
        "pmid",
        "doi",
        "nct",
    }
)
_AS_SPACE = str.maketrans(":-#", "   ")
_PREFIX = ascii_letters + "_-"
_LONGEST_PREFIX = 13
_ID_LENGTH = 4
_CENTURIES = frozenset({"18", "19", "20"})
_BARE_ID_DIGITS = 8


def shapes(text: str, lowered: str, match: re.Match[str]) -> Candidate | None:
    """Judge a match of `patterns.NUMBERS` that is neither date, age nor street."""
    start, end = match.span()
    shape = match.lastgroup
    if shape == "phone":
        start = _phone_start(text, start)
        return (start, _extension(text, end), phone_label(lowered, start), 0.9, None)
    if shape == "ssn":
        digits = match[0][:3] + match[0][4:6] + match[0][7:]
        certain = checks.ssn(digits)
        label = label_left(lowered, start)[0]
        if certain or label is E.SSN:
            return (start, end, E.SSN, 1.0 if certain else 0.8, None)
        return (start, end, label or E.OTHER_ID, 0.6, None)
    if shape == "local":
        label, strong, _ = label_left(lowered, start)
        if label in {E.PHONE, E.FAX} and strong:
            return (start, end, label or E.PHONE, 0.8, None)
        if match[0][0] in "23456789" and match[0][:3] != "200" and not _UNITS.match(lowered, end):
            if label is not None:
                return (start, end, label, 0.7, None)
            if match[0].startswith("555"):
                return (start, end, E.PHONE, 0.7, None)
        return None
    if shape == "ip":
        address = match[0].split("/")[0]
        if checks.ipv4(address) and not lowered[max(0, start - 9) : start].endswith(
            ("version ", "v")
        ):
            return (start, end, E.IP, 0.9, None)
        return None
    if shape == "card":
        digits = "".join(filter(str.isdigit, match[0]))
        label = label_left(lowered, start)[0]
        if checks.card(digits):
            return (start, end, E.ACCOUNT, 1.0, None)
        return (start, end, label or E.OTHER_ID, 0.7, None)
    if shape == "case":
        label, _, marked = label_left(lowered, start)
        if marked or end - start > _SHORT_CASE:
            return (start, end, label or E.OTHER_ID, 0.7, None)
        return None
    return None


def groups(lowered: str, token: str, start: int, end: int) -> Candidate | None:
    """Judge groups of digits: a number that a label announces, or one too long for a measurement."""
    digits = len(_DIGITS.findall(token))
    if digits < _FEWEST_IN_GROUPS:
        return None
    label, strong, marked = label_left(lowered, start)
    if label is not None and (strong or marked):
        return (start, end, label, 0.8, None)
    if label is E.PHONE or (digits > 10 and len(token) - digits == 2):
        return (start, end, label or E.OTHER_ID, 0.6, None)
    return None


def _phone_start(text: str, start: int) -> int:
    """Take in the opening bracket and country code left of ten digits."""
    if start and text[start - 1] == "(":
        start -= 1
    at = start
    if at and text[at - 1] in " -.":
        at -= 1
    if (
        at
        and text[at - 1] == "1"
        and not (at > 1 and (text[at - 2].isalnum() or text[at - 2] in "./-"))
    ):
        start = at - 1
    if start and text[start - 1] == "+":
        start -= 1
    return start


_EXTENSION = re.compile(r",?[ ]?(?i:ext|extension|x)\.?[ :]?[0-9]{1,6}\b")


def _extension(text: str, end: int) -> int:
    found = _EXTENSION.match(text, end)
    return found.end() if found else end


def phone_label(lowered: str, start: int) -> E:
    """Return FAX where a fax is named to the left, else PHONE."""
    label = label_left(lowered, start)[0]
    return E.FAX if label is E.FAX else E.PHONE


def codes(text: str, lowered: str, taken: set[int], common: frozenset[str]) -> Iterator[Candidate]:
    """Yield identifiers among the tokens that hold digits, by label, prefix, check digit or length.

    `taken` holds the starts of what has a shape already.
    """
    social = "ss" in lowered or "social" in lowered
    for match in patterns.CODES.finditer(text):
        start, end = match.span()
        if start and text[start - 1] in _PREFIX:
            start = _prefixed(text, start)
            if start < 0:
                continue
        size = end - start
        if size < _ID_LENGTH or start in taken:
            continue
        token = text[start:end]
        if token.isdigit():
            if size == _ID_LENGTH and not social and token[:2] in _CENTURIES:
                continue
            found = _plain(text, lowered, token, start, end)
        else:
            found = _mixed(text, lowered, token, start, end)
            if found is None and start not in taken and _USER.match(token):
                stem = token.rstrip("0123456789")
                if stem not in common and not _NOT_IDS.match(token):
                    found = (start, end, E.OTHER_ID, 0.5, None)
        if found is not None:
            yield found


def _prefixed(text: str, digit: int) -> int:
    """Return where the code starts whose first digit stands at `digit`, or -1 where it is none."""
    low = digit - _LONGEST_PREFIX - 1 if digit > _LONGEST_PREFIX else 0
    start = low + len(text[low:digit].rstrip(_PREFIX))
    if digit - start > _LONGEST_PREFIX or text[start] in "_-":
        return -1
    before = text[start - 1] if start else " "
    return -1 if before.isalnum() or before in "/@.'" else start


def _plain(text: str, lowered: str, token: str, start: int, end: int) -> Candidate | None:
    """Judge a run of four digits or more."""
    size = end - start
    label, strong, marked = label_left(lowered, start)
    if label is None:
        if size < _BARE_ID_DIGITS:
            if (
                marked
                and size > _ID_LENGTH
                and not _is_code(lowered, start)
                and not _UNITS.match(lowered, end)
            ):
                return (start, end, E.OTHER_ID, 0.6, None)
            return None
        if checks.card(token):
            return (start, end, E.ACCOUNT, 1.0, None)
        if size == 10:
            return (start, end, E.LICENSE if checks.npi(token) else E.PHONE, 0.7, None)
        if size == 9 and checks.ssn(token):
            return (start, end, E.SSN, 0.6, None)
        if _UNITS.match(lowered, end) or _is_code(lowered, start):
            return None
        return (start, end, E.OTHER_ID, 0.6, None)
    if label is E.LOCATION:
        return (start, end, E.LOCATION, 0.9, Place.ZIP) if size in {5, 9} else None
    if not strong and not marked and size < 6:
        return None
    if size == _ID_LENGTH and token[:2] in _CENTURIES and label is not E.SSN:
        return None
    if label in {E.PHONE, E.FAX} and (size < 7 or size > 15):
        if not (strong and marked) and "ext" not in lowered[max(0, start - 12) : start]:
            return None
    if size < 6 and (_UNITS.match(lowered, end) or _is_code(lowered, start)):
        return None
    if label is E.LICENSE and size == 10:
        return (start, end, label, 1.0 if checks.npi(token) else 0.8, None)
    return (start, end, label, 0.9 if strong else 0.8, None)


def _is_code(lowered: str, start: int) -> bool:
    """Whether a billing or terminology code system is named just left (CPT, ICD, LOINC)."""
    words = lowered[start - 24 if start > 24 else 0 : start].translate(_AS_SPACE).split()
    return not _HEADER_CODES.isdisjoint(words[-3:])


def _mixed(text: str, lowered: str, token: str, start: int, end: int) -> Candidate | None:
    """Judge a token of letters, digits and joints."""
    size = end - start
    if size >= _SHORTEST_CHECKED:
        bare = token.replace("-", "")
        if len(bare) == 17 and checks.vin(bare):
            return (start, end, E.VEHICLE, 1.0, None)
        if len(bare) == 11 and checks.mbi(bare):
            return (start, end, E.HEALTH_PLAN, 1.0, None)
    prefix = None
    joint = _JOINT.search(token)
    if joint is not None:
        prefix = _PREFIXES.get(token[: joint.start()].upper())
    digits = len(_DIGITS.findall(token))
    if prefix is not None and digits >= _ID_LENGTH:
        assert joint is not None
        return (start + joint.end(), end, prefix, 0.9, None)
    if digits < _FEWEST_DIGITS or _NOT_IDS.match(token):
        return None
    label, strong, marked = label_left(lowered, start)
    if label in {None, E.LICENSE} and size == 9 and digits >= 7 and checks.dea(token.upper()):
        return (start, end, E.LICENSE, 1.0, None)
    if label is E.LOCATION:
        return (start, end, label, 0.9, Place.ZIP) if digits in {5, 9} else None
    if label in {E.PHONE, E.FAX}:
        return (start, end, label, 0.8, None) if digits >= 7 else None
    if label is not None and (strong or marked or (digits >= 4 and size >= 6)):
        return (start, end, label, 0.9 if strong else 0.8, None)
    if (
        digits >= 5
        and size >= 7
        and (marked or _upper_or_joined(token))
        and not _is_code(lowered, start)
    ):
        if token.replace(".", "").isdigit() or _numeric_range(token):
            return None
        return (start, end, E.OTHER_ID, 0.6, None)
    return None


def _upper_or_joined(token: str) -> bool:
    return token.upper() == token or "-" in token or "_" in token or token.isalnum()


def _numeric_range(token: str) -> bool:
    """`1200-1500`, `12345-6` (LOINC) and `0069-2587-41` (NDC) are no identifiers of a person."""
    parts = token.replace("_", "-").split("-")
    return all(part.replace(".", "").isdigit() for part in parts) and max(map(len, parts)) < 6
