"""Find protected health information and replace it: the one public function of this step.

A plain synchronous function of text, policy and reference date, so that it runs as well in a
process (`pool.py`). It fails closed: any fault inside becomes `DetectorFailed`, without the text.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import gc
import re
from collections.abc import Iterator
from typing import Literal

from wardgate.deid import dates, gazetteer, names, net, numbers, patterns, places
from wardgate.deid import policy as policies
from wardgate.deid.fold import readings, unfold
from wardgate.deid.spans import Candidate, Place, outside, replace, resolve, rows
from wardgate.deid.transform import TAG, apart, edits_of
from wardgate.errors import DetectorFailed, WardgateError
from wardgate.types import PHI, CleanText, Deidentified, EntityType, Span

Reference = dt.date | Literal["today"] | None
"""The date that years are measured against: the note's own, today, or None for unknown."""

_LONG = 8_192
"""Code points from which a text may hold enough spans to set off a collection."""
_DIGIT = re.compile(r"[0-9]")
_CAPITALISED = re.compile(r"(?<![A-Za-z])[A-Z][a-z'-]+\Z")
_CREDENTIALED = re.compile(r"(?:\[NAME\]|, (?:Jr|Sr|II|III|MD|RN|PhD|Esq)\.?)\Z")
_DATE_SHAPES = frozenset({"iso", "mdy", "my", "ym", "md", "dmon"})


class Deidentifier:
    """Finds and replaces PHI under a policy, by name, that holds where a call names no other.

    Raises PolicyUnknown for a name that no shipped policy has.
    """

    __slots__ = ("_policy", "_words")

    def __init__(self, policy: str = policies.DEFAULT) -> None:
        self._policy = policies.get(policy)
        self._words = gazetteer.load()

    @property
    def policy(self) -> str:
        """Name of the policy that holds where a call names no other."""
        return self._policy.name

    def require(self, policy: str | None) -> None:
        """Raise PolicyUnknown where there is no such policy; None is this detector's own."""
        if policy is not None:
            policies.get(policy)

    def deidentify(
        self, text: str | PHI, *, policy: str | None = None, reference_date: Reference = "today"
    ) -> Deidentified:
        """Return the de-identified text, the spans found (code points of `text`), and the alignment.

        `reference_date` is the note's own date where the caller knows it; it decides which years
        show an age over 89. None says that it is unknown, and then no year of a date survives.
        Spans that the policy keeps are reported and left in the text.

        Raises PolicyUnknown, and DetectorFailed where detection failed in any way.
        """
        chosen = self._policy if policy is None else policies.get(policy)
        try:
            raw = text.reveal() if isinstance(text, PHI) else text
            reference = _today() if reference_date == "today" else reference_date
            assert not isinstance(reference, str)
            if len(raw) < _LONG:
                return _deidentify(raw, chosen, reference, self._words)
            with _collector_paused():
                return _deidentify(raw, chosen, reference, self._words)
        except WardgateError:
            raise
        except Exception:  # noqa: BLE001 -- whatever failed, the text must not pass or be told
            raise DetectorFailed from None


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the cyclic collector out of a long text.

    Nothing here makes a cycle, but ten thousand spans would set off a walk over every object of the
    process, which takes longer than the detection.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _today() -> dt.date:
    return dt.datetime.now(tz=dt.UTC).date()


def _deidentify(
    text: str, policy: policies.Policy, reference: dt.date | None, words: gazetteer.Gazetteer
) -> Deidentified:
    candidates: list[Candidate] = []
    forms = readings(text)
    for number, (folded, index) in enumerate(forms):
        read = detect(folded, reference, words)
        if index is not None:
            read = [
                (*unfold(text, c[0], c[1], index), c[2], c[3], c[4])
                for c in read
                if not (number and "\n" in folded[c[0] : c[1]])
            ]
        candidates += read
    found = resolve(candidates)
    spans: tuple[Span, ...] = ()
    if found:
        starts, ends, labels, scores, _ = zip(*found, strict=True)
        spans = rows(Span, starts, ends, labels, scores)
    edits = edits_of(text, found, policy, reference)
    if len(forms) > 1:
        edits = apart(text, edits, found)
    clean, alignment = replace(text, edits)
    return Deidentified(
        text=CleanText(clean),
        spans=spans,
        alignment=alignment,
        policy=policy.name,
        policy_hash=policy.hash,
    )


def detect(text: str, reference: dt.date | None, words: gazetteer.Gazetteer) -> list[Candidate]:
    """Return candidates in folded text; they may overlap. What an earlier pass wrote is left alone."""
    lowered = text.lower()
    taken: set[int] = set()
    found: list[Candidate] = []
    if _DIGIT.search(text):
        found += dates.months(text, lowered, reference, taken)
        maybe_ages = _shapes(text, lowered, reference, found, taken)
        found.sort(key=_start)
        found += names.find(text, lowered, words, found)
        if maybe_ages:
            found += _ages_of_names(text, maybe_ages, found, words.common)
        found += places.zips(text)
        found += dates.years(text, lowered, reference)
        taken.update(c[0] for c in found if c[4] is Place.ZIP)
        found += numbers.codes(text, lowered, taken, words.common)
        found += net.numbered(text, lowered)
    else:
        found += dates.months(text, lowered, reference, taken)
        found += names.find(text, lowered, words)
    found += names.spoken(text, lowered, words)
    found += dates.ages(text, lowered)
    found += net.net(text, lowered)
    found += net.hidden(text, lowered)
    if "[" in text or "**" in text or "90+" in text:
        return outside(found, [match.span() for match in TAG.finditer(text)])
    return found


def _ages_of_names(
    text: str, maybe: list[tuple[int, int]], found: list[Candidate], common: frozenset[str]
) -> Iterator[Candidate]:
    """`Maria Delgado, 92, of Boston`: a number is an age where a name ends right before it."""
    ends = {c[1] for c in found if c[2] is EntityType.NAME}
    for start, end in maybe:
        before = start - 2
        left = _CAPITALISED.search(text, max(0, before - 24), before)
        if (
            before in ends
            or (left is not None and left[0].lower() not in common)
            or _CREDENTIALED.search(text, max(0, before - 12), before)
        ):
            yield (start, end, EntityType.AGE, 0.9, None)


def _start(candidate: Candidate) -> int:
    return candidate[0]


def _shapes(
    text: str, lowered: str, reference: dt.date | None, found: list[Candidate], taken: set[int]
) -> list[tuple[int, int]]:
    """Add what has a shape to `found`; return the numbers that are ages if a name stands left."""
    maybe_ages: list[tuple[int, int]] = []
    number, add, take = dates.number, found.append, taken.add
    for match in patterns.NUMBERS.finditer(text):
        start = match.start()
        if start in taken:
            continue
        shape = match.lastgroup
        candidate: Candidate | None
        if shape in _DATE_SHAPES:
            candidate = number(text, lowered, match, reference)
        elif shape == "age":
            candidate = dates.age(lowered, match)
        elif shape == "old":
            judged = dates.old(lowered, match)
            if judged is True:
                maybe_ages.append(match.span())
            candidate = None if isinstance(judged, bool) else judged
        elif shape == "street":
            candidate = (start, match.end(), EntityType.LOCATION, 0.85, Place.STREET)
        else:
            candidate = numbers.shapes(text, lowered, match)
        if candidate is not None:
            add(candidate)
            take(start)
    for match in patterns.GROUPS.finditer(text):
        start, end = match.span()
        if start not in taken:
            candidate = numbers.groups(lowered, match[0], start, end)
            if candidate is not None:
                found.append(candidate)
    return maybe_ages
