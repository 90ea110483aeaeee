"""The lines of `--explain`: every span, who found it, what it beat, and no word of the text."""

from __future__ import annotations

from wardgate.cli.explain import lines
from wardgate.deid.resolve import Claim, Explanation, Layer
from wardgate.deid.spans import Place
from wardgate.types import EntityType


def test_a_span_says_who_won_and_what_was_beaten() -> None:
    won = Claim(Layer.RULES, 4, 11, EntityType.LOCATION, 0.9, Place.CITY)
    beat = Claim(Layer.TAGGER, 4, 9, EntityType.NAME, 0.75)
    told = [
        Explanation(4, 11, EntityType.LOCATION, won, (beat,), 0.99),
        Explanation(20, 22, None, None, (beat,), 0.031),
        Explanation(30, 31, EntityType.MRN, None, (), 0.5),
    ]
    first, second, third = lines(told)
    assert " ".join(first.split()) == (
        "4-11 LOCATION rules LOCATION CITY 0.90 at 4-11, beat tagger NAME 0.75 at 4-9"
    )
    assert "ruled out: tagger NAME 0.75 at 4-9 (tagger's odds 0.03)" in second
    assert "another reading or the site" in third


def test_the_command_explains_what_it_finds(wardgate) -> None:
    note = "MRN: 00482913. Seen in Boston. J\u200bane Roe, ph. (617) 555-0142."
    done = wardgate("deid", "--explain", stdin=note.encode())
    assert done.code == 0, done.err
    assert {"Jane", "Roe", "00482913", "Boston"}.isdisjoint(done.out.split())
    found = [line.split() for line in done.out.splitlines()]
    labels = {note[slice(*map(int, line[0].split("-")))]: line[1] for line in found}
    assert labels["00482913"] == "MRN"
    assert any(place.startswith("(617) 555") or "555-0142" in place for place in labels)
    assert wardgate("deid", "--explain", "--jsonl", "a", "b").code == 2
