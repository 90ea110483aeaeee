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
from wardgate.deid.spans import Candidate, outside, replace, resolve, rows, to_input
from wardgate.deid.tagger import Tagger
from wardgate.deid.transform import apart, edits_of
from wardgate.errors import DetectorFailed, PolicyUnknown, SettingsInvalid, WardgateError
from wardgate.types import PHI, CleanText, Deidentified, EntityType, Replacement, Span

Reference = dt.date | Literal["today"] | None
"""The date that years are measured against: the note's own, today, or None for unknown."""

_LONG = 8_192
"""Code points from which a text may hold enough spans to set off a collection."""
_start, _end = itemgetter(0), itemgetter(1)
_ROUNDS = 5
"""How often a text is read at most, the first time with nothing gone; each time what was found has."""
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

    def look(text: str, reading: Readings) -> list[Candidate]:
        return _look(
            text, reading, partial(layers.read, reference=reference, until=until, site=policy.site)
        )

    def plain(text: str, found: list[Candidate]) -> list[Edit]:
        return edits_of(text, found, policy, reference, until)

    found = look(text, reading)
    mark = len(forms) > 1 or bool(unread)
    years: set[int] = set()
    edits: list[Edit] = []
    clean = text
    alignment: tuple[Replacement, ...] = ()
    for _ in range(_ROUNDS):
        edits = plain(text, found)
        if mark:
            edits = apart(text, edits, found)
        edits = [
            (*edit[:2], policies.TAGS[EntityType.DATE]) if edit[0] in years else edit
            for edit in edits
        ]
        clean, alignment = replace(text, edits)
        if not edits:  # where nothing was changed, nothing reads otherwise
            break
        seen = look(clean, readings(clean))
        new = [edit for edit in plain(clean, seen) if clean[edit[0] : edit[1]] != edit[2]]
        if not new:
            break
        told = {
            (row.out_start, row.out_end): row.start
            for row, edit in zip(alignment, edits, strict=True)
            if edit[2].isdigit()
        }
        found = _more(found, seen, new, edits, alignment, told, years)
    return Found(found, edits, reference, clean, alignment)


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


def _more(
    found: list[Candidate],
    seen: list[Candidate],
    new: list[Edit],
    edits: list[Edit],
    alignment: Sequence[Replacement],
    told: dict[tuple[int, int], int],
    years: set[int],
) -> list[Candidate]:
    """Return what was found with what a clean text shows besides; `new` is what it would change there.

    A year that would be taken for something else is added to `years`, by its start in the text.
    """
    places = list(told)
    by_start = {candidate[0]: candidate for candidate in seen}
    missed: list[Candidate] = []
    for start, end, _ in new:
        over = _overlapped(places, start, end)
        years.update(told[place] for place in over)
        if not over:
            _, _, label, score, detail = by_start[start]
            missed.append((*to_input(start, end, alignment), label, score, detail))
    # what the policy keeps may be something else without the words that were beside it
    changed = {edit[0] for edit in edits}
    kept = [candidate for candidate in found if candidate[0] not in changed]
    spared = outside(kept, [c[:2] for c in resolve(missed)])
    return resolve([*(c for c in found if c[0] in changed), *spared, *missed])


def _overlapped(places: list[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """Return which of the sorted, disjoint `places` overlap `[start, end)`."""
    at = bisect_right(places, start, key=_end)
    return places[at : bisect_left(places, end, key=_start)]
