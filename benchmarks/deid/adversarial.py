"""Texts that are hard for a detector: dense candidates of every kind, and text that is nothing else.

Shared by the benchmark and by the tests of the time limits.
"""

from __future__ import annotations

import random

_RANDOM = random.Random(7)
_WORDS = [
    "patient",
    "denies",
    "chest",
    "pain",
    "on",
    "exertion",
    "and",
    "reports",
    "mild",
    "dyspnea",
    "since",
    "last",
    "visit",
]


def _unicode() -> str:
    return "".join(
        chr(_RANDOM.choice((_RANDOM.randrange(32, 0xD800), _RANDOM.randrange(0xE000, 0x1FFFF))))
        for _ in range(4000)
    )


PIECES: dict[str, str] = {
    "prose": " ".join(_WORDS) + ". ",
    "digits": "1",
    "spaced_digits": "1 ",
    "four_digits": "1234 ",
    "five_digits": "12345 ",
    "nine_digits": "123456789 ",
    "mixed_codes": "A1B2C3D4 ",
    "dates": "3/4/19 ",
    "partial_dates": "on 3/7 ",
    "slashes": "1/2/",
    "dashes": "1-2-",
    "dots": "1.2.3.4 ",
    "phones": "212-555-0100 ",
    "pluses": "+1 ",
    "ssns": "123-45-6789 ",
    "cards": "4111 1111 1111 1111 ",
    "titles": "Dr. Ng ",
    "names": "John Smith ",
    "names_lines": "John Smith\n",
    "single_names": "Martha, ",
    "inverted": "SMITH, JOHN; ",
    "initials": "J. A. ",
    "all_caps": "SMITH JOHN ",
    "caps_letters": "A",
    "caps_words": "Aa ",
    "labels": "Patient: Smith\n",
    "keywords": "mrn account policy number ",
    "keyword_numbers": "mrn 12345 ",
    "months": "May ",
    "month_days": "Mar 3 ",
    "ages": "93yo ",
    "ats": "@",
    "mails": "a@b.co ",
    "mail_like": "a@a.",
    "domains": "a.com ",
    "dot_words": "a.b.c.",
    "urls": "www.x.y ",
    "colons": "a:b:",
    "ipv6": "::1 ",
    "hex": "ab:cd:ef:",
    "streets": "12 Oak St ",
    "street_like": "1 A B C D ",
    "cities": "Boston, MA ",
    "zips": "MA 02115 ",
    "hospitals": "Mercy Hospital ",
    "brackets": "[NAME] ",
    "open_brackets": "[(",
    "parens": "(01)",
    "digit_words": "one two ",
    "base64": "QUJD",
    "iban_like": "AB12 ",
    "years": "in 1930 ",
    "greetings": "hi, ",
    "apostrophes": "O'",
    "hyphens": "A-",
    "underscores": "a_1",
    "files": "a.jpg ",
    "spaces": " ",
    "newlines": "\n",
    "crlf": "\r\n",
    "zero_width": "a\u200b",
    "hidden_joints": "3/4/19\u200b",
    "hidden_inside": "Jo\u200bhn Smith ",
    "zero_width_alone": "\u200b",
    "zero_width_digits": "1\u200b",
    "zero_width_capitals": "A\u200b",
    "zero_width_runs": "a\u200b\u200b\u200b",
    "zero_width_spaced": "a \u200bB",
    "zero_width_lines": "a\u200b\n",
    "zero_width_words": "denies\u200bchest ",
    "zero_width_names": "J\u200bo\u200bh\u200bn Sm\u200bith ",
    "zero_width_dates": "3\u200b/4\u200b/19 ",
    "zero_width_years": "in 1931\u200b ",
    "zero_width_kinds": "a\u200bb\u200cc\u200dd\u2060e\ufefff\u00adg\u200eh\u200fi\u202ej\u2066",
    "zero_width_far": "denies pain and reports mild dyspnea since his last visit here\u200b, ",
    "zero_width_apart": "denies chest pain on exertion " * 5 + "\u200b",
    "joints_everywhere_years": "in 20\u200b24 born 1931\u200b ",
    "joints_everywhere_cities": "Bos\u200bton, MA\u200b ",
    "joints_everywhere_dates": "on 1\u200b2/4/19\u200b ",
    "joints_everywhere_names": "Jo\u200bhn Smith\u200b ",
    "joints_of_both_kinds_names": "J\u200bo\u200bhn Smi\u200bth\u200b3/4\u200b/19 ",
    "joints_of_both_kinds_cities": "Bo\u200bston,\u200bMA\u200b02\u200b115\u200b(",
    "joints_of_both_kinds_years": "in 19\u00ad31 b\u00ad4 ",
    "joints_of_both_kinds_months": "Mar\u00ad3 M\u00ada\u00adr 3 ",
    "joints_apart_cities": "Boston, MA " * 6 + "a\u00ad1 ",
    "joints_apart_days": "Mar 3 " * 20 + "a\u00adb\u00ad1 ",
    "joints_far_labels": "mrn account policy number " * 60 + "a\u00adb\u00ad1 ",
    "joints_far_cities": "Boston, MA " * 150 + "a\u00adb ",
    "soft_hyphens": "ex\u00ader\u00adtion ",
    "joiners": "é\u200dx\u0301",
    "combining": "e\u0301",
    "full_width": "１２３ ",
    "emoji": "👩‍👩‍👧 ",
    "arabic": "السلام ",
    "cyrillic": "Иван ",
    "unicode": _unicode(),
}  # fmt: skip


def of_size(name: str, size: int) -> str:
    """Return the text `name`, `size` bytes of UTF-8 long or a little less."""
    piece = PIECES[name]
    text = piece * (size // len(piece.encode()) + 1)
    return text.encode()[:size].decode(errors="ignore")
