from __future__ import annotations

import pytest

from rules_alone import rules_alone

DETECTOR = rules_alone()


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Boston, MA 02115", "[LOCATION], MA 021**"),
        ("Boston, MA", "[LOCATION], MA"),
        ("Somerville, MA 02143", "[LOCATION], MA 021**"),
        ("MA 02143", "MA 021**"),
        ("West Virginia 26501-1234", "West Virginia 265**"),
        ("lives in Worcester, Massachusetts", "lives in [LOCATION], Massachusetts"),
        ("from New Bedford today", "from [LOCATION] today"),
        ("12 North Oak Street, Apt 4", "[LOCATION]"),
        ("at 4500 Medical Center Drive", "at [LOCATION]"),
        ("P.O. Box 1234", "[LOCATION]"),
        ("at St. Mary's Hospital", "at [LOCATION]"),
        ("Massachusetts General Hospital", "[LOCATION]"),
        ("the Mayo Clinic", "the [LOCATION]"),
        ("in Middlesex County", "in [LOCATION]"),
        ("ZIP 02115", "ZIP 021**"),
        ("ZIP code: 03601", "ZIP code: 000**"),
        ("lives in Penrith", "lives in [LOCATION]"),
    ],
)
def test_places(text, clean):
    assert DETECTOR.deidentify(text).text == clean
    assert DETECTOR.deidentify(clean).text == clean


@pytest.mark.parametrize(
    "text",
    [
        "moved from Texas to New York",
        "traveled to Germany",
        "the pain clinic and the wound care center",
        "Pediatric Rheumatology Clinic",
        "Emergency Department",
        "cardiac, pulmonary, GI, GU, neuro",
        "5 minute drive, 10 mile road",
        "took 2 small steps in the court",
        "Primary Care Clinic",
    ],
)
def test_no_place(text):
    assert DETECTOR.deidentify(text).text == text
