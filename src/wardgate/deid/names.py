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
from wardgate.deid.fullnames import (
    CREDENTIAL,
    INVERTED_NEXT,
    LONGEST_INITIAL,
    NEXT_WORD,
    Word,
    free,
    labelled,
    names,
    surname_of,
)
from wardgate.deid.gazetteer import Gazetteer
from wardgate.deid.lexicon import (
    ABBREVIATIONS,
    GENITIVE,
    NEVER,
    RELATIVES,
    TITLES,
)
from wardgate.deid.spans import Candidate
from wardgate.types import EntityType as E

_SAME_SENTENCE = (
    r"(?:(?<![a-z]\.[ ])(?<![A-Z]{3}\.[ ])|(?<=(?:Dr|Mr|Ms|Mx|St|Mt|Ft|Lt|Jr|Sr|Fr|Wm)\.[ ])"
    r"|(?<=(?:Mrs|MRS|Rev|REV|Sgt|SGT|Col|Gen|Gov|Hon|Sen|Ste|Geo|Chs|Jas|Jos)\.[ ])"
    r"|(?<=(?:Prof|PROF|Capt|CAPT|Thos)\.[ ]))"
)
"""A full stop after a word ends the sentence, but for titles and usual short forms."""
RUN = re.compile(
    r"[A-Z](?<![A-Za-z_@].)[A-Za-z'.-]*+(?![0-9_@])"
    r"(?:[ ]"
    + _SAME_SENTENCE
    + r"(?:(?:van|von|der|den|de|del|della|di|da|dos|la|le|bin|ibn|al|el|of)[ ]){0,2}[A-Z][A-Za-z'.-]*+(?![0-9_@]))*+"
)
"""A run of capitalised words in one sentence and line, with the particles between them."""

LOWER_TITLE = re.compile(
    r"[dmpDMP](?<![\w.].)(?:r|rs|s|rof|octor|iss|ister|issus|t|atient)(?:\.?[ ]|:[ ]{0,2})"
    r"(?P<name>[a-z]{3,20})(?![a-z])(?:[ ](?P<more>[a-z]{3,20})(?![a-z]))?"
)
LOWER_LABELLED = re.compile(
    r"[:](?<=[A-Za-z]:)[ ]{0,2}(?P<name>[a-z]{3,20})(?:[ ][a-z]\.?)?[ ](?P<more>[a-z]{3,20})(?![a-z'])"
)
_LETTERS = r"[A-Z]\.?[- ]?[A-Z]\.?(?:[- ]?[A-Z]\.?)?(?![A-Za-z0-9/'-])"
INITIALS = re.compile(
    r"[iI](?<![\w.].)(?:nitials|NITIALS)(?: are| is)?[:= -]{1,3}(?P<any>" + _LETTERS + ")"
)
PATIENT_LETTERS = re.compile(
    r"t(?:(?<=[Pp]t)(?<![\w.]..)|(?<=[Pp]atient))\.?[: ]{1,2}([A-Z]\.?[A-Z]\.?(?:[A-Z]\.)?)(?![A-Za-z0-9/'-])"
)
GREETING = re.compile(
    r"[hHgtTIimM](?<![\w'].)(?:i|ello|ey|ood (?:morning|afternoon|evening)|hanks|hank you|y name is|y name's|y name is,|'m|'m dr\.?)[ ,]{1,3}(?P<name>[A-Za-z]{3,20})(?![\w'])(?:[ ](?P<more>[A-Za-z]{3,20})(?![\w']))?"
)


def find(
    text: str, lowered: str, words: Gazetteer, covered: Sequence[Candidate] = ()
) -> Iterator[Candidate]:
    """Yield names and the places that stand among capitalised words.

    Runs inside the sorted candidates `covered` (streets and the like) are passed over.
    """
    ahead = iter(covered)
    low_edge, high_edge = _edges(ahead, len(text))
    established: set[str] = set()
    loose: list[Word] = []
    found: list[Candidate] = []
    common, never = words.common, NEVER
    previous: Word | None = None
    for match in RUN.finditer(text):
        start, end = match.span()
        while high_edge <= start:
            low_edge, high_edge = _edges(ahead, len(text))
        run = match[0]
        if low_edge <= start < high_edge:
            if end <= high_edge:
                continue
            # `12 Oak Street SMITH`: what stands behind the street is a run of its own
            run = text[high_edge:end].lstrip(" .")
            start = end - len(run)
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
        located = places.in_run(text, lowered, parts, end, words)
        pieces = [parts]
        if located:
            found += located
            if located[0][1] < parts[-1][0]:
                pieces = _around(parts, located[0])
        for piece in pieces:
            end = piece[-1][1]
            if len(piece) == 1 and len(parts) > 1:
                hit = _single(text, lowered, piece[0], previous, words)
                hits = [] if hit is None else [(0, 0)]
            else:
                hits = names(text, lowered, piece, end, words, previous)
            previous = piece[0] if len(piece) == 1 else None
            if not hits:
                loose += piece
                continue
            for first, last in hits:
                found.append((piece[first][0], piece[last][1], E.NAME, 0.85, None))
                for _, _, low in piece[first : last + 1]:
                    if len(low) > LONGEST_INITIAL and low not in never:
                        established.add(low)
            if hits[0] != (0, len(piece) - 1):
                taken = {i for first, last in hits for i in range(first, last + 1)}
                loose += [part for i, part in enumerate(piece) if i not in taken]
    yield from found
    if established:
        for start, end, low in loose:
            if low in established and not _is_eponym_use(text, lowered, start, end, low, words):
                yield (start, end, E.NAME, 0.7, None)


