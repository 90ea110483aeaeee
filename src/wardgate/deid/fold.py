"""Fold text to an ASCII-like form for the detectors; decides nothing about PHI.

Detectors read the folded text, so one set of patterns serves full-width digits, exotic dashes and
spaces, look-alike letters of other scripts and letters with diacritics. Folding maps one code point
to one code point, so offsets stay exact. Combining marks and format characters (zero-width spaces,
joiners, bidirectional controls, control characters that are no white space to a reader) hide words
from patterns; they are left out, and then an index says where each folded character stood.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import compress

from wardgate.deid.spans import Candidate

_FEW = 48
_SPARSE = 8
_BASE: dict[int, str | None] = {code: chr(code) for code in range(128)}
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
"""Control characters of ASCII but tabs and the ends of lines and pages."""

# Letters that NFKD does not take apart, and letters of Cyrillic and Greek that look Latin
# (Unicode UTS #39 confusables, the ones used to hide Latin words).
_LIKE = dict(
    zip(
        "øØłŁđĐıæÆßðþȷɑɡɩ" + "АВЕЅІЈКМНОРСТУХаеѕіјорсухһԁԛԝѵ"  # noqa: RUF001
        "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοναιρτυκχε"
        "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ",
        "oOlLdDiaAsdtjagi" + "ABESIJKMHOPCTYXaesijopcyxhdqwv" + "ABEZHIKMNOPTYXovaiptukxe"
        "abcdefghijklmnoprstuvwyz",
        strict=True,
    )
)
_SIGNS = {
    "‘": "'", "’": "'", "ʼ": "'", "′": "'", "`": "'", "“": '"', "”": '"', "″": '"',  # noqa: RUF001
    "−": "-", "⁄": "/", "∕": "/", "․": ".", "。": ".", "：": ":", "＠": "@", "\x85": "\n",  # noqa: RUF001
    "\u2028": "\n", "\u2029": "\n", "ㅤ": " ", "\u3000": " ", "\u2800": " ", "\uffa0": " ",
}  # fmt: skip
_LIKE |= _SIGNS
# Letters on discs and squares and the letters of flags; digits on discs.
_LIKE |= {chr(first + i): chr(65 + i) for first in (0x1F150, 0x1F170, 0x1F1E6) for i in range(26)}
_LIKE |= {chr(first + i): str(i + 1) for first in (0x2776, 0x2780, 0x278A) for i in range(9)} | {
    "⓿": "0"
}
_MARK = "\u200b"
_INNER, _OUTER = "\u200c", "\u200d"
"""In a marked text all format characters are marks, these two as well; then they stand for joints."""
_INSIDE = re.compile(rf"{_MARK}(?:(?<=[a-z].)(?={_MARK}*+[a-z])|(?<=[0-9].)(?={_MARK}*+[0-9]))")
"""The first mark of those that split a run of small letters or of digits."""
_BESIDE = re.compile(
    rf"{_MARK}(?:(?<=[A-Za-z0-9].)(?={_MARK}*+[^\s{_MARK}])"
    rf"|(?<=[^\s{_MARK}{_INNER}].)(?={_MARK}*+[A-Za-z0-9]))"
)
"""The first mark of those elsewhere between a letter or digit and anything but a space.

