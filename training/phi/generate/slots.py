"""The slots of templates: each name, and what it writes for a scene."""

from __future__ import annotations

import zlib

from training.phi.generate import dates, identifiers, numbers, people, places
from training.phi.generate.document import IGNORE, SOFT, Value
from training.phi.generate.gazetteer import FULL, HELD_OUT
from training.phi.generate.identifiers import SHAPES
from training.phi.generate.people import NAME, Person
from training.phi.generate.places import LOCATION
from training.phi.generate.scene import Scene
from training.phi.generate.template import Slot

LIST_SLOTS = (
    "drug",
    "dx",
    "eponym",
    "device_brand",
    "gene",
    "country",
    "state",
    "sx",
    "proc",
    "specialty",
    "job",
    "race",
    "relation",
    "route",
    "verb",
    "role",
    "plain",
)
IGNORED_SLOTS = ("holiday", "season", "org", "insurer")
SHAPED = {
    "mrn": ("MRN", SHAPES["mrn"]),
    "plan": ("HEALTH_PLAN", SHAPES["plan"]),
    "acct": ("ACCOUNT", SHAPES["account"]),
    "npi": ("LICENSE", SHAPES["npi"]),
    "lic": ("LICENSE", SHAPES["license"]),
    "plate": ("VEHICLE", SHAPES["plate"]),
    "vin": ("VEHICLE", SHAPES["vin"]),
    "device": ("DEVICE", SHAPES["device"]),
    "udi": ("DEVICE", SHAPES["udi"]),
    "bio": ("BIOMETRIC", SHAPES["biometric"]),
    "enc": ("OTHER_ID", SHAPES["encounter"]),
    "acc": ("OTHER_ID", SHAPES["accession"]),
    "order": ("OTHER_ID", SHAPES["order"]),
    "spec": ("OTHER_ID", SHAPES["specimen"]),
    "other": ("OTHER_ID", SHAPES["other"]),
    "ssn": ("SSN", SHAPES["ssn"]),
    "pager": ("PHONE", SHAPES["pager"]),
}

ROOMS = ("###", "##@", "@###", "####-@", "ICU ##", "Rm ###", "bed ##", "#@-##", "4W-##", "###-#")
LOTS = ("@#####", "##@##", "@@####", "####@", "@@@###@@")


HELD_SHAPES = 4
"""One shape of a number in so many is for held-out text."""


