"""What the tagger reads: a text in pieces, and for each what it is and how it is written.

Cuts and measures; knows no weights and decides nothing. Training (`training/phi`) and the running
tagger call the same functions. A piece is a run of letters and digits, one sign, a run of one kind
of sign, or a run of white space; a single space before a piece belongs to it. The pieces of a text
are the text: nothing lies between them. `Pieces.words` has them without that space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate, product
from operator import ne, sub
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_PIECE = re.compile(r" ?[^\W_]+| ?(?:[-=*.~#]{3,}|_{2,})| ?(?:[^\w\s]|_)|\s+")
_SIGN_LINE = re.compile(r"[-=*.~#]{3}|__")

# -- pieces that are no words ----------------------------------------------------------------------

UNKNOWN, NEWLINE, BLANK_LINE, WIDE_SPACE, SIGN, SIGN_LINE = range(6)
"""A word of no list; the end of a line; an empty line; spaces or a tab; a rare sign; `-----`."""
_NUMBERS = 6
_LENGTHS = 17
"""Digits of a number from which length tells nothing more."""
NUMBER_WIDTHS = range(1, 5)
"""Digits of the numbers that are judged by value."""
SPECIALS = 80
"""Rows kept for what is no word; numbers take those from 6 on."""


def number(digits: str) -> int:
    """Return the row of a number: by value up to four digits, by length beyond."""
    size = len(digits)
    value = int(digits) if size in NUMBER_WIDTHS else 0
    if size == 1:
        kind = value
    elif size == 2:  # noqa: PLR2004
        # months, days of a month, minutes, ages that may be told, ages that may not
        kind = 10 + sum(value > most for most in (0, 9, 12, 31, 59, 89))
        kind = kind if digits[0] != "0" else 17
    elif size == 3:  # noqa: PLR2004
        kind = 18 + value // 200
    elif size == 4:  # noqa: PLR2004
        if value >= 1800 and value < 2100:  # noqa: PLR2004 -- years, those of the very old apart
            kind = 24 + sum(value >= first for first in (1900, 1937, 1970, 2000, 2030))
        else:
            kind = 30 + (value % 100 < 60 and value < 2400)  # noqa: PLR2004 -- a time of day
    else:
        kind = 32 + min(size, _LENGTHS)
    return _NUMBERS + kind


def special(piece: str) -> int:
    """Return the row of a piece that no list of words holds; UNKNOWN for a word."""
    if piece.isalnum():
        return number(piece) if piece.isascii() and piece.isdigit() else UNKNOWN
    if piece.isspace():
        ends = piece.count("\n")
        return BLANK_LINE if ends > 1 else NEWLINE if ends else WIDE_SPACE
    return SIGN_LINE if _SIGN_LINE.match(piece) else SIGN


# -- how a piece is written ------------------------------------------------------------------------

SHAPES = 32
"""Shapes that a piece may have: its case, whether it is of letters alone, a space before it."""
_SHAPE = {
    told: sum(bit << at for at, bit in enumerate(told)) for told in product((False, True), repeat=5)
}


@dataclass(frozen=True, slots=True)
class Pieces:
    """A text in pieces: `words[i]`, in lower case and without its space, is `[starts[i], ends[i])`.

    White space alone starts where it ends.
    """

    words: list[str]
    starts: list[int]
    ends: list[int]
    shapes: list[int]
    """Each below SHAPES."""


def cut(text: str) -> Pieces:
    """Cut a text into pieces."""
    pieces = _PIECE.findall(text)
    bare = list(map(str.lstrip, pieces))
    ends = list(accumulate(map(len, pieces)))
    shapes = map(
        _SHAPE.__getitem__,
        zip(
            map(str.isupper, bare), map(str.islower, bare), map(str.istitle, bare),
            map(str.isalpha, bare), map(ne, pieces, bare), strict=True,
        ),
    )  # fmt: skip
    words = [word or piece for word, piece in zip(map(str.lower, bare), pieces, strict=True)]
    return Pieces(words, list(map(sub, ends, map(len, bare))), ends, list(shapes))


# -- words of no list ------------------------------------------------------------------------------

AFFIXES = 1 << 14
"""Buckets of the letters that words begin and end with."""
_SIZES = (2, 3, 4, 5)
AFFIXES_EACH = 2 * len(_SIZES)
_BEHIND = 1
"""Where sums of a word's end start from, so that they fall in other buckets."""
_ZEROS = str.maketrans("123456789", "0" * 9)


def affixes(word: str) -> list[int]:
    """Return the buckets of the letters that a word begins and ends with, AFFIXES_EACH of them.

    Digits count as zeros: a number's value is nothing to remember.
    """
    letters = word.translate(_ZEROS).encode("utf-8", "surrogatepass")
    found = [crc32(letters[:size]) % AFFIXES for size in _SIZES]
    found += [crc32(letters[-size:], _BEHIND) % AFFIXES for size in _SIZES]
    return found


def all_codes(lists: Floats) -> Floats:
    """Return the sum of the lists' vectors for every code; bit `i` of a code is list `i`.

    float32 [lists, width] to [2 ** lists, width].
    """
    count = len(lists)
    bits = np.arange(1 << count)[:, None] >> np.arange(count) & 1
    summed: Floats = bits.astype(np.float32) @ lists
    return summed
