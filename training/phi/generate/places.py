"""Addresses and the names of facilities."""

from __future__ import annotations

from training.phi.generate.document import IGNORE, Piece, Value
from training.phi.generate.gazetteer import Names, Places
from training.phi.generate.rng import Rng

LOCATION = "LOCATION"
STREET_KINDS = (
    "St",
    "Street",
    "St.",
    "Ave",
    "Avenue",
    "Ave.",
    "Rd",
    "Road",
    "Rd.",
    "Dr",
    "Drive",
    "Ln",
    "Lane",
    "Blvd",
    "Boulevard",
    "Way",
    "Court",
    "Ct",
    "Pl",
    "Place",
    "Terrace",
    "Circle",
    "Pkwy",
    "Parkway",
    "Highway",
    "Trail",
    "Close",
    "Crescent",
    "Sq",
    "Loop",
    "Row",
    "Pike",
    "Mews",
)
STREET_WORDS = (
    "Main",
    "Oak",
    "Maple",
    "Elm",
    "Park",
    "Cedar",
    "Church",
    "High",
    "Lake",
    "Hill",
    "Washington",
    "Second",
    "3rd",
    "5th",
    "First",
    "Mill",
    "River",
    "Pine",
    "Sunset",
    "College",
    "Victoria",
    "Station",
    "Market",
    "Lincoln",
    "42nd",
    "MLK Jr",
    "Old Mill",
    "King's",
    "Queen",
    "Spring Valley",
    "Heather",
    "Fox Run",
    "Broad",
    "Walnut",
)
SAINTS = (
    "Mary",
    "Mary's",
    "Joseph's",
    "Luke's",
    "John's",
    "Jude",
    "Vincent",
    "Vincent's",
    "Francis",
    "Anthony's",
    "Elizabeth",
    "Agnes",
    "Thomas",
    "Barnabas",
    "Catherine's",
    "Bartholomew's",
    "Michael's",
    "Anne's",
    "Rita's",
    "Raphael's",
    "Cloud",
    "Clare",
    "Alphonsus",
    "Bernard's",
    "Charles",
    "David's",
    "Helena",
    "James",
    "Peter's",
    "Margaret's",
    "Rose",
    "Mark's",
    "Camillus",
    "Brigid's",
)
VIRTUES = (
    "Mercy",
    "Good Samaritan",
    "Sacred Heart",
    "Providence",
    "Holy Cross",
    "Our Lady of Lourdes",
    "Hope",
    "Grace",
    "Bethesda",
    "Trinity",
    "Mount Carmel",
    "Mount Sinai",
    "Cedars",
    "Baptist",
    "Methodist",
    "Good Hope",
    "Unity",
    "Covenant",
    "Beth Israel",
    "Emmanuel",
    "Resurrection",
    "Our Lady of Mercy",
    "All Saints",
    "Ascension",
    "Faith",
    "Memorial",
    "Community",
    "County",
    "Children's",
    "Veterans",
    "Shriners",
    "University",
    "Summit",
    "Heritage",
    "Sunrise",
    "Lakeside",
    "Riverside",
)
NATURE = (
    "Cedar",
    "Willow",
    "Maple",
    "Oak",
    "Pine",
    "Eagle",
    "Silver",
    "Stone",
    "Clear",
    "Green",
    "Blue",
    "Sunny",
    "Fair",
    "Spring",
    "Harbor",
    "Golden",
    "Quail",
    "Aspen",
    "Rose",
    "Elm",
    "Fox",
    "Autumn",
    "Meadow",
    "Briar",
)
FEATURES = (
    "Ridge",
    "Creek",
    "Valley",
    "Lake",
    "Hills",
    "View",
    "Brook",
    "Springs",
    "Grove",
    "Point",
    "Haven",
    "Park",
    "Glen",
    "Manor",
    "Field",
    "Woods",
    "Hollow",
    "Gardens",
    "Bend",
    "Terrace",
)
HOSPITALS = (
    "Hospital",
    "Medical Center",
    "General Hospital",
    "Memorial Hospital",
    "Regional Medical Center",
    "Community Hospital",
    "Health Center",
    "Infirmary",
    "General",
    "Memorial",
    "Regional Hospital",
    "University Hospital",
    "Children's Hospital",
    "Med Ctr",
    "VA Medical Center",
    "District Hospital",
    "Hosp.",
    "VAMC",
    "Teaching Hospital",
    "Health System",
    "Healthcare",
)
CLINICS = (
    "Clinic",
    "Family Practice",
    "Family Medicine",
    "Medical Group",
    "Pediatrics",
    "Internal Medicine",
    "Orthopedics",
    "Surgery Center",
    "Cancer Center",
    "Urgent Care",
    "Dialysis",
    "Rehab",
    "Nursing Home",
    "Rehabilitation Center",
    "Care Center",
    "Hospice",
    "Assisted Living",
    "Skilled Nursing Facility",
    "SNF",
    "Imaging",
    "Physical Therapy",
    "Heart Institute",
    "Women's Health",
    "Dermatology",
    "Eye Center",
    "Pharmacy",
    "Health Clinic",
    "Primary Care",
    "Surgery",
    "Medical Practice",
    "Health Centre",
    "Cardiology Associates",
    "Nursing & Rehab",
    "Sleep Center",
    "Pain Clinic",
    "Diagnostic Center",
    "Manor",
    "Retirement Village",
    "Laboratory",
)
FACILITY_FORMS = (
    *("{saint} {kind}",) * 8,
    *("{surname} {kind}",) * 8,
    *("{city} {kind}",) * 8,
    *("{virtue} {kind}",) * 5,
    *("{two_words} {kind}", "{one_word} {kind}") * 3,
    *("{listed}",) * 6,
    *("{known}", "{surname}-{other} {kind}") * 2,
    "{first} {surname} {kind}",
    "{first} {surname} {kind}",
    "University of {state} Hospital",
    "University of {state} Medical Center",
    "{royal} {city} Infirmary",
    "{royal} {city} Hospital",
    "{city} NHS Trust",
    "{acronym}",
    "{acronym}",
    "The {surname} {kind}",
    "The {virtue} {kind}",
    "The {city} {kind}",
    "The {center} at {two_words}",
    "{city} VA",
    "{city} VA",
    "VA {city}",
    "{camel} {kind}",
    "{camel} {kind}",
    "{camel} {pair}",
    "{camel}",
    "{two_words} {pair}",
    "{surname} {pair}",
    "{center} at {two_words}",
    "{center} at {virtue}",
    "{center} of {city}",
    "UI{acronym}",
)
CAMEL = (
    "Sun",
    "Valley",
    "Lake",
    "Coast",
    "True",
    "Bay",
    "Well",
    "Blue",
    "North",
    "Prime",
    "River",
    "Family",
    "Summit",
    "Care",
    "Nova",
    "Peak",
    "Heart",
    "Clear",
    "Med",
    "Uni",
)
CENTERS = (
    "Breast Center",
    "Heart Center",
    "Birth Center",
    "Spine Center",
    "Eye Institute",
    "Infusion Center",
    "Wound Center",
    "Cancer Institute",
    "Endoscopy Center",
    "Imaging Center",
    "Pain Center",
    "Memory Clinic",
    "Residences",
    "Villas",
    "Village",
    "Rehab",
)
PAIRS = (
    "Skin & Laser",
    "Ear, Nose & Throat",
    "ENT & Allergy",
    "Foot & Ankle",
    "Spine & Sport",
    "Bone & Joint",
    "Heart & Vascular",
    "OB/GYN",
    "Women's Care",
    "Kids Dental",
    "Family Dental",
    "Smiles",
    "Hearing",
    "Home Health",
    "Hospice & Palliative Care",
    "Behavioral Health",
    "Counseling",
    "Lung & Sleep",
    "GI Associates",
    "Kidney Care",
    "Vision",
    "Orthodontics",
)
UNITS = (
    "Apt {n}",
    "Apt. {n}{l}",
    "#{n}",
    "Unit {n}",
    "Suite {h}",
    "Ste {h}",
    "Ste. {h}",
    "Floor {n}",
    "Flat {n}",
    "Bldg {l}",
    "Rm {h}",
    "Lot {n}",
)


