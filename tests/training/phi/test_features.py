"""What is changed in notes before they are learnt from."""

from __future__ import annotations

import random

from training.phi.features import estranged
from training.phi.notes import Note


def test_strange_words_take_no_place_of_phi():
    text = "Ann Lee took 400 mg of ibuprofen at 10, then SLEPT; seen 3/4/2019 by Dr. Lee."
    spans = tuple(
        (text.index(inside), text.index(inside) + len(inside), 1)
        for inside in ("Ann Lee", "3/4/2019")
    )
    note = Note("1", text, spans, "x")
    changed = set()
    for seed in range(200):
        other = estranged(note, ["zyxoma", "qwert"], random.Random(seed))
        assert [other.text[a:b] for a, b, _ in other.spans] == ["Ann Lee", "3/4/2019"]
        changed.add(other.text)
    assert len(changed) > 5
    assert any("zyxoma" in each or "qwert" in each for each in changed)