Beside a space, at an end of the text and between signs, as in an emoji, marks change no word.
"""
_SPELT = re.compile(rf"[A-Za-z0-9](?:[{_INNER}{_OUTER}]++[A-Za-z0-9](?![A-Za-z0-9])){{3,}}")
"""Letters and digits each apart from the next by marks: `M\u200be\u200bt\u200bo`, one word."""
_REACH = 64
"""Code points on either side of a format character that are read again."""
_INNERS = re.compile(rf"{_INNER}(?:[^{_INNER}]{{0,{2 * _REACH}}}+{_INNER})*+")
_OUTERS = re.compile(rf"{_OUTER}(?:[^{_OUTER}]{{0,{2 * _REACH}}}+{_OUTER})*+")
"""Joints that lie so near each other that what is near them is one part."""
_WHOLE = 65_536
_AGAIN = 1 / 32
"""All readings of a text together: this much more than its length, or than `_WHOLE` if shorter."""
_FIRST_CJK, _LAST_CJK = 0x2E80, 0xFDFF
_ASTRAL_LETTERS = range(0x1D400, 0x1F1B0)


Index = list[int] | None
"""Where each folded character stands in the text; None where offsets are equal."""


def fold(text: str) -> tuple[str, Index]:
    """Return the folded text and, where characters were left out, the index of each kept one.

    With an index of None, the folded text has the length of `text` and equal offsets. Otherwise
    `index[i]` is the offset in `text` of folded character `i`, and `index[-1]` is `len(text)`.
    """
    if _plain_ascii(text):
        return text, None
    return _folded(text, _table(text))


Ranges = list[tuple[int, int]]


def readings(text: str) -> tuple[list[tuple[str, Index]], Ranges]:
    """Return every folded form of a text that detectors must read, and what they cannot read.

    The first form is all of it, but for what cannot be read. A format character may hide inside a word (`Jo\u200bhn`) or stand
    between two (`John\u200b3/7`): the first form is without them, and what is near one is read again
    with a space in its place. Where some split a run of small letters or of digits, and others do
    not, what is near the latter is read without the former, and what is near the former with all as
    spaces. The parts read again stand on lines of their own, so no span may reach over a line's end.

    A long text that is full of format characters would take several times as long as another. Past
    a bound what is near them is not read at all but returned as ranges of the text, sorted and
    disjoint; nobody knows what they hide, so the caller must take them out.
    """
    if _plain_ascii(text):
        return [(text, None)], []
    table = _table(text)
    hidden = [code for code, plain in table.items() if plain is None and is_format(chr(code))]
    if not hidden:
        return [_folded(text, table)], []
    marked, at = _folded(text, table | dict.fromkeys(hidden, _MARK))
    index: Sequence[int] = range(len(text) + 1) if at is None else at
    plain = marked.replace(_MARK, "")
    kept = _kept(marked, _MARK, index)
    # a constant in place of a match is put in by C
    joints = _SPELT.sub(_together, _BESIDE.sub(_OUTER, _INSIDE.sub(_INNER, marked)))
    inner, outer = _INNER in joints, _OUTER in joints
    if not (inner or outer):
        return [(plain, kept)], []
    again: list[tuple[str, Index]] = []
    index = _kept(joints, _MARK, index)
    joints = joints.replace(_MARK, "")
    room = int(max(len(plain), _WHOLE) * (1 + _AGAIN)) - len(plain)
    unread: Ranges = []
    if inner and outer:
        part = joints.replace(_INNER, "")
        part, where = _near(part, _kept(joints, _INNER, index), _OUTERS, room, unread)
        again.append((part.replace(_OUTER, " "), where))
        room -= len(part)
    part, where = _near(joints, index, _INNERS if inner else _OUTERS, room, unread)
    again.append((part.replace(_OUTER, " ").replace(_INNER, " "), where))
    unread = _joined(unread)
    return [_without(plain, kept, unread), *again], unread


def _joined(ranges: Ranges) -> Ranges:
    """Return the ranges in order, each run of those that overlap or touch as one."""
    joined: Ranges = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _without(plain: str, index: list[int], ranges: Ranges) -> tuple[str, list[int]]:
    """Return a form and its index with the end of a line in place of each range of the text."""
    if not ranges:
        return plain, index
    lines: list[str] = []
    where: list[int] = []
    done = 0
    for start, end in ranges:
        low, high = bisect_left(index, start), min(bisect_left(index, end), len(plain))
        lines.append(plain[done:low] + "\n")
        where += index[done:low]
        where.append(start)
        done = high
    lines.append(plain[done:])
    return "".join(lines), where + index[done:]


def _kept(marked: str, left_out: str, index: Sequence[int]) -> list[int]:
    """Return the index of a marked text without one of its characters."""
    if marked.count(left_out) * _SPARSE > len(marked):
        kept = list(compress(index, map(left_out.__ne__, marked)))
        kept.append(index[-1])
        return kept
    kept = []
    done = 0
    for cut in _all(marked, left_out):
        kept += index[done:cut]
        done = cut + 1
    kept += index[done:]
    return kept


def _near(
    marked: str, index: Sequence[int], marks: re.Pattern[str], room: int, unread: Ranges
) -> tuple[str, list[int]]:
    """Return what stands near the marks of a text, a line for each part, and its index.

    At most `room` code points, the ends of lines aside; what is left over is added to `unread`.
    """
    lines: list[str] = []
    where: list[int] = []
    for match in marks.finditer(marked):
        # from one space to another, so that no word or number is cut
        start = max(marked.rfind(" ", 0, max(match.start() - _REACH, 0)), 0)
        end = marked.find(" ", match.end() + _REACH)
        end = len(marked) if end < 0 else end
        if where and index[start] <= where[-1]:
            start = min(bisect_right(index, where[-1]), end)
        if end - start > room:
            # what stands left of the cut is read and taken out all the same: a cut may hide a name
            unread.append((index[max(start + room - _REACH, start)], index[end]))
            end = start + room
        room -= end - start
        if end > start:
            lines.append(marked[start:end] + "\n")
            where += index[start:end]
            where.append(index[end])
    return "".join(lines), [*where, index[-1]]


def _together(spelt: re.Match[str]) -> str:
    """Return a word spelt with marks as one whose marks change nothing."""
    return spelt[0].replace(_INNER, _MARK).replace(_OUTER, _MARK)


def _plain_ascii(text: str) -> bool:
    return text.isascii() and not _CONTROL.search(text)


def is_format(char: str) -> bool:
    """Whether a character shows nothing: zero-width spaces, joiners, direction marks, controls."""
    category = unicodedata.category(char)
    return category == "Cf" or (category == "Cc" and char not in _BREAKS)


_BREAKS = frozenset("\t\n\v\f\r\x85")


def _table(text: str) -> dict[int, str | None]:
    table = _BASE.copy()
    for char in set(text):
        if char > "\x7f":
            table[ord(char)] = _plain(char)
        elif _CONTROL.match(char):
            table[ord(char)] = None
    return table


def _folded(text: str, table: dict[int, str | None]) -> tuple[str, Index]:
    changed = {char: plain for code, plain in table.items() if plain != (char := chr(code))}
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


def unfold(text: str, found: Iterable[Candidate], index: Sequence[int]) -> list[Candidate]:
    """Map candidates of the folded text to `text`.

    Each takes in the marks that follow its last letter. Format characters that follow stay outside.
    """
    mapped: list[Candidate] = []
    for start, end, label, score, detail in found:
        last, stop = index[end - 1] + 1, index[end]
        while last < stop and not is_format(text[last]):
            last += 1
        mapped.append((index[start], last, label, score, detail))
    return mapped


def _plain(char: str) -> str | None:
    code = ord(char)
    like = _LIKE.get(char)
    if like is not None:
        return like
    if _FIRST_CJK <= code <= _LAST_CJK or (code > 0xFFFF and code not in _ASTRAL_LETTERS):
        # Ideographs and syllables stay. Variation selectors and tags above the BMP are format-like.
        return None if 0xE0000 <= code <= 0xE01EF else char
    return _plain_letter(char)


@lru_cache(maxsize=16_384)
def _plain_letter(char: str) -> str | None:
    category = unicodedata.category(char)
    if category in {"Mn", "Me", "Cf", "Cc"}:
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
