"""The layers joined: what stands, what is ruled out, and why."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid.resolve import Layer, beyond, explain, standing, trimmed
from wardgate.deid.spans import Place, resolve
from wardgate.types import EntityType as E

TEXT = "Seen by Dr. Ana Ruiz in Boston, MA 02115 on 3/4/2019."
NAME = (12, 20, E.NAME, 0.85, None)
CITY = (24, 30, E.LOCATION, 0.8, Place.CITY)
ZIP = (35, 40, E.LOCATION, 0.9, Place.ZIP)


def join(text, rules, tagged):
    return resolve([*rules, *beyond(text, rules, tagged)])


def test_what_rules_with_detail_cover_stays_as_it_is():
    tagged = (24, 40, E.LOCATION, 0.99, None)
    assert join(TEXT, [CITY, ZIP], [tagged]) == [CITY, (32, 34, E.LOCATION, 0.99, None), ZIP]
    assert join(TEXT, [NAME], [(10, 20, E.MRN, 0.99, None)]) == [NAME]


def test_a_candidate_around_a_rule_of_its_own_label_is_whole():
    whole = (8, 20, E.NAME, 0.95, None)
    assert join(TEXT, [NAME], [whole]) == [whole]


def test_what_the_tagger_found_beyond_is_added():
    assert join(TEXT, [CITY], [NAME]) == [NAME, CITY]
    assert join(TEXT, [], [NAME]) == [NAME]
    assert join(TEXT, [CITY], []) == [CITY]


def test_no_candidate_of_signs_alone_is_left_over():
    assert trimmed("[NAME], [NAME]", [(0, 14, E.NAME, 0.9, None)], [(0, 6), (8, 14)]) == []
    assert trimmed(" Ana, x", [(1, 7, E.NAME, 0.9, None)], [(6, 7)]) == [(1, 4, E.NAME, 0.9, None)]


SPAN = st.tuples(st.integers(0, 52), st.integers(1, 12)).map(
    lambda s: (s[0], min(s[0] + s[1], len(TEXT)), E.NAME, 0.5, None)
)


@given(st.lists(SPAN, max_size=6), st.lists(SPAN, max_size=6))
def test_every_letter_that_any_layer_covers_is_covered(rules, tagged):
    joined = join(TEXT, rules, tagged)
    covered = {i for start, end, *_ in joined for i in range(start, end)}
    wanted = {i for start, end, *_ in [*rules, *tagged] for i in range(start, end)}
    assert {i for i in wanted if TEXT[i].isalnum()} <= covered
    assert all(a[1] <= b[0] for a, b in pairwise(joined))


def test_a_weak_rule_that_the_tagger_doubts_is_dropped():
    vetoes = {E.NAME: (0.85, 0.1)}
    sure = (12, 20, E.NAME, 0.9, None)
    for odds, kept in ((0.09, [sure, CITY]), (0.1, [NAME, sure, CITY])):
        stands, dropped = standing([NAME, sure, CITY], lambda *_, odds=odds: odds, vetoes)
        assert stands == kept
        assert len(dropped) == 3 - len(kept)


def test_an_explanation_says_who_won_what_it_beat_and_what_was_ruled_out():
    weak = (0, 4, E.NAME, 0.7, None)
    layers = {Layer.RULES: [weak, CITY], Layer.TAGGER: [(24, 34, E.LOCATION, 0.95, None)]}
    first, city, state = explain([CITY, (32, 34, E.LOCATION, 0.95, None)], layers, lambda *_: 0.25)
    assert (first.label, first.won, first.beat[0].layer) == (None, None, Layer.RULES)
    assert city.won is not None
    assert (city.won.layer, city.won.kind, city.won.score) == (Layer.RULES, Place.CITY, 0.8)
    assert [claim.layer for claim in city.beat] == [Layer.TAGGER]
    assert state.won is not None
    assert (state.won.layer, state.beat, state.odds) == (Layer.TAGGER, (), 0.25)