def street(rng: Rng, names: Names, places: Places) -> str:
    """Return house number and street."""
    roll = rng.random()
    if roll < 0.06:
        return rng.pick(("P.O. Box ", "PO Box ", "P.O. BOX ")) + rng.digits(rng.between(2, 5))
    if roll < 0.09:
        return f"RR {rng.between(1, 9)} Box {rng.digits(3)}"
    name = (
        rng.pick(STREET_WORDS)
        if roll < 0.4
        else rng.pick(names.surnames)
        if roll < 0.6
        else rng.pick(places.streets)
    )
    if rng.chance(0.12):
        name = (
            rng.pick(("N", "S", "E", "W", "North", "West", "N.", "SW", "NE", "South")) + " " + name
        )
    text = f"{rng.digits(rng.pick((1, 2, 3, 3, 4, 4, 5)))} {name} {rng.pick(STREET_KINDS)}"
    return text + rng.pick((", ", " ")) + unit(rng) if rng.chance(0.15) else text


def unit(rng: Rng) -> str:
    """Return an apartment or suite."""
    return rng.pick(UNITS).format(n=rng.between(1, 60), h=rng.between(100, 999), l=rng.pick("ABCD"))


def zip_code(rng: Rng) -> str:
    """Return a postal code, mostly of the US."""
    roll = rng.random()
    if roll < 0.8:
        return rng.shape("#####")
    if roll < 0.92:
        return rng.shape("#####-####")
    return rng.shape(rng.pick(("@@# #@@", "@## #@@", "@#@ #@#", "@@## #@@", "@#@#@#")))


