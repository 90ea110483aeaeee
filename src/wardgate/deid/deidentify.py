"""Find protected health information and replace it: the one public function of this step.

A plain synchronous function of text, policy and reference date, so that it runs as well in a
process (`pool.py`). It fails closed: any fault inside becomes `DetectorFailed`, without the text.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import itemgetter
from typing import Literal

from wardgate import collector
from wardgate.deid import dates, gazetteer
from wardgate.deid import policy as policies
from wardgate.deid.fold import readings, unfold
from wardgate.deid.reread import TOUCHED, calm, reread, touches
from wardgate.deid.rules import detect
from wardgate.deid.spans import Candidate, outside, replace, resolve, rows, to_input
from wardgate.deid.transform import OLDEST_TOLD, apart, edits_of
from wardgate.errors import DetectorFailed, WardgateError
from wardgate.types import PHI, CleanText, Deidentified, EntityType, Replacement, Span

Reference = dt.date | Literal["today"] | None
"""The date that years are measured against: the note's own, today, or None for unknown."""

_LONG = 8_192
"""Code points from which a text may hold enough spans to set off a collection."""
_start, _end = itemgetter(0), itemgetter(1)
_ROUNDS = 4
"""How often a clean text is read again at most; each time what was found has gone."""
_MOST_READ = 4_096
"""Code points of one clean text that are read again for each of both reasons; years past them get a
tag unread."""
_MOST_TOUCHING = 64


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
        show an age over 89. None says that it is unknown, and then no year of a date survives; nor
        does a year later than the date given (`dates.measured` says what else that means).
        Spans that the policy keeps are reported and left in the text.

        Raises PolicyUnknown, and DetectorFailed where detection failed in any way.
        """
        chosen = self._policy if policy is None else policies.get(policy)
        try:
            raw = text.reveal() if isinstance(text, PHI) else text
            if len(raw) < _LONG:
                return _deidentify(raw, chosen, reference_date, self._words)
            with collector.paused():
                return _deidentify(raw, chosen, reference_date, self._words)
        except WardgateError:
            raise
        except Exception:  # noqa: BLE001 -- whatever failed, the text must not pass or be told
            raise DetectorFailed from None


def _today() -> dt.date:
    return dt.datetime.now(tz=dt.UTC).date()


def _deidentify(
    text: str, policy: policies.Policy, given: Reference, words: gazetteer.Gazetteer
) -> Deidentified:
    candidates: list[Candidate] = []
    forms, unread = readings(text)
    reference = _today() if given == "today" else given
    assert not isinstance(reference, str)
    until = dates.MAX_YEAR
    if reference is not None and given != "today":
        until = reference.year
        today = _today()
        reference = (
            max(reference, today)
            if unread
            else dates.measured((form for form, _ in forms), reference, today)
        )
    for number, (folded, index) in enumerate(forms):
        read = detect(folded, reference, words, until)
        if index is not None:
            if number:
                read = [c for c in read if "\n" not in folded[c[0] : c[1]]]
            read = unfold(text, resolve(read), index)
        candidates += read
    found = resolve(candidates)
    if unread:  # it may hide anything
        found = outside(found, unread)
        found += [(start, end, EntityType.OTHER_ID, 1.0, None) for start, end in unread]
        found.sort(key=_start)
    mark = len(forms) > 1 or bool(unread)
    edits = edits_of(text, found, policy, reference, until)
    if mark:
        edits = apart(text, edits, found)
    clean, alignment = replace(text, edits)
    tagged: set[int] = set()
    for _ in range(_ROUNDS if edits else 0):  # where nothing was changed, nothing reads otherwise
        years, missed = _again(clean, alignment, edits, reference, words, until)
        missed = [c for c in missed if not _within(found, c)]
        if not (missed or years):
            break
        tagged |= years
        if missed:
            found = resolve([*found, *missed])
            edits = edits_of(text, found, policy, reference, until)
            if mark:
                edits = apart(text, edits, found)
        edits = [
            (*edit[:2], policies.TAGS[EntityType.DATE]) if edit[0] in tagged else edit
            for edit in edits
        ]
        clean, alignment = replace(text, edits)
        if not (missed or TOUCHED.search(clean)):
            break
    spans: tuple[Span, ...] = ()
    if found:
        starts, ends, labels, scores, _ = zip(*found, strict=True)
        spans = rows(Span, starts, ends, labels, scores)
    return Deidentified(
        text=CleanText(clean),
        spans=spans,
        alignment=alignment,
        policy=policy.name,
        policy_hash=policy.hash,
    )


def _again(
    clean: str,
    alignment: Sequence[Replacement],
    edits: list[tuple[int, int, str]],
    reference: dt.date | None,
    words: gazetteer.Gazetteer,
    until: int,
) -> tuple[set[int], list[Candidate]]:
    """Read the clean text again where it may be read as something else than was meant.

    Returns the starts of those years that would be taken for something else, and what was missed for
    what it touched; both where they stand in the text that came in.
    """
    if not any(edit[2].isdigit() for edit in edits) and not TOUCHED.search(clean):
        return set(), []
    oldest = 0 if reference is None else reference.year - OLDEST_TOLD
    years: dict[tuple[int, int], int] = {}
    touching: list[tuple[int, int]] = []
    near = TOUCHED.search(clean) is not None
    for (start, _, new), row in zip(edits, alignment, strict=True):
        if new.isdigit():
            if int(new) <= oldest or not calm(clean, row.out_start, row.out_end):
                years[row.out_start, row.out_end] = start
        elif near and touches(clean, row.out_start, row.out_end):
            touching.append((row.out_start, row.out_end))
            if len(touching) > _MOST_TOUCHING:
                near = False
    if not (years or touching):
        return set(), []

    def read(part: str) -> list[Candidate]:
        return detect(part, reference, words, until)

    places = list(years)
    found, unsure = reread(clean, places, read, _MOST_READ)
    taken = {years[place] for place in unsure}
    for candidate in found:
        taken.update(years[place] for place in _overlapped(places, candidate))
    missed = reread(clean, touching, read, _MOST_READ)[0]
    return taken, [
        (*to_input(c[0], c[1], alignment), *c[2:]) for c in missed if not _overlapped(places, c)
    ]


def _overlapped(places: list[tuple[int, int]], candidate: Candidate) -> list[tuple[int, int]]:
    """Return which of the sorted, disjoint `places` a candidate overlaps."""
    at = bisect_right(places, candidate[0], key=_end)
    return places[at : bisect_left(places, candidate[1], key=_start)]


def _within(found: list[Candidate], candidate: Candidate) -> bool:
    """Whether one of the sorted, disjoint `found` holds the candidate."""
    at = bisect_right(found, candidate[0], key=_start) - 1
    return at >= 0 and found[at][1] >= candidate[1]
