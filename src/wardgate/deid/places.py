"""Places smaller than a state: facilities, streets, cities, counties, ZIP codes. States stay.

A city is one for where it stands (`Boston, MA`, `in Worcester`), a facility for its head word and a
proper word before it (`St. Mary's Hospital`; `the pain clinic` is none).
"""

from __future__ import annotations

import re
from string import ascii_letters

from wardgate.deid.context import last_word
from wardgate.deid.gazetteer import Gazetteer
from wardgate.deid.spans import Candidate, Place
from wardgate.types import EntityType as E

STATE_CODES = frozenset(
    """
    AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM
    NY NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY DC PR
    """.split()
)
_CREDENTIAL_CODES = frozenset({"MD", "PA", "MA", "OT", "MS"})
STATES = frozenset(
    """
    alabama alaska arizona arkansas california colorado connecticut delaware florida georgia
    hawaii idaho illinois indiana iowa kansas kentucky louisiana maine maryland massachusetts
    michigan minnesota mississippi missouri montana nebraska nevada ohio oklahoma oregon
    pennsylvania tennessee texas utah vermont virginia washington wisconsin wyoming canada
    mexico england france germany ontario quebec
    """.split()
)
COUNTRIES = frozenset(
    """
    afghanistan albania algeria angola argentina armenia australia austria azerbaijan bahamas
    bahrain bangladesh barbados belarus belgium belize benin bhutan bolivia bosnia botswana
    brazil brunei bulgaria burkina burundi cambodia cameroon canada chad chile china colombia
    congo croatia cuba cyprus czechia denmark djibouti dominica ecuador egypt eritrea estonia
    ethiopia fiji finland france gabon gambia georgia germany ghana greece greenland grenada
    guatemala guinea guyana haiti honduras hungary iceland india indonesia iran iraq ireland
    israel italy jamaica japan jordan kazakhstan kenya kosovo kuwait laos latvia lebanon lesotho
    liberia libya lithuania luxembourg madagascar malawi malaysia mali malta mauritius mexico
    moldova monaco mongolia montenegro morocco mozambique myanmar namibia nepal netherlands
    nicaragua niger nigeria norway oman pakistan palestine panama paraguay peru philippines
    poland portugal qatar romania russia rwanda samoa senegal serbia singapore slovakia slovenia
    somalia spain sudan suriname sweden switzerland syria taiwan tajikistan tanzania thailand
    togo tonga trinidad tunisia turkey uganda ukraine uruguay usa uzbekistan vatican venezuela
    vietnam yemen zambia zimbabwe england scotland wales britain europe asia africa america
    antarctica
    """.split()
)
_STATE_PAIRS = ("new hampshire", "new jersey", "new mexico", "new york", "north carolina", "north dakota", "rhode island",
                "south carolina", "south dakota", "west virginia", "puerto rico")  # fmt: skip
