"""E-mail, URL, IP, file names, UDI, IBAN, and numbers that hide: each family behind a cheap gate."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from wardgate.deid import checks, patterns
from wardgate.deid.context import has_any
from wardgate.deid.lexicon import TITLES
from wardgate.deid.numbers import phone_label
from wardgate.deid.spans import Candidate, Place
from wardgate.types import EntityType as E

_TAGGED = re.compile(r"\[[A-Z_]{2,13}\]\Z")
_LONGEST_TAG = 15


def net(text: str, lowered: str) -> Iterator[Candidate]:
    """Yield e-mail, URL, IP, file names, UDI, IBAN and long-form numbers; each family behind a gate."""
    if "@" in text:
        for match in patterns.EMAIL.finditer(text):
            start = _reach_left(text, match.start(), _LOCAL_PART)
            if start < match.start():
                if "." in match[0]:
                    yield (start, match.end(), E.EMAIL, 1.0, None)
            elif match[0].strip("@.").lower() not in TITLES and not _TAGGED.search(
                text, max(0, start - _LONGEST_TAG), start
            ):  # `[NAME]@on`: a local part stood there, and what it was is gone
                yield (match.start(), match.end(), E.OTHER_ID, 0.7, None)
    if "://" in text or "www" in lowered:
        for match in patterns.URL.finditer(text):
            yield (
                match.start(),
                match.start() + len(match[0].rstrip(_AFTER_URL)),
                E.URL,
                1.0,
                None,
            )
    if "." in text:
        for match in patterns.DOMAIN.finditer(text):
            start = _reach_left(text, match.start(), _HOST)
            if match.start() - start > _SHORTEST_HOST:
                yield (
                    start,
                    start + len(text[start : match.end()].rstrip(_AFTER_URL)),
                    E.URL,
                    0.8,
                    None,
                )
        for match in patterns.FILE.finditer(text):
            start = _reach_left(text, match.start(), _FILE_NAME)
            if start < match.start():
                yield (start, match.end(), E.PHOTO, 0.9, None)
    if _COLONS.search(text):
        for match in patterns.IPV6.finditer(text):
            if match.end() - match.start() > 4 and checks.ipv6(match[0]):
                yield (match.start(), match.end(), E.IP, 1.0, None)
    if "+" in text:
        for match in patterns.PLUS_PHONE.finditer(text):
            if sum(map(str.isdigit, match[0])) >= 8:
                label = phone_label(lowered, match.start())
                yield (match.start(), match.end(), label, 0.9, None)


_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")
_HYPHENS = re.compile(r"-[0-9A-Fa-f]{2}-")

_DIGIT_WORDS = (
    "zero",
    "one",
    "oh",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
)

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

_LOCAL_PART = _LETTERS + "._%+'-"

_HOST = _LETTERS + ".-"

_FILE_NAME = _LETTERS + "_.()-"

_AFTER_URL = ".,;:!?"

_FARTHEST = 160

_SHORTEST_BASE64 = 12

_SHORTEST_HOST = 2


def _reach_left(text: str, end: int, allowed: str) -> int:
    """Return where the run of `allowed` characters that ends at `end` starts, within a bound."""
    low = end - _FARTHEST if end > _FARTHEST else 0
    return low + len(text[low:end].rstrip(allowed))


def numbered(text: str, lowered: str) -> Iterator[Candidate]:
    """Yield MAC, UDI, IBAN and post-box numbers: families that need a digit in the text."""
    if _COLONS.search(text) or _HYPHENS.search(text):
        for match in patterns.MAC.finditer(text):
            yield (match.start(), match.end(), E.DEVICE, 0.9, None)
    if "(" in text:
        for match in patterns.UDI.finditer(text):
            yield (
                match.start(),
                match.end(),
                E.DEVICE,
                1.0 if checks.gs1(match[0][4:18].strip()) else 0.8,
                None,
            )
    for match in patterns.IBAN.finditer(text):
        end = _iban_end(text, match.start())
        if end:
            yield (match.start(), end, E.ACCOUNT, 1.0, None)
    if "ox " in lowered:
        for match in patterns.PO_BOX.finditer(text):
            yield (match.start(), match.end(), E.LOCATION, 0.9, Place.STREET)


def _iban_end(text: str, start: int) -> int:
    """Return where the IBAN that starts here ends, or 0; groups of four may be apart by a space."""
    size = checks.IBAN_LENGTHS.get(text[start : start + 2])
    if size is None:
        return 0
    spaced = text[start + 4 : start + 5] == " "
    end = start + (size + (size - 1) // 4 if spaced else size)
    token = text[start:end]
    if spaced and token[4::5].strip():
        return 0
    return end if checks.iban(token.replace(" ", "")) and not text[end : end + 1].isalnum() else 0


def hidden(text: str, lowered: str) -> Iterator[Candidate]:
    """Yield numbers spelt out in words, and base64 that decodes to readable text."""
    if has_any(lowered, _DIGIT_WORDS):
        for match in patterns.TEXT_DIGITS.finditer(text):
            yield (match.start(), match.end(), E.PHONE, 0.8, None)
    if max(map(len, text.split()), default=0) < _SHORTEST_BASE64:
        return
    for match in patterns.BASE64.finditer(text):
        token = match[0]
        if token.isalpha() and (token.islower() or token.isupper() or token.istitle()):
            continue
        if _readable(token):
            yield (match.start(), match.end(), E.OTHER_ID, 0.9, None)


def _readable(token: str) -> bool:
    if token.isdigit():
        return False
    bare = token.rstrip("=")
    try:
        raw = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) > 7 and raw.isascii() and raw.decode("ascii").replace("\n", " ").isprintable()
