"""Second look: few rules of high precision over de-identified text, before it leaves.

Independent of the first: patterns of its own, and the arithmetic of `checks.py` alone is shared. It
asks two things. Does anything stand there that can hardly be something else than an identifier? And
does a value that was taken out as a name or number stand anywhere else? What the transformation
wrote, what the policy keeps and what the site allows is left out by offset, so that right output
gives no hit. A hit is a miss of our detector: the request is refused, or the hit becomes its tag.

`hits` is pure and linear in the text; `settled` acts and counts.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace as changed
from typing import Final

from wardgate.deid import checks, gazetteer
from wardgate.deid.fold import fold
from wardgate.deid.lexicon import ORDINARY
from wardgate.deid.policy import TAGS, Action, Policy, SecondLook
from wardgate.deid.spans import Candidate, Place, outside, replace, resolve, to_input, to_output
from wardgate.errors import SecondLookFailed
from wardgate.telemetry import SECOND_LOOK
from wardgate.types import CleanText, Deidentified, EntityType, Span

_LOOKS: Final = 4
"""How often a text is looked at; one that still has hits then is refused."""
_SHORTEST_NUMBER = 5
"""Characters from which a number is looked for elsewhere."""
_BEFORE = 24
"""Code points before a dotted number that may say that it is a version."""
_FEWEST_OCTET_DIGITS = 6
"""`1.2.3.4` is more often a section than an address."""
_MONTHS, _DAYS = 12, 31

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_YEAR = r"(?:19|20)[0-9]{2}"
_SUFFIX = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Boulevard|Blvd|Drive|Terrace|Parkway|Pkwy|Highway)"
)
# The first character is taken before anything else is tried, so that the scan for it runs in C.
_NUMBER = re.compile(
    rf"""
    [0-9(+](?<![\w.,/+-].)
    (?: (?P<SSN> (?<=[0-8])[0-9]{{2}}-[0-9]{{2}}-[0-9]{{4}} )
      | (?P<PHONE> (?: (?<=[2-9])[0-9]{{2}}[-.] | (?<=\()[2-9][0-9]{{2}}\)[ ]?
                     | (?:(?<=\+)1|(?<=1))[-. ](?:[2-9][0-9]{{2}}[-. ]|\([2-9][0-9]{{2}}\)[ ]) )
          [2-9][0-9]{{2}}[-. ][0-9]{{4}} )
      | (?P<ISO> (?<=[12])[09][0-9]{{2}}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01]) )
      | (?<=[0-9])
        (?: (?P<DATE> [0-9]?[-/][0-9]{{1,2}}[-/]{_YEAR} )
          | (?P<DAY> [0-9]?(?:st|nd|rd|th)?[ ]{_MONTH},?[ ]{_YEAR} )
          | (?P<IP> [0-9]{{0,2}}(?:\.[0-9]{{1,3}}){{3}} )
          | (?P<CARD> [0-9]{{3}}(?:[ -][0-9]{{4}}){{3}} )
          | (?P<MBI> [A-Z][0-9A-Z][0-9]-?[A-Z][0-9A-Z][0-9]-?[A-Z]{{2}}[0-9]{{2}} )
          | (?P<STREET> [0-9]{{0,4}}[ ](?:[NSEW]\.?[ ])?[A-Z][a-z]{{2,19}}[ ]
              (?:[A-Z][a-z]{{2,19}}[ ])?{_SUFFIX} ) )
    )
    (?!\w|[-./][0-9])
    """,
    re.VERBOSE,
)
_CAPITAL = re.compile(
    rf"""
    [ADFJMNOS](?<![\w.'\u2019-].)
    (?: (?P<DATE>
          (?: (?<=J)(?:an(?:uary)?|une?|uly?) | (?<=F)eb(?:ruary)? | (?<=M)a(?:r(?:ch)?|y)
            | (?<=A)(?:pr(?:il)?|ug(?:ust)?) | (?<=S)ept?(?:ember)? | (?<=O)ct(?:ober)?
            | (?<=N)ov(?:ember)? | (?<=D)ec(?:ember)? )
          \.?[ ][0-9]{{1,2}}(?:st|nd|rd|th)?,?[ ]{_YEAR}(?!\w|[-./][0-9]) )
      | (?: (?<=D)r\. | (?<=M)(?:r|rs|s)\b\.? ) [ ](?P<TITLED> [A-Z]\w{{2,30}} )
    )
    """,
    re.VERBOSE,
)
_EMAIL = re.compile(r"@(?<=\w@)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,4}\.[A-Za-z]{2,24}\b")
_LOCAL = 64
"""Characters of the longest part before the sign (RFC 5321 §4.5.3.1.1)."""
_NO_LOCAL = re.compile(r"[^\w.+%-]")
_URL = re.compile(
    r"[hHfFwW](?<!\w.)(?:(?<=[wW])[wW]{2}\.[A-Za-z0-9-]{2,63}\.[A-Za-z]{2}"
    r"|(?:(?<=[hH])[tT]{2}[pP][sS]?|(?<=[fF])[tT][pP])://[A-Za-z0-9][A-Za-z0-9.-]{1,63}\.[A-Za-z]{2})"
    r"[^\s<>\"\[\]()]{0,2000}"
)
_LABELS = ("mrn", "ssn", "npi", "dob", "of birth", "medical record", "social security")
_LABELLED = re.compile(
    rf"""
    [DMNS](?<!\w.)
    (?: (?: (?<=M)(?:RN|EDICAL[ ]RECORD[ ]) [ ]?(?:NUMBER|NO\.?|\#)?[ ]?[:=\#]?[ ]?
            (?P<MRN> [A-Z]{{0,3}}-?[0-9][0-9-]{{4,12}} ) )
      | (?: (?<=D)(?:OB|ATE[ ]OF[ ]BIRTH) [ ]?[:=]?[ ]?
            (?P<DATE> [0-9]{{1,2}}[/.-][0-9]{{1,2}}[/.-](?:{_YEAR}|[0-9]{{2}}) ) )
      | (?: (?<=S)(?:SN|OCIAL[ ]SECURITY) [ ]?(?:NUMBER|NO\.?|\#)?[ ]?[:=\#]?[ ]?
            (?P<SSN> [0-9]{{3}}-?[0-9]{{2}}-?[0-9]{{4}} ) )
      | (?: (?<=N)PI [ ]?(?:NUMBER|NO\.?|\#)?[ ]?[:=\#]?[ ]? (?P<LICENSE> [12][0-9]{{9}} ) )
    )
    (?!\w)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_VERSIONS = ("ver", "rev", "release", "firmware", "software", "build", "section", "oid", "§")
_TOKEN = re.compile(r"[^\W_]{4,}")
_DIGIT = re.compile(r"[0-9]")
_AFTER = re.compile(r"([-'\u2019]?)([^\W\d_]{3,24})")
_BEHIND = re.compile(r"([^\W\d_]{3,24})([-'\u2019]?)\Z")
_JOINS = frozenset("-'\u2019")
_PLACEHOLDERS = frozenset({"abc", "abcd", "xyz", "xxx", "xxxx", "xxxxx"})
"""Words in place of a name that somebody has taken out before."""
_GLUE = 26
"""Code points beside a name that are looked at."""

_TYPES: Mapping[str, EntityType] = {
    "SSN": EntityType.SSN,
    "PHONE": EntityType.PHONE,
    "ISO": EntityType.DATE,
    "DATE": EntityType.DATE,
    "DAY": EntityType.DATE,
    "IP": EntityType.IP,
    "CARD": EntityType.ACCOUNT,
    "MBI": EntityType.HEALTH_PLAN,
    "STREET": EntityType.LOCATION,
    "TITLED": EntityType.NAME,
    "MRN": EntityType.MRN,
    "LICENSE": EntityType.LICENSE,
}
_NUMBERED = frozenset(
    {
        EntityType.SSN,
        EntityType.MRN,
        EntityType.HEALTH_PLAN,
        EntityType.ACCOUNT,
        EntityType.LICENSE,
        EntityType.VEHICLE,
        EntityType.DEVICE,
        EntityType.PHONE,
        EntityType.FAX,
    }
)
"""Types whose values are looked for elsewhere, besides names."""


def settled(raw: str, result: Deidentified, policy: Policy) -> Deidentified:
    """Return the result if the second look finds nothing in it, or with a tag for what it found.

    Raises SecondLookFailed where the policy refuses, or where tags do not settle it.
    """
    for _ in range(_LOOKS):
        found = hits(raw, result, policy)
        if not found:
            return result
        for candidate in found:
            SECOND_LOOK.labels(candidate[2].value, policy.second_look.value).inc()
        if policy.second_look is SecondLook.REFUSE:
            break
        result = tagged(raw, result, found)
    raise SecondLookFailed


def hits(raw: str, result: Deidentified, policy: Policy) -> list[Candidate]:
    """Return what stands in the result and should not, in code points of its text.

    `result` is what `raw` became under `policy`. The hits are sorted and disjoint.
    """
    found = [*patterns(result.text), *_glued(result), *_repeated(raw, result, policy)]
    if not found:
        return found
    found = [c for c in found if policy.action(c[2], _place(c)) is not Action.KEEP]
    spared = _left_out(result)
    found = [
        candidate
        for candidate in found
        if any(
            character.isalnum()
            for start, end, *_ in outside([candidate], spared)
            for character in result.text[start:end]
        )
    ]
    if policy.site.allow:
        found = _disallowed(result.text, found, policy)
    return resolve(found)


def tagged(raw: str, result: Deidentified, found: list[Candidate]) -> Deidentified:
    """Return the result with a tag for each hit; a hit takes what it touches with it."""
    alignment = result.alignment
    written = {(row.start, row.end): result.text[row.out_start : row.out_end] for row in alignment}
    there: list[Candidate] = [(s.start, s.end, s.label, s.score, None) for s in result.spans]
    known = {candidate[:2] for candidate in there}
    new = [(*to_input(c[0], c[1], alignment), c[2], c[3], c[4]) for c in found]
    merged = resolve([*there, *new])
    edits = [
        (start, end, written.get((start, end)) or TAGS[label])
        for start, end, label, *_ in merged
        if (start, end) in written or (start, end) not in known
    ]
    clean, rows = replace(raw, edits)
    spans = tuple(Span(*candidate[:4]) for candidate in merged)
    return changed(result, text=CleanText(clean), spans=spans, alignment=rows)


def patterns(text: str) -> list[Candidate]:
    """Return what can hardly be something else than an identifier, wherever it stands in `text`."""
    found: list[Candidate] = []
    for match in _NUMBER.finditer(text):
        kind = match.lastgroup or ""
        if _fits(kind, match[0], text[max(0, match.start() - _BEFORE) : match.start()]):
            place = Place.STREET if kind == "STREET" else None
            found.append((match.start(), match.end(), _TYPES[kind], 1.0, place))
    for match in _CAPITAL.finditer(text):
        kind = match.lastgroup or ""
        if kind != "TITLED":
            found.append((*match.span(), EntityType.DATE, 1.0, None))
        elif _uncommon(match[kind]):
            found.append((*match.span(kind), EntityType.NAME, 1.0, None))
    return [*found, *_announced(text)]


def _announced(text: str) -> Iterator[Candidate]:
    """Yield what a sign or a label gives away; without these a text is not read again."""
    lowered = text.lower()
    if "@" in text:
        for match in _EMAIL.finditer(text):
            low = max(0, match.start() - _LOCAL)
            before = len(_NO_LOCAL.split(text[low : match.start()])[-1])
            yield (match.start() - before, match.end(), EntityType.EMAIL, 1.0, None)
    if "://" in text or "www." in lowered:
        for match in _URL.finditer(text):
            yield (*match.span(), EntityType.URL, 1.0, None)
    if any(label in lowered for label in _LABELS):
        for match in _LABELLED.finditer(text):
            kind = match.lastgroup or ""
            yield (*match.span(kind), _TYPES[kind], 1.0, None)


def _fits(kind: str, value: str, left: str) -> bool:
    """Whether a number can be what it looks like; `left` is what stands before it."""
    if kind == "SSN":
        return checks.ssn(value.replace("-", ""))
    if kind == "DATE":
        one, two, _ = map(int, value.replace("-", "/").split("/"))
        return 0 < min(one, two) <= _MONTHS and max(one, two) <= _DAYS
    if kind == "IP":
        enough = len(value) - 3 >= _FEWEST_OCTET_DIGITS
        return enough and checks.ipv4(value) and not any(w in left.lower() for w in _VERSIONS)
    if kind == "CARD":
        return checks.card("".join(c for c in value if c.isdigit()))
    if kind == "MBI":
        return checks.mbi(value.replace("-", ""))
    return True


def _uncommon(word: str) -> bool:
    words = gazetteer.load()
    low = word.lower()
    return low not in words.common and low not in words.eponyms and low not in _PLACEHOLDERS


def _glued(result: Deidentified) -> Iterator[Candidate]:
    """Yield names that touch a name that was taken out: `[NAME]Smith`, `Smith-[NAME]`."""
    text = result.text
    rows = iter(result.alignment)
    for span in result.spans:
        if span.label is not EntityType.NAME:
            continue
        row = next((row for row in rows if row.start >= span.start), None)
        if row is None:  # the policy keeps the names
            return
        low, high = row.out_start, row.out_end
        after = _AFTER.match(text, high, high + _GLUE)
        if after and _name(after[2], after[1]):
            yield (*after.span(2), EntityType.NAME, 1.0, None)
        beside = text[low - 1 : low]
        if beside.isalpha() or beside in _JOINS:
            behind = _BEHIND.search(text, max(0, low - _GLUE), low)
            if behind and _name(behind[1], behind[2]):
                yield (*behind.span(1), EntityType.NAME, 1.0, None)


def _name(word: str, join: str) -> bool:
    """Whether a word beside a name is one; `Guillain-[NAME]` is an eponym that was cut."""
    known = word.lower() in gazetteer.load().names
    return (known or (not join and word[0].isupper())) and _uncommon(word)


def _repeated(raw: str, result: Deidentified, policy: Policy) -> Iterator[Candidate]:
    """Yield what was taken out as a name or a number of someone and stands elsewhere too."""
    names = [raw[s.start : s.end] for s in result.spans if s.label is EntityType.NAME]
    numbers = [raw[s.start : s.end] for s in result.spans if s.label in _NUMBERED]
    taken: list[str] = []
    values: dict[str, EntityType] = {}
    words = gazetteer.load()
    if names and policy.action(EntityType.NAME, None) is not Action.KEEP:
        taken = _TOKEN.findall("\n".join(names).lower())
        alone = set(taken) - words.common - words.eponyms - _PLACEHOLDERS
        values = {word: EntityType.NAME for word in alone if word.isalpha()}
    if numbers:
        values |= {
            token: EntityType.OTHER_ID
            for token in _TOKEN.findall("\n".join(numbers).lower())
            if len(token) >= _SHORTEST_NUMBER and _DIGIT.search(token)
        }
    if not values or values.keys().isdisjoint(_TOKEN.findall(result.text.lower())):
        return
    spared = _left_out(result)
    stands = [
        match
        for match in _TOKEN.finditer(result.text)
        if match[0].lower() in values
        and match[0] not in ORDINARY
        and outside([(*match.span(), EntityType.NAME, 1.0, None)], spared)
    ]
    left = Counter(match[0].lower() for match in stands)
    gone = Counter(taken)
    for match in stands:
        word = match[0].lower()
        label = values[word]
        # a word that is no known name, and mostly stays, is none
        if label is not EntityType.NAME or word in words.names or left[word] <= gone[word]:
            yield (*match.span(), label, 1.0, None)


def _left_out(result: Deidentified) -> list[tuple[int, int]]:
    """Return what the transformation wrote and what the policy keeps, in the output; sorted."""
    written = {(row.start, row.end): (row.out_start, row.out_end) for row in result.alignment}
    return [
        written.get((span.start, span.end)) or to_output(span.start, span.end, result.alignment)
        for span in result.spans
    ]


def _disallowed(text: str, found: list[Candidate], policy: Policy) -> list[Candidate]:
    """Return the candidates but those whose every word the site allows."""
    folded, index = fold(text)
    at = [
        c if index is None else (bisect_left(index, c[0]), bisect_left(index, c[1]), *c[2:])
        for c in found
    ]
    stands = set(policy.site.unspared(folded, at))
    return [c for c, moved in zip(found, at, strict=True) if moved in stands]


def _place(candidate: Candidate) -> Place | None:
    return candidate[4] if isinstance(candidate[4], Place) else None
