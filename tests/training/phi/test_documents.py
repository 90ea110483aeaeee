"""Edits keep spans on what they covered; names, dates and numbers come out as they should."""

from __future__ import annotations

import re
from datetime import date

import pytest
from training.phi.generate import dates, identifiers, noise, obfuscate
from training.phi.generate.document import IGNORE, SOFT, Document, Draft, Span, rewrite
from training.phi.generate.people import Person
from training.phi.generate.rng import Rng

TEXT = "Dr. Jane Roe saw Kim Bo on 3/4."
SPANS = (Span(4, 12, "NAME"), Span(17, 23, "NAME"), Span(27, 30, "DATE"))


def covered(text: str, spans: tuple[Span, ...]) -> list[str]:
    return [text[span.start : span.end] for span in spans]


def test_a_draft_labels_its_pieces():
    draft = Draft()
    draft.text("by ")
    draft.value((("Dr.", SOFT), (" ", None), ("Roe", "NAME"), (" x9", IGNORE)))
    document = draft.document("1", "visit")
    assert document.text == "by Dr. Roe x9"
    assert [(s.label, s.ignore) for s in document.spans] == [
        ("SOFT", True),
        ("NAME", False),
        ("OTHER", True),
    ]
    assert covered(document.text, document.spans) == ["Dr.", "Roe", " x9"]


def test_rewrite_moves_spans_with_their_text():
    text, spans = rewrite(
        TEXT, SPANS, [(0, 3, "Doctor"), (8, 9, "\n"), (17, 23, "base64=="), (26, 27, "")]
    )
    assert text == "Doctor Jane\nRoe saw base64== on3/4."
    assert covered(text, spans) == ["Jane\nRoe", "base64==", "3/4"]


@pytest.mark.parametrize(
    "change", [noise.wrapped, noise.split_names, noise.scanned, noise.glued, noise.roughened]
)
def test_noise_keeps_every_span_on_its_identifier(change):
    document = Document(
        "1",
        TEXT * 4,
        tuple(
            Span(s.start + n * len(TEXT), s.end + n * len(TEXT), s.label)
            for n in range(4)
            for s in SPANS
        ),
        "visit",
    )
    for seed in range(60):
        after = change(document, Rng(seed))
        assert len(after.spans) == len(document.spans)
        for before, now in zip(document.spans, after.spans, strict=True):
            old, new = document.text[before.start : before.end], after.text[now.start : now.end]
            assert new.strip()
            if change not in {noise.scanned, noise.roughened}:
                assert re.sub(r"[\s>]", "", old).lower() == re.sub(r"[\s>]", "", new).lower()


def test_typing_slips_leave_identifiers_alone():
    document = Document("1", TEXT, SPANS, "visit")
    for seed in range(60):
        after = noise.slips(document, Rng(seed), 0.3)
        assert covered(after.text, after.spans) == covered(TEXT, SPANS)


def test_obfuscation_changes_identifiers_and_nothing_else():
    changed = 0
    for seed in range(100):
        after = obfuscate.obfuscated(Document("1", TEXT, SPANS, "visit"), Rng(seed), 1.0)
        assert after.text.startswith("Dr. ")
        assert after.text.endswith(".")
        assert " saw " in after.text
        changed += covered(after.text, after.spans) != covered(TEXT, SPANS)
    assert changed > 90


def test_every_date_format_shows_the_day():
    for form in dates.FULL:
        text = dates.write(date(2019, 3, 14), form)
        assert re.search("14|fourteenth", text)
        assert re.search("19", text)
    assert dates.write(date(2019, 3, 1), "the {o} of {Month}") == "the 1st of March"
    assert {dates.spoken(Rng(n), date(1981, 3, 3)).split()[-1].lower() for n in range(20)} <= {
        "one",
        "1981",
    }


def test_a_dea_number_has_its_check_digit():
    for seed in range(30):
        number = identifiers.dea(Rng(seed), Person("f", "Ann", "", "Roe"))
        digits = [int(c) for c in number[2:]]
        assert number[1] == "R"
        assert (
            digits[0] + digits[2] + digits[4] + 2 * (digits[1] + digits[3] + digits[5])
        ) % 10 == digits[6]
