"""Surrogates: other names, places and numbers in the place of those found, hidden in plain sight.

A name keeps its sex and origin where they can be told, its form and its case; a number keeps its
form. What a surrogate is follows from the person's key and the value, so it is the same in all
notes of a patient. It is never the value, no word of the note, and no surrogate of another value
there; where that makes it give way, another note of the patient may have another. What is not
understood has no surrogate: it keeps its tag.
"""

from __future__ import annotations

import ipaddress
import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final

from wardgate.deid.nameparts import POSSESSIVE, plain_of, stays
from wardgate.deid.namepools import USUAL, load
from wardgate.deid.secret import mac
from wardgate.deid.spans import Place
from wardgate.types import EntityType

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_BETWEEN = frozenset(" ,.;\n\r\t()/&'\u2019\"-")
"""What may stand between the words of a name."""
_HE, _SHE = frozenset({"mr", "sir", "father"}), frozenset({"mrs", "ms", "miss", "dame", "sister"})
_TITLE = re.compile(r"(?i)\b(mr|mrs|ms|miss|sir|dame|dr|prof)\.?[ ]\Z")
_UNITS = frozenset(
    """
    apt apartment suite ste unit rm room floor fl bldg building box p o po post office hwy highway
    st nd rd th
    """.split()  # noqa: SIM905 -- quoted strings read worse
)
"""Words of an address whose number alone says which."""
_ORDINAL = re.compile(r"(?<=[0-9])(?:st|nd|rd|th)(?![^\W_])", re.IGNORECASE)
_PLACE_WORDS = frozenset(
    """
    st street ave avenue av blvd boulevard rd road ln lane dr drive ct court cir circle pl place ter
    terrace way pkwy parkway hwy highway sq square trl trail loop plaza crescent close alley row
    walk run pike turnpike tpke crossing xing path point ridge view heights grove n s e w ne nw se
    sw north south east west apt apartment suite ste unit rm room floor fl bldg building box p o po
    post office county parish borough of the and at for in on de la
    hospital hospitals clinic clinics center centre centers medical health healthcare general
    memorial regional university college school children's childrens women's community care nursing
    home rehab rehabilitation hospice institute department ward icu er surgery surgical cancer heart
    eye pharmacy laboratory laboratories lab services system group associates partners
    """.split()  # noqa: SIM905 -- the same
)
"""Words of an address or facility that say what it is, not which."""
_LEAST = 4
"""Letters and digits of the shortest number that has a surrogate: shorter ones are soon guessed."""
_TRIES = 64
_SSN, _PHONE, _LOCAL_PHONE = 9, 10, 7
_HEXADECIMAL = re.compile(r"(?i)[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}")
_IP = re.compile(r"[0-9A-Fa-f:.]{2,45}")
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+'-])(?P<local>[A-Za-z0-9._%+'-]*+)@(?P<domain>[A-Za-z0-9.-]++)"
)
_NUMBER = re.compile(r"[0-9]+")
_SCHEME = re.compile(r"(?i)(?:https?|ftp)://|www\.")
_SPELT = re.compile(r"[A-Za-z]+|[0-9]+")


