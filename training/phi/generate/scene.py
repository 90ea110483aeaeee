"""What one document is about: who is in it, where, when, and how it writes dates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

from training.phi.generate import dates, people, places, sites
from training.phi.generate.document import Draft
from training.phi.generate.gazetteer import Names, Places
from training.phi.generate.people import Person
from training.phi.generate.rng import Rng
from training.phi.generate.template import Banks

SPEAKERS = (
    ("Doctor: ", "Patient: "),
    ("[doctor] ", "[patient] "),
    ("DR: ", "PT: "),
    ("D: ", "P: "),
    ("- ", "- "),
    ("Dr: ", "Pt: "),
    ("Clinician: ", "Patient: "),
    ("Nurse: ", "Daughter: "),
    ("RN: ", "Son: "),
    ("Agent: ", "Member: "),
    ("Staff: ", "Caller: "),
    ("DOCTOR - ", "PATIENT - "),
    ("Physician> ", "Pt> "),
    ("Therapist: ", "Client: "),
    ("Dispatcher: ", "Caller: "),
    ("GP: ", "Patient: "),
    ("Provider: ", "Caller: "),
    ("A: ", "B: "),
    ("", ""),
    ("Q: ", "A: "),
)
"""How a dialogue names its two speakers."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything of one part that documents draw from."""

    names: Names
    places: Places
    words: dict[str, list[str]]
    prose: list[str]
    rare: list[str]


class Scene:
    """The people, places and dates of one document; slots read it."""

    def __init__(self, rng: Rng, world: World, hard: float) -> None:
        self.rng = rng
        self.world = world
        self.hard = hard
        self.patient = people.person(rng, world.names, hard)
        self.clinicians = [people.person(rng, world.names, hard) for _ in range(3)]
        shared = self.patient.last if rng.chance(0.5) else ""
        self.relatives = [people.person(rng, world.names, hard, shared) for _ in range(2)]
        self.age = self._age()
        self.born = dates.birth_day(rng, self.age)
        self.seen = dates.some_day(rng, 2005)
        self.form = rng.pick(dates.FULL)
        self.speakers = rng.pick(SPEAKERS)
        self.hospital = self.facility()

    def facility(self) -> str:
        """Return the name of a hospital, home or clinic, now and then one abroad."""
        if self.rng.chance(0.08):
            return self.site("hospital")
        return places.facility(self.rng, self.world.names, self.world.places)

    def site(self, kind: str) -> str:
        """Return the name of a place of some kind."""
        return sites.named(kind, self.rng, self.world.names, self.world.places)

    @cached_property
    def applicant(self) -> Person:
        """The one whom a judgment is about."""
        return self.stranger() if self.rng.chance(0.8) else self.patient

    @cached_property
    def opponent(self) -> Person:
        """The other one, at times of the same family."""
        last = self.applicant.last if self.rng.chance(0.35) else ""
        return people.foreigner(self.rng, self.world.names, last)

    def stranger(self) -> Person:
        """Return somebody with a name of anywhere."""
        return people.foreigner(self.rng, self.world.names)

    def _age(self) -> int:
        roll = self.rng.random()
        if roll < 0.05:
            return self.rng.between(90, 104)
        return self.rng.between(1, 17) if roll < 0.15 else self.rng.between(18, 89)

    def other(self) -> Person:
        """Return somebody else."""
        return people.person(self.rng, self.world.names, self.hard)

    def clinician(self) -> Person:
        """Return one of the document's clinicians, or a new one."""
        return self.rng.pick(self.clinicians) if self.rng.chance(0.8) else self.other()

    def relative(self) -> Person:
        """Return one of the patient's people."""
        return self.rng.pick(self.relatives)

    def day(self) -> date:
        """Return a day near the visit, or long before it."""
        roll = self.rng.random()
        if roll < 0.4:
            return self.seen
        if roll < 0.8:
            return self.seen + timedelta(days=self.rng.between(-120, 120))
        return dates.some_day(self.rng)

    def date_form(self) -> str:
        """Return the document's own format, most of the time."""
        return self.form if self.rng.chance(0.6) else ""


def write(banks: Banks, bank: str, scene: Scene) -> Draft:
    """Return one template of the bank in the scene."""
    draft = Draft()
    banks.write(bank, scene, draft)
    return draft
