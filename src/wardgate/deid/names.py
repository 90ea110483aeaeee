"""Names of persons: titles, labels, pairs, initials, credentials, relatives, repeated mentions.

Works on runs of capitalised words in folded text. A word is a name for where it stands (after
`Dr.`, after `Patient:`, before `, MD`), for what it is (a first name and a word that could be a
surname), or because the note has called someone so. Eponyms, drugs and common words are no names
unless their place says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from wardgate.deid import places
from wardgate.deid.context import last_word
from wardgate.deid.gazetteer import Gazetteer
from wardgate.deid.spans import Candidate
from wardgate.types import EntityType as E

RUN = re.compile(
    r"[A-Z](?<![A-Za-z0-9_@].)[A-Za-z'.-]*+(?![0-9_@])"
    r"(?:[ ](?:(?:van|von|der|den|de|del|della|di|da|dos|la|le|bin|ibn|al|el|of)[ ]){0,2}[A-Z][A-Za-z'.-]*+(?![0-9_@]))*+"
)
"""A run of capitalised words on one line, with the particles between them."""

LOWER_TITLE = re.compile(
    r"[dmpDMP](?<![\w.].)(?:r|rs|s|rof|octor|iss|ister|issus)\.?[ ](?P<name>[a-z]{3,20})(?![a-z])(?:[ ](?P<more>[a-z]{3,20})(?![a-z]))?"
)
GREETING = re.compile(
    r"[hHgtTIimM](?<![\w'].)(?:i|ello|ey|ood (?:morning|afternoon|evening)|hanks|hank you|y name is|y name's|y name is,|'m|'m dr\.?)[ ,]{1,3}(?P<name>[A-Za-z]{3,20})(?![\w'])(?:[ ](?P<more>[A-Za-z]{3,20})(?![\w']))?"
)

TITLES = frozenset(
    "dr dr. mr mr. mrs mrs. ms ms. miss prof prof. professor doctor mx mx. sr. fr. rev rev. reverend rabbi sister dr.. "
    "judge officer detective sgt sgt. lt lt. capt capt. captain sir madam dame mister nurse".split()
)
_SOFT_TITLES = frozenset({"nurse", "sister", "doctor", "judge", "officer", "professor", "captain", "miss", "sir", "madam"})
_CREDENTIAL = re.compile(
    r",?[ ]{1,2}(?:M\.?D|D\.?O|R\.?N|N\.?P|P\.?A(?:-C)?|Ph\.?D|PharmD|DPM|DDS|DMD|LPN|LVN|CNA|CRNA|FNP|APRN|ARNP|DNP|MSN|BSN|LCSW|LMSW|MSW|PT|DPT|OT|OTR|RD"
    r"|MBBS|FACC|FACS|FRCS|MPH|MA|CNM|CNP|RPh|OD|SLP|PsyD|Jr|Sr|II|III)\b\.?"
)
_CREDENTIAL_WORDS = frozenset(
    "md do rn np pa pa-c phd pharmd dpm dds dmd lpn lvn cna crna fnp aprn arnp dnp msn bsn lcsw lmsw msw dpt otr mbbs facc facs "
    "m.d m.d. d.o. r.n. ph.d. mph jr jr. sr ii iii iv esq cnm cnp rph od psyd ma".split()
)
LABELS = frozenset(
    "patient name pt physician doctor attending provider surgeon signed by dictated clinician nurse author resident fellow "
    "anesthesiologist cardiologist radiologist pathologist consultant referring pcp spouse kin contact guardian mother father son "
    "daughter wife husband sister brother emergency insured subscriber guarantor caregiver cc attn from to re dear technician "
    "pharmacist therapist assistant interpreter proxy surname forename informant reviewer reviewed transcribed transcriptionist "
    "transcriber interviewer witness prescriber recipient attention authenticated verified ordering performed child parent partner "
    "holder member applicant employee sincerely regards names fullname responsible coordinator specialist midwife examiner operator counselor pastor user called".split()
)
_PARTICLES = frozenset("van von der den de del della di da dos la le bin ibn al el st st.".split())
_SPEAKERS = frozenset({"doctor", "patient", "nurse", "from", "to", "re", "called", "pt", "clinician"})
RELATIVES = frozenset(
    "son daughter wife husband mother father sister brother mom dad spouse partner niece nephew aunt uncle cousin grandson granddaughter "
    "grandmother grandfather fiance fiancee girlfriend boyfriend friend roommate neighbor guardian caregiver daughter-in-law son-in-law "
    "brother-in-law sister-in-law stepson stepdaughter named name dear regards sincerely patient thanks hi hello nurse pcp cardiologist "
    "surgeon physician provider".split()
)
_GENITIVE = frozenset({"disease", "syndrome", "sign", "test", "score", "scale", "catheter", "lymphoma", "palsy", "criteria", "procedure",
    "maneuver", "phenomenon", "fracture", "tumor", "sarcoma", "bodies", "cyst", "ring", "node", "nodes", "classification", "index",
    "thyroiditis", "esophagus", "dementia", "reflex", "law", "position", "solution", "stain", "monitor", "tube", "nevus", "contracture",
    "level", "levels", "staging", "grade", "point", "operation", "anemia", "coma", "view", "method", "protocol", "approach", "drain", "clamp", "retractor", "line"})  # fmt: skip
_NEVER = frozenset(
    "the this that he she they we it i his her him their there then these those who which what when where why how a an and or but if "
    "no not yes in on at of for from with by to as is are was were be been has have had do does did will would should could can may "
    "patient pt name date dob mrn ssn phone address male female age years old admission discharge diagnosis history exam assessment plan "
    "please thank also however since after before during while per given continue started today yesterday tomorrow monday tuesday "
    "wednesday thursday friday saturday sunday january february march april june july august september october november december "
    "hospital clinic center medical emergency department unit street avenue road physician provider attending nurse doctor "
    "mr mrs ms dr miss you your my me our us say says said so now well good ok okay just see seen saw "
    "signed electronically dictated transcribed reviewed insurance policy member account email fax contact next kin time note report "
    "hi hello hey hiya nope yep yeah nah hm hmm eh uh um oh mm ah huh wow ok okay sure right alright thanks thank im ive "
    "subjective objective allergies medications chief complaint present illness review systems physical examination".split()
)
_LETTER = re.compile(r"[A-Za-z]\.?(?:[A-Z]\.?){0,2}\Z")
_LABEL_LEFT = re.compile(r"([A-Za-z]{1,16})(?:[ ]?\([A-Za-z]{1,12}\))?[ \t]{0,2}[:#|=][ \t]{0,8}\Z")
_NEXT_WORD = re.compile(r"[ ]?(?:'s )?([a-z]+)")
_Word = tuple[int, int, str]


def find(
    text: str, lowered: str, words: Gazetteer, covered: Sequence[Candidate] = ()
) -> Iterator[Candidate]:
    """Yield names and the places that stand among capitalised words.

    Runs inside the sorted candidates `covered` (streets and the like) are passed over.
    """
    ahead = iter(covered)
    low_edge, high_edge = _edges(ahead, len(text))
    established: set[str] = set()
    loose: list[_Word] = []
    found: list[Candidate] = []
    common, never = words.common, _NEVER
    previous: _Word | None = None
    for match in RUN.finditer(text):
        start, end = match.span()
        while high_edge <= start:
            low_edge, high_edge = _edges(ahead, len(text))
        if low_edge <= start and end <= high_edge:
            continue
        run = match[0]
        if " " not in run:
            low = run.lower()
            if low in never:
                previous = None
                continue
            if not low.isalpha():
                low = _bare(low)
                end = start + len(low)
                if low.partition("'")[0] in never:
                    previous = None
                    continue
            word = (start, end, low)
            if low in common or low in never:
                beside = text[start - 2 : start] + text[end : end + 1]
                hit = None
                if not _QUIET.isdisjoint(beside):
                    hit = _single(text, lowered, word, previous, words)
            else:
                hit = _single(text, lowered, word, previous, words)
            previous = word
            if hit is None:
                loose.append(word)
            else:
                found.append(hit)
                if hit[2] is E.NAME and low not in never:
                    established.add(low)
            continue
        parts = _split(run, start)
        found += places.in_run(text, lowered, parts, end, words)
        hits = _names(text, lowered, parts, end, words, previous)
        previous = parts[0] if len(parts) == 1 else None
        if not hits:
            loose += parts
            continue
        for first, last in hits:
            found.append((parts[first][0], parts[last][1], E.NAME, 0.85, None))
            for _, _, low in parts[first : last + 1]:
                if len(low) > _LONGEST_INITIAL and low not in never:
                    established.add(low)
        taken = {i for first, last in hits for i in range(first, last + 1)}
        loose += [part for i, part in enumerate(parts) if i not in taken]
    yield from found
    if established:
        for start, end, low in loose:
            if low in established and not _is_eponym_use(text, lowered, start, end, low, words):
                yield (start, end, E.NAME, 0.7, None)


def _edges(ahead: Iterator[Candidate], size: int) -> tuple[int, int]:
    """Return start and end of the next covered part, or of nothing behind the text."""
    following = next(ahead, None)
    return (size + 1, size + 2) if following is None else (following[0], following[1])


_QUIET = frozenset(",:|=#\t^")
_LONGEST_INITIAL = 2


def _bare(low: str) -> str:
    """Take off a genitive and the marks at the end of a word."""
    low = low.rstrip(".'-")
    return low[:-2] if low.endswith("'s") else low


def _single(
    text: str, lowered: str, word: _Word, previous: _Word | None, words: Gazetteer
) -> Candidate | None:
    """Judge a run of one word by its neighbours."""
    start, end, low = word
    before = text[start - 2 : start] if start > 1 else ""
    after = text[end : end + 1]
    never = low in _NEVER
    common = never or low in words.common
    if not common and not _LABEL_MARKS.isdisjoint(before) and len(low) > 1 and _labelled(text, start, low in words.names):
        return (start, end, E.NAME, 0.8, None)
    if after == "," and not never and text[end + 2 : end + 3].isupper():
        following = _INVERTED_NEXT.match(text, end)
        if following is not None:
            if _surname_of(low, following[1].lower(), text[start:end].isupper(), words):
                return (start, end, E.NAME, 0.85, None)
            city = places.before_state(text, [word], end, words)
            if city is not None:
                return city
        if not common and low in words.names and low not in words.cities and _CREDENTIAL.match(text, end):
            return (start, end, E.NAME, 0.8, None)
    if before == ", " and previous is not None and previous[1] == start - 2 and not never:
        if _surname_of(previous[2], low, text[previous[0] : previous[1]].isupper(), words):
            return (start, end, E.NAME, 0.85, None)
    if common:
        return None
    shouted = text[start:end].isupper()
    if before[1:] == " " and not shouted:
        left = last_word(lowered, start)
        if left in RELATIVES and low in words.names and len(low) > _LONGEST_INITIAL:
            return (start, end, E.NAME, 0.75, None)
        city = places.city_after(lowered, left, word, words)
        if city is not None:
            return city
    if low in words.sure_first and _free(text, lowered, start, end, low, shouted, words):
        return (start, end, E.NAME, 0.7, None)
    return None


_LABEL_MARKS = frozenset(":|=#\t")
_SHORTEST_SHOUTED = 5


def _free(
    text: str, lowered: str, start: int, end: int, low: str, shouted: bool, words: Gazetteer
) -> bool:
    """Whether a first name stands for a person here, and not in an eponym or a place."""
    if shouted and (end - start < _SHORTEST_SHOUTED):
        return False
    if low in words.cities and text[end : end + 2] == ", " and text[end + 2 : end + 3].isupper():
        return False
    at = end + 2 if lowered.startswith("'s", end) else end
    following = _NEXT_WORD.match(lowered, at)
    return following is None or following[1] not in _GENITIVE


def _surname_of(last: str, first: str, shouted: bool, words: Gazetteer) -> bool:
    """Whether `Last, First` is an inverted name."""
    return (
        last in words.last
        and first in words.first
        and last not in _NEVER
        and first not in _NEVER
        and (first not in words.common or (shouted and last not in words.common))
    )


def _split(run: str, start: int) -> list[_Word]:
    parts: list[_Word] = []
    at = start
    for word in run.split(" "):
        low = word.lower()
        size = len(word)
        if low not in TITLES and size > 2 and not low.isalpha():
            bare = low[:-2] if low.endswith("'s") else low
            bare = bare.rstrip(".'-,")
            if "." not in bare:
                parts.append((at, at + len(bare), bare))
            else:
                parts.append((at, at + len(low.rstrip("'-")), low))
        else:
            parts.append((at, at + size, low))
        at += size + 1
    return parts


def _names(
    text: str,
    lowered: str,
    parts: list[_Word],
    end: int,
    words: Gazetteer,
    previous: _Word | None,
) -> list[tuple[int, int]]:
    """Return index ranges (both ends included) of `parts` that are names."""
    hits: list[tuple[int, int]] = []
    size = len(parts)
    start = parts[0][0]
    i = 0
    label = _labelled(text, start, True)
    if label:
        j = _extent(text, parts, 0, words, strong=True)
        if j > 0 or (j == 0 and _single_ok(parts[0][2], words)):
            while i <= j and parts[i][2] in TITLES:
                i += 1
            if i <= j:
                hits.append((i, j))
                i = j + 1
    first, common = words.first, words.common
    while i < size:
        low = parts[i][2]
        if low in TITLES:
            j = _extent(text, parts, i + 1, words, strong=low not in _SOFT_TITLES)
            if j > i:
                hits.append((i + 1, j))
                i = j + 1
                continue
            i += 1
            continue
        if low in _NEVER:
            i += 1
            continue
        j = i
        if low in first or (len(low) < 7 and text[parts[i][1] - 1] == "." and _LETTER.match(low)):
            j = _pair(text, parts, i, words)
        if j > i:
            hits.append((i, j))
            i = j + 1
            continue
        i += 1
    if not hits or hits[-1][1] != size - 1:
        tail = _credentialed(text, parts, end, words)
        if tail is not None:
            hits = [hit for hit in hits if hit[1] < tail[0]]
            hits.append(tail)
    if not hits and size < 4 and parts[0][2] in words.first and parts[-1][2] in words.names and size > 1:
        if _AGED.match(text, end) and not text[parts[0][0] : parts[0][1]].isupper():
            return [(0, size - 1)]
    if not hits:
        hits = _inverted(text, parts, previous, words)
    first_free = hits[-1][1] + 1 if hits else 0
    if first_free < size:
        hits += _alone(text, lowered, parts, first_free, words)
    return hits


def _labelled(text: str, start: int, known: bool) -> bool:
    """Whether a label such as `Attending:` stands right before.

    In a dialogue `Doctor:` and `Patient:` stand before any word; then only a known name counts.
    """
    if start < 2 or (text[start - 1] not in ":|=#\t" and (text[start - 1] != " " or text[start - 2] not in ":|=# ")):
        return False
    found = _LABEL_LEFT.search(text, max(0, start - 40), start)
    return found is not None and (label := found[1].lower()) in LABELS and (known or label not in _SPEAKERS)


def _single_ok(low: str, words: Gazetteer) -> bool:
    return low not in words.common and low not in _NEVER and len(low) > 1


def _extent(text: str, parts: list[_Word], i: int, words: Gazetteer, *, strong: bool) -> int:
    """Return the index of the last word of a name that a title or label announces at `i`, or i - 1."""
    j = i
    size = len(parts)
    seen = 0
    while j < size and seen < 4:
        start, end, low = parts[j]
        if low in TITLES or (low in _CREDENTIAL_WORDS and seen):
            if seen:
                break
            j += 1
            continue
        elif low in _NEVER or (low in words.common and low not in words.names):
            break
        elif low in words.common and seen and not (low in words.last and seen < 2):
            break
        elif not strong and not seen and low in words.common and low not in words.last:
            break
        seen += 1
        j += 1
        if _ends(text, end) and len(low.rstrip(".")) > 2 and low not in TITLES:
            break
    return j - 1


def _ends(text: str, end: int) -> bool:
    """Whether a sentence ends after the word."""
    return text[end : end + 1] in {".", ""} or text[end : end + 2] == "'s"


def _pair(text: str, parts: list[_Word], i: int, words: Gazetteer) -> int:
    """Return the last index of `First Last`, `First M. Last` or `J. Last` that starts at `i`, or i."""
    size = len(parts)
    low = parts[i][2]
    initial = _LETTER.match(low) is not None
    if not initial and _ends(text, parts[i][1]):
        return i
    j = i + 1
    while j < size and j < i + 3 and _LETTER.match(parts[j][2]) and parts[j][2] != "i":
        j += 1
    while j < size - 1 and parts[j][2] in _PARTICLES:
        j += 1
    if j >= size:
        return i
    last = parts[j][2]
    middle = j > i + 1
    if last in _NEVER or len(last) < 2 or last in _CREDENTIAL_WORDS:
        return i
    surname = last in words.last or last in words.first or last.startswith(("mc", "o'", "van ", "de "))
    if initial:
        if not (text[parts[i][1] - 1] == "." and surname and last not in words.common):
            return i
    elif low in words.common:
        if last in words.common or not surname or last in words.cities and not middle:
            return i
        if low not in words.first:
            return i
    elif last in words.common and not (middle and low in words.sure_first) and not (surname and (middle or low in words.sure_first) and last in words.last):
        return i
    k = j
    if not _ends(text, parts[j][1]):
        while k + 1 < size and k < j + 2:
            nxt = parts[k + 1][2]
            if nxt in words.common or nxt in _NEVER or nxt not in words.names or nxt in TITLES:
                break
            k += 1
            if _ends(text, parts[k][1]):
                break
    return k


def _credentialed(text: str, parts: list[_Word], end: int, words: Gazetteer) -> tuple[int, int] | None:
    """Return the words before `, MD`; credentials inside the run count as well."""
    last = len(parts) - 1
    while last > 0 and parts[last][2].rstrip(".") in _CREDENTIAL_WORDS:
        last -= 1
    if last == len(parts) - 1:
        found = _CREDENTIAL.match(text, end)
        if found is None or found[0][0] != "," and len(parts) < 2:
            return None
        if found[0].lstrip(", ")[:2] in {"MA", "PA", "MD", "OT", "PT"} and (
            parts[last][2] in words.cities and len(parts) == 1
        ):
            return None
    first = last
    while first > 0 and last - first < 3 and _could_be_name(parts[first - 1][2], words):
        first -= 1
    low = parts[last][2]
    if not _could_be_name(low, words) or len(low) < 2:
        return None
    if first == last and (low in words.common or low not in words.names):
        return None
    return (first, last)


def _could_be_name(low: str, words: Gazetteer) -> bool:
    return low not in _NEVER and low not in TITLES and (low not in words.common or low in words.names)


_AGED = re.compile(r",?[ ](?:is[ ])?an?[ ](?:[a-z]{1,12}[ ]){0,3}[0-9]{1,3}[- ]?(?:year|y)")
_INVERTED_NEXT = re.compile(r",[ ]([A-Z][A-Za-z'-]{1,24})(?![A-Za-z])")


def _inverted(text: str, parts: list[_Word], previous: _Word | None, words: Gazetteer) -> list[tuple[int, int]]:
    """`SMITH, John A`: seen from the first name, with the surname as the run before."""
    start, _, low = parts[0]
    if previous is None or previous[1] != start - 2 or text[start - 2 : start] != ", ":
        return []
    if not _surname_of(previous[2], low, text[previous[0] : previous[1]].isupper(), words):
        return []
    last = 0
    while last + 1 < len(parts) and last < 2 and (_LETTER.match(parts[last + 1][2]) or parts[last + 1][2] in words.sure_first):
        last += 1
    return [(0, last)]


def _alone(
    text: str, lowered: str, parts: list[_Word], free: int, words: Gazetteer
) -> list[tuple[int, int]]:
    """First names among other capitalised words, and an uncommon word after `son` and the like."""
    hits: list[tuple[int, int]] = []
    start, end, low = parts[0]
    if not free and low in words.names and low not in words.common and len(low) > _LONGEST_INITIAL:
        if last_word(lowered, start) in RELATIVES and not text[start:end].isupper():
            hits.append((0, 0))
    for i, (begin, stop, low) in enumerate(parts):
        if i >= free and low in words.sure_first and (not hits or i > hits[-1][1]):
            if not text[begin:stop].isupper() and _free(text, lowered, begin, stop, low, False, words):
                stop = i
                if i + 1 < len(parts) and len(parts[i + 1][2]) < 3 and _LETTER.match(parts[i + 1][2]) and text[parts[i + 1][0] + 1 : parts[i + 1][0] + 2] == ".":
                    stop = i + 1
                hits.append((i, stop))
    return hits


def _is_eponym_use(text: str, lowered: str, start: int, end: int, low: str, words: Gazetteer) -> bool:
    """Whether a word that names someone in this note is an eponym or a common word here."""
    at = end + 2 if lowered.startswith("'s", end) else end
    following = _NEXT_WORD.match(lowered, at)
    if following is not None and following[1] in _GENITIVE:
        return True
    if low in words.common and low not in words.names:
        return True
    if low not in words.common:
        return low in words.eponyms and lowered.startswith("'s", end)
    # A common word stays where it opens a sentence or stands in a heading.
    left = text[max(0, start - 2) : start]
    return not left.strip() or left.strip()[-1:] in ".:;!?\n-*" or text[start:end].isupper()


def spoken(text: str, lowered: str, words: Gazetteer) -> Iterator[Candidate]:
    """Yield names in lower case after a title (`dr. gutierrez`) or a greeting (`hi, martha`)."""
    for match in LOWER_TITLE.finditer(text):
        low = match["name"]
        if low not in words.common and low not in _NEVER and (low in words.names or "." in match[0]):
            more = match["more"]
            both = more is not None and more in words.names and more not in words.common
            yield (match.start("name"), match.end("more") if both else match.end("name"), E.NAME, 0.8, None)
    for match in GREETING.finditer(text):
        low = match["name"].lower()
        if low in words.sure_first:
            more = (match["more"] or "").lower()
            both = more in words.names and more not in words.common
            yield (match.start("name"), match.end("more") if both else match.end("name"), E.NAME, 0.75, None)
