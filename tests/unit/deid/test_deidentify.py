"""The whole detector: exact offsets, second pass, limits, faults."""

from __future__ import annotations

import datetime as dt
import importlib.util
import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules_alone import rules_alone
from wardgate import Deidentifier
from wardgate.deid import deidentify as module
from wardgate.deid import layers
from wardgate.deid import policy as policies
from wardgate.deid.derive import PSEUDONYM
from wardgate.deid.fold import readings
from wardgate.deid.policyfile import Catalog
from wardgate.deid.site import Site
from wardgate.deid.transform import YEAR
from wardgate.errors import DetectorFailed, PolicyUnknown, SettingsInvalid
from wardgate.types import PHI

DETECTOR = Deidentifier(vault=True)
RULES = rules_alone(vault=True)
"""What rules make of years and of kept places does not hang on a model."""
MAX_SECONDS = 0.500
"""For 64 kB of anything, rules and tagger, on one core."""
MAX_RULES_SECONDS = 0.100
"""The same, rules alone."""
SIZE = 65_536

NOTE = """Discharge Summary \u2014 Patient: Thomas Wilson, MRN: MRN-1015952, DOB: 05/21/1930.\r
Dr. Guti\u00e9rrez saw Mrs. Wilson on 3/14/2019 at St. Mary's Hospital, Boston, MA 02115.\r
93-year-old born in 1931. BP 120/80, 5/5 strength. SSN 123-45-6789. Fax: 617-555-0199.\r
jane.doe@example.com, IP 10.1.2.3, https://x.example.org/a \U0001f469\u200d\u2695\ufe0f \u05d3\u05d5\u05d3
"""

PHI_PIECES = [
    "Dr. Smith", "John Doe", "SMITH, JOHN", "3/14/2019", "on 3/7", "March 3, 2019", "DOB: 07/29/1936", "born in 1931",
    "93-year-old", "in her 90s", "MRN: 1234567", "SSN 123-45-6789", "617-555-0123", "Boston, MA 02115", "ZIP 03601",
    "a@b.co", "https://a.b/c", "10.1.2.3", "Member ID: X12345678", "12 Oak Street", "Mercy Hospital", "NPI 1234567893",
    "last 4 of SSN 1234", "Karen O'Neil, RN", "12/2019", "2001:db8::1", "acct 4411", "Jose\u0301", "\u200bMartha",
]  # fmt: skip
HIDDEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u202e\u2066"
JOINTS = [
    " ",
    " ",
    " ",
    "-",
    "/",
    ", ",
    "\n",
    "\r\n",
    ": ",
    " and ",
    ". ",
    " (",
    ") ",
    "\u00a0",
    " the ",
    " \U0001f600 ",
    " \u05d0 ",
    "\u2013",
    "\u2212",
    "\uff0f",
    "\u2044",
    "_",
    "#",
    "\u00b2",
    "\u0301",
    *HIDDEN,
]
"""What detectors read as a hyphen, a slash or a digit is among them."""
WORDS = [
    "pain", "BP 120/80", "90+", "[NAME]", "[DATE]", "021**", "000**", "in 2019", "2019", "1931", "Will", "Oak", "St.",
    "Dr.", "Street", "Ave", "Oak Street", "Court", "Way", "N Main", "n", "Mar", "May", "in March", "14 March", "the", "of",
    "617 555", "617", "51 516", "12", "7", "+1", "SSN", "last 4 of SSN", "phone", "MRN", "ID:", "A", "born", "born in",
    "since", "DOB:", "@", "#", "Apt 4", "Boston", "MA", "mg", "year-old", "y/o", "Jr", "Hospital", ".jpg", "x",
]  # fmt: skip
"""What stands beside PHI and may make something else of what is put in its place."""
PIECES = st.lists(
    st.one_of(
        st.sampled_from(PHI_PIECES),
        st.sampled_from(PHI_PIECES[3:9]),
        st.sampled_from(WORDS),
        st.text(max_size=6),
    ),
    min_size=1,
    max_size=12,
)


