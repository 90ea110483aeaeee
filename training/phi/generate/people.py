"""People and the ways a text writes their names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from training.phi.generate.document import SOFT, Piece
from training.phi.generate.gazetteer import Names
from training.phi.generate.rng import LETTERS, Rng

NAME = "NAME"
PARTICLES = {
    "es": ("de la", "del", "de", "de los"),
    "pt": ("da", "dos", "de", "do"),
    "ne": ("van", "van der", "van den", "de"),
    "de": ("von", "von der", "zu"),
    "fr": ("de", "du", "de la", "le"),
    "it": ("di", "de", "della", "d'"),
    "ie": ("O'", "Mac", "Ni"),
    "us": ("St.", "De", "La", "Van", "Mc"),
    "arabic": ("al-", "Al-", "El-", "bin ", "ibn ", "abu "),
}
SHORT_LAST = (
    "Ng",
    "O",
    "Wu",
    "Li",
    "Xu",
    "Yi",
    "Im",
    "An",
    "Ha",
    "Do",
    "Vo",
    "Le",
    "Ma",
    "Hu",
    "Ho",
    "Oh",
    "Yu",
    "Su",
    "E",
    "U",
    "Ek",
    "Ah",
    "Ku",
    "Lo",
    "Mo",
    "Ro",
    "Si",
    "So",
    "To",
    "Ko",
    "Na",
    "No",
    "Ip",
    "Au",
    "Eu",
)
SUFFIXES = ("Jr.", "Sr.", "III", "II", "Jr", "IV", "Sr")
CREDENTIALS = (
    "MD",
    "DO",
    "RN",
    "NP",
    "PA-C",
    "M.D.",
    "R.N.",
    "BSN, RN",
    "FNP-BC",
    "PharmD",
    "PhD",
    "LCSW",
    "DPT",
    "MD, PhD",
    "D.O.",
    "MBBS",
    "FACS",
    "MD, FACC",
    "CRNA",
    "LPN",
    "RD",
    "MSW",
    "APRN",
    "CNM",
    "DPM",
    "MSc",
    "FRCP",
)
HONORIFICS = {
    "m": ("Mr.", "Mr", "MR.", "Mr.", "Sr."),
    "f": ("Mrs.", "Ms.", "Miss", "Ms", "Mrs", "MRS.", "Mrs."),
}
DOCTOR = (
    "Dr.",
    "Dr",
    "Dr.",
    "DR.",
    "dr.",
    "Dr.",
    "Doctor",
    "Prof.",
    "Attending",
    "Nurse",
    "PA",
    "NP",
    "Sister",
)


@dataclass(frozen=True, slots=True)
class Person:
    """A name in parts. `middle` may be empty; `last` may be two words or hyphenated."""

    sex: str
    first: str
    middle: str
    last: str
    suffix: str = ""
    nickname: str = ""

    @property
    def full(self) -> str:
        """Return first, middle where there is one, last, suffix."""
        parts = (self.first, self.middle, self.last, self.suffix)
        return " ".join(part for part in parts if part)

    @property
    def initials(self) -> str:
        """Return first letters of all parts."""
        middle = self.middle[:1]
        return self.first[:1] + middle + self.last[:1]


def surname(rng: Rng, names: Names, hard: float) -> str:
    """Return a surname; a share of `hard` of them comes from the difficult kinds."""
    roll = rng.random()
    if roll < hard:
        kind = rng.random()
        if kind < 0.34:
            return rng.pick(names.word_last)
        if kind < 0.44:
            return rng.pick(SHORT_LAST)
        if kind < 0.62:
            return rng.pick(names.surnames) + "-" + rng.pick(names.surnames)
        if kind < 0.70:
            return rng.pick(names.surnames) + " " + rng.pick(names.surnames)
        if kind < 0.86:
            origin = rng.pick(tuple(PARTICLES))
            base = rng.pick(names.by_origin.get(origin, names.surnames))
            particle = rng.pick(PARTICLES[origin])
            return (
                particle + base
                if particle[-1] in "'- " or particle in ("Mac", "Mc")
                else f"{particle} {base}"
            )
        return rng.pick(names.rare_surnames)
    roll = rng.random()
    if roll < 0.62:
        return rng.pick(names.surnames)
    if roll < 0.75:
        return rng.pick(names.rare_surnames)
    if roll < 0.83:
        return rng.pick(names.foreign_last)
    return rng.pick(names.by_origin[rng.pick(tuple(names.by_origin))])


def first_name(rng: Rng, names: Names, sex: str, hard: float) -> str:
    """Return a first name; a share of `hard` of them comes from the difficult kinds."""
    roll = rng.random()
    if roll < hard:
        kind = rng.random()
        if kind < 0.5:
            return rng.pick(names.word_first)
        if kind < 0.8:
            return rng.pick(names.world_first)
        if kind < 0.9:
            return rng.pick(names.female) + rng.pick(("-", " ")) + rng.pick(names.female)
        return rng.pick(LETTERS) + rng.pick((".", "."))
    if roll < 0.85:
        return rng.pick(names.male if sex == "m" else names.female)
    if roll < 0.91:
        return rng.pick(names.foreign_male if sex == "m" else names.foreign_female)
    return rng.pick(names.world_first)


def person(rng: Rng, names: Names, hard: float = 0.15, last: str = "") -> Person:
    """Return somebody; `last` gives a relative the same surname."""
    sex = "m" if rng.chance(0.48) else "f"
    first = first_name(rng, names, sex, hard)
    roll = rng.random()
    middle = ""
    if roll < 0.22:
        middle = rng.pick(LETTERS) + ("." if rng.chance(0.7) else "")
    elif roll < 0.30:
        middle = first_name(rng, names, sex, 0.05)
    suffix = rng.pick(SUFFIXES) if sex == "m" and rng.chance(0.05) else ""
    nickname = rng.pick(names.nicknames) if rng.chance(0.3) else ""
    return Person(sex, first, middle, last or surname(rng, names, hard), suffix, nickname)


def foreigner(rng: Rng, names: Names, last: str = "") -> Person:
    """Return somebody with a name of anywhere, at times of two given names or two surnames."""
    sex = "m" if rng.chance(0.55) else "f"

    def given() -> str:
        roll = rng.random()
        if roll < 0.75:
            return rng.pick(names.foreign_male if sex == "m" else names.foreign_female)
        return first_name(rng, names, sex, 0.1)

    def family() -> str:
        roll = rng.random()
        if roll < 0.6:
            return rng.pick(names.foreign_last)
        return rng.pick(names.by_origin[rng.pick(tuple(names.by_origin))])

    roll = rng.random()
    if not last:
        last = family()
        if roll < 0.08:
            last += rng.pick(("-", " ")) + family()
        elif roll < 0.14:
            particle = rng.pick(PARTICLES[rng.pick(tuple(PARTICLES))])
            last = particle + ("" if particle[-1] in "'- c" else " ") + last
    middle = given() if rng.chance(0.2) else ""
    return Person(sex, given(), middle, last)


def full(rng: Rng, who: Person) -> str:
    """Return the whole name, first name first."""
    roll = rng.random()
    if roll < 0.55:
        return who.full
    if roll < 0.80:
        return f"{who.first} {who.last}"
    if roll < 0.88:
        return f"{who.first[:1]}. {who.last}"
    if roll < 0.92:
        return f"{who.first[:1]} {who.last}"
    if roll < 0.95 and who.middle:
        return f"{who.first[:1]}.{who.middle[:1]}. {who.last}"
    if roll < 0.98:
        return f"{who.first} {who.last[:1]}."
    nick = who.nickname
    return f'{who.first} "{nick}" {who.last}' if nick else who.full


def last_first(rng: Rng, who: Person) -> str:
    """Return the whole name, surname first."""
    comma = rng.pick((", ", ", ", ", ", ",", " , ", ", "))
    last = who.last.upper() if rng.chance(0.2) else who.last
    suffix = f" {who.suffix}" if who.suffix and rng.chance(0.7) else ""
    middle = f" {who.middle}" if who.middle and rng.chance(0.8) else ""
    first = who.first[:1] + rng.pick(("", ".")) if rng.chance(0.08) else who.first
    return f"{last}{suffix}{comma}{first}{middle}"


def titled(rng: Rng, who: Person, name: str = "") -> tuple[Piece, ...]:
    """Return mr. or Ms. and a surname (or `name`)."""
    return ((rng.pick(HONORIFICS[who.sex]), SOFT), (" ", None), (name or who.last, NAME))


def doctor(rng: Rng, who: Person) -> tuple[Piece, ...]:
    """Return a clinician as running text names one."""
    roll = rng.random()
    title = rng.pick(DOCTOR) if rng.chance(0.5) else "Dr."
    glue = "" if title.endswith(".") and rng.chance(0.04) else " "
    if roll < 0.55:
        return ((title, SOFT), (glue, None), (who.last, NAME))
    if roll < 0.70:
        return ((title, SOFT), (glue, None), (full(rng, who), NAME))
    if roll < 0.88:
        return signature(rng, who)
    if roll < 0.94:
        return ((full(rng, who), NAME),)
    return ((title, SOFT), (glue, None), (f"{who.first[:1]}. {who.last}", NAME))


def signature(rng: Rng, who: Person) -> tuple[Piece, ...]:
    """Return a clinician with credentials."""
    name = last_first(rng, who) if rng.chance(0.15) else full(rng, who)
    return ((name, NAME), (rng.pick((", ", ", ", " ", ",")), None), (rng.pick(CREDENTIALS), SOFT))


def initials(rng: Rng, who: Person) -> str:
    """Return initials that stand for the name."""
    letters = who.initials
    roll = rng.random()
    if roll < 0.6:
        return letters
    if roll < 0.85:
        return ".".join(letters) + "."
    return letters.lower()


def spelled(rng: Rng, who: Person) -> str:
    """Return a name letter by letter, as on the telephone."""
    name = rng.pick((who.last, who.last, who.first)).replace(" ", "")
    return rng.pick(("-", "-", " ", ", ", ". ")).join(name.upper() if rng.chance(0.8) else name)


def in_court(rng: Rng, who: Person, *, short: bool = False) -> str:
    """Return a name as judgments write it; there the gold counts the title as part of it."""
    title = _court_title(rng, who)
    if not short:
        middle = f" {who.middle}" if who.middle and rng.chance(0.7) else ""
        return f"{title}{who.first}{middle} {who.last}"
    return f"{title}{_initial(rng, who)} {who.last}"


def _court_title(rng: Rng, who: Person) -> str:
    roll = rng.random()
    if roll < 0.1:
        return ""
    if roll < 0.14:
        return rng.pick(("Dr ", "Dr. ", "Prof. ", "Judge ", "Justice ", "Sir ", "Me ", "Adv. "))
    title = "Mr" if who.sex == "m" else rng.pick(("Ms", "Mrs", "Ms", "Mrs", "Miss"))
    return title + rng.pick((" ", " ", " ", " ", ". ", "\u00a0"))


def _initial(rng: Rng, who: Person) -> str:
    parts = [part for part in re.split(r"[ -]", who.first) if part]
    first = (rng.pick(("-", ".-")) if "-" in who.first else ".").join(p[0] for p in parts) + "."
    if who.middle or rng.chance(0.15):
        first += rng.pick(("", " ")) + (who.middle[:1] or rng.pick(LETTERS)) + "."
    return first


def short(rng: Rng, who: Person) -> str:
    """Return initials and surname."""
    return f"{_initial(rng, who)} {who.last}"


def in_court_last(rng: Rng, who: Person) -> str:
    """Return title and surname, as judgments refer back to somebody."""
    return _court_title(rng, who) + who.last


def anonymous(rng: Rng, who: Person) -> str:
    """Return the letters that stand for somebody whom a judgment does not name."""
    letters = rng.pick((who.initials, who.initials[:1], who.first[:1] + who.last[:1]))
    dotted = ".".join(letters) + rng.pick((".", ".", "."))
    return rng.pick(("", "", _court_title(rng, who))) + dotted
