"""Which words of a name are names, and which stay: titles, credentials, particles before one."""

from __future__ import annotations

import re
import unicodedata

POSSESSIVE = re.compile(r"['\u2019]s\Z", re.IGNORECASE)
_TITLES = frozenset(
    """
    jr sr ii iii iv md do rn np pa phd esq dds dr mr mrs ms miss prof sir dame rev fr father sister
    """.split()  # noqa: SIM905 -- quoted strings read worse
)
"""Titles and credentials: they stay."""
_PARTICLES = frozenset(
    """
    and or de del della di da dos das do du la le las los van von der den ter ten bin ibn al el
    san st mac y e zu zur
    """.split()  # noqa: SIM905 -- quoted strings read worse
)
"""Words that stay where they lead to the rest of a name; Mr. Das and Ms. Le have no other."""
_COMPOUNDS = frozenset({"de la", "de las", "de los", "van der", "van den", "van ter", "von der"})


def stays(value: str, words: list[re.Match[str]], number: int, *, titled: bool) -> bool:
    """Whether a word of a name is no name: a title, a credential, a particle that leads to one."""
    word, plain = words[number][0], plain_of(words[number][0])
    if plain not in _PARTICLES:
        return plain in _TITLES
    if plain == "do" and word.isupper() and _is_credential(value, words, number):
        return True
    following = words[number + 1] if number + 1 < len(words) else None
    if following is None or "," in value[words[number].end() : following.start()]:
        return False
    after = plain_of(following[0])
    if after in _TITLES - _PARTICLES:
        return False
    if len(plain) == 1:  # an initial, or `y` between two surnames
        return number > 0 and word.islower() and value[words[number].end()] == " "
    first = number == 0 and not titled and word[0].isupper()
    return not first or plain == "st" or f"{plain} {after}" in _COMPOUNDS


def _is_credential(value: str, words: list[re.Match[str]], number: int) -> bool:
    """Whether `DO` is the doctor's, and not the name of Mai Do."""
    before = [w for w in words[:number] if plain_of(w[0]) not in _TITLES | _PARTICLES]
    behind_comma = "," in value[: words[number].start()]
    return bool(before) and (behind_comma or (len(before) > 1 and not value.isupper()))


def plain_of(word: str) -> str:
    """Return a word in small letters without diacritics and possessive: what it is looked up by."""
    decomposed = unicodedata.normalize("NFD", POSSESSIVE.sub("", word).casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))