def of_part(shapes: list[str], part: str) -> list[str]:
    """Return the shapes of one part; a short list is shared whole."""
    if part == FULL or len(shapes) < 8:
        return shapes
    order = sorted(set(shapes), key=lambda shape: zlib.crc32(shape.encode()))
    held = set(order[: max(3, len(order) // HELD_SHAPES)])
    return [shape for shape in shapes if (shape in held) == (part == HELD_OUT)]


def _person_slots(prefix: str, who: str) -> dict[str, Slot]:
    def get(scene: Scene) -> Person:
        found = getattr(scene, who)
        return found() if callable(found) else found

    def name(write: object) -> Slot:
        return lambda scene: ((write(scene.rng, get(scene)), NAME),)  # type: ignore[operator]

    return {
        prefix: name(people.full),
        f"{prefix}.full": name(lambda _, p: p.full),
        f"{prefix}.first": name(lambda _, p: p.first),
        f"{prefix}.last": name(lambda _, p: p.last),
        f"{prefix}.lastfirst": name(people.last_first),
        f"{prefix}.initials": name(people.initials),
        f"{prefix}.nick": name(lambda _, p: p.nickname or p.first),
        f"{prefix}.FULL": name(lambda _, p: p.full.upper()),
        f"{prefix}.LASTFIRST": name(lambda rng, p: people.last_first(rng, p).upper()),
        f"{prefix}.LAST": name(lambda _, p: p.last.upper()),
        f"{prefix}.FIRST": name(lambda _, p: p.first.upper()),
        f"{prefix}.lower": name(lambda rng, p: people.full(rng, p).lower()),
        f"{prefix}.firstlower": name(lambda _, p: p.first.lower()),
        f"{prefix}.lastlower": name(lambda _, p: p.last.lower()),
        f"{prefix}.spelled": name(people.spelled),
        f"{prefix}.court": name(people.in_court),
        f"{prefix}.courtinit": name(lambda rng, p: people.in_court(rng, p, short=True)),
        f"{prefix}.email.spoken": lambda scene: (
            (
                identifiers.spoken_email(identifiers.email(scene.rng, get(scene))),
                "EMAIL",
            ),
        ),
        f"{prefix}.titled": lambda scene: people.titled(scene.rng, get(scene)),
        f"{prefix}.titledfull": lambda scene: people.titled(scene.rng, get(scene), get(scene).full),
        f"{prefix}.dr": lambda scene: people.doctor(scene.rng, get(scene)),
        f"{prefix}.sig": lambda scene: people.signature(scene.rng, get(scene)),
        f"{prefix}.hl7": name(
            lambda rng, p: (
                rng.pick(("^",)).join((p.last, p.first, p.middle.rstrip("."))).rstrip("^").upper()
                if rng.chance(0.7)
                else f"{p.last}^{p.first}"
            )
        ),
        f"{prefix}.email": lambda scene: ((identifiers.email(scene.rng, get(scene)), "EMAIL"),),
        f"{prefix}.user": lambda scene: (
            (identifiers.user_name(scene.rng, get(scene)), "OTHER_ID"),
        ),
        f"{prefix}.url": lambda scene: ((identifiers.url(scene.rng, get(scene)), "URL"),),
        f"{prefix}.photo": lambda scene: ((identifiers.photo(scene.rng, get(scene)), "OTHER_ID"),),
        f"{prefix}.dea": lambda scene: ((identifiers.dea(scene.rng, get(scene)), "LICENSE"),),
    }


def _age(scene: Scene) -> Value:
    if scene.age >= 90:
        return ((str(scene.age), "AGE"),)
    return str(scene.age)


def _aged(scene: Scene) -> Value:
    """Return an age with its unit; the unit is never PHI."""
    unit = scene.rng.pick(
        (
            "-year-old",
            "-year-old",
            "-year-old",
            " year old",
            " y/o",
            "yo",
            " yo",
            "y/o",
            "-yr-old",
            " yr old",
            " years old",
            "-year old",
            " y.o.",
            "yr",
            " yrs",
            "-YEAR-OLD",
        )
    )
    if scene.age >= 90:
        return ((str(scene.age), "AGE"), (unit, SOFT if unit[0].isalpha() else None))
    if scene.age < 3 and scene.rng.chance(0.6):
        return f"{scene.rng.between(2, 30)}-{scene.rng.pick(('month', 'week', 'day'))}-old"
    return f"{scene.age}{unit}"


def _old(scene: Scene) -> Value:
    """Return an age of 90 or over, of somebody."""
    age = scene.rng.between(90, 106)
    word = {
        90: "ninety",
        91: "ninety-one",
        92: "ninety two",
        95: "ninety-five",
        99: "ninety-nine",
        100: "one hundred",
    }
    if age in word and scene.rng.chance(0.4):
        return ((word[age], "AGE"),)
    return ((str(age), "AGE"),)


def _young(scene: Scene) -> Value:
    return str(scene.rng.between(18, 89))


def _he(male: str, female: str) -> Slot:
    return lambda scene: male if scene.patient.sex == "m" else female


def _sex(scene: Scene) -> Value:
    options = (
        ("male", "man", "M", "gentleman", "male")
        if scene.patient.sex == "m"
        else ("female", "woman", "F", "lady", "female")
    )
    if scene.age < 13:
        options = ("boy", "male") if scene.patient.sex == "m" else ("girl", "female")
    return scene.rng.pick(options)


def _ssn4(scene: Scene) -> Value:
    text = scene.rng.shape(scene.rng.pick(SHAPES["ssn4"]))
    return ((text, "SSN"),) if text[0].isdigit() else ((text[:-4], IGNORE), (text[-4:], "SSN"))


def _address_lines(scene: Scene) -> Value:
    return places.address(scene.rng, scene.world.names, scene.world.places, "\n")


def _facility(scene: Scene) -> Value:
    own = scene.rng.chance(0.5)
    name = (
        scene.hospital if own else places.facility(scene.rng, scene.world.names, scene.world.places)
    )
    return ((name, LOCATION),)


def _word_slot(section: str, *, ignore: bool) -> Slot:
    if ignore:
        return lambda scene: ((scene.rng.pick(scene.world.words[section]), SOFT),)
    return lambda scene: scene.rng.pick(scene.world.words[section])


def _shaped(label: str, shapes: list[str]) -> Slot:
    return lambda scene: ((identifiers.shaped(scene.rng, shapes), label),)


def _hl7_date(scene: Scene) -> Value:
    day = dates.write(scene.day(), "{Y}{mm}{dd}")
    clock = f"{scene.rng.below(24):02}{scene.rng.below(60):02}"
    return (
        ((day, "DATE"), (clock + scene.rng.pick(("", "00", "12.000-0500")), IGNORE))
        if scene.rng.chance(0.6)
        else ((day, "DATE"),)
    )


def slots(part: str = FULL) -> dict[str, Slot]:
    """Return every slot by its name; held-out text writes numbers in shapes of its own."""
    found: dict[str, Slot] = {}
    for prefix, who in (
        ("pt", "patient"),
        ("doc", "clinician"),
        ("rel", "relative"),
        ("who", "other"),
    ):
        found |= _person_slots(prefix, who)
    for name, (label, shapes) in SHAPED.items():
        found[name] = _shaped(label, of_part(shapes, part))
    for section in LIST_SLOTS:
        found[section] = _word_slot(section, ignore=False)
    for section in IGNORED_SLOTS:
        found[section] = _word_slot(section, ignore=True)
    return found | {
        "age": _age,
        "aged": _aged,
        "old": _old,
        "young": _young,
        "sex": _sex,
        "he": _he("he", "she"),
        "He": _he("He", "She"),
        "his": _he("his", "her"),
        "His": _he("His", "Her"),
        "him": _he("him", "her"),
        "date": lambda s: dates.any_date(s.rng, s.day(), s.date_form()),
        "date.full": lambda s: dates.full_date(s.rng, s.day(), s.date_form()),
        "date.short": lambda s: dates.day_month(s.rng, s.day()),
        "date.month": lambda s: ((dates.write(s.day(), s.rng.pick(dates.MONTH_YEAR)), "DATE"),),
        "month": lambda s: ((dates.write(s.day(), s.rng.pick(dates.MONTH)), "DATE"),),
        "date.range": lambda s: dates.date_range(s.rng, s.day()),
        "date.hl7": _hl7_date,
        "dob": lambda s: dates.full_date(s.rng, s.born, s.date_form()),
        "dob.hl7": lambda s: ((dates.write(s.born, "{Y}{mm}{dd}"), "DATE"),),
        "birthyear.old": lambda s: ((str(s.rng.between(1915, 1932)), "DATE"),),
        "year": lambda s: str(s.rng.between(1975, 2025)),
        "weekday": lambda s: s.rng.pick(dates.DAYS + dates.DAYS_SHORT),
        "time": lambda s: dates.time_of_day(s.rng),
        "ago": lambda s: dates.relative(s.rng),
        "street": lambda s: ((places.street(s.rng, s.world.names, s.world.places), LOCATION),),
        "addr": lambda s: places.address(s.rng, s.world.names, s.world.places),
        "addr.lines": _address_lines,
        "city": lambda s: ((s.rng.pick(s.world.places.cities)[0], LOCATION),),
        "citystate": lambda s: places.city_state(s.rng, s.world.places),
        "farcity": lambda s: ((s.rng.pick(s.world.places.foreign_cities), LOCATION),),
        "county": lambda s: places.county(s.rng, s.world.places),
        "zip": lambda s: ((places.zip_code(s.rng), LOCATION),),
        "hosp": lambda s: ((s.hospital, LOCATION),),
        "HOSP": lambda s: ((s.hospital.upper(), LOCATION),),
        "fac": _facility,
        "phone": lambda s: ((identifiers.phone(s.rng), "PHONE"),),
        "ip": lambda s: ((identifiers.ip_address(s.rng), "IP"),),
        "ssn4": _ssn4,
        "bp": lambda s: numbers.vital(s.rng),
        "vitals": lambda s: numbers.vitals(s.rng),
        "wt": lambda s: numbers.weight(s.rng),
        "ht": lambda s: numbers.height(s.rng),
        "lab": lambda s: numbers.lab(s.rng),
        "labs": lambda s: numbers.labs(s.rng),
        "dose": lambda s: numbers.dose(s.rng),
        "score": lambda s: numbers.score(s.rng),
        "code": lambda s: numbers.code(s.rng),
        "size": lambda s: numbers.size(s.rng),
        "spine": lambda s: s.rng.pick(numbers.FORMS["spine"]),
        "odd": lambda s: s.rng.pick(numbers.FORMS["odd"]),
        "prose": lambda s: s.rng.pick(s.world.prose),
        "rare": lambda s: s.rng.pick(s.world.rare),
        "room": lambda s: ((s.rng.shape(s.rng.pick(ROOMS)), IGNORE),),
        "lot": lambda s: ((s.rng.shape(s.rng.pick(LOTS)), IGNORE),),
        "courtno": lambda s: (
            (s.rng.shape(s.rng.pick(("#####/##", "####/##", "#####/0#"))), "OTHER_ID"),
        ),
        "date.long": lambda s: (
            (
                dates.write(
                    s.day(),
                    s.rng.pick(("{d} {Month} {Y}",) * 8 + ("{Month} {d}, {Y}", "{d} {Month}")),
                ),
                "DATE",
            ),
        ),
        "phone.spoken": lambda s: (
            (
                identifiers.spoken(
                    s.rng, s.rng.shape(s.rng.pick(("###-###-####", "###-####", "##########")))
                ),
                "PHONE",
            ),
        ),
        "dob.spoken": lambda s: ((dates.spoken(s.rng, s.born), "DATE"),),
        "date.spoken": lambda s: ((dates.spoken(s.rng, s.day()), "DATE"),),
        "ssn.spoken": lambda s: ((identifiers.spoken(s.rng, s.rng.shape("###-##-####")), "SSN"),),
        "ssn4.spoken": lambda s: ((identifiers.spoken(s.rng, s.rng.shape("####")), "SSN"),),
        "mrn.spoken": lambda s: ((identifiers.spoken(s.rng, s.rng.shape("######")), "MRN"),),
        "D": lambda s: s.speakers[0],
        "P": lambda s: s.speakers[1],
        "G": lambda s: s.speakers[1],
        "D2": lambda s: "\n" + s.speakers[0],
        "P2": lambda s: "\n" + s.speakers[1],
        "n": lambda s: str(s.rng.between(1, 12)),
        "nn": lambda s: str(s.rng.between(13, 99)),
    }
