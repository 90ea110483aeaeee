"""The second look: what the detector missed is caught, and right output gives no hit."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardgate import Deidentifier
from wardgate.deid import policy as policies
from wardgate.deid import secondlook
from wardgate.deid.deidentify import Found
from wardgate.deid.policy import SecondLook
from wardgate.deid.policyfile import Catalog, parse_site
from wardgate.deid.pool import LongTextPool
from wardgate.deid.secondlook import hits, patterns
from wardgate.deid.spans import Place
from wardgate.deid.transform import edits_of
from wardgate.errors import DetectorFailed, SecondLookFailed
from wardgate.telemetry import SECOND_LOOK
from wardgate.types import PHI, EntityType

DETECTOR = Deidentifier(vault=True)
SAFE, LIMITED = policies.get("safe_harbor"), policies.get("limited_data_set")
TODAY = dt.date(2024, 6, 1)
LOST = Catalog(policies.shipped(), site := parse_site({"thresholds": {"DATE": 1.0}}))
LOST = Catalog({name: policy.at(site) for name, policy in LOST.policies.items()}, site)
"""Policies under which the first look misses every date."""


def _done(monkeypatch, text, spans, policy=SAFE):
    """De-identify as if exactly these `(value, label, detail)` had been found, with no second look."""
    monkeypatch.setattr("wardgate.deid.deidentify.settled", lambda raw, result, policy: result)
    found = []
    for value, label, detail in spans:
        start = text.index(value, found[-1][1] if found else 0)
        found.append((start, start + len(value), label, 0.9, detail))
    edits = edits_of(text, found, policy, TODAY)
    return DETECTOR.finish(text, Found(found, edits, TODAY), policy, "tenant", "p-1")


def _said(monkeypatch, text, spans=(), policy=SAFE):
    result = _done(monkeypatch, text, spans, policy)
    return [result.text[start:end] for start, end, *_ in hits(text, result, policy)]


def _exact(raw, result):
    at = out = 0
    for row in result.alignment:
        assert raw[at : row.start] == result.text[out : row.out_start]
        assert result.text[row.out_start : row.out_end]
        at, out = row.end, row.out_end
    assert raw[at:] == result.text[out:]


IDENTIFIERS = [
    ("jane.doe+x@mail.example.com", EntityType.EMAIL),
    ("https://portal.example.org/a?b=1", EntityType.URL),
    ("www.example.org/me", EntityType.URL),
    ("617-555-0142", EntityType.PHONE),
    ("(617) 555-0142", EntityType.PHONE),
    ("617.555.0142", EntityType.PHONE),
    ("1-617-555-0142", EntityType.PHONE),
    ("123-45-6789", EntityType.SSN),
    ("03/14/2019", EntityType.DATE),
    ("3-4-2019", EntityType.DATE),
    ("31/12/2019", EntityType.DATE),
    ("2019-03-14", EntityType.DATE),
    ("March 3, 2019", EntityType.DATE),
    ("Sept. 3rd 2019", EntityType.DATE),
    ("3 March 2019", EntityType.DATE),
    ("192.168.10.7", EntityType.IP),
    ("4111 1111 1111 1111", EntityType.ACCOUNT),
    ("1EG4-TE5-MK73", EntityType.HEALTH_PLAN),
    ("12 Maple Ridge Road", EntityType.LOCATION),
    ("4501 N. Clark Street", EntityType.LOCATION),
]


@pytest.mark.parametrize(("value", "label"), IDENTIFIERS)
@pytest.mark.parametrize(
    "around", ["{}", "seen {}.", "({}), then", "x\n{}\ny", "\u00e9t\u00e9: {};"]
)
def test_what_can_hardly_be_something_else(value, label, around):
    text = around.format(value)
    found = [c for c in patterns(text) if c[2] is label]
    assert any(value in text[start:end] for start, end, *_ in found), patterns(text)


@pytest.mark.parametrize(
    ("text", "value", "label"),
    [
        ("MRN: 00482913", "00482913", EntityType.MRN),
        ("mrn# AB-482913 noted", "AB-482913", EntityType.MRN),
        ("Medical record number 4829137", "4829137", EntityType.MRN),
        ("DOB 3/4/61", "3/4/61", EntityType.DATE),
        ("date of birth: 03.04.1961", "03.04.1961", EntityType.DATE),
        ("SSN 123456789", "123456789", EntityType.SSN),
        ("NPI: 1234567893", "1234567893", EntityType.LICENSE),
        ("saw Dr. Zimmerman", "Zimmerman", EntityType.NAME),
        ("Mrs Okonkwo's son", "Okonkwo", EntityType.NAME),
    ],
)
def test_what_a_label_or_title_gives_away(text, value, label):
    assert [(text[a:b], c) for a, b, c, *_ in patterns(text)] == [(value, label)]


@pytest.mark.parametrize(
    "text",
    [
        "BP 120/80, HR 72, T 98.6, SpO2 97%, 5/5 strength, GCS 15, L4-5, T2-T3, C5/6.",
        "Sodium 135-145, K 3.5-5.0, ratio 1:1000, 10-20-30 mg, 1/2/3 times, 0.5-1.5 mL.",
        "firmware version 10.12.130.4, section 1.2.3.4, v10.12.130.4, 10.12.130.400",
        "ICD-10 E11.9, CPT 99213, LOINC 2345-7, RxNorm 860975, NDC 00093-7146-56, 000-12-3456",
        "Dr. visit at 3, Mr. and Mrs., Dr. [NAME], Ms. Foley catheter, Dr. XYZ, MS Word",
        "13/13/2019, 0/4/2019, 3/40/2019, 12345-6789, 4111 1111 1111 1112, 2019, in May 2019",
        "MRN: [MRN], DOB: 1961, SSN unknown, NPI [LICENSE], email @ noon, a@b, http:// none",
        "Parkinson's disease, 90+, 021**, [DATE], take 2 tabs, a 5 mile walk, 2 North Wing",
        "may 3, 2019mg; March3, 2019; 5 March 10 mg; Apr 3 2019x; A1B2C3D4",
    ],
)
def test_clinical_text_gives_no_hit(text):
    assert patterns(text) == []


# -- values that stand elsewhere ------------------------------------------------------------------

NAME, MRN = EntityType.NAME, EntityType.MRN


@pytest.mark.parametrize(
    ("text", "taken", "said"),
    [
        ("John Zimmerman came. zimmerman slept.", "John Zimmerman", ["zimmerman"]),
        ("John Zimmerman came. ZIMMERMAN'S son", "John Zimmerman", ["ZIMMERMAN"]),
        ("Anna Li-Kowalski came. Kowalski-Nowak too", "Anna Li-Kowalski", ["Kowalski"]),
        ("Skowjk came. then skowjk left", "Skowjk", ["skowjk"]),
        ("Minsterr spoke; Minsterr and Minsterr stay", "Minsterr", []),
        ("Zimmermann saw Zimmer", "Zimmermann", []),
        ("Will Rose came; the rose will grow", "Will Rose", []),
        ("Will Rose came; Rose left", "Will Rose", ["Rose"]),
        ("James Parkinson has no Parkinson disease", "James Parkinson", []),
        ("Ann Lee came. ann lee ok", "Ann Lee", []),
    ],
)
def test_a_name_that_was_taken_out_stands_nowhere_else(monkeypatch, text, taken, said):
    assert _said(monkeypatch, text, [(taken, NAME, None)]) == said


def test_a_number_that_was_taken_out_stands_nowhere_else(monkeypatch):
    text = "chart 00482913; again 00482913, lot 0048"
    assert _said(monkeypatch, text, [("00482913", MRN, None)]) == ["00482913"]
    assert _said(monkeypatch, "a 1234 b 1234", [("1234", MRN, None)]) == []


def test_a_policy_that_keeps_names_has_none_to_look_for(monkeypatch):
    document = {**LIMITED.document, "name": "open", "actions": {**LIMITED.actions, "NAME": "keep"}}
    text = "Zimmerman came. Zimmerman slept. Dr. Okonkwo, (617) 555-0142"
    kept = policies.parse(document)
    assert _said(monkeypatch, text, [("Zimmerman", NAME, None)], kept) == ["(617) 555-0142"]


@pytest.mark.parametrize(
    ("text", "taken", "said"),
    [
        ("JohnZimmerman came", "John", ["Zimmerman"]),
        ("John-Zimmerman came", "John", ["Zimmerman"]),
        ("ZimmermanJohn came", "John", ["Zimmerman"]),
        ("Zimmerman-John came", "John", ["Zimmerman"]),
        ("John's son", "John", []),
        ("patientJohn", "John", []),
        ("(John)was", "John", []),
        ("Guillain-John syndrome", "John", []),
    ],
)
def test_a_name_glued_to_one_that_was_taken_out(monkeypatch, text, taken, said):
    assert _said(monkeypatch, text, [(taken, NAME, None)]) == said


# -- what is left out -----------------------------------------------------------------------------

PIECES = [
    ("John Zimmerman", NAME, None),
    ("Maria Gutierrez", NAME, None),
    ("03/14/2019", EntityType.DATE, (2019, 3, 14, False)),
    ("March 3, 2019", EntityType.DATE, (2019, 3, 3, False)),
    ("617-555-0142", EntityType.PHONE, None),
    ("123-45-6789", EntityType.SSN, None),
    ("00482913", MRN, None),
    ("jane@mail.example.com", EntityType.EMAIL, None),
    ("www.example.org", EntityType.URL, None),
    ("192.168.10.7", EntityType.IP, None),
    ("12 Maple Road", EntityType.LOCATION, Place.STREET),
    ("Springfield", EntityType.LOCATION, Place.CITY),
    ("02143", EntityType.LOCATION, Place.ZIP),
    ("94", EntityType.AGE, None),
    ("4111 1111 1111 1111", EntityType.ACCOUNT, None),
]
FILLERS = [
    "seen with",
    "mrn:",
    "Dr.",
    "dob",
    "and then,",
    "(per",
    "call 1-",
    "on May",
    "email",
    "-",
]
parts = st.lists(
    st.tuples(st.sampled_from(FILLERS), st.sampled_from(PIECES)), min_size=1, max_size=12
)


def _text(chosen):
    return "".join(f"{filler} {piece[0]} " for filler, piece in chosen) + "is well"


@settings(max_examples=150, deadline=None)
@given(parts, st.sampled_from(sorted(policies.shipped())))
def test_nothing_that_a_policy_wrote_or_keeps_is_a_hit(chosen, name):
    with pytest.MonkeyPatch.context() as patch:
        said = _said(patch, _text(chosen), [p for _, p in chosen], policies.get(name))
    assert said == []


@settings(max_examples=150, deadline=None)
@given(parts, st.data())
def test_what_was_missed_anywhere_is_caught(chosen, data):
    missed = data.draw(st.integers(0, len(chosen) - 1))
    value, label, detail = chosen[missed][1]
    if detail in {Place.CITY, Place.ZIP} or label in {EntityType.AGE, NAME, MRN}:
        value, label = "617-555-0199", EntityType.PHONE
    chosen[missed] = ("seen with", (value, label, detail))
    known = [piece for at, (_, piece) in enumerate(chosen) if at != missed]
    raw = _text(chosen)
    at = raw.rindex("seen with " + value, 0, len(_text(chosen[: missed + 1]))) + len("seen with ")
    with pytest.MonkeyPatch.context() as patch:
        found, edits, start = [], [], 0
        for number, (_, piece) in enumerate(chosen):
            start = raw.index(piece[0], start)
            if number != missed:
                found.append((start, start + len(piece[0]), piece[1], 0.9, piece[2]))
            start += len(piece[0])
        edits = edits_of(raw, found, SAFE, TODAY)
        assert len(found) == len(known)
        tag = DETECTOR.finish(raw, Found(found, edits, TODAY), SAFE, "", None)
        refusing = replace(SAFE, second_look=SecondLook.REFUSE)
        with pytest.raises(SecondLookFailed):
            DETECTOR.finish(raw, Found(found, edits, TODAY), refusing, "", None)
        del patch
    _exact(raw, tag)
    assert value not in tag.text
    assert any(row.start <= at and at + len(value) <= row.end for row in tag.alignment)
    assert any(s.start <= at and at + len(value) <= s.end for s in tag.spans)
    assert hits(raw, tag, SAFE) == []


def test_a_hit_that_runs_into_what_was_written_takes_it_along(monkeypatch):
    text = "seen March 3, 2019 and left"
    result = _done(monkeypatch, text, [("2019", EntityType.DATE, (2019, 0, 0, False))])
    assert result.text == text  # a year alone stays
    tagged = secondlook.settled(text, result, SAFE)
    assert tagged.text == "seen [DATE] and left"
    _exact(text, tagged)
    assert [(s.start, s.end) for s in tagged.spans] == [(5, 18)]


def test_what_the_policy_keeps_stays_though_the_first_look_missed_it(monkeypatch):
    text = "seen 03/14/2019, call 617-555-0142"
    assert _said(monkeypatch, text, (), LIMITED) == ["617-555-0142"]
    assert _said(monkeypatch, text) == ["03/14/2019", "617-555-0142"]


def test_what_the_site_allows_is_no_hit(monkeypatch):
    site = parse_site({"allow": ["Zimmerman", "www.example.org", "G\u00fcnther"]})
    text = "\u200bDr. Zimmerman, Dr. Okonkwo, Dr. G\u00fcnther, www.example.org, www.example.com"
    assert _said(monkeypatch, text, (), SAFE.at(site)) == ["Okonkwo", "www.example.com"]


# -- what comes of a hit --------------------------------------------------------------------------


def _count(label, action):
    return SECOND_LOOK.labels(label, action)._value.get()


def test_a_hit_becomes_its_tag_and_is_counted():
    before = _count("DATE", "redact")
    text = "Seen 03/14/2019 or March 3, 2019."
    result = Deidentifier(catalog=LOST).deidentify(text)
    assert result.text == "Seen [DATE] or [DATE]."
    assert result.counts == {"DATE": 2}
    _exact(text, result)
    assert _count("DATE", "redact") == before + 2


def test_a_policy_may_refuse():
    document = {**SAFE.document, "name": "strict", "second_look": "refuse"}
    strict = policies.parse(document)
    assert strict.second_look is SecondLook.REFUSE
    assert strict.hash != policies.parse({**SAFE.document, "name": "strict"}).hash
    detector = Deidentifier("strict", catalog=Catalog({"strict": strict.at(site)}, site))
    assert detector.deidentify("the patient is well").text == "the patient is well"
    before = _count("DATE", "refuse")
    with pytest.raises(DetectorFailed) as refused:
        detector.deidentify("Seen 03/14/2019.")
    assert refused.value.reason == refused.value.slug == "second-look"
    assert "03/14" not in str(refused.value)
    assert _count("DATE", "refuse") == before + 1


def test_what_tags_do_not_settle_is_refused(monkeypatch):
    monkeypatch.setattr(secondlook, "tagged", lambda raw, result, found: result)
    with pytest.raises(SecondLookFailed):
        Deidentifier(catalog=LOST).deidentify("Seen 03/14/2019.")


@pytest.mark.parametrize("given", ["no", "", None, True, ["refuse"]])
def test_no_other_word_is_taken(given):
    with pytest.raises(policies.Wrong) as wrong:
        policies.parse({**SAFE.document, "second_look": given})
    assert wrong.value.path == ("second_look",)


async def test_long_texts_are_counted_in_the_gateways_process():
    text = "the patient is well. " * 60 + "Seen 03/14/2019."
    before = _count("DATE", "redact")
    detector = Deidentifier(catalog=LOST)
    async with LongTextPool(detector, processes=1, inline_chars=100) as pool:
        result = await pool.deidentify(PHI(text))
    assert result.text.endswith("Seen [DATE].")
    assert _count("DATE", "redact") == before + 1