def _adversarial():
    path = Path(__file__).parents[3] / "benchmarks" / "deid" / "adversarial.py"
    spec = importlib.util.spec_from_file_location("adversarial", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


ADVERSARIAL = _adversarial()


def _texts():
    return st.builds(
        lambda pieces, joints: "".join(p + j for p, j in zip(pieces, joints, strict=False)),
        PIECES,
        st.lists(st.sampled_from(JOINTS), min_size=12, max_size=12),
    )


def _check(text, result):
    """Spans and alignment are exact: outside of them both texts are equal."""
    at = out_at = 0
    last = 0
    for span in result.spans:
        assert last <= span.start < span.end <= len(text)
        last = span.end
    for row in result.alignment:
        assert text[at : row.start] == result.text[out_at : row.out_start]
        at, out_at = row.end, row.out_end
    assert text[at:] == result.text[out_at:]


def test_a_note():
    result = DETECTOR.deidentify(NOTE, reference_date=dt.date(2026, 7, 28))
    _check(NOTE, result)
    assert result.text == (
        "Discharge Summary \u2014 Patient: [NAME], MRN: [MRN], DOB: [DATE].\r\n"
        "Dr. [NAME] saw Mrs. [NAME] on 2019 at [LOCATION], [LOCATION], MA 021**.\r\n"
        "90+-year-old born in [DATE]. BP 120/80, 5/5 strength. SSN [SSN]. Fax: [FAX].\r\n"
        "[EMAIL], IP [IP], [URL]\n"  # the word in Hebrew is a name
    )
    assert result.policy == "safe_harbor"
    assert len(result.policy_hash) == 64
    assert result.counts["NAME"] == 3


def test_phi_and_str_give_the_same():
    assert DETECTOR.deidentify(PHI(NOTE)) == DETECTOR.deidentify(NOTE)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_exact_for_any_text(text):
    _check(text, DETECTOR.deidentify(text))


@settings(max_examples=400, deadline=None)
@given(
    _texts(),
    st.sampled_from(sorted(name for name, p in policies.shipped().items() if not p.derives)),
)
def test_exact_for_phi_in_any_text_and_what_was_put_in_stays_in_a_second_pass(text, policy):
    first = DETECTOR.deidentify(text, policy=policy)
    _check(text, first)
    again = DETECTOR.deidentify(first.text, policy=policy)
    _check(first.text, again)
    changed = [(row.start, row.end) for row in again.alignment]
    for row in first.alignment:
        assert not any(a < row.out_end and row.out_start < b for a, b in changed)


@settings(max_examples=300, deadline=None)
@given(_texts(), st.sampled_from([None, "p-1"]))
def test_exact_where_values_are_derived_and_none_of_them_is_the_value(text, patient):
    result = DETECTOR.deidentify(text, policy="expert_determination", patient=patient)
    _check(text, result)
    for row in result.alignment:
        new = result.text[row.out_start : row.out_end]
        assert new
        assert new.casefold() != text[row.start : row.end].casefold() or new in {"[NAME]", "90+"}
    _check(result.text, DETECTOR.deidentify(result.text, policy="expert_determination"))
    # a pseudonym of an earlier pass is derived from the person, so Safe Harbor takes it out
    assert PSEUDONYM.search(DETECTOR.deidentify(result.text).text) is None


def test_a_policy_in_force_before_the_last_change_is_known_by_its_hash():
    detector = Deidentifier()
    before = detector.catalog
    changed = Catalog({n: p.at(Site(digest="1")) for n, p in before.policies.items()})
    old = detector.chosen(None).hash
    detector.take(changed)
    assert detector.chosen(None).hash != old
    assert detector.deidentify(NOTE, policy_hash=old).policy_hash == old
    detector.take(Catalog({n: p.at(Site(digest="2")) for n, p in before.policies.items()}))
    with pytest.raises(PolicyUnknown):
        detector.deidentify(NOTE, policy_hash=old)


def test_a_catalog_that_cannot_be_is_not_taken():
    detector = Deidentifier("limited_data_set")
    safe = policies.get("safe_harbor")
    with pytest.raises(PolicyUnknown):
        detector.take(Catalog({"safe_harbor": safe}))
    document = {**safe.document, "name": "codes"}
    document["actions"] = {**document["actions"], "NAME": "vault"}
    codes = Catalog({**policies.shipped(), "codes": policies.parse(document)})
    detector.take(codes)
    with pytest.raises(SettingsInvalid, match="vault"):
        detector.deidentify(NOTE, policy="codes")
    with_vault = Deidentifier(catalog=codes, vault=True)
    assert "[NAME]" in with_vault.deidentify(NOTE, policy="codes").text
    with pytest.raises(SettingsInvalid, match="vault"):
        Deidentifier("codes", catalog=codes)


def _covered(text):
    # by rules: what a learnt layer makes of other text is no matter of form
    spans = RULES.deidentify(text).spans
    return {i for s in spans for i in range(s.start, s.end) if text[i].isalnum()}


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(PHI_PIECES),
    st.sampled_from(PHI_PIECES),
    st.text(HIDDEN, min_size=1, max_size=3),
)
def test_a_hidden_joint_hides_nothing_that_a_space_shows(left, right, joint):
    more = len(joint) - 1
    spaced = {i if i < len(left) else i + more for i in _covered(f"{left} {right}")}
    assert spaced <= _covered(f"{left}{joint}{right}")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PHI_PIECES), st.data())
