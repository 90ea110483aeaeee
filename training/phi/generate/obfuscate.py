"""Identifiers written so that a reader still sees them and a pattern may not."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable

from training.phi.generate.dates import ORDINALS
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
NATO = [
    "alpha",
    "bravo",
    "charlie",
    "delta",
    "echo",
    "foxtrot",
    "golf",
    "hotel",
    "india",
    "juliett",
    "kilo",
    "lima",
    "mike",
    "november",
    "oscar",
    "papa",
    "quebec",
    "romeo",
    "sierra",
    "tango",
    "uniform",
    "victor",
    "whiskey",
    "xray",
    "yankee",
    "zulu",
]
AS_IN = [
    "apple",
    "boy",
    "cat",
    "dog",
    "edward",
    "frank",
    "george",
    "henry",
    "ice",
    "john",
    "king",
    "larry",
    "mary",
    "nancy",
    "ocean",
    "peter",
    "queen",
    "robert",
    "sam",
    "tom",
    "umbrella",
    "victor",
    "william",
    "xray",
    "yellow",
    "zebra",
]
SMALL_CAPITALS = str.maketrans(
    "abcdefghijklmnoprstuvwyz",
    "\u1d00\u0299\u1d04\u1d05\u1d07\ua730\u0262\u029c\u026a\u1d0a\u1d0b\u029f\u1d0d\u0274\u1d0f\u1d18\u0280\ua731\u1d1b\u1d1c\u1d20\u1d21\u028f\u1d22",
)
PARTING = (
    " then ",
    " and ",
    ", ",
    " / ",
    " ~ ",
    "...",
    " \u260e ",
    "\U0001f4de",
    " \u2022 ",
    " \u2192 ",
    "\u2b50",
    " (no spaces) ",
    " uh ",
    " | ",
    "__",
    " pause ",
)
TENS = ["-", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
TEENS = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
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
    mark = rng.pick((" ", " ", ".", "-", "_", "*", "/", "|", " . ", " - ", "~", "+"))
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
            (" at ", " period "),
            (" AT sign ", " DOT "),
            ("{at}", "{dot}"),
            ("<at>", "<dot>"),
            ("_at_", "_dot_"),
            (" arroba ", " punto "),
            ("\uff20", "\uff0e"),
            (" (a) ", " (d) "),
            ("@NOSPAM.", "."),
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


def _reversed(text: str, _: Rng) -> str:
    return text[::-1]


def _parted(text: str, rng: Rng) -> str:
    """Return groups of digits or words with words, signs or emoji between them."""
    groups = re.findall(r"\d{1,4}|[^\W\d_]+", text)
    if len(groups) < 2:
        groups = [text[at : at + 3] for at in range(0, len(text), 3)]
    mark = rng.pick(PARTING)
    return mark.join(groups)


def _keycaps(text: str, _: Rng) -> str:
    return "".join(c + "\ufe0f\u20e3" if c in "0123456789" else c for c in text)


def _marked_up(text: str, rng: Rng) -> str:
    """Return the text with Markdown or HTML in and about it."""
    at = rng.between(1, max(1, len(text) - 1))
    head, tail = text[:at], text[at:]
    return rng.pick(
        (
            f"{head}<b>{tail}</b>",
            f"<b>{head}</b>{tail}",
            f"{head}<wbr>{tail}",
            f"{head}<!-- -->{tail}",
            f"{head}&shy;{tail}",
            f"{head}&zwnj;{tail}",
            f"{head}**{tail}",
            f"**{head}**{tail}",
            f"_{head}_{tail}",
            f"`{text}`",
            f"~~{head}~~{tail}",
            f"{head}<br/>{tail}",
            f"{head}\\{tail}",
            text.replace(" ", "&nbsp;"),
            text.replace(" ", "</td><td>"),
            text.replace(" ", "%20").replace("@", "%40").replace("/", "%2F").replace(":", "%3A"),
            text.replace(" ", "+"),
            text.replace("@", "&commat;").replace(".", "&period;").replace("-", "&#8209;"),
        )
    )


def _escaped(text: str, rng: Rng) -> str:
    """Return letters as the escapes of programs and mail."""
    form = rng.pick(("\\u{:04x}", "\\x{:02x}", "&#x{:X};", "={:02X}", "%{:02x}", "U+{:04X} "))
    share = rng.pick((0.2, 0.5, 1.0))
    return "".join(
        form.format(ord(c)) if rng.chance(share) and ord(c) < 256 else c for c in text
    ).strip()


def _broken(text: str, rng: Rng) -> str:
    """Return a word broken at the end of a line."""
    spots = [m.start() for m in re.finditer(r"(?<=\w)(?=\w)", text)]
    if not spots:
        return text
    at = rng.pick(spots)
    return text[:at] + rng.pick(("-\n", "\n", "-\n  ", "\u00ad\n", "- ", "\n> ")) + text[at:]


def _joined(text: str, rng: Rng) -> str:
    """Return words as one: a handle, a tag, a file name."""
    words = re.findall(r"\w+", text)
    mark = rng.pick(("_", "", ".", "-", ""))
    word = mark.join(words)
    return rng.pick((word.lower(), word, "#" + word, "@" + word.lower(), word.upper()))


def _phonetic(text: str, rng: Rng) -> str:
    """Return a word as the telephone spells it."""
    if len(text) > 14 or not text.isascii():
        return _spaced(text, rng)
    as_in = rng.chance(0.4)
    words = []
    for char in text:
        place = ord(char.lower()) - 97
        if char.isalpha() and as_in:
            words.append(f"{char.upper()} {rng.pick(('as in', 'for', 'like'))} {AS_IN[place]}")
        elif char.isalpha():
            words.append(NATO[place])
        elif char.isdigit():
            words.append(SPELT[int(char)])
    text = rng.pick((" ", " ", ", ")).join(words)
    return text.title() if rng.chance(0.3) else text


def _small_capitals(text: str, _: Rng) -> str:
    return text.lower().translate(SMALL_CAPITALS)


def _circled(text: str, rng: Rng) -> str:
    """Return letters in circles, raised or as regional signs."""
    base = rng.pick((0x24D0, 0x1F130, 0x1F150, 0x1F170))

    def change(char: str) -> str:
        if base == 0x24D0 and char.isascii() and char.islower():
            return chr(base + ord(char) - 97)
        if char.isascii() and char.isalpha():
            return chr((0x24B6 if base == 0x24D0 else base) + ord(char.upper()) - 65)
        return chr(0x2460 + ord(char) - 49) if char in "123456789" else char

    return "".join(map(change, text))


def _mojibake(text: str, rng: Rng) -> str:
    """Return what a wrong decoding made of it, or of an accent put on it."""
    if text.isascii():
        marks = {
            "a": "\u00e1",
            "e": "\u00e9",
            "i": "\u00ed",
            "o": "\u00f6",
            "u": "\u00fc",
            "n": "\u00f1",
        }
        spots = [at for at, char in enumerate(text) if char in marks]
        if not spots:
            return text
        at = rng.pick(spots)
        text = text[:at] + marks[text[at]] + text[at + 1 :]
    return text.encode().decode("latin-1").replace("\x83", "\u0192")


def _masked(text: str, rng: Rng) -> str:
    """Return some letters starred out, too few to hide anything."""
    vowels = rng.chance(0.5)
    return "".join(
        "*" if (c in "aeiou" if vowels else c.isalnum() and i % 4 == 2) else c
        for i, c in enumerate(text)
    )


def _stripped(text: str, _: Rng) -> str:
    """Return letters without their marks, in an order of their own."""
    plain = unicodedata.normalize("NFD", text)
    return "".join(c for c in plain if not unicodedata.combining(c))


def _said(number: int) -> str:
    if number < 10:
        return SPELT[number]
    if number < 20:
        return TEENS[number - 10]
    if number < 100:
        return TENS[number // 10] + ("-" + SPELT[number % 10] if number % 10 else "")
    if 1900 <= number < 2000 and number % 100 > 9:
        return "nineteen " + _said(number % 100)
    if 2000 <= number < 2100:
        rest = number % 100
        return "two thousand" + (" " + _said(rest) if rest else "")
    return " ".join(SPELT[int(c)] for c in str(number))


def _said_date(text: str, rng: Rng) -> str:
    """Return a date with its numbers in words."""
    mark = rng.pick((" slash ", " ", " of ", " dash ", ", "))
    text = re.sub(r"(\d{1,2})(?:st|nd|rd|th)\b", lambda m: ORDINALS[int(m[1]) % 32 - 1], text)
    text = re.sub(r"(?<=\d)\s*[/.-]\s*(?=\d)", mark, text)
    return re.sub(r"\d{1,4}", lambda m: _said(int(m[0])) if rng.chance(0.85) else m[0], text)


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
    _reversed,
    _marked_up,
    _marked_up,
    _escaped,
    _broken,
    _broken,
    _joined,
    _circled,
)
OF_WORDS = (
    _leet,
    _leet,
    _phonetic,
    _small_capitals,
    _mojibake,
    _mojibake,
    _stripped,
    _broken,
    _masked,
)
OF_DIGITS = (
    _spelt,
    _spelt,
    _spelt,
    _full_width,
    _half_spelt,
    _other_dashes,
    _parted,
    _parted,
    _keycaps,
    _phonetic,
)
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
    if span.label == "DATE":
        ways += [_said_date] * 6
    if span.label in {"NAME", "LOCATION"}:
        ways += OF_WORDS * 2
    return rng.pick(ways)
