"""Which of a run of capitalised words are one person's name. Pure: words and what stands beside them."""

from __future__ import annotations

import re
from string import ascii_letters, ascii_lowercase

from wardgate.deid import places
from wardgate.deid.context import last_word
from wardgate.deid.gazetteer import Gazetteer
from wardgate.deid.lexicon import (
    CREDENTIAL_WORDS,
    GENITIVE,
    LABELS,
    NEVER,
    PARTICLES,
    RELATIVES,
    SOFT_TITLES,
    SPEAKERS,
    TITLES,
)

CREDENTIAL = re.compile(
    r",?[ ]{1,2}(?:M\.?D|D\.?O|R\.?N|N\.?P|P\.?A(?:-C)?|Ph\.?D|PharmD|DPM|DDS|DMD|LPN|LVN|CNA|CRNA|FNP|APRN|ARNP|DNP|MSN|BSN|LCSW|LMSW|MSW|PT|DPT|OT|OTR|RD"
    r"|MBBS|FACC|FACS|FRCS|MPH|MA|CNM|CNP|RPh|OD|SLP|PsyD|Jr|Sr|II|III)\b\.?"
)

_AFTER_LABEL = frozenset(":|=#\t ")
_BEFORE_CREDENTIAL = frozenset(", ")
_NO_INITIALS = frozenset({"a.m.", "d.o.", "m.d.", "p.m.", "r.n.", "u.k.", "u.n.", "u.s."})
_INITIALS = (
    frozenset(a + dot for a in ascii_lowercase for dot in ("", "."))
    | frozenset(f"{a}.{b}." for a in ascii_lowercase for b in ascii_lowercase) - _NO_INITIALS
)
"""`j`, `j.` and `j.k.`"""

_LABEL_WINDOW = 40
_MARKS = frozenset(":#|=")

NEXT_WORD = re.compile(r"[ ]?(?:'s )?([a-z]+)")

Word = tuple[int, int, str]

LONGEST_INITIAL = 2

SHORTEST_SHOUTED = 5


def free(
    text: str, lowered: str, start: int, end: int, low: str, shouted: bool, words: Gazetteer
) -> bool:
    """Whether a first name stands for a person here, and not in an eponym or a place."""
    if shouted and (end - start < SHORTEST_SHOUTED):
        return False
    if low in words.cities and text.startswith(", ", end) and places.before_a_state(text, end):
        return False
    at = end + 2 if lowered.startswith("'s", end) else end
    following = NEXT_WORD.match(lowered, at)
    return following is None or following[1] not in GENITIVE


def surname_of(last: str, first: str, shouted: bool, words: Gazetteer) -> bool:
    """Whether `Last, First` is an inverted name."""
    return (
        last in words.last
        and first in words.first
        and last not in NEVER
        and first not in NEVER
        and (first not in words.common or (shouted and last not in words.common))
    )


def names(
    text: str,
    lowered: str,
    parts: list[Word],
    end: int,
    words: Gazetteer,
    previous: Word | None,
) -> list[tuple[int, int]]:
    """Return index ranges (both ends included) of `parts` that are names."""
    hits: list[tuple[int, int]] = []
    size = len(parts)
    start = parts[0][0]
    i = 0
    if start and text[start - 1] in _AFTER_LABEL and labelled(text, start, True):
        j = _extent(text, parts, 0, words, strong=True)
        if j > 0 or (j == 0 and could_stand_alone(parts[0][2], words)):
            while i <= j and parts[i][2] in TITLES:
                i += 1
            if i <= j:
                hits.append((i, j))
                i = j + 1
    first = words.first
    while i < size:
        low = parts[i][2]
        if low in TITLES:
            j = _extent(text, parts, i + 1, words, strong=low not in SOFT_TITLES)
            if j > i:
                hits.append((i + 1, j))
                i = j + 1
                continue
            i += 1
            continue
        if low in NEVER:
            i += 1
            continue
        j = i
        if low in first or (len(low) < 7 and text[parts[i][1] - 1] == "." and low in _INITIALS):
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
    if (
        not hits
        and size < 4
        and parts[0][2] in words.first
        and parts[-1][2] in words.names
        and size > 1
    ):
        if _AGED.match(text, end) and not text[parts[0][0] : parts[0][1]].isupper():
            return [(0, size - 1)]
    if not hits and previous is not None:
        hits = _inverted(text, parts, previous, words)
    alone = _alone(text, lowered, parts, hits, words)
    return sorted(hits + alone) if alone else hits


def labelled(text: str, start: int, known: bool) -> bool:
    """Whether a label such as `Attending:` stands right before.

    In a dialogue `Doctor:` and `Patient:` stand before any word; then only a known name counts.
    """
    if start < 2 or (
        text[start - 1] not in ":|=#\t"
        and (text[start - 1] != " " or text[start - 2] not in ":|=# ")
    ):
        return False
    left = text[max(0, start - _LABEL_WINDOW) : start].rstrip(" \t")
    if left[-1:] not in _MARKS:
        return False
    left = left[:-1].rstrip(" \t")
    if left.endswith(")"):
        left = left.rpartition("(")[0].rstrip(" ")
    label = left[len(left.rstrip(ascii_letters)) :].lower()
    return label in LABELS and (known or label not in SPEAKERS)