def test_a_hidden_character_inside_hides_nothing(piece, data):
    at = data.draw(st.integers(1, len(piece) - 1))
    hidden = data.draw(st.sampled_from(HIDDEN))
    expected = {i + (i >= at) for i in _covered(piece)}
    assert expected <= _covered(piece[:at] + hidden + piece[at:])


HIDEABLE = ["Dr. Smith", "Martha", "John Doe", "3/14/2019", "MRN: 1234567", "617-555-0123"]


@pytest.mark.parametrize("mark", ["\u200b", "\u00ad", "\u2060", "\u0301"])
@pytest.mark.parametrize("piece", HIDEABLE)
def test_marks_inside_and_beside_hide_nothing_in_any_position(piece, mark):
    for at in range(1, len(piece)):
        for left, right in [
            (" ", " "),
            (f" {mark}", " "),
            (" ", f"{mark} "),
            (f"{mark} {mark}",) * 2,
        ]:
            text = f"saw{left}{piece[:at]}{mark}{piece[at:]}{right}today"
            shown = {3 + len(left) + i + (i >= at) for i in _covered(piece)}
            assert shown <= _covered(text), text.encode("unicode_escape")


@pytest.mark.parametrize("policy", policies.shipped())
@pytest.mark.parametrize("number", [9, 2_000, 5_999])
def test_in_a_text_full_of_marks_nothing_hides_anywhere(number, policy):
    parts = ["de\u200bnies\u200bPain"] * 6_000
    parts[number] = "Dr. Sm\u200bith\u200b617-\u200b555-0123"
    text = " ".join(parts)
    result = DETECTOR.deidentify(text, policy=policy)
    _check(text, result)
    assert "Sm" not in result.text
    assert "0123" not in result.text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("3/14/2019 Will Dr. Smith", "[DATE] Will Dr. [NAME]"),
        ("seen 3/14/2019 will call Dr. Smith", "seen 2019 will call Dr. [NAME]"),
        ("3/14/2019 Oak Street", "[DATE] Oak Street"),
        ("617 555 3/14/2019", "617 555 [DATE]"),
        ("Mar, 3/14/2019", "Mar, [DATE]"),
        ("on 3/7March 3, 2019", "on [DATE][DATE]"),
        ("3/14/2019-3/20/2019", "[DATE]-[DATE]"),
        ("3/14/19-3/20/19", "[DATE]-[DATE]"),
        ("3/14/2019\u20133/20/2019", "[DATE]\u2013[DATE]"),
        ("Mar 2019\uff0fS", "[DATE]\uff0fS"),
        ("3/14/2019-\u200bx", "[DATE]-\u200bx"),
        ("3/14/2019 \u2013 3/20/2019", "2019 \u2013 2019"),
        ("room 3/14/2019abc", "room [DATE]abc"),
        ("Seen 3/14/2019.", "Seen 2019."),
        ("Seen 3/14/2019 by Dr. Smith", "Seen 2019 by Dr. [NAME]"),
    ],
)
def test_a_year_stays_only_where_it_is_read_as_a_year_again(text, clean):
    assert RULES.deidentify(text).text == clean
    assert RULES.deidentify(clean).text == clean