class Surrogates:
    """The surrogates of one text. `person` is the key of whom it is about."""

    def __init__(self, person: bytes, text: str) -> None:
        """Take the text, whose words no surrogate may be."""
        self._key = person
        self._pools = load()
        self._taken = {plain_of(word) for word in _WORD.findall(text)}
        self._known: dict[tuple[str, str], str] = {}
        """What was given for a value of a kind."""
        self._sexes: dict[str, str] = {}
        self._initials: dict[tuple[str, str], str] = {}

    def of(self, label: EntityType, place: Place | None, value: str, before: str) -> str | None:
        """Return the surrogate of a value, or None where it must keep its tag.

        `before` is what stands right before it; a title there tells the sex.
        """
        value = unicodedata.normalize("NFC", value)
        if label is EntityType.NAME:
            return self.name(value, before)
        if label is EntityType.LOCATION:
            return self.place(place, value)
        if label is EntityType.EMAIL:
            return self._email(value)
        if label is EntityType.URL:
            return self._url(value)
        if label is EntityType.IP:
            return self._ip(value)
        if not value.isascii():
            return None
        digits = sum(map(str.isdigit, value))
        if label is EntityType.SSN and digits == _SSN:
            return self._numbered("ssn", value, _no_ssn)
        if label in {EntityType.PHONE, EntityType.FAX} and digits >= _LOCAL_PHONE:
            return self._numbered("phone", value, _no_phone)
        return self._numbered(label.value, value)

    # -- names ------------------------------------------------------------------------------------

    def name(self, value: str, before: str = "") -> str | None:
        """Return another person's name in the same form."""
        value = unicodedata.normalize("NFC", value)
        words = list(_WORD.finditer(value))
        title = _TITLE.search(before)
        parts = [
            w for n, w in enumerate(words) if not stays(value, words, n, titled=title is not None)
        ] or words
        if not parts or not _plainly(value):
            return None
        titles = {plain_of(w[0]) for w in words} | ({title[1].lower()} if title else set())
        sex = "M" if titles & _HE else "F" if titles & _SHE else ""
        family = _family(value, parts)
        if len(parts) == 1 and len(parts[0][0]) > 1:
            family = self._is_surname(plain_of(parts[0][0]), titled=title is not None)
        if all(len(part[0]) == 1 for part in parts) and len(parts) > 3:  # noqa: PLR2004 -- J. R. R. Tolkien's
            return None  # a word that was spaced out
        new = {}
        for number, part in enumerate(parts):
            plain = plain_of(part[0])
            surname = family[number] or (
                plain in self._pools.last_of and plain not in self._pools.first_of
            )
            new[part.start()] = _like(part[0], self._word(plain, sex, surname=surname))
        return _put(value, [(part.start(), part.end(), new[part.start()]) for part in parts])

    def _is_surname(self, plain: str, *, titled: bool) -> list[bool]:
        if ("last", plain) in self._known or ("first", plain) in self._known:
            return [("last", plain) in self._known]
        pools = self._pools
        return [plain not in pools.first_of or (titled and plain in pools.last_of)]

    def _word(self, plain: str, sex: str, *, surname: bool) -> str:
        """Return the surrogate of one word of a name: a surname, a first name or an initial."""
        kind = "last" if surname else "first"
        if len(plain) == 1:
            given = self._initials.get((kind, plain))
            return given or self._drawn("initial", plain, string.ascii_lowercase)
        if surname:
            pool = self._pools.last[self._pools.last_of.get(plain, USUAL)]
        else:
            origin, told = self._pools.first_of.get(plain, (USUAL, ""))
            # who is a man in one place of a note is one in all
            pool = self._pools.first[origin, self._sexes.setdefault(plain, told or sex)]
        new = self._drawn(kind, plain, pool)
        self._initials.setdefault((kind, plain[0]), new[0])
        return new

    # -- places -----------------------------------------------------------------------------------

    def place(self, place: Place | None, value: str) -> str | None:
        """Return another place of the same kind in the same form."""
        if place is Place.ZIP:
            return self._numbered("zip", value) if value.isascii() else None
        words = list(_WORD.finditer(value))
        if place is Place.CITY:
            if not words or not _plainly(value):
                return None
            return _like_all(value, self._drawn("city", plain_of(value), self._pools.cities))
        if any(char.isnumeric() and not char.isascii() for char in value):
            return None
        ordinals = {match.start() for match in _ORDINAL.finditer(value)}
        own = [w for w in words if plain_of(w[0]) not in _PLACE_WORDS and w.start() not in ordinals]
        if not own and not ordinals and any(plain_of(w[0]) not in _UNITS for w in words):
            return None  # another number would leave `University Avenue`
        edits: list[tuple[int, int, str]] = []
        pool = self._pools.last[USUAL]
        for word in own:
            plain = plain_of(word[0])
            letter = len(plain) == 1 and plain.isascii()
            kind, drawn = ("initial", string.ascii_lowercase) if letter else ("place", pool)
            edits.append((*word.span(), _like(word[0], self._drawn(kind, plain, drawn))))
        edits += [
            (*number.span(), self._digits("house", number[0])) for number in _NUMBER.finditer(value)
        ]
        return _put(value, sorted(edits)) if edits else None

    # -- numbers and addresses of the net ---------------------------------------------------------

    def _numbered(
        self, kind: str, value: str, form: Callable[[str, str], str] | None = None
    ) -> str | None:
        """Return a value with other letters and digits; `form` makes it a number of nobody's."""
        plain = "".join(c for c in value.lower() if c.isalnum())
        if len(plain) < _LEAST or not value.isascii():
            return None
        hexadecimal = _HEXADECIMAL.fullmatch(value) is not None

        def make(drawn: bytes) -> str:
            new = _other(plain, drawn, hexadecimal=hexadecimal)
            return form(plain, new) if form else new

        new = self._unlike(kind, plain, make)
        if new is None:
            return None
        fresh = iter(new)
        return "".join(
            (n.upper() if c.isupper() else n) if c.isalnum() and (n := next(fresh)) else c
            for c in value
        )

    def _digits(self, kind: str, value: str) -> str:
        """Return as many other digits; the first is 0 where it was."""
        new = _other(value, mac(self._key, kind, value))
        if new == value:
            new = new[:-1] + str((int(new[-1]) + 1) % 10)
        return new

    def _email(self, value: str) -> str | None:
        found = _EMAIL.fullmatch(value)
        if found is None:
            return None
        local = _SPELT.sub(
            lambda m: (
                self._digits("email", m[0])
                if m[0].isdigit()
                else _like(m[0], self._named(plain_of(m[0])))
            ),
            found["local"],
        )
        if not found["local"]:
            return "@" + self._named(plain_of(found["domain"]))
        domain = self._drawn("domain", found["domain"].lower(), _DOMAINS)
        return f"{local}@{domain}"

    def _named(self, plain: str) -> str:
        """Return what stands for a word of an address: its surrogate where it is a name here."""
        for kind in ("first", "last"):
            if (kind, plain) in self._known:
                return self._known[kind, plain]
        if plain in self._pools.first_of:
            return self._word(plain, "", surname=False)
        if len(plain) == 1:
            return self._drawn("initial", plain, string.ascii_lowercase)
        return self._drawn("last", plain, self._pools.last[self._pools.last_of.get(plain, USUAL)])

    def _url(self, value: str) -> str:
        scheme = _SCHEME.match(value)
        drawn = mac(self._key, "url", value).hex()[:12]
        return f"{scheme[0] if scheme else ''}example.org/{drawn}"

    def _ip(self, value: str) -> str | None:
        if not _IP.fullmatch(value):
            return None
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return None

        def make(drawn: bytes) -> str:
            if address.version == 4:  # noqa: PLR2004 -- IPv4
                # RFC 2544 Appendix C.2.2: 198.18.0.0/15 is for tests and routed nowhere
                low = int.from_bytes(drawn[:4], "big") >> 15
                return str(ipaddress.IPv4Address(0xC612_0000 | low))
            # RFC 3849: 2001:db8::/32 is for documentation
            low = int.from_bytes(drawn[:12], "big")
            return str(ipaddress.IPv6Address(0x2001_0DB8 << 96 | low))

        return self._unlike("ip", str(address), make)

    # -- drawing ----------------------------------------------------------------------------------

    def _drawn(self, kind: str, plain: str, pool: Sequence[str]) -> str:
        """Return what the key draws from a pool for a value."""
        size = len(pool)
        new = self._unlike(kind, plain, lambda drawn: pool[int.from_bytes(drawn[:8], "big") % size])
        if (
            new is None
        ):  # every word of the pool stands in the note; a small pool alone can get here
            others = [each for each in pool if each != plain]
            new = others[int.from_bytes(mac(self._key, kind, plain)[:8], "big") % len(others)]
            self._known[kind, plain] = new
        return new

    def _unlike(self, kind: str, plain: str, make: Callable[[bytes], str]) -> str | None:
        """Return the first thing made that is not the value, no word here and no other's."""
        if (kind, plain) in self._known:
            return self._known[kind, plain]
        for number in range(_TRIES):
            new = make(mac(self._key, kind, f"{plain}\0{number}"))
            if new != plain and not self._is_taken(kind, new):
                self._known[kind, plain] = new
                if len(new) > 1:
                    self._taken.update(new.split())
                return new
        return None

    def _is_taken(self, kind: str, new: str) -> bool:
        return kind not in _SHARED and not self._taken.isdisjoint(new.split())


