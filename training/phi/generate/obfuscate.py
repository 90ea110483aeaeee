"""Identifiers written so that a reader still sees them and a pattern may not."""

from __future__ import annotations

import base64
from collections.abc import Callable

from training.phi.generate.document import Document, Edit, Span
from training.phi.generate.noise import edited
from training.phi.generate.rng import Rng

ZERO_WIDTH = ("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad")
HOMOGLYPHS = str.maketrans(
    "aceopxyisABCEHIKMOPTX",
    "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0455\u0410\u0412\u0421\u0415\u041d\u0406\u041a\u041c\u041e\u0420\u0422\u0425",
)
GREEK = str.maketrans(
    "ovABEHIKMNOPTXYZ",
    "\u03bf\u03bd\u0391\u0392\u0395\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a7\u03a5\u0396",
)
LEET = str.maketrans("aeiostAEIOST", "431057431057")
OCR = {
    "O": "0",
    "0": "O",
    "l": "1",
    "1": "l",
    "I": "1",
    "5": "S",
    "S": "5",
    "8": "B",
    "B": "8",
    "m": "rn",
    "rn": "m",
    "2": "Z",
    "6": "b",
    "g": "9",
    "o": "0",
    "i": "1",
    "e": "c",
    "h": "b",
    "u": "ii",
}
SPELT = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NUMERIC = frozenset(("PHONE", "SSN", "MRN", "ACCOUNT", "HEALTH_PLAN", "OTHER_ID", "LICENSE"))


def _between(text: str, mark: str, rng: Rng, share: float) -> str:
    out = [text[:1]]
    for char in text[1:]:
        if rng.chance(share):
            out.append(mark)
        out.append(char)
    return "".join(out)


def _zero_width(text: str, rng: Rng) -> str:
    return _between(text, rng.pick(ZERO_WIDTH), rng, rng.pick((0.2, 0.5, 1.0)))


def _homoglyph(text: str, rng: Rng) -> str:
    table = HOMOGLYPHS if rng.chance(0.8) else GREEK
    share = rng.pick((0.3, 0.6, 1.0))
    return "".join(c.translate(table) if rng.chance(share) else c for c in text)


def _full_width(text: str, rng: Rng) -> str:
    digits_only = rng.chance(0.5)
    return "".join(
        chr(ord(c) + 0xFEE0) if "!" <= c <= "~" and (c.isdigit() or not digits_only) else c
        for c in text
    )


def _spelt(text: str, rng: Rng) -> str:
    words = []
    zero = rng.pick(("zero", "oh", "zero", "o"))
    for char in text:
        if char.isdigit() and char.isascii():
            words.append(zero if char == "0" else SPELT[int(char)])
        elif char.isalpha():
            words.append(char)
        elif char in "-." and rng.chance(0.3):
            words.append("dash" if char == "-" else "dot")
    return rng.pick((" ", " ", "-", " ")).join(words)


def _ocr(text: str, rng: Rng) -> str:
    return "".join(OCR.get(c, c) if rng.chance(0.3) else c for c in text)


def _leet(text: str, rng: Rng) -> str:
    share = rng.pick((0.5, 1.0))
    return "".join(c.translate(LEET) if rng.chance(share) else c for c in text)


def _spaced(text: str, rng: Rng) -> str:
    mark = rng.pick((" ", " ", ".", "-", "_", "*"))
    words = text.split() if mark == " " else [text.replace(" ", "")]
    return "   ".join(mark.join(word) for word in words)


def _base64(text: str, _: Rng) -> str:
    return base64.b64encode(text.encode()).decode()


def _hexed(text: str, rng: Rng) -> str:
    return text.encode().hex() if rng.chance(0.5) else "".join(f"%{b:02X}" for b in text.encode())


def _at_dot(text: str, rng: Rng) -> str:
    at, dot = rng.pick(
        (
            (" at ", " dot "),
            (" [at] ", " [dot] "),
            ("(at)", "(dot)"),
            (" AT ", " DOT "),
            (" @ ", " . "),
            ("[@]", "[.]"),
        )
    )
    return text.replace("@", at).replace(".", dot)


def _entities(text: str, rng: Rng) -> str:
    return "".join(f"&#{ord(c)};" if rng.chance(0.4) else c for c in text)


def _alternating(text: str, _: Rng) -> str:
    return "".join(
        c.upper() if i % 2 and len(c.upper()) == 1 else c.lower() if len(c.lower()) == 1 else c
        for i, c in enumerate(text)
    )


def _bold(text: str, rng: Rng) -> str:
    """Return mathematical letters and digits."""
    upper, lower, digit = rng.pick(
        ((0x1D400, 0x1D41A, 0x1D7CE), (0x1D5D4, 0x1D5EE, 0x1D7EC), (0x1D670, 0x1D68A, 0x1D7F6))
    )

    def change(char: str) -> str:
        if "A" <= char <= "Z":
            return chr(upper + ord(char) - 65)
        if "a" <= char <= "z":
            return chr(lower + ord(char) - 97)
        return chr(digit + ord(char) - 48) if "0" <= char <= "9" else char

    return "".join(map(change, text))


def _accented(text: str, rng: Rng) -> str:
    """Return combining marks over letters."""
    mark = rng.pick(("\u0301", "\u0307", "\u0323", "\u0335"))
    return "".join(c + mark if c.isalpha() and rng.chance(0.5) else c for c in text)


def _half_spelt(text: str, rng: Rng) -> str:
    """Return some digits in words, others not."""
    return (
        "".join(f" {SPELT[int(c)]} " if c in "0123456789" and rng.chance(0.4) else c for c in text)
        .replace("  ", " ")
        .strip()
    )


def _other_dashes(text: str, rng: Rng) -> str:
    dash = rng.pick(("\u2010", "\u2011", "\u2013", "\u2212", " - ", "\u00b7", "\u2044"))
    space = rng.pick(("\u00a0", "\u2009", "\u202f", "  ", "\t"))
    return text.replace("-", dash).replace(" ", space)


ANY = (
    _zero_width,
    _zero_width,
    _homoglyph,
    _homoglyph,
    _full_width,
    _ocr,
    _ocr,
    _spaced,
    _base64,
    _entities,
    _alternating,
    _hexed,
    _bold,
    _accented,
    _other_dashes,
)
OF_WORDS = (_leet, _leet)
OF_DIGITS = (_spelt, _spelt, _spelt, _full_width, _half_spelt, _other_dashes)
OF_ADDRESSES = (_at_dot, _at_dot, _at_dot)


def obfuscated(document: Document, rng: Rng, share: float) -> Document:
    """Return the document with a `share` of its identifiers obfuscated, each in its own way."""
    edits: list[Edit] = []
    favourite = rng.pick(ANY) if rng.chance(0.4) else None
    for span in document.spans:
        if span.ignore or not rng.chance(share):
            continue
        text = document.text[span.start : span.end]
        new = (favourite or _way(span, text, rng))(text, rng)
        if new and new != text and any(c.isalnum() for c in new):
            edits.append((span.start, span.end, new))
    return edited(document, edits)


def _way(span: Span, text: str, rng: Rng) -> Callable[[str, Rng], str]:
    ways = list(ANY)
    if span.label in {"EMAIL", "URL"}:
        ways += OF_ADDRESSES * 3
    if span.label in NUMERIC and sum(c.isdigit() for c in text) > 3:
        ways += OF_DIGITS * 2
    if span.label in {"NAME", "LOCATION"}:
        ways += OF_WORDS * 2
    return rng.pick(ways)