def _around(parts: list[Word], place: Candidate) -> list[list[Word]]:
    """Split a run behind a place inside it: `Mercy Hospital SMITH`."""
    cut = sum(1 for start, _, _ in parts if start < place[1])
    return [parts[:cut], parts[cut:]]


def _edges(ahead: Iterator[Candidate], size: int) -> tuple[int, int]:
    """Return start and end of the next covered part, or of nothing behind the text."""
    following = next(ahead, None)
    return (size + 1, size + 2) if following is None else (following[0], following[1])


_QUIET = frozenset(",:|=#\t^")


def _bare(low: str) -> str:
    """Take off a genitive and the marks at the end of a word."""
    low = low.rstrip(".'-")
    return low.removesuffix("'s")


def _single(
    text: str, lowered: str, word: Word, previous: Word | None, words: Gazetteer
) -> Candidate | None:
    """Judge a run of one word by its neighbours."""
    start, end, low = word
    before = text[start - 2 : start] if start > 1 else ""
    after = text[end : end + 1]
    never = low in NEVER
    common = never or low in words.common
    if (
        not common
        and not _LABEL_MARKS.isdisjoint(before)
        and len(low) > 1
        and labelled(text, start, low in words.names)
    ):
        return (start, end, E.NAME, 0.8, None)
    if after == "," and not never and text[end + 2 : end + 3].isupper():
        following = INVERTED_NEXT.match(text, end)
        if following is not None:
            if surname_of(low, following[1].lower(), text[start:end].isupper(), words):
                return (start, end, E.NAME, 0.85, None)
            city = places.before_state(text, [word], end, words)
            if city is not None:
                return city
        if (
            not common
            and low in words.names
            and low not in words.cities
            and CREDENTIAL.match(text, end)
        ):
            return (start, end, E.NAME, 0.8, None)
    if before == ", " and previous is not None and previous[1] == start - 2 and not never:
        if surname_of(previous[2], low, text[previous[0] : previous[1]].isupper(), words):
            return (start, end, E.NAME, 0.85, None)
    if common:
        return None
    shouted = text[start:end].isupper()
    if before[1:] == " " and not shouted:
        left = last_word(lowered, start)
        if left in RELATIVES and low in words.names and len(low) > LONGEST_INITIAL:
            return (start, end, E.NAME, 0.75, None)
        city = places.city_after(lowered, left, word, words)
        if city is not None:
            return city
    if low in words.sure_first and free(text, lowered, start, end, low, shouted, words):
        return (start, end, E.NAME, 0.7, None)
    return None


_LABEL_MARKS = frozenset(":|=#\t")


def _split(run: str, start: int) -> list[Word]:
    parts: list[Word] = []
    at = start
    words = run.lower().split(" ")
    if "".join(words).isalpha():
        for word in words:
            end = at + len(word)
            parts.append((at, end, word))
            at = end + 1
        return parts
    for low in words:
        word = low
        size = len(word)
        if low not in TITLES and size > 2 and not low.isalpha():
            bare = low.removesuffix("'s")
            bare = bare.rstrip(".'-,")
            if "." not in bare:
                parts.append((at, at + len(bare), bare))
            else:
                parts.append((at, at + len(low.rstrip("'-")), low))
        else:
            parts.append((at, at + size, low))
        at += size + 1
    return parts


def _is_eponym_use(
    text: str, lowered: str, start: int, end: int, low: str, words: Gazetteer
) -> bool:
    """Whether a word that names someone in this note is an eponym or a common word here."""
    at = end + 2 if lowered.startswith("'s", end) else end
    following = NEXT_WORD.match(lowered, at)
    if following is not None and following[1] in GENITIVE:
        return True
    if low in words.common and low not in words.names:
        return True
    if low not in words.common:
        return low in words.eponyms and lowered.startswith("'s", end)
    # A common word stays where it opens a sentence or stands in a heading.
    left = text[max(0, start - 2) : start]
    return not left.strip() or left.strip()[-1:] in ".:;!?\n-*" or text[start:end].isupper()


def spoken(text: str, lowered: str, words: Gazetteer) -> Iterator[Candidate]:
    """Yield names in lower case after a title, label or greeting (`dr. gutierrez`, `hi, martha`)."""
    common, known = words.common, words.names
    for match in LOWER_TITLE.finditer(text):
        low = match["name"]
        if low in common or low in NEVER:
            continue
        more = match["more"]
        both = more is not None and more in known and more not in common
        if text[match.start() + 1] in "ta":
            # `pt bobby lund`; after `patient` alone any verb may stand
            named = low in words.first and (both or low in words.sure_first)
        else:
            named = low in known or "." in match[0]
        if named:
            end = match.end("more") if both else match.end("name")
            yield (match.start("name"), end, E.NAME, 0.8, None)
    if ":" in text:
        for match in LOWER_LABELLED.finditer(text):
            low, more = match["name"], match["more"]
            if (
                low in words.first
                and more in known
                and low not in common
                and low not in NEVER
                and (more not in common or more in words.last)
                and labelled(text, match.start("name"), known=True)
            ):
                yield (match.start("name"), match.end(), E.NAME, 0.8, None)
    if "nitials" in lowered:
        for match in INITIALS.finditer(text):
            yield (match.start("any"), match.end("any"), E.NAME, 0.7, None)
    for match in PATIENT_LETTERS.finditer(text):
        start, end = match.span(1)
        letters = text[start:end]
        if "." in letters[:-1] or letters[:2].lower() not in ABBREVIATIONS:
            yield (start, end, E.NAME, 0.7, None)
    for match in GREETING.finditer(text):
        low = match["name"].lower()
        if low in words.sure_first:
            more = (match["more"] or "").lower()
            both = more in known and more not in common
            end = match.end("more") if both else match.end("name")
            yield (match.start("name"), end, E.NAME, 0.75, None)