WORLD = frozenset(
    """
    london paris berlin madrid rome vienna dublin edinburgh manchester birmingham liverpool
    leeds bristol cardiff belfast toronto montreal vancouver calgary ottawa sydney melbourne
    brisbane tokyo osaka kyoto beijing shanghai mumbai delhi bangalore kolkata chennai karachi
    lahore dhaka manila bangkok hanoi seoul moscow warsaw prague budapest athens istanbul ankara
    cairo lagos nairobi johannesburg accra lima bogota caracas havana guadalajara tijuana
    strasbourg brussels amsterdam rotterdam hamburg munich frankfurt cologne zurich geneva milan
    naples venice florence barcelona lisbon porto stockholm oslo copenhagen helsinki boston
    chicago houston dallas philadelphia seattle denver atlanta miami detroit baltimore cleveland
    pittsburgh cincinnati minneapolis nashville sacramento honolulu albuquerque tucson omaha
    springfield worcester brooklyn queens bronx manhattan hollywood tampa orlando phoenix
    """.split()
)  # fmt: skip
_HEADS = frozenset(
    """
    hospital clinic infirmary hospice sanatorium hospitals clinics medical health healthcare
    nursing rehabilitation rehab pharmacy surgery surgical cancer institute center centre
    """.split()
)
_LAST_HEADS = frozenset(
    """
    hospital clinic infirmary hospice hospitals clinics center centre pharmacy institute
    healthcare health rehabilitation rehab home facility associates group campus manor lodge
    care medicine pavilion er ed system practice
    """.split()
)
_COUNTY_WORDS = frozenset({"county", "parish", "township", "borough"})
_HEAD_WORDS = _LAST_HEADS | _COUNTY_WORDS
_SURE_HEADS = frozenset({"hospital", "clinic", "infirmary", "hospice", "hospitals", "medical"})
_PROPER = frozenset(
    """
    st st. saint mount mt mt. memorial mercy baptist methodist presbyterian providence kaiser
    mayo sinai lutheran adventist regional county university community general sacred holy good
    samaritan trinity veterans va
    """.split()
)
_WEAK_PROPER = frozenset(
    {"regional", "university", "community", "general", "veterans", "va", "good", "memorial"}
)
_GENERIC = frozenset(
    {"the", "a", "our", "this", "of", "and", "for", "at", "emergency", "outpatient", "inpatient"}
)
_CHAINS = frozenset(
    {"walgreens", "cvs", "rite", "walmart", "costco", "kroger", "publix", "safeway"}
)
_ZIP_NEXT = re.compile(r"[ ,]{1,3}[0-9]{5}(?![0-9])")
_LONGEST_CITY = 3
_LONGEST_ABBREVIATION = 3
_SPECIALTY = (
    "ology",
    "ological",
    "iatric",
    "iatrics",
    "iatry",
    "ics",
    "otherapy",
    "ectomy",
    "care",
    "surgical",
    "ologist",
)
_STATE_NEXT = re.compile(
    r",?[ ]{1,2}(?:([A-Z]{2})(?![A-Za-z-])|([A-Z][a-z]+(?:[ ][A-Z][a-z]+)?))(?P<zip>[ ,]{1,3}[0-9]{5}(?:-[0-9]{4})?(?![0-9-]))?"
)
ZIP = re.compile(r"[0-9](?<=[ ].)[0-9]{4}(?:-[0-9]{4})?(?![0-9A-Za-z-])")
_LONGEST_STATE = 24
_Word = tuple[int, int, str]


def in_run(
    text: str, lowered: str, parts: list[_Word], end: int, words: Gazetteer
) -> list[Candidate]:
    """Return the facilities, counties and cities in a run of capitalised words."""
    found: list[Candidate] = []
    size = len(parts)
    if size > 1 and not _HEAD_WORDS.isdisjoint([low for _, _, low in parts]):
        for i in range(size - 1, 0, -1):
            low = parts[i][2]
            if low in _LAST_HEADS:
                first = _facility(text, parts, i, words)
                if first >= 0:
                    found.append((parts[first][0], parts[i][1], E.LOCATION, 0.85, Place.FACILITY))
                break
            if low in _COUNTY_WORDS:
                first = i - 1
                if parts[first][2] not in words.common or parts[first][2] in words.cities:
                    if first and parts[first - 1][2] in {
                        "san",
                        "santa",
                        "los",
                        "el",
                        "st",
                        "st.",
                        "new",
                        "saint",
                        "la",
                        "fort",
                    }:
                        first -= 1
                    if parts[first][2] not in _GENERIC:
                        found.append((parts[first][0], parts[i][1], E.LOCATION, 0.85, Place.COUNTY))
                break
    last = parts[-1][2]
    if text[end : end + 1] in {",", " ", "."} and last not in _GENERIC:
        city = before_state(text, parts, end, words)
        if city is not None:
            found.append(city)
            return found
    if not found:
        city = _after_preposition(lowered, parts, words)
        if city is not None:
            found.append(city)
    return found


def _facility(text: str, parts: list[_Word], head: int, words: Gazetteer) -> int:
    """Return the index of the first word of a facility whose last word is `head`, or -1."""
    first = head
    proper = weak = False
    while first > 0:
        start, stop, low = parts[first - 1]
        if low in {"the", "at", "and"} or (
            text[stop : stop + 1] == "." and low not in {"st", "mt", "st.", "mt."}
        ):
            break
        if low in _PROPER:
            if low in _WEAK_PROPER:
                weak = weak or text[start].isupper()
            else:
                proper = True
        elif (
            low not in words.common
            and low not in _HEADS
            and low not in _LAST_HEADS
            and not low.endswith(_SPECIALTY)
        ):
            proper = proper or len(low) > 2
        elif (
            low in words.cities
            and low not in _HEADS
            and low not in _LAST_HEADS
            and first - 1 == 0
            and parts[head][2] in _SURE_HEADS
        ):
            weak = True
        first -= 1
    names = {low for _, _, low in parts[first:head]}
    sure = parts[head][2] in _SURE_HEADS or bool(names & _HEADS)
    if proper and sure:
        return first
    if weak and sure and head - first > 1 and not text[parts[head][0] : parts[head][1]].isupper():
        return first
    return -1


