"""Places of many countries: hospitals, streets, prisons, schools, bases and the like."""

from __future__ import annotations

import re
from collections.abc import Callable

from training.phi.generate.document import IGNORE, Piece
from training.phi.generate.gazetteer import Names, Places
from training.phi.generate.places import FEATURES, LOCATION, NATURE, SAINTS, VIRTUES
from training.phi.generate.rng import Rng
from training.phi.generate.words import DATA, load_words

_KEY = re.compile(r"\{(\w+)\}")
FORMS = load_words(DATA / "sites.txt", comment="//")
"""Section to names with words to fill in."""

_Write = Callable[[Rng, Names, Places], str]


def _town(rng: Rng, _: Names, places: Places) -> str:
    roll = rng.random()
    if roll < 0.6:
        return rng.pick(places.villages)
    return rng.pick(places.foreign_cities) if roll < 0.85 else rng.pick(places.cities)[0]


def _last(rng: Rng, names: Names, _: Places) -> str:
    roll = rng.random()
    if roll < 0.35:
        return rng.pick(names.foreign_last)
    if roll < 0.7:
        return rng.pick(names.surnames)
    return rng.pick(names.by_origin[rng.pick(tuple(names.by_origin))])


_WORDS: dict[str, _Write] = {
    "town": _town,
    "city": lambda rng, _, places: rng.pick(places.cities)[0],
    "county": lambda rng, _, places: rng.pick(places.cities)[3] or "Lake",
    "flast": _last,
    "male": lambda rng, names, _: rng.pick(rng.pick((names.male, names.foreign_male))),
    "female": lambda rng, names, _: rng.pick(rng.pick((names.female, names.foreign_female))),
    "namesake": lambda rng, _, places: rng.pick(places.namesakes),
    "known": lambda rng, _, places: rng.pick(places.landmarks),
    "fsaint": lambda rng, _, __: rng.pick(FORMS["saint"]),
    "saint": lambda rng, _, __: rng.pick(("St.", "St", "Saint")) + " " + rng.pick(SAINTS),
    "virtue": lambda rng, _, __: rng.pick(VIRTUES),
    "nature": lambda rng, _, __: rng.pick(NATURE),
    "feature": lambda rng, _, __: rng.pick(FEATURES),
    "one": lambda rng, _, __: rng.pick(NATURE) + rng.pick(FEATURES).lower(),
    "royal": lambda rng, _, __: rng.pick(("Royal", "Queen's", "Great", "Princess")),
    "letter": lambda rng, _, __: rng.pick("ABCDEF"),
    "n": lambda rng, _, __: str(rng.between(1, 60)),
    "nn": lambda rng, _, __: str(rng.between(11, 99)),
    "nnn": lambda rng, _, __: str(rng.between(101, 2999)),
}


def named(kind: str, rng: Rng, names: Names, places: Places) -> str:
    """Return the name of a place of one kind."""
    return _KEY.sub(lambda match: _WORDS[match[1]](rng, names, places), rng.pick(FORMS[kind]))


def town(rng: Rng, names: Names, places: Places) -> str:
    """Return a town or village, mostly abroad."""
    return _town(rng, names, places)


def address(rng: Rng, names: Names, places: Places, country: str) -> tuple[Piece, ...]:
    """Return an address abroad: street, postal code and town; the country counts for nothing."""
    codes = ("#####", "####", "###-####", "## ###", "### ##", "@@# #@@", "######")
    code = rng.shape(rng.pick(codes))
    where = _town(rng, names, places)
    pieces: list[Piece] = [
        (named("street", rng, names, places), LOCATION),
        (rng.pick((", ", ", ", "\n")), None),
    ]
    roll = rng.random()
    if roll < 0.6:
        pieces += [(code, LOCATION), (" ", None), (where, LOCATION)]
    elif roll < 0.8:
        pieces += [(where, LOCATION), (rng.pick((" ", ", ", " - ")), None), (code, LOCATION)]
    else:
        pieces.append((where, LOCATION))
    if rng.chance(0.5):
        pieces += [(", ", None), (country, IGNORE)]
    return tuple(pieces)