def address(rng: Rng, names: Names, places: Places, newline: str = ", ") -> tuple[Piece, ...]:
    """Return street, city, state and postal code, each its own span; the state is ignored."""
    city, code, state, _ = rng.pick(places.cities)
    gap = ", " if newline == ", " and rng.chance(0.8) else newline
    pieces: list[Piece] = [(street(rng, names, places), LOCATION), (gap, None), (city, LOCATION)]
    if rng.chance(0.9):
        pieces += [
            (rng.pick((", ", ", ", " ")), None),
            (code if rng.chance(0.85) else state, IGNORE),
        ]
        if rng.chance(0.85):
            pieces += [(rng.pick((" ", " ", "  ", ", ")), None), (zip_code(rng), LOCATION)]
    return tuple(pieces)


def city_state(rng: Rng, places: Places) -> Value:
    """Return a city, at times with its state, which is not PHI."""
    if rng.chance(0.12):
        return ((rng.pick(places.foreign_cities), LOCATION),)
    city, code, state, _ = rng.pick(places.cities)
    if rng.chance(0.4):
        return ((city, LOCATION), (", ", None), (code if rng.chance(0.6) else state, IGNORE))
    return ((city, LOCATION),)


def county(rng: Rng, places: Places) -> Value:
    """Return a county."""
    name = rng.pick(places.cities)[3] or "Lake"
    return rng.pick(
        (
            ((f"{name} County", LOCATION),),
            ((f"County of {name}", LOCATION),),
            ((f"{name} Co.", LOCATION),),
        )
    )


def facility(rng: Rng, names: Names, places: Places) -> str:
    """Return the name of a hospital, clinic, home or pharmacy."""
    kind = rng.pick(HOSPITALS if rng.chance(0.6) else CLINICS)
    nature, feature = rng.pick(NATURE), rng.pick(FEATURES)
    city, surname = rng.pick(places.cities), rng.pick(names.surnames)
    letters = "".join(rng.pick("ABCDGHJKLMNPRSTUVW") for _ in range(rng.between(1, 2)))
    form = rng.pick(FACILITY_FORMS)
    return form.format(
        kind=kind,
        saint=rng.pick(("St.", "St", "Saint", "St.")) + " " + rng.pick(SAINTS),
        surname=surname,
        other=rng.pick(names.surnames),
        first=rng.pick(names.male),
        city=city[0],
        state=city[2],
        virtue=rng.pick(VIRTUES),
        two_words=f"{nature} {feature}",
        one_word=nature + feature.lower(),
        listed=rng.pick(places.facilities),
        known=rng.pick(places.known),
        camel=rng.pick(CAMEL)
        + rng.pick(
            ("Care", "Health", "Med", "Vale", "Point", "View", "Bridge", "Path", "Well", "Life")
        ),
        center=rng.pick(CENTERS),
        pair=rng.pick(PAIRS),
        acronym=letters + rng.pick(("GH", "MC", "MH", "RMC", "UH", "CH")),
        royal=rng.pick(("Royal", "Royal", "Queen", "Great")),
    )
