"""What takes the place of a tag where a policy derives it from the value: the last step of all.

What is PHI has been decided on a text with plain tags, so it is the same under every policy. A
value keeps its tag where what would be derived is the value again, would run into a letter or digit
beside it, or where the value holds what cannot be seen.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from bisect import bisect_left
from operator import itemgetter

from wardgate.deid.fold import fold, is_format
from wardgate.deid.fpe import Encryption
from wardgate.deid.policy import DERIVED, TAGS, Action, Policy
from wardgate.deid.secret import Subject, mac
from wardgate.deid.shift import anchors, moved, offset
from wardgate.deid.spans import Candidate, DateParts, Place
from wardgate.deid.surrogates import Surrogates
from wardgate.types import EntityType

Edit = tuple[int, int, str]

PSEUDONYM = re.compile(r"\[(" + "|".join(EntityType) + r")#[a-z2-7]{26}\]")
"""What `pseudonym` writes; a second pass takes it whole."""
PSEUDONYM_BYTES = 16
"""128 bits: two values share a pseudonym by chance in 1 of 10^38 pairs."""
_SPACED = re.compile(r"[^0-9a-z]+")
_SHOWN = frozenset(" .,;:-/()'@+#&\n\r\t")
"""Signs that a mask leaves."""
_BEFORE = 8
"""Code points before a name that may hold a title."""


def derived(  # noqa: PLR0917 -- what is known of one text
    text: str,
    found: list[Candidate],
    edits: list[Edit],
    policy: Policy,
    subject: Subject,
    reference: dt.date | None,
) -> list[Edit]:
    """Return the edits with what the policy derives in place of tags.

    `found` and `edits` are sorted and disjoint, and each edit is of one candidate.
    """
    tags: list[tuple[int, Candidate, Action]] = []
    for number, edit in enumerate(edits):
        candidate = found[bisect_left(found, edit[0], key=itemgetter(0))]
        place = candidate[4] if isinstance(candidate[4], Place) else None
        action = policy.action(candidate[2], place)
        if action in DERIVED and edit[2] == TAGS[candidate[2]]:
            tags.append((number, candidate, action))
    make = _Maker(text, policy, subject, reference)
    make.prepare(tags)
    edits = list(edits)
    for number, candidate, action in tags:
        start, end = candidate[:2]
        value = text[start:end]
        new = None
        if not any(map(is_format, value)) and not _touches(text, start, end):
            new = make(candidate, action, value)
        if new and new.casefold() != value.casefold():
            edits[number] = (start, end, new)
    return edits


def _touches(text: str, start: int, end: int) -> bool:
    """Whether a letter, a digit or what shows nothing stands right beside `[start, end)`."""
    beside = text[start - 1 : start] + text[end : end + 1]
    return any(c.isalnum() or is_format(c) or c in "_[]*" for c in beside)


class _Maker:
    """Makes what stands for each value of one text."""

    def __init__(
        self, text: str, policy: Policy, subject: Subject, reference: dt.date | None
    ) -> None:
        self._text, self._subject, self._reference = text, subject, reference
        self._days = offset(subject.person, policy.shift) if policy.uses(Action.SHIFT) else 0
        self._surrogates = (
            Surrogates(subject.person, text) if policy.uses(Action.SURROGATE) else None
        )
        self._encryption = (
            Encryption(mac(subject.project, "fpe", "")) if policy.uses(Action.FPE) else None
        )
        self._anchors: dict[int, int] = {}

    def prepare(self, tags: list[tuple[int, Candidate, Action]]) -> None:
        """Look at all values before the first is made: whole names before their initials."""
        dates = [c for _, c, action in tags if action is Action.SHIFT]
        years = anchors([_parts(c) for c in dates])
        self._anchors = {c[0]: year for c, year in zip(dates, years, strict=True)}
        if self._surrogates is not None:
            for _, candidate, action in tags:
                if action is Action.SURROGATE and candidate[2] is EntityType.NAME:
                    self(candidate, action, self._text[candidate[0] : candidate[1]])

    def __call__(self, candidate: Candidate, action: Action, value: str) -> str | None:
        """Return what stands for a value; None where it keeps its tag."""
        start, _, label, _, detail = candidate
        if action is Action.SHIFT:
            return moved(
                value,
                _parts(candidate),
                self._days,
                anchor=self._anchors[start],
                reference=self._reference,
            )
        if action is Action.SURROGATE:
            assert self._surrogates is not None
            place = detail if isinstance(detail, Place) else None
            before = self._text[max(0, start - _BEFORE) : start]
            return self._surrogates.of(label, place, value, before)
        if action is Action.FPE:
            assert self._encryption is not None
            return self._encryption.encrypt(label, value)
        if action is Action.PSEUDONYM:
            return pseudonym(self._subject.project, label, value)
        return masked(value)


def pseudonym(key: bytes, label: EntityType, value: str) -> str:
    """Return `[NAME#...]` with 128 bits of an HMAC in base32 (RFC 4648 §6, small letters).

    Case, accents, spaces and signs make no other value.
    """
    folded = fold(value)[0].lower()
    plain = _SPACED.sub(" ", folded).strip() or folded
    code = mac(key, f"pseudonym {label}", plain)[:PSEUDONYM_BYTES]
    return f"[{label}#{base64.b32encode(code).decode('ascii').rstrip('=').lower()}]"


def pseudonyms(text: str) -> list[Candidate]:
    """Return what looks like a pseudonym of an earlier pass: derived, so never left as it is."""
    return [
        (found.start(), found.end(), EntityType(found[1]), 1.0, None)
        for found in PSEUDONYM.finditer(text)
    ]


def masked(value: str) -> str | None:
    """Return a value with a `*` for each character but spaces and signs."""
    new = "".join(c if c in _SHOWN else "*" for c in value)
    return new if "*" in new else None


def _parts(candidate: Candidate) -> DateParts | None:
    return candidate[4] if isinstance(candidate[4], tuple) else None