@given(
    st.sampled_from(["", "x", "5", "[NAME]", "90+", "021**", "Will "]),
    st.text("-\u2013\u2212/\uff0f\u2044._:#\u200b\u0301\u00b2 ,+'", max_size=3),
    st.text("-\u2013\u2212/\uff0f\u2044._:#\u200b\u0301\u00b2 ,+'", max_size=3),
    st.sampled_from(["", "x", "5", "[NAME]", "3/20/2019", "12", "Oak Street"]),
)
def test_a_year_that_stays_stands_alone_in_each_form_that_detectors_read(
    left, before, after, right
):
    result = RULES.deidentify(f"{left}{before}3/14/2019{after}{right}")
    forms, unread = readings(result.text)
    assert not unread
    for row in result.alignment:
        if result.text[row.out_start : row.out_end] != "2019":
            continue
        for folded, index in forms:
            where = range(len(folded)) if index is None else index[: len(folded)]
            if row.out_start in where:
                assert YEAR.match(folded, where.index(row.out_start))


@pytest.mark.parametrize("unit", ["3/14/2019,;", "3/14/2019\u2013", "seen 3/14/2019 \u200bx "])
def test_years_are_read_again_in_linear_time(unit):
    seconds = []
    for size in (8_192, 16_384, 32_768):
        text = unit * (size // len(unit))
        runs = []
        for _ in range(3):
            start = time.process_time()
            RULES.deidentify(text)
            runs.append(time.process_time() - start)
        seconds.append(min(runs))
    assert seconds[2] / seconds[0] < 3.5**2  # quadratic would be 16


def test_limited_data_set_keeps_dates_and_cities_and_reports_them():
    text = "John Doe, seen 3/14/2019, 93-year-old, Boston, MA 02115, 12 Oak Street"
    result = RULES.deidentify(text, policy="limited_data_set")
    assert result.text == "[NAME], seen 3/14/2019, 93-year-old, Boston, MA 02115, [LOCATION]"
    assert result.counts == {"NAME": 1, "DATE": 1, "AGE": 1, "LOCATION": 3}
    assert result.policy_hash != RULES.deidentify(text).policy_hash


@pytest.mark.parametrize(
    "kept",
    [
        "3/14/2019",
        "March 3rd, 2019",
        "on 3/7",
        "14.03.2019",
        "93-year-old",
        "02115-1234",
        "in Worcester",
    ],
)
def test_what_a_limited_data_set_keeps_stays_to_the_letter(kept):
    prefix = "MA " if kept[0] == "0" else ""
    text = f"Dr. Smith, 617-555-0123; {prefix}{kept}, 12 Oak Street"
    result = RULES.deidentify(text, policy="limited_data_set")
    assert result.text == f"Dr. [NAME], [PHONE]; {prefix}{kept}, [LOCATION]"


def test_unknown_policies():
    with pytest.raises(PolicyUnknown):
        Deidentifier("none_such")
    with pytest.raises(PolicyUnknown):
        DETECTOR.deidentify("x", policy="none_such")
    with pytest.raises(PolicyUnknown):
        DETECTOR.chosen("none_such")
    DETECTOR.chosen(None)


def test_today_is_the_clock(monkeypatch):
    monkeypatch.setattr(module, "_today", lambda: dt.date(2026, 7, 27))
    assert RULES.deidentify("DOB: 07/28/1936").text == "DOB: 1936"
    monkeypatch.setattr(module, "_today", lambda: dt.date(2026, 7, 28))
    assert RULES.deidentify("DOB: 07/28/1936").text == "DOB: [DATE]"


TODAY = dt.date(2026, 7, 28)


@pytest.fixture
def today(monkeypatch):
    """The clock, frozen."""
    monkeypatch.setattr(module, "_today", lambda: TODAY)


@pytest.mark.parametrize(
    ("claimed", "text", "clean"),
    [
        # a year later than the date given stands as if no date were known
        ("1930-12-31", "DOB: 01/01/1931", "DOB: [DATE]"),
        ("1930-12-31", "Born in 1931", "Born in [DATE]"),
        ("1931-01-01", "DOB: 01/01/1931", "DOB: 1931"),
        ("2024-12-31", "Seen 12/31/2024", "Seen 2024"),
        ("2024-12-31", "Seen 01/01/2025", "Seen [DATE]"),
        ("2024-12-31", "due 01/05/2027", "due [DATE]"),
        ("2024-12-31", "born in 1950", "born in 1950"),
        ("1940-12-31", "born in 1950", "born in [DATE]"),
        # and a later year in the text shows that the date is false: ages count to today
        ("1932-01-01", "DOB: 07/28/1936", "DOB: [DATE]"),
        ("1936-07-28", "DOB: 07/28/1936. Seen 03/14/2024.", "DOB: [DATE]. Seen [DATE]."),
        ("1937-01-01", "DOB: 07/28/1936. Seen 03/14/2024.", "DOB: [DATE]. Seen [DATE]."),
        ("1937-01-01", "DOB: 07/28/1936. Seen 03/14/1937.", "DOB: 1936. Seen 1937."),
        ("1937-01-01", "DOB: 07/28/1936. Seen 3/4/24.", "DOB: [DATE]. Seen [DATE]."),
        ("1937-01-01", "DOB: 07/28/1936. Seen 14-Mar-24.", "DOB: [DATE]. Seen [DATE]."),
        ("1937-01-01", "DOB: 07/28/1936. Class of '24.", "DOB: [DATE]. Class of '24."),
        ("1937-01-01", "DOB: 07/28/1936. Seen 20\u200b24.", "DOB: [DATE]. Seen 20\u200b24."),
        ("1937-01-01", "DOB: 07/28/1936. Seen ２０24.", "DOB: [DATE]. Seen ２０24."),
        # to the day: 07/29/1936 is 89 today, 07/28/1936 is 90
        ("2025-12-31", "DOB: 07/28/1936. Next 01/02/2026.", "DOB: [DATE]. Next [DATE]."),
        ("2025-12-31", "DOB: 07/29/1936. Next 01/02/2026.", "DOB: 1936. Next [DATE]."),
        ("2025-12-31", "DOB: 07/28/1936. Seen 12/31/2025.", "DOB: 1936. Seen 2025."),
        # a year after today proves nothing about the note's date
        ("2025-12-31", "DOB: 07/28/1936. Next 01/02/2027.", "DOB: 1936. Next [DATE]."),
        # today itself, and a caller whose calendar is a day ahead
        ("2026-07-28", "DOB: 07/28/1936. Seen 07/28/2026.", "DOB: [DATE]. Seen 2026."),
        ("2026-07-29", "DOB: 07/29/1936. Seen 07/29/2026.", "DOB: [DATE]. Seen 2026."),
    ],
)
@pytest.mark.usefixtures("today")
def test_a_false_old_date_keeps_no_year_that_shows_an_age_over_89(claimed, text, clean):
    reference = dt.date.fromisoformat(claimed)
    assert RULES.deidentify(text, reference_date=reference).text == clean


@pytest.mark.usefixtures("today")
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    birth=st.dates(dt.date(1905, 1, 1), dt.date(1936, 7, 28)),
    seen=st.dates(dt.date(2000, 1, 1), TODAY),
    claimed=st.dates(dt.date(1800, 1, 1), TODAY),
    form=st.sampled_from(["%m/%d/%Y", "%Y-%m-%d", "%B %d, %Y", "%d %b %Y"]),
)
def test_no_date_earlier_than_the_note_keeps_more_than_today_does(birth, seen, claimed, form):
    text = f"DOB: {birth.strftime(form)}. Seen on {seen.strftime(form)}."
    told = RULES.deidentify(text, reference_date=claimed).text
    if claimed.year < seen.year:
        assert str(birth.year) not in told
        assert str(seen.year) not in told


