"""Rules and tagger over one text: what is claimed, what an earlier pass wrote stays."""

from __future__ import annotations

import datetime as dt

import pytest

from wardgate.deid import gazetteer, layers
from wardgate.deid.dates import MAX_YEAR
from wardgate.deid.resolve import Layer
from wardgate.deid.site import Site
from wardgate.deid.spans import resolve
from wardgate.deid.tagger import Tagger
from wardgate.errors import DetectorFailed
from wardgate.types import EntityType as E

LAYERS = layers.Layers(gazetteer.load(), Tagger.load())
TODAY = dt.date(2026, 11, 22)


def read(text: str, site: Site | None = None):
    return resolve(LAYERS.read(text, TODAY, MAX_YEAR, site or Site()))


def test_both_layers_are_heard():
    text = "Patient: Wambui Odhiambo-Larsen, MRN: 4410982, seen 3/4/2019."
    found = {text[c[0] : c[1]]: c for c in read(text)}
    assert found["Wambui Odhiambo-Larsen"][2] is E.NAME
    assert found["4410982"][2] is E.MRN
    assert found["3/4/2019"][4] == (2019, 3, 4, False)


@pytest.mark.parametrize(
    "written",
    ["[NAME] was seen by Dr. [NAME].", "ZIP 021** and [DATE], [LOCATION]", "A 90+-year-old."],
)
def test_what_an_earlier_pass_wrote_is_left(written):
    assert not any(
        "[" in written[c[0] : c[1]] or "*" in written[c[0] : c[1]] for c in read(written)
    )
    assert not any("90" in written[c[0] : c[1]] for c in read(written))


def test_a_year_alone_is_not_claimed():
    candidates = [(0, 4, E.DATE, 0.9, None), (5, 13, E.DATE, 0.9, None), (14, 18, E.MRN, 0.9, None)]
    assert layers._claimed("2019 3/4/2019 2019", [], candidates) == candidates[1:2]


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        ("2019-20", False), ("1977/79", False), ("2015-2019", False),
        ("1925-2019", True), ("1931-33", True), ("2012-03", True), ("2020-12", True), ("3/2019", True),
    ],
)  # fmt: skip
def test_two_years_are_not_claimed_and_a_year_with_its_month_is(text, claimed):
    assert bool(layers._claimed(text, [], [(0, len(text), E.DATE, 0.9, None)])) is claimed


@pytest.mark.parametrize(
    ("text", "left"),
    [("s/n UU0917", "UU0917"), ("CSN: 300418876", "300418876"), ("serial/lot 2FA09", "serial/lot 2FA09"),
     ("plate lic. NH 441", "NH 441"), ("card visa", "card visa")],
)  # fmt: skip
def test_what_announces_a_number_is_no_part_of_it(text, left):
    ((start, end, *_),) = layers._claimed(text, [], [(0, len(text), E.OTHER_ID, 0.9, None)])
    assert text[start:end] == left


def test_a_state_alone_is_not_claimed():
    text = "Boston, MA, Ohio"
    city = (0, 6, E.LOCATION, 0.9, None)
    states = [(8, 10, E.LOCATION, 0.9, None), (12, 16, E.LOCATION, 0.9, None)]
    assert layers._claimed(text, [], [city, *states]) == [city]


def test_the_year_of_a_date_that_rules_saw_in_part_stays():
    text = "seen Mar 3 - 2019"
    date = (5, 17, E.DATE, 0.9, None)
    assert layers._claimed(text, [(5, 10, E.DATE, 0.8, (0, 3, 3, False))], [date]) == []


def test_a_site_may_allow_what_any_layer_found():
    text = "Seen by Dr. Okonkwo."
    assert [c for c in read(text) if text[c[0] : c[1]] == "Okonkwo"]
    allowed = Site(allow={"okonkwo": frozenset({("okonkwo",)})})
    assert not [c for c in read(text, allowed) if text[c[0] : c[1]] == "Okonkwo"]


def test_a_fault_of_the_tagger_refuses(monkeypatch):
    def fail(*_):
        raise DetectorFailed(reason="tagger")

    monkeypatch.setattr(Tagger, "read", fail)
    with pytest.raises(DetectorFailed):
        read("Jane Canary")


def test_an_explanation_names_the_layers():
    text = "Patient: Wambui Odhiambo-Larsen, MRN: 4410982."
    explained = LAYERS.explained(text, read(text), TODAY)
    by_text = {text[e.start : e.end]: e for e in explained}
    mrn = by_text["4410982"]
    assert mrn.won is not None
    assert {mrn.won.layer, *(claim.layer for claim in mrn.beat)} == {Layer.RULES, Layer.TAGGER}
    assert all(0.0 <= e.odds <= 1.0 for e in explained)
