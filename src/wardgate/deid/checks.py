"""Check digits and number rules: each function says whether a number can be what it looks like.

Pure: characters in, a truth value out. Separators are taken away by the caller where it says so.
"""

from __future__ import annotations

import re

_VIN_VALUES = {
    **{str(d): d for d in range(10)},
    **dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9),
               strict=True)),
}  # fmt: skip
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_LUHN_DOUBLE = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_MBI_LETTERS = frozenset("ACDEFGHJKMNPQRTUVWXY")
_MBI_ALNUM = _MBI_LETTERS | frozenset("0123456789")
_DIGITS = frozenset("0123456789")
# CMS, "Understanding the Medicare Beneficiary Identifier format": C A AN N A AN N A A N N.
_MBI_FORM = (
    frozenset("123456789"), _MBI_LETTERS, _MBI_ALNUM, _DIGITS, _MBI_LETTERS, _MBI_ALNUM,
    _DIGITS, _MBI_LETTERS, _MBI_LETTERS, _DIGITS, _DIGITS,
)  # fmt: skip
# ISO 13616 registry: characters of an IBAN by country.
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22,
    "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25,
    "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
    "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
"""Characters of an IBAN by country code."""
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(_OCTET + r"(?:\." + _OCTET + r"){3}")
_HEX = frozenset("0123456789abcdefABCDEF")


def luhn(digits: str) -> bool:
    """Whether ASCII `digits` end in their Luhn check digit (ISO/IEC 7812-1)."""
    total = 0
    double = False
    for char in reversed(digits):
        value = ord(char) - 48
        total += _LUHN_DOUBLE[value] if double else value
        double = not double
    return total % 10 == 0


def npi(digits: str) -> bool:
    """Whether ten digits are a National Provider Identifier: Luhn over 80840 + digits (45 CFR 162.406)."""
    return len(digits) == 10 and digits[0] in "12" and luhn("80840" + digits)


def card(digits: str) -> bool:
    """Whether 13 to 19 digits are a payment card: issuer range 2 to 6, Luhn, not one digit repeated."""
    return (
        13 <= len(digits) <= 19 and digits[0] in "23456" and len(set(digits)) > 1 and luhn(digits)
    )


def ssn(digits: str) -> bool:
    """Whether nine digits may be a Social Security number: area, group and serial in use (SSA, 2011)."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return len(digits) == 9 and area not in {"000", "666"} and group != "00" and serial != "0000"


def vin(text: str) -> bool:
    """Whether 17 characters are a vehicle identification number with its check digit (49 CFR 565.15)."""
    if len(text) != 17:
        return False
    total = 0
    for char, weight in zip(text.upper(), _VIN_WEIGHTS, strict=True):
        value = _VIN_VALUES.get(char)
        if value is None:
            return False
        total += value * weight
    return text[8].upper() == "0123456789X"[total % 11]


def mbi(text: str) -> bool:
    """Whether 11 characters fit the positions of a Medicare Beneficiary Identifier (CMS)."""
    return len(text) == 11 and all(
        char in allowed for char, allowed in zip(text.upper(), _MBI_FORM, strict=True)
    )


def iban(text: str) -> bool:
    """Whether characters without spaces are an IBAN: ISO 13616, remainder 1 modulo 97."""
    text = text.upper()
    if IBAN_LENGTHS.get(text[:2]) != len(text) or not (text.isalnum() and text.isascii()):
        return False
    if not text[2:4].isdigit():
        return False
    return int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1


def dea(text: str) -> bool:
    """Whether two letters and seven digits are a DEA registration number with its check digit."""
    if len(text) != 9 or not text[2:].isdigit() or not text[0].isalpha() or not text[1].isalnum():
        return False
    d = [int(char) for char in text[2:]]
    return (d[0] + d[2] + d[4] + 2 * (d[1] + d[3] + d[5])) % 10 == d[6]


def gs1(digits: str) -> bool:
    """Whether 8, 12, 13 or 14 digits end in their GS1 check digit (GS1 General Specifications §7.9)."""
    if len(digits) not in {8, 12, 13, 14} or not digits.isdigit():
        return False
    total = sum(int(char) * (3 if i % 2 else 1) for i, char in enumerate(reversed(digits)))
    return total % 10 == 0


def ipv4(text: str) -> bool:
    """Whether text is four decimal octets without leading zeros (RFC 6943 §3.1.1, strict)."""
    return _IPV4.fullmatch(text) is not None


def ipv6(text: str) -> bool:
    """Whether text is an IPv6 address (RFC 4291 §2.2), without a zone."""
    groups = text.split(":")
    if "." in groups[-1]:
        if not ipv4(groups[-1]):
            return False
        groups[-1:] = ["0", "0"]
    gaps = text.count("::")
    if gaps:
        if (
            gaps > 1
            or ":::" in text
            or len(groups) > (9 if text[:2] == "::" or text[-2:] == "::" else 8)
        ):
            return False
        if (text[0] == ":" and text[1] != ":") or (text[-1] == ":" and text[-2] != ":"):
            return False
        filled = [group for group in groups if group]
        return len(filled) < 8 and all(len(g) < 5 and _HEX.issuperset(g) for g in filled)
    return len(groups) == 8 and all(g and len(g) < 5 and _HEX.issuperset(g) for g in groups)