@pytest.mark.parametrize("year", [1936, 2024])
@pytest.mark.usefixtures("today")
def test_with_no_date_given_it_is_today_and_later_years_stay(year):
    assert RULES.deidentify("Seen 01/05/2027").text == "Seen 2027"
    assert RULES.deidentify(f"Seen 08/05/{year}").text == f"Seen {year}"


def test_a_fault_refuses_and_tells_nothing(monkeypatch):
    def fail(text, *_):
        raise ValueError(text)

    monkeypatch.setattr(layers, "detect", fail)
    with pytest.raises(DetectorFailed) as caught:
        DETECTOR.deidentify("Jane Canary")
    assert "Canary" not in repr(caught.value) + str(caught.value.__cause__) + caught.value.detail
    assert caught.value.__suppress_context__


def test_text_that_is_no_text_is_refused():
    with pytest.raises(DetectorFailed):
        DETECTOR.deidentify(b"bytes")


def test_lone_surrogates_pass_through_exactly():
    text = "Dr. Smith \ud800 3/14/2019"
    _check(text, DETECTOR.deidentify(text))


YARD_TEXT = "The quick brown fox, aged 41, saw Dr. Who on 3/4/19 at 10:15. " * 300
YARD_SECONDS = 0.00105
"""What `_yard` takes on the idle machine that the limit was set on (EPYC, one core)."""

