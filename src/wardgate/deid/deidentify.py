"""Find protected health information and replace it: the one public function of this step.

A plain synchronous function of text, policy and reference date, so that it runs as well in a
process (`pool.py`). It fails closed: any fault inside becomes `DetectorFailed`, without the text.
"""

from __future__ import annotations

import datetime as dt
import secrets
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Literal, NamedTuple

from wardgate import collector
from wardgate.deid import dates, gazetteer, policyfile
from wardgate.deid import policy as policies
from wardgate.deid.codes import without
from wardgate.deid.derive import derived
from wardgate.deid.fold import Index, Ranges, readings, unfold
from wardgate.deid.layers import Layers
from wardgate.deid.resolve import Explanation
from wardgate.deid.secondlook import settled
from wardgate.deid.secret import BYTES, Secret
from wardgate.deid.spans import Candidate, outside, replace, resolve, rows
from wardgate.deid.tagger import Tagger
from wardgate.deid.transform import YEAR, apart, edits_of, glued
from wardgate.errors import DetectorFailed, PolicyUnknown, SettingsInvalid, WardgateError
from wardgate.types import PHI, CleanText, Deidentified, EntityType, Replacement, Span

Reference = dt.date | Literal["today"] | None
"""The date that years are measured against: the note's own, today, or None for unknown."""

_LONG = 8_192
"""Code points from which a text may hold enough spans to set off a collection."""
_start, _end = itemgetter(0), itemgetter(1)
_ROUNDS = 3
"""How often what stands around years is read at most; then those that are left go too."""
_CONTEXT = 160
"""Code points on either side that decide how a rule reads a number."""
Edit = tuple[int, int, str]
Readings = tuple[list[tuple[str, Index]], Ranges]


class Found(NamedTuple):
    """What was found in a text, and the plain edits: tags, generalised forms."""

    spans: list[Candidate]
    """Sorted, disjoint."""
    edits: list[tuple[int, int, str]]
    reference: dt.date | None
    """The date that ages were measured against."""
    text: str | None = None
    """The text with the plain edits in it, and their alignment, where they are at hand."""
    alignment: tuple[Replacement, ...] = ()


