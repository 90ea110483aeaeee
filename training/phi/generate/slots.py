"""The slots of templates: each name, and what it writes for a scene."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

from training.phi.generate import dates, identifiers, numbers, people, places, sites
from training.phi.generate.document import IGNORE, SOFT, Value
from training.phi.generate.gazetteer import FULL, HELD_OUT, belongs
from training.phi.generate.identifiers import SHAPES
from training.phi.generate.people import NAME, Person
from training.phi.generate.places import LOCATION
from training.phi.generate.rng import LETTERS
from training.phi.generate.scene import Scene
from training.phi.generate.template import Slot
from training.phi.generate.words import DATA, load_words

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
    "bug",
    "trial",
    "guideline",
    "language",
    "religion",
    "food",
    "breed",
    "team",
    "vaccine",
    "dept",
    "stain",
    "regimen",
    "scale",
    "assay",
    "variant",
    "software",
    "form",
)
IGNORED_SLOTS = ("holiday", "season", "org", "insurer", "cred")
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
    "docket": ("OTHER_ID", SHAPES["docket"]),
    "citation": ("OTHER_ID", SHAPES["citation"]),
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
        f"{prefix}.courtlast": name(people.in_court_last),
        f"{prefix}.anon": name(people.anonymous),
        f"{prefix}.short": name(people.short),
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
    return ((_age_words(scene, age) if scene.rng.chance(0.15) else str(age), "AGE"),)


def _old_words(change: Callable[[str], str]) -> Slot:
    """Return what writes an age of 90 or over in words: ninety-three."""
    return lambda scene: ((change(_age_words(scene, scene.rng.between(90, 106))), "AGE"),)


def _young_words(scene: Scene) -> Value:
    return _age_words(scene, scene.rng.between(21, 89))


def _old_ordinal(scene: Scene) -> Value:
    """Return a birthday or a year of life above 90: 94th, ninety-fourth."""
    age, units = scene.rng.between(90, 106), dates.ORDINALS[:9]
    words = {90: "ninetieth", 100: scene.rng.pick(("hundredth", "one hundredth", "centennial"))}
    words |= {91 + at: f"ninety{scene.rng.pick('-- ')}{unit}" for at, unit in enumerate(units)}
    suffix = {91: "st", 92: "nd", 93: "rd", 101: "st", 102: "nd", 103: "rd"}.get(age, "th")
    written = words.get(age, f"{age}{suffix}") if scene.rng.chance(0.5) else f"{age}{suffix}"
    return ((written, "AGE"),)


def _nineties(scene: Scene) -> Value:
    """Return a decade of life above 89: nineties, 90s, early 90's."""
    before = scene.rng.pick(("", "", "", "early ", "mid-", "mid ", "late ", "upper "))
    decade = scene.rng.pick(("nineties", "nineties", "90s", "90s", "90's", "90\u2019s", "Nineties"))
    return ((before, None), (decade, "AGE"))


def _age_words(scene: Scene, age: int) -> str:
    """Return an age in words, with a hyphen or without."""
    units = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    tens = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
    hyphen = scene.rng.pick("--- ")
    if age < 100:
        return f"{tens[age // 10 - 2]}{hyphen}{units[age % 10]}".rstrip("- ")
    hundred = scene.rng.pick(("one hundred", "a hundred", "one-hundred", "one hundred"))
    if age == 100:
        return hundred
    return f"{hundred} {scene.rng.pick(('and ', 'and ', ''))}{units[age % 100]}"


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
    return ((scene.hospital if own else scene.facility(), LOCATION),)


def _born(scene: Scene) -> Value:
    """Return when somebody was born, as judgments say it: a day, or a year alone."""
    day = dates.birth_day(scene.rng, scene.rng.between(3, 88))
    if scene.rng.chance(0.3):
        return f"in {day.year}"
    form = scene.rng.pick(("{d} {Month} {Y}",) * 4 + ("{Month} {d}, {Y}", "{o} {Month} {Y}"))
    return (("on ", None), (dates.write(day, form), "DATE"))


def _site(kind: str) -> Slot:
    return lambda scene: ((scene.site(kind), LOCATION),)


def _street(scene: Scene) -> Value:
    if scene.rng.chance(0.06):
        return ((scene.site("street"), LOCATION),)
    return ((places.street(scene.rng, scene.world.names, scene.world.places), LOCATION),)


def _address(scene: Scene) -> Value:
    if scene.rng.chance(0.05):
        return _far_address(scene)
    return places.address(scene.rng, scene.world.names, scene.world.places)


def _far_address(scene: Scene) -> Value:
    country = scene.rng.pick(scene.world.words["country"])
    return sites.address(scene.rng, scene.world.names, scene.world.places, country)


def _word_slot(section: str, *, ignore: bool) -> Slot:
    if ignore:
        return lambda scene: ((scene.rng.pick(scene.world.words[section]), SOFT),)
    return lambda scene: scene.rng.pick(scene.world.words[section])


def _shaped(label: str, shapes: list[str]) -> Slot:
    return lambda scene: ((identifiers.shaped(scene.rng, shapes), label),)


_MARKED = re.compile(r"\[([^]]+)\]")