_DOMAINS: Final = ("example.com", "example.net", "example.org")
"""Domains of nobody (RFC 2606 §3)."""
_SHARED: Final = frozenset({"initial", "domain"})
"""Kinds of which two values may have one surrogate."""


def _family(value: str, parts: list[re.Match[str]]) -> list[bool]:
    """Tell for each part whether it belongs to the surname: the last, or all before a comma."""
    comma = value.find(",")
    if 0 <= comma < parts[-1].start():
        return [part.end() <= comma for part in parts]
    family = [False] * len(parts)
    for number in range(len(parts) - 1, -1, -1):
        family[number] = True
        if not number or value[parts[number - 1].end() : parts[number].start()] != "-":
            break
    return family


def _plainly(value: str) -> bool:
    """Whether there is nothing but letters, spaces and stops."""
    return all(char.isalpha() or char in _BETWEEN for char in value)


def _put(value: str, edits: list[tuple[int, int, str]]) -> str:
    pieces: list[str] = []
    done = 0
    for start, end, new in edits:
        pieces += [value[done:start], new]
        done = end
    return "".join([*pieces, value[done:]])


def _like(old: str, new: str) -> str:
    """Return a word in the case of another, with its possessive."""
    tail = POSSESSIVE.search(old)
    ending = tail[0] if tail else ""
    bare = old[: len(old) - len(ending)]
    if bare.isupper() and len(bare) > 1:
        return new.upper() + ending
    return (new.capitalize() if bare[:1].isupper() else new) + ending


