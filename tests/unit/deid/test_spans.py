from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid.spans import outside, replace, resolve, to_input, to_output
from wardgate.types import EntityType

LABELS = st.sampled_from(list(EntityType))
CANDIDATES = st.lists(
    st.builds(
        lambda start, size, label, score: (start, start + size, label, score, None),
        st.integers(0, 60),
        st.integers(0, 15),
        LABELS,
        st.sampled_from([0.5, 0.8, 1.0]),
    ),
    max_size=20,
)


def _covered(candidates):
    return {i for c in candidates for i in range(c[0], c[1])}


@given(CANDIDATES)
def test_resolved_spans_are_sorted_disjoint_and_cover_the_same(candidates):
    kept = resolve(candidates)
    assert all(a[1] <= b[0] for a, b in pairwise(kept))
    assert all(c[0] < c[1] for c in kept)
    assert _covered(kept) == _covered(candidates)


def test_longer_wins_and_partial_overlap_joins():
    name, date = EntityType.NAME, EntityType.DATE
    assert resolve([(0, 4, name, 0.9, None), (0, 9, date, 0.5, (2019, 1, 1, False))]) == [
        (0, 9, date, 0.5, (2019, 1, 1, False))
    ]
    assert resolve([(0, 5, name, 0.9, None), (3, 9, date, 0.5, (2019, 1, 1, False))]) == [
        (0, 9, name, 0.9, None)
    ]
    assert resolve([(0, 5, name, 0.5, None), (0, 5, date, 0.9, None)])[0][2] == date


TEXT_AND_EDITS = st.text(max_size=60).flatmap(
    lambda text: st.tuples(
        st.just(text),
        st.lists(st.integers(0, len(text)), max_size=12, unique=True).map(sorted),
        st.lists(st.text(max_size=8), min_size=6, max_size=6),
    )
)


@given(TEXT_AND_EDITS)
def test_alignment_rebuilds_both_texts(case):
    text, cuts, news = case
    edits = [
        (a, b, new)
        for (a, b), new in zip(zip(cuts[::2], cuts[1::2], strict=False), news, strict=False)
    ]
    out, alignment = replace(text, edits)
    assert len(alignment) == len(edits)
    at = out_at = 0
    for (start, end, new), row in zip(edits, alignment, strict=True):
        assert (row.start, row.end) == (start, end)
        assert out[row.out_start : row.out_end] == new
        assert text[at:start] == out[out_at : row.out_start]
        at, out_at = end, row.out_end
    assert text[at:] == out[out_at:]


@given(TEXT_AND_EDITS, st.data())
def test_offsets_outside_replacements_map_both_ways(case, data):
    text, cuts, news = case
    edits = [
        (a, b, new + "x")
        for (a, b), new in zip(zip(cuts[::2], cuts[1::2], strict=False), news, strict=False)
    ]
    out, alignment = replace(text, edits)
    inside = {i for a, b, _ in edits for i in range(a, b)}
    free = [i for i in range(len(text)) if i not in inside]
    if not free:
        return
    i = data.draw(st.sampled_from(free))
    start, end = to_output(i, i + 1, alignment)
    assert out[start] == text[i]
    assert end == start + 1 or any(
        start < row.out_end and row.out_start <= end for row in alignment
    )
    assert to_input(start, start + 1, alignment)[0] == i


def test_an_end_inside_a_replacement_takes_it_whole():
    out, alignment = replace("see John Doe now", [(4, 12, "[NAME]")])
    assert out == "see [NAME] now"
    assert to_input(6, 14, alignment) == (4, 16)
    assert to_output(0, 6, alignment) == (0, 10)
    assert to_input(0, 3, alignment) == (0, 3)


@given(CANDIDATES, st.lists(st.integers(0, 80), max_size=10, unique=True).map(sorted))
def test_outside_cuts_protected_ranges(candidates, cuts):
    protected = list(zip(cuts[::2], cuts[1::2], strict=False))
    kept = outside(candidates, protected)
    guarded = {i for a, b in protected for i in range(a, b)}
    assert _covered(kept) == _covered(candidates) - guarded