def _pairs(part: str) -> Slot:
    """Return sentences where one word is a name and a word: `[Rose]'s pressure rose`."""
    written: list[tuple[tuple[str, str | None], ...]] = []
    for text in load_words(DATA / "words.txt")["pair"]:
        if belongs(_MARKED.findall(text)[0], part):
            pieces = _MARKED.split(text)
            written.append(
                tuple((piece, NAME if at % 2 else None) for at, piece in enumerate(pieces) if piece)
            )
    return lambda scene: scene.rng.pick(written)


def _word_name(scene: Scene) -> str:
    """Return a name of which both parts are words too, or one is."""
    names, rng = scene.world.names, scene.rng
    first = rng.pick(names.word_first if rng.chance(0.7) else names.female + names.male)
    return f"{first} {rng.pick(names.word_last if rng.chance(0.7) else names.surnames)}"


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
        ("app", "applicant"),
        ("opp", "opponent"),
        ("fgn", "stranger"),
    ):
        found |= _person_slots(prefix, who)
    for name, (label, shapes) in SHAPED.items():
        found[name] = _shaped(label, of_part(shapes, part))
    for section in LIST_SLOTS:
        found[section] = _word_slot(section, ignore=False)
    for section in IGNORED_SLOTS:
        found[section] = _word_slot(section, ignore=True)
    return found | {
        "pair": _pairs(part),
        "age": _age,
        "aged": _aged,
        "old": _old,
        "old.words": _old_words(str),
        "Old.words": _old_words(str.capitalize),
        "OLD.words": _old_words(str.upper),
        "old.ord": _old_ordinal,
        "nineties": _nineties,
        "young.words": _young_words,
        "uuid": lambda s: (
            (s.rng.shape("&&&&&&&&-&&&&-4&&&-A&&&-&&&&&&&&&&&&").lower(), "OTHER_ID"),
        ),
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
        "md": lambda s: (
            (dates.write(s.day(), s.rng.pick(("{m}/{d}",) * 6 + ("{m}-{d}", "{mm}/{dd}"))), "DATE"),
        ),
        "md.list": lambda s: dates.day_list(s.rng, s.day()),
        "date.range": lambda s: dates.date_range(s.rng, s.day()),
        "date.hl7": _hl7_date,
        "dob": lambda s: dates.full_date(s.rng, s.born, s.date_form()),
        "dob.hl7": lambda s: ((dates.write(s.born, "{Y}{mm}{dd}"), "DATE"),),
        "birthyear.old": lambda s: ((str(s.rng.between(1915, 1932)), "DATE"),),
        "year": lambda s: str(s.rng.between(1975, 2025)),
        "weekday": lambda s: s.rng.pick(dates.DAYS + dates.DAYS_SHORT),
        "time": lambda s: dates.time_of_day(s.rng),
        "ago": lambda s: dates.relative(s.rng),
        "street": _street,
        "addr": _address,
        "farstreet": _site("street"),
        "faraddr": _far_address,
        "farfac": _site("hospital"),
        "prison": _site("prison"),
        "school": _site("school"),
        "uni": _site("university"),
        "base": _site("base"),
        "airport": _site("airport"),
        "hood": _site("hood"),
        "ward": _site("ward"),
        "worksite": _site("worksite"),
        "town": lambda s: ((sites.town(s.rng, s.world.names, s.world.places), LOCATION),),
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
            (
                s.rng.shape(
                    s.rng.pick(
                        ("#####/##", "####/##", "#####/0#", "#####/1#", "###/##", "#####/2#")
                    )
                ),
                "OTHER_ID",
            ),
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
        "date.court": lambda s: dates.formal(s.rng, s.day()),
        "born.court": _born,
        "Date.court": lambda s: dates.formal(s.rng, s.day(), opens=True),
        "law": lambda s: s.rng.shape(s.rng.pick(SHAPES["statute"])),
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
        "word.first": lambda s: ((s.rng.pick(s.world.names.word_first), NAME),),
        "word.last": lambda s: ((s.rng.pick(s.world.names.word_last), NAME),),
        "word.firstlower": lambda s: ((s.rng.pick(s.world.names.word_first).lower(), NAME),),
        "word.lastlower": lambda s: ((s.rng.pick(s.world.names.word_last).lower(), NAME),),
        "word.full": lambda s: ((_word_name(s), NAME),),
        "hard.last": lambda s: ((people.surname(s.rng, s.world.names, 1.0), NAME),),
        "hard": lambda s: ((people.full(s.rng, people.person(s.rng, s.world.names, 1.0)), NAME),),
        "letter": lambda s: ((s.rng.pick(LETTERS), NAME),),
        "init": lambda s: ((numbers.staff_initials(s.rng), NAME),),
        "med": lambda s: numbers.medication(s.rng, s.world.words["drug"]),
        "panel": lambda s: numbers.panel(s.rng),
        "hhmm": lambda s: f"{s.rng.below(24):02}{s.rng.below(60):02}",
        "freq": lambda s: numbers.visit_frequency(s.rng),
        "clocks": lambda s: numbers.clock_range(s.rng),
        "trials": lambda s: numbers.trials(s.rng),
        "ref": lambda s: numbers.reference_range(s.rng),
        "rx": lambda s: numbers.refraction(s.rng),
        "vent": lambda s: numbers.ventilator(s.rng),
        "model": lambda s: numbers.model(s.rng),
        "n": lambda s: str(s.rng.between(1, 12)),
        "nn": lambda s: str(s.rng.between(13, 99)),
    }