class Deidentifier:
    """Finds and replaces PHI under a policy, by name, that holds where a call names no other.

    `catalog` holds the policies, by default the shipped ones. `secret` is 32 random bytes, from
    which shifts, surrogates, pseudonyms and encryption come; without one they come from bytes of
    this object's own, and are others in the next. `vault` says that the caller puts in vault codes.
    Raises PolicyUnknown for a name that no policy has, SettingsInvalid where a policy needs a vault.
    """

    __slots__ = ("_before", "_catalog", "_default", "_layers", "_secret", "_vault")

    def __init__(
        self,
        policy: str = policies.DEFAULT,
        *,
        catalog: policyfile.Catalog | None = None,
        secret: bytes | None = None,
        vault: bool = False,
    ) -> None:
        self._secret = Secret(secrets.token_bytes(BYTES) if secret is None else secret)
        self._default, self._vault = policy, vault
        self._layers = Layers(gazetteer.load(), Tagger.load())
        self._before = self._catalog = policyfile.shipped()
        self.take(catalog or self._catalog)

    @property
    def policy(self) -> str:
        """Name of the policy that holds where a call names no other."""
        return self._default

    @property
    def catalog(self) -> policyfile.Catalog:
        """The policies in force."""
        return self._catalog

    def take(self, catalog: policyfile.Catalog) -> None:
        """Go by other policies from now on; those before stay known by their hash.

        Raises PolicyUnknown where the default is not among them, SettingsInvalid where it needs a
        vault and there is none; then the old ones stay in force.
        """
        self._possible(catalog.get(self._default))
        self._before, self._catalog = self._catalog, catalog

    def chosen(self, policy: str | None, policy_hash: str | None = None) -> policies.Policy:
        """Return a policy by name, None the default, and by its hash where that is given.

        The policies of the last change are known as well, for what was under way when it came.
        Raises PolicyUnknown where there is none, or none of that hash, SettingsInvalid where it
        needs a vault and there is none.
        """
        name = policy or self._default
        if policy_hash is None:
            return self._possible(self._catalog.get(name))
        for catalog in (self._catalog, self._before):
            found = catalog.policies.get(name)
            if found is not None and found.hash == policy_hash:
                return found
        raise PolicyUnknown(reason="policy-changed")

    def _possible(self, policy: policies.Policy) -> policies.Policy:
        """Return the policy, if it can be carried out here."""
        if policy.vaulted and not self._vault:
            raise SettingsInvalid(
                f"Policy {policy.name} uses vault codes: only a gateway has them."
            )
        return policy

    def deidentify(
        self,
        text: str | PHI,
        *,
        policy: str | None = None,
        policy_hash: str | None = None,
        reference_date: Reference = "today",
        tenant: str = "",
        patient: str | PHI | None = None,
    ) -> Deidentified:
        """Return the de-identified text, the spans found (code points of `text`), and the alignment.

        `reference_date` is the note's own date where the caller knows it; it decides which years
        show an age over 89. None says that it is unknown, and then no year of a date survives; nor
        does a year later than the date given (`dates.measured` says what else that means).
        Spans that the policy keeps are reported and left in the text. What is derived from a person
        is the same in all texts of one `tenant` that name the same `patient`.

        Raises PolicyUnknown, and DetectorFailed where detection failed in any way, or where a
        second look found what it missed and the policy refuses that.
        """
        chosen = self.chosen(policy, policy_hash)
        try:
            raw = text.reveal() if isinstance(text, PHI) else text
            return self.finish(raw, self.find(raw, chosen, reference_date), chosen, tenant, patient)
        except WardgateError:
            raise
        except Exception:  # noqa: BLE001 -- whatever failed, the text must not pass or be told
            raise DetectorFailed from None

    def find(self, text: str, policy: policies.Policy, reference_date: Reference) -> Found:
        """Return what is found in a text, nothing derived yet."""
        if len(text) < _LONG:
            return _deidentify(text, policy, reference_date, self._layers)
        with collector.paused():
            return _deidentify(text, policy, reference_date, self._layers)

    def explain(
        self, text: str, *, policy: str | None = None, reference_date: Reference = "today"
    ) -> list[Explanation]:
        """Return for every span who found it, how sure, and what it beat, in code points of `text`.

        What was ruled out stands among them, without a label. Raises as `deidentify` does.
        """
        chosen = self.chosen(policy)
        try:
            found = self.find(text, chosen, reference_date)
            folded, index = readings(text)[0][0]
            spans = found.spans
            if index is not None:
                spans = [
                    (bisect_left(index, c[0]), bisect_left(index, c[1]), *c[2:]) for c in spans
                ]
            told = self._layers.explained(folded, spans, found.reference)
            return told if index is None else [each.moved(index) for each in told]
        except Exception:  # noqa: BLE001 -- whatever failed, the text must not be told
            raise DetectorFailed from None

    def finish(
        self,
        text: str,
        found: Found,
        policy: policies.Policy,
        tenant: str,
        patient: str | PHI | None,
    ) -> Deidentified:
        """Put the edits into the text, with what the policy derives; then look at it once more.

        Raises SecondLookFailed.
        """
        clean, alignment = found.text, found.alignment
        if policy.derives:
            subject = self._secret.subject(
                project=policy.project,
                tenant=tenant,
                patient=PHI(patient) if isinstance(patient, str) else patient,
                text=text,
            )
            edits = derived(text, found.spans, found.edits, policy, subject, found.reference)
            clean, alignment = replace(text, edits)
        elif clean is None:
            clean, alignment = replace(text, found.edits)
        spans: tuple[Span, ...] = ()
        if found.spans:
            starts, ends, labels, scores, _ = zip(*found.spans, strict=True)
            spans = rows(Span, starts, ends, labels, scores)
        result = Deidentified(
            text=CleanText(clean),
            spans=spans,
            alignment=alignment,
            policy=policy.name,
            policy_hash=policy.hash,
        )
        return settled(text, without(text, result), policy)


def _today() -> dt.date:
    return dt.datetime.now(tz=dt.UTC).date()