def _like_all(old: str, new: str) -> str:
    if old.isupper():
        return new.upper()
    return string.capwords(new) if old[:1].isupper() else new


def _other(old: str, drawn: bytes, *, hexadecimal: bool = False) -> str:
    """Return a drawn letter for each letter and a digit for each digit.

    The first digit is no 0 where the old one was none: a number keeps its length when it is read.
    """
    while len(drawn) < len(old):
        drawn += mac(drawn, "more", "")
    if hexadecimal:
        return "".join(string.hexdigits[byte % 16] for byte in drawn[: len(old)])
    new = [
        str(byte % 10) if char.isdigit() else string.ascii_lowercase[byte % 26]
        for char, byte in zip(old, drawn, strict=False)
    ]
    if old[0].isdigit() and old[0] != "0":
        new[0] = str(drawn[0] % 9 + 1)
    return "".join(new)


def _no_ssn(old: str, new: str) -> str:  # noqa: ARG001 -- the form asks for both
    """Return a number of the form of an SSN that was never given: area 9xx, group 01 to 49.

    Areas from 900 on are no SSNs, and taxpayer numbers (ITIN) there have groups from 50 on.
    """
    return f"9{new[1:3]}{int(new[3:5]) % 49 + 1:02}{new[5:]}"


def _no_phone(old: str, new: str) -> str:
    """Return a number with the exchange 555, which holds no subscribers of a town's."""
    if len(new) < _PHONE:
        return "555" + new[3:] if len(new) == _LOCAL_PHONE else new
    head = old[:-10] if old[:-10] == "1" else new[:-10]
    area = new[-10:-7]
    return f"{head}{area}555{new[-4:]}"