NOISE = 1.5


def _yard():
    """Do a fixed piece of work of the detector's kind: it tells how slow this machine is now."""
    return sum(len(match[0].lower()) for match in re.finditer(r"[A-Z][a-z]+|\d+", YARD_TEXT))


def _cpu(work):
    start = time.process_time()
    work()
    return time.process_time() - start


def _seconds(detector, text, enough):
    """Least CPU time over many tries, in seconds of the machine that the limit was set on.

    The figure at rest is in benchmarks/results/deid-rules.json. A test runs beside others' work, which
    the yardstick takes out only in part: it has NOISE to spare, and still sees what grows.
    """
    best = yard = float("inf")
    for _ in range(80):
        yard = min(yard, _cpu(_yard))
        best = min(best, _cpu(lambda: detector.deidentify(text)))
        seconds = best / max(1.0, yard / YARD_SECONDS) / NOISE
        if seconds <= enough:
            break
    return seconds


@pytest.mark.parametrize("name", ADVERSARIAL.PIECES)
def test_64_kb_of_anything_within_its_time(name):
    text = ADVERSARIAL.of_size(name, SIZE)
    assert _seconds(RULES, text, MAX_RULES_SECONDS) <= MAX_RULES_SECONDS
    assert _seconds(DETECTOR, text, MAX_SECONDS) <= MAX_SECONDS


def test_64_kb_of_everything_within_its_time():
    draw = random.Random(3)
    pieces = [ADVERSARIAL.of_size(name, 64) for name in ADVERSARIAL.PIECES if name != "unicode"]
    text = " ".join(draw.choice(pieces) for _ in range(SIZE // 64))
    text = text.encode()[:SIZE].decode(errors="ignore")
    assert _seconds(RULES, text, MAX_RULES_SECONDS) <= MAX_RULES_SECONDS
    assert _seconds(DETECTOR, text, MAX_SECONDS) <= MAX_SECONDS