def _deidentify(text: str, policy: policies.Policy, given: Reference, layers: Layers) -> Found:
    reading = readings(text)
    forms, unread = reading
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
    found = _look(
        text, reading, partial(layers.read, reference=reference, until=until, site=policy.site)
    )
    edits = edits_of(text, found, policy, reference, until)
    if len(forms) > 1 or unread:
        edits = apart(text, edits, found)
    edits = [_tag(edit) if edit[2].isdigit() and glued(text, *edit[:2]) else edit for edit in edits]
    clean, alignment = replace(text, edits)

    def again(part: str, reading: Readings) -> list[Edit]:
        rules = partial(layers.ruled, reference=reference, until=until, site=policy.site)
        return edits_of(part, _look(part, reading, rules), policy, reference, until)

    for _ in range(_ROUNDS):
        misread = _misread(clean, edits, alignment, again)
        if not misread:
            return Found(found, edits, reference, clean, alignment)
        edits = [_tag(edit) if at in misread else edit for at, edit in enumerate(edits)]
        clean, alignment = replace(text, edits)
    edits = [_tag(edit) if edit[2].isdigit() else edit for edit in edits]
    return Found(found, edits, reference, *replace(text, edits))


def _tag(edit: Edit) -> Edit:
    """Return the edit of a date with its tag in place of the year."""
    return (*edit[:2], policies.TAGS[EntityType.DATE])


def _misread(
    clean: str,
    edits: list[Edit],
    alignment: Sequence[Replacement],
    again: Callable[[str, Readings], list[Edit]],
) -> set[int]:
    """Return the numbers of the edits whose year a second pass would take for more than a year.

    Beside a tag it may: `2019 Will Dr. [NAME]` looks like a street. What stands around each year is
    read by rules; the tagger takes no year that stands alone (`Layers`).
    """
    years = [at for at, edit in enumerate(edits) if edit[2].isdigit()]
    found: set[int] = set()
    number = 0
    while number < len(years):
        first = number
        low, high = _around(clean, alignment[years[number]])
        while number < len(years) and alignment[years[number]].out_start < high:
            high = _around(clean, alignment[years[number]])[1]
            number += 1
        part = clean[low:high]
        places = [
            (alignment[at].out_start - low, alignment[at].out_end - low)
            for at in years[first:number]
        ]
        reading = readings(part)
        found.update(years[first + at] for at in _joined(places, reading))
        for start, end, new in again(part, reading):
            if part[start:end] != new:
                found.update(years[first + at] for at in _overlapped(places, start, end))
    return found


def _joined(places: list[tuple[int, int]], reading: Readings) -> list[int]:
    """Return which of the sorted years at `places`, by number, do not stand alone as detectors read.

    Where `2019\u20132020` is written with a dash, they read a hyphen.
    """
    joined: list[int] = []
    for folded, index in reading[0]:
        alone = {match.start() for match in YEAR.finditer(folded)}
        for number, (start, _) in enumerate(places):
            at = start if index is None else bisect_left(index, start, 0, len(folded))
            read = at < len(folded) and (index is None or index[at] == start)
            if read and at not in alone:
                joined.append(number)
    return joined


def _around(clean: str, row: Replacement) -> tuple[int, int]:
    """Return the stretch of whole words that decides how a rule reads what stands at `row`."""
    start, end = row.out_start, row.out_end
    low, high = max(0, start - _CONTEXT), min(len(clean), end + _CONTEXT)
    if not clean[low - 1 : low].isspace():
        low -= len("".join(clean[max(0, start - 2 * _CONTEXT) : low].rsplit(None, 1)[-1:]))
    if not clean[high : high + 1].isspace():
        high += len("".join(clean[high : end + 2 * _CONTEXT].split(None, 1)[:1]))
    return low, high


def _look(text: str, reading: Readings, read: Callable[[str], list[Candidate]]) -> list[Candidate]:
    """Return what all layers find in a text, sorted and disjoint."""
    forms, unread = reading
    candidates: list[Candidate] = []
    for number, (folded, index) in enumerate(forms):
        found = read(folded)
        if index is not None:
            if number:
                found = [c for c in found if "\n" not in folded[c[0] : c[1]]]
            found = unfold(text, resolve(found), index)
        candidates += found
    found = resolve(candidates)
    if unread:  # it may hide anything
        found = outside(found, unread)
        found += [(start, end, EntityType.OTHER_ID, 1.0, None) for start, end in unread]
        found.sort(key=_start)
    return found


def _overlapped(places: list[tuple[int, int]], start: int, end: int) -> range:
    """Return which of the sorted, disjoint `places` overlap `[start, end)`, by number."""
    return range(bisect_right(places, start, key=_end), bisect_left(places, end, key=_start))