def _extent(text: str, parts: list[Word], i: int, words: Gazetteer, *, strong: bool) -> int:
    """Return the index of the last word of a name that a title or label announces at `i`, or i - 1."""
    j = i
    size = len(parts)
    seen = 0
    while j < size and seen < 4:
        _start, end, low = parts[j]
        if low in TITLES or (low in CREDENTIAL_WORDS and seen):
            if seen:
                break
            j += 1
            continue
        if (
            low in NEVER
            or (low in words.common and low not in words.names)
            or (low in words.common and seen and not (low in words.last and seen < 2))
        ):
            break
        if not strong and not seen and low in words.common and low not in words.last:
            break
        seen += 1
        j += 1
        if _ends(text, end) and len(low.rstrip(".")) > 2 and low not in TITLES:
            break
    return j - 1


def _ends(text: str, end: int) -> bool:
    """Whether a sentence ends after the word."""
    return text[end : end + 1] in {".", ""} or text[end : end + 2] == "'s"


def _pair(text: str, parts: list[Word], i: int, words: Gazetteer) -> int:
    """Return the last index of `First Last`, `First M. Last` or `J. Last` that starts at `i`, or i."""
    size = len(parts)
    low = parts[i][2]
    initial = low in _INITIALS
    if not initial and _ends(text, parts[i][1]):
        return i
    j = i + 1
    while j < size and j < i + 3 and parts[j][2] in _INITIALS and parts[j][2] != "i":
        j += 1
    while j < size - 1 and parts[j][2] in PARTICLES:
        j += 1
    if j >= size:
        return i
    last = parts[j][2]
    middle = j > i + 1
    if last in NEVER or len(last) < 2 or last in CREDENTIAL_WORDS:
        return i
    surname = (
        last in words.last or last in words.first or last.startswith(("mc", "o'", "van ", "de "))
    )
    if initial:
        if not (text[parts[i][1] - 1] == "." and surname and last not in words.common):
            return i
    elif low in words.common:
        if last in words.common or not surname or (last in words.cities and not middle):
            return i
        if low not in words.first:
            return i
    elif (
        last in words.common
        and not (middle and low in words.sure_first)
        and not (surname and (middle or low in words.sure_first) and last in words.last)
    ):
        return i
    k = j
    if not _ends(text, parts[j][1]):
        while k + 1 < size and k < j + 2:
            nxt = parts[k + 1][2]
            if nxt in words.common or nxt in NEVER or nxt not in words.names or nxt in TITLES:
                break
            k += 1
            if _ends(text, parts[k][1]):
                break
    return k


def _credentialed(
    text: str, parts: list[Word], end: int, words: Gazetteer
) -> tuple[int, int] | None:
    """Return the words before `, MD`; credentials inside the run count as well."""
    last = len(parts) - 1
    while last > 0 and parts[last][2].rstrip(".") in CREDENTIAL_WORDS:
        last -= 1
    if last == len(parts) - 1:
        if text[end : end + 1] not in _BEFORE_CREDENTIAL:
            return None
        found = CREDENTIAL.match(text, end)
        if found is None or (found[0][0] != "," and len(parts) < 2):
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
    return (
        low not in NEVER and low not in TITLES and (low not in words.common or low in words.names)
    )


_AGED = re.compile(r",?[ ](?:is[ ])?an?[ ](?:[a-z]{1,12}[ ]){0,3}[0-9]{1,3}[- ]?(?:year|y)")

INVERTED_NEXT = re.compile(r",[ ]([A-Z][A-Za-z'-]{1,24})(?![A-Za-z])")


def _inverted(
    text: str, parts: list[Word], previous: Word, words: Gazetteer
) -> list[tuple[int, int]]:
    """`SMITH, John A`: seen from the first name, with the surname as the run before."""
    start, _, low = parts[0]
    if previous[1] != start - 2 or text[start - 2 : start] != ", ":
        return []
    if not surname_of(previous[2], low, text[previous[0] : previous[1]].isupper(), words):
        return []
    last = 0
    while (
        last + 1 < len(parts)
        and last < 2
        and (parts[last + 1][2] in _INITIALS or parts[last + 1][2] in words.sure_first)
    ):
        last += 1
    return [(0, last)]


def _alone(
    text: str, lowered: str, parts: list[Word], hits: list[tuple[int, int]], words: Gazetteer
) -> list[tuple[int, int]]:
    """First names among the words that no hit holds, and an uncommon word after `son` and the like."""
    if hits and hits[0] == (0, len(parts) - 1):
        return []
    found: list[tuple[int, int]] = []
    sure = words.sure_first
    done = {i for first, last in hits for i in range(first, last + 1)}
    for i, (start, end, low) in enumerate(parts):
        if low in sure:
            if (
                i not in done
                and not text[start:end].isupper()
                and free(text, lowered, start, end, low, False, words)
            ):
                last = i
                if (
                    i + 1 < len(parts)
                    and i + 1 not in done
                    and len(parts[i + 1][2]) < 3
                    and parts[i + 1][2] in _INITIALS
                    and text[parts[i + 1][0] + 1 : parts[i + 1][0] + 2] == "."
                ):
                    last = i + 1
                    done.add(last)
                found.append((i, last))
        elif (
            not i
            and 0 not in done
            and low in words.names
            and low not in words.common
            and not text[start:end].isupper()
            and len(low) > LONGEST_INITIAL
            and last_word(lowered, start) in RELATIVES
        ):
            found.append((0, 0))
    return found


def could_stand_alone(low: str, words: Gazetteer) -> bool:
    """Whether a label may announce this word alone as a name."""
    return low not in words.common and low not in NEVER and len(low) > 1
