"""Fold text to an ASCII-like form for the detectors; decides nothing about PHI.

Detectors read the folded text, so one set of patterns serves full-width digits, exotic dashes and
spaces, look-alike letters of other scripts and letters with diacritics. Folding maps one code point
to one code point, so offsets stay exact. Combining marks and format characters (zero-width spaces,
joiners, bidirectional controls) hide words from patterns; they are left out, and then an index says
where each folded character stood.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

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
_FIRST_CJK, _LAST_CJK = 0x2E80, 0xFDFF
_ASTRAL_LETTERS = range(0x1D400, 0x1F1B0)


def fold(text: str) -> tuple[str, list[int] | None]:
    """Return the folded text and, where characters were left out, the index of each kept one.

    With an index of None, the folded text has the length of `text` and equal offsets. Otherwise
    `index[i]` is the offset in `text` of folded character `i`, and `index[-1]` is `len(text)`.
    """
    if text.isascii():
        return text, None
    table = _BASE.copy()
    removes = False
    for char in set(text):
        if char > "\x7f":
            plain = _plain(char)
            table[ord(char)] = plain
            removes = removes or plain is None
    folded = text.translate(table)
    if not removes:
        return folded, None
    index = [i for i, char in enumerate(text) if table[ord(char)] is not None]
    index.append(len(text))
    return folded, index


def unfold(start: int, end: int, index: list[int] | None) -> tuple[int, int]:
    """Map `[start, end)` of the folded text to the text, with the marks that follow its last letter."""
    if index is None:
        return start, end
    return index[start], index[end]


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
