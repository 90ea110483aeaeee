"""What the tagger reads: a text in pieces, and for each what it is and how it is written.

Cuts and measures; knows no weights and decides nothing. Training (`training/phi`) and the running
tagger call the same functions. A piece is a run of letters and digits, one sign, a run of one kind
of sign, or a run of white space; a single space before a piece belongs to it. The pieces of a text
are the text: nothing lies between them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
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
    bare = piece.removeprefix(" ")
    if bare.isalnum():
        return number(bare) if bare.isascii() and bare.isdigit() else UNKNOWN
    if not bare or bare.isspace():
        ends = piece.count("\n")
        return BLANK_LINE if ends > 1 else NEWLINE if ends else WIDE_SPACE
    return SIGN_LINE if _SIGN_LINE.match(bare) else SIGN


# -- how a piece is written ------------------------------------------------------------------------

_BITS = 20
_MOST = (1 << _BITS) - 1
_UPPER, _LOWER, _DIGIT = 1, 1 << _BITS, 1 << 2 * _BITS
_OTHER = 256


def _kind(code: int) -> int:
    char = chr(code)
    if char.isdigit():
        return _DIGIT
    if char.isupper():
        return _UPPER
    return _LOWER if char.isalpha() else 0


_KINDS = np.array([*map(_kind, range(_OTHER)), _LOWER], dtype=np.int64)
SHAPES = 96
"""Shapes that a piece may have: cases, digits, length of what is in capitals, a space before it."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """A text in pieces: `words[i]` in lower case is `[starts[i], ends[i])`, without its space."""

    words: list[str]
    starts: Ints
    ends: Ints
    shapes: Ints
    """int64 [pieces], each below SHAPES."""


def lower(text: str) -> str:
    """Return the text in lower case, of the same length."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def cut(text: str) -> Pieces:
    """Cut a text into pieces."""
    words = _PIECE.findall(lower(text))
    if not words:
        none = np.zeros(0, np.int64)
        return Pieces([], none, none, none)
    ends = np.cumsum(np.fromiter(map(len, words), np.int64, len(words)))
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1]
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds = _KINDS[np.minimum(codes, _OTHER)]
    sums = np.add.reduceat(kinds, starts)
    spaced = (codes[starts] == ord(" ")) & (ends - starts > 1)
    starts = starts + spaced
    first = kinds[starts] == _UPPER
    upper = np.minimum(sums & _MOST, 2)
    shapes = upper + 4 * ((sums >> _BITS) & _MOST > 0) + 8 * (sums >> 2 * _BITS > 0)
    shapes = shapes + 16 * first + 32 * spaced
    return Pieces(words, starts, ends, shapes)


# -- words of no list ------------------------------------------------------------------------------

GRAMS = 1 << 14
"""Buckets of the runs of three and four letters; one more row stands for no run."""
_END, _ZERO = 62, 48
_HEAD, _TAIL = 20, 8
_MIX = tuple(map(np.uint32, (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F)))
_SHIFT = np.uint32(32 - 14)


def grams(words: Sequence[str]) -> tuple[Ints, Ints, Ints]:
    """Return the buckets of all runs of three and four letters of `words`.

    int64 [2, n], the runs from each letter, the place where each word starts among the n, and how
    many runs each has. A word has marks at both ends, so that `<ko` and `ski>` are runs too. Digits
    count as zeros: a number's value is nothing to remember. Of a very long word both ends are read.
    """
    marked = [f"<{w if len(w) <= _HEAD + _TAIL else w[:_HEAD] + w[-_TAIL:]}>" for w in words]
    codes = np.frombuffer(("".join(marked) + "   ").encode("utf-32-le", "surrogatepass"), np.uint32)
    codes = np.where((codes >= _ZERO) & (codes <= _ZERO + 9), np.uint32(_ZERO), codes)
    sizes = np.fromiter(map(len, marked), np.int64, len(marked))
    count = len(codes) - 3
    three = (
        codes[:count] * _MIX[0] + codes[1 : count + 1] * _MIX[1] + codes[2 : count + 2] * _MIX[2]
    )
    four = three * _MIX[3] + codes[3:] * _MIX[0]
    buckets = np.empty((2, count), np.int64)
    # a run may hold the end mark of its word only as its last letter
    ends = codes == _END
    beyond = ends[:count] | ends[1 : count + 1]
    for row, (mixed, over) in enumerate(((three, beyond), (four, beyond | ends[2 : count + 2]))):
        spread = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
        np.copyto(buckets[row], spread >> _SHIFT)
        buckets[row][over] = GRAMS
    return buckets, np.cumsum(sizes) - sizes, 2 * sizes - 5


def all_codes(lists: Floats) -> Floats:
    """Return the sum of the lists' vectors for every code; bit `i` of a code is list `i`.

    float32 [lists, width] to [2 ** lists, width].
    """
    count = len(lists)
    bits = np.arange(1 << count)[:, None] >> np.arange(count) & 1
    summed: Floats = bits.astype(np.float32) @ lists
    return summed
