"""Fold text to an ASCII-like form for the detectors; decides nothing about PHI.

Detectors read the folded text, so one set of patterns serves full-width digits, exotic dashes and
spaces, look-alike letters of other scripts and letters with diacritics. Folding maps one code point
to one code point, so offsets stay exact. Combining marks and format characters (zero-width spaces,
joiners, bidirectional controls) hide words from patterns; they are left out, and then an index says
where each folded character stood.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache

_LAST_ASCII = 127
_FEW = 48
_BASE: dict[int, str | None] = {code: chr(code) for code in range(128)}

# Letters that NFKD does not take apart, and letters of Cyrillic and Greek that look Latin
# (Unicode UTS #39 confusables, the ones used to hide Latin words).
_LIKE = dict(
    zip(
        "øØłŁđĐıæÆßðþ" + "АВЕЅІЈКМНОРСТУХаеѕіјорсухһԁ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοναι",  # noqa: RUF001
        "oOlLdDiaAsdt" + "ABESIJKMHOPCTYXaesijopcyxhd" + "ABEZHIKMNOPTYXovai",
        strict=True,
    )
)
_SIGNS = {
    "‘": "'", "’": "'", "ʼ": "'", "′": "'", "`": "'", "“": '"', "”": '"', "″": '"',  # noqa: RUF001
    "−": "-", "⁄": "/", "∕": "/", "․": ".", "。": ".", "：": ":", "＠": "@", "\x85": "\n",  # noqa: RUF001
    "\u2028": "\n", "\u2029": "\n", "ㅤ": " ",
}  # fmt: skip
_LIKE |= _SIGNS
_MARK = "\u200b"
_INSIDE = re.compile(r"(?<=[a-z])\u200b{1,64}(?=[a-z])|(?<=[0-9])\u200b{1,64}(?=[0-9])")
_MARK_RUNS = re.compile(_MARK + "+")
_MARKS = re.compile(rf"(?<=\w){_MARK}{{1,64}}|{_MARK}{{1,64}}(?=\w)")
"""Marks beside a letter or digit; between signs alone, as in an emoji, they change no word."""
_REACH = 64
"""Code points on either side of a format character that are read again."""
_FIRST_CJK, _LAST_CJK = 0x2E80, 0xFDFF
_ASTRAL_LETTERS = range(0x1D400, 0x1F1B0)


Index = list[int] | None
"""Where each folded character stands in the text; None where offsets are equal."""


def fold(text: str) -> tuple[str, Index]:
    """Return the folded text and, where characters were left out, the index of each kept one.

    With an index of None, the folded text has the length of `text` and equal offsets. Otherwise
    `index[i]` is the offset in `text` of folded character `i`, and `index[-1]` is `len(text)`.
    """
    if text.isascii():
        return text, None
    return _folded(text, _table(text))


def readings(text: str) -> list[tuple[str, Index]]:
    """Return every folded form of a text that detectors must read; the first is all of it.

    A format character may hide inside a word (`Jo\u200bhn`) or stand between two (`John\u200b3/7`).
    The whole text is read without them; what is near them is read again with each as a space, and
    once more without those alone that split a run of small letters or of digits, if only some do. The parts read
    again stand on lines of their own, so no span may reach over a line's end.
    """
    if text.isascii():
        return [(text, None)]
    table = _table(text)
    hidden = [code for code, plain in table.items() if plain is None and is_format(chr(code))]
    if not hidden:
        return [_folded(text, table)]
    marked, at = _folded(text, table | dict.fromkeys(hidden, _MARK))
    whole = range(len(text) + 1) if at is None else at
    forms = [_without_marks(marked, whole)]
    marked, index = _near(marked, whole)
    if not marked:
        return forms
    forms.append((marked.replace(_MARK, " "), index))
    joined = len(marked) - len(_INSIDE.sub("", marked))
    if 0 < joined < marked.count(_MARK):
        inner = {i for match in _INSIDE.finditer(marked) for i in range(*match.span())}
        kept = [i for i in range(len(marked)) if i not in inner]
        mixed = "".join([marked[i] for i in kept]).replace(_MARK, " ")
        forms.append((mixed, [*(index[i] for i in kept), len(text)]))
    return forms


def _without_marks(marked: str, index: Sequence[int]) -> tuple[str, Index]:
    where: list[int] = []
    done = 0
    for match in _MARK_RUNS.finditer(marked):
        where += index[done : match.start()]
        done = match.end()
    where += index[done:]
    return marked.replace(_MARK, ""), where


def _near(marked: str, index: Sequence[int]) -> tuple[str, list[int]]:
    """Return what stands near the marks of a text, a line for each part, and its index."""
    if marked.count(_MARK) * _REACH > len(marked) and _MARKS.search(marked):  # near all of it
        return marked + "\n", [*index, index[-1]]
    ranges: list[tuple[int, int]] = []
    last = -_REACH - 1
    for match in _MARKS.finditer(marked):
        start, end = match.start() - _REACH, match.end() + _REACH
        if start <= last:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
        last = end
    lines: list[str] = []
    where: list[int] = []
    for low, high in ranges:
        # from one space to another, so that no word or number is cut
        start = max(marked.rfind(" ", 0, low), 0) if low > 0 else 0
        end = marked.find(" ", high)
        end = len(marked) if end < 0 else end
        if where and index[start] <= where[-1]:
            start = bisect_right(index, where[-1])
        lines.append(marked[start:end] + "\n")
        where += index[start:end]
        where.append(index[end])
    return "".join(lines), [*where, index[-1]]


def is_format(char: str) -> bool:
    """Whether a character shows nothing of its own: zero-width spaces, joiners, direction marks."""
    return unicodedata.category(char) == "Cf"


def _table(text: str) -> dict[int, str | None]:
    table = _BASE.copy()
    for char in set(text):
        if char > "\x7f":
            table[ord(char)] = _plain(char)
    return table


def _folded(text: str, table: dict[int, str | None]) -> tuple[str, Index]:
    changed = {
        char: plain
        for code, plain in table.items()
        if code > _LAST_ASCII and plain != (char := chr(code))
    }
    if len(changed) > _FEW:
        folded = text.translate(table)
    else:  # a few searches in C cost less than a look at every character
        folded = text
        for char, plain in changed.items():
            folded = folded.replace(char, plain or "")
    if len(folded) == len(text):
        return folded, None
    index: list[int] = []
    done = 0
    for cut in sorted(i for char in changed if changed[char] is None for i in _all(text, char)):
        index += range(done, cut)
        done = cut + 1
    index += range(done, len(text) + 1)
    return folded, index


def _all(text: str, char: str) -> Iterator[int]:
    at = text.find(char)
    while at >= 0:
        yield at
        at = text.find(char, at + 1)


def unfold(text: str, start: int, end: int, index: Index) -> tuple[int, int]:
    """Map `[start, end)` of the folded text to `text`, with the marks that follow its last letter.

    Format characters that follow stay outside.
    """
    if index is None:
        return start, end
    last, stop = index[end - 1] + 1, index[end]
    if last == stop:
        return index[start], last
    while last < stop and not is_format(text[last]):
        last += 1
    return index[start], last


def _plain(char: str) -> str | None:
    code = ord(char)
    if _FIRST_CJK <= code <= _LAST_CJK or (code > 0xFFFF and code not in _ASTRAL_LETTERS):
        # Ideographs and syllables stay. Variation selectors and tags above the BMP are format-like.
        return None if 0xE0000 <= code <= 0xE01EF else char
    return _plain_letter(char)


@lru_cache(maxsize=16_384)
def _plain_letter(char: str) -> str | None:
    like = _LIKE.get(char)
    if like is not None:
        return like
    category = unicodedata.category(char)
    if category in {"Mn", "Me", "Cf"}:
        return None
    if category == "Nd":
        return str(unicodedata.digit(char))
    if category == "Pd":
        return "-"
    if category == "Zs":
        return " "
    base = unicodedata.normalize("NFKD", char)
    if base[0].isascii() and base[0].isprintable():
        rest = base[1:]
        if not rest or all(unicodedata.combining(mark) for mark in rest):
            return base[0]
    return char