def before_a_state(text: str, end: int) -> bool:
    """Whether a state's name or code follows."""
    found = _STATE_NEXT.match(text, end)
    return found is not None and (found[1] in STATE_CODES or _is_state(found[2]))


def before_state(text: str, parts: list[_Word], end: int, words: Gazetteer) -> Candidate | None:
    """`Boston, MA`: the longest known city at the end of the run, or its last uncommon word."""
    found = _STATE_NEXT.match(text, end)
    code = None if found is None else found[1]
    inside = False
    stop = len(parts)
    if found is None or not (code in STATE_CODES or _is_state(found[2])):
        # `Boston MA 02115` is one run.
        if (
            stop > 1
            and text[parts[-1][0] : parts[-1][1]] in STATE_CODES
            and (_ZIP_NEXT.match(text, end) or text[parts[0][0] - 2 : parts[0][0]] == ", ")
        ):
            stop -= 1
            inside = True
            code = None
        else:
            return None
    last = parts[stop - 1][2]
    sure = inside or (found is not None and found["zip"] is not None)
    comma = inside or text[end] == ","
    for take in (3, 2, 1):
        if take <= stop:
            name = last if take == 1 else " ".join([low for _, _, low in parts[stop - take : stop]])
            if name in words.cities or name in WORLD:
                if (
                    not sure
                    and code in _CREDENTIAL_CODES
                    and take == 1
                    and last in words.names
                    and last not in WORLD
                ):
                    continue
                if not comma and not sure:
                    continue
                return (parts[stop - take][0], parts[stop - 1][1], E.LOCATION, 0.9, Place.CITY)
    if (
        (sure or (comma and code is not None and code not in _CREDENTIAL_CODES))
        and last not in words.common
        and len(last) > _LONGEST_ABBREVIATION
    ):
        return (parts[stop - 1][0], parts[stop - 1][1], E.LOCATION, 0.7, Place.CITY)
    return None


def _is_state(name: str | None) -> bool:
    if name is None:
        return False
    low = name.lower()
    return low.split(" ")[0] in STATES or low in _STATE_PAIRS


_LIVES = re.compile(r"\b(?:liv(?:es?|ing|ed)|resid(?:es?|ing)|born|raised|grew up) in \Z")
_TOWARD = frozenset(
    ["in", "from", "near", "outside", "visiting", "around", "lives", "downtown", "to", "at", "of"]
)
_WITHIN = frozenset(["in", "from", "near", "outside", "visiting", "lives", "downtown"])


def city_after(lowered: str, left: str, word: _Word, words: Gazetteer) -> Candidate | None:
    """`in Worcester`: a city of one word after the preposition `left`."""
    start, end, low = word
    if left not in _TOWARD or low in STATES or low in COUNTRIES:
        return None
    if (
        low not in words.common
        and left == "in"
        and _LIVES.search(lowered, max(0, start - 16), start)
    ):
        return (start, end, E.LOCATION, 0.7, Place.CITY)
    if low in WORLD or (left in _WITHIN and low in words.cities and low not in words.common):
        return (start, end, E.LOCATION, 0.8, Place.CITY)
    return None


def _after_preposition(lowered: str, parts: list[_Word], words: Gazetteer) -> Candidate | None:
    """`from New Bedford`: a city of several words after a preposition."""
    if len(parts) > _LONGEST_CITY:
        return None
    start = parts[0][0]
    if last_word(lowered, start) not in _TOWARD:
        return None
    name = " ".join(low for _, _, low in parts)
    if (
        name in _STATE_PAIRS
        or name not in words.cities
        or all(low in words.common for _, _, low in parts)
    ):
        return None
    return (start, parts[-1][1], E.LOCATION, 0.75, Place.CITY)


def zips(text: str) -> list[Candidate]:
    """Return ZIP codes that stand after a state."""
    found: list[Candidate] = []
    for match in ZIP.finditer(text):
        start, end = match.span()
        left = text[start - _LONGEST_STATE if start > _LONGEST_STATE else 0 : start].rstrip(" ,.")
        state = left[len(left.rstrip(ascii_letters)) :]
        if state[:1].islower():
            continue
        if state in STATE_CODES or _is_state(state) or left.lower().endswith(_STATE_PAIRS):
            found.append((start, end, E.LOCATION, 0.9, Place.ZIP))
    return found


def is_state(low: str) -> bool:
    """Whether this is a state of the US, which may stay (45 CFR 164.514(b)(2)(i)(B))."""
    if low in COUNTRIES:
        return False
    return low in STATES or low in _STATE_PAIRS or low.upper() in STATE_CODES
