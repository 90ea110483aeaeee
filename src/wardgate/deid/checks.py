"""Check digits and number rules: each function says whether a number can be what it looks like.

Pure: characters in, a truth value out. Separators are taken away by the caller where it says so.
"""

from __future__ import annotations

import ipaddress

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
_IBAN_LENGTHS = range(15, 35)


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
    return (
        len(digits) == 9
        and area != "000"
        and area != "666"
        and group != "00"
        and serial != "0000"
    )


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
    if len(text) not in _IBAN_LENGTHS or not text.isalnum() or not text.isascii():
        return False
    if not (text[:2].isalpha() and text[2:4].isdigit()):
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


def ip(text: str) -> bool:
    """Whether text is an IPv4 or IPv6 address; a zone (`%eth0`) is allowed."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
