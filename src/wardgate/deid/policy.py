"""Policies as data: what happens to each kind of PHI, and the hash that names exactly that.

A policy names one action for every kind; one that misses a kind or names an unknown one is refused.
Finding PHI is the same under every policy. `policyfile.py` reads a site's own from files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib import resources

from wardgate.deid.site import NONE, Site
from wardgate.deid.spans import Place
from wardgate.errors import PolicyUnknown
from wardgate.types import EntityType

DEFAULT = "safe_harbor"
SAFE_HARBOR = "safe_harbor"
"""The standard of 45 CFR 164.514(b)(2) that a policy may claim."""
AGE_FORM = "90+"
"""The generalised form of an age over 89 (45 CFR 164.514(b)(2)(i)(C))."""
TAGS = {label: f"[{label}]" for label in EntityType}
"""What takes the place of a redacted span."""
NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
"""Name of a policy or project; the grammar of scopes (`deid:<policy>`) knows no other."""


class Action(StrEnum):
    """What happens to a span, from weakest to strongest.

    What tells more of the value is weaker. `keep` tells all of it. `shift`, `fpe`, `surrogate` and
    `pseudonym` are derived from the person, so that notes can be linked, and stand below whatever
    is not: a shifted date keeps every interval, an encrypted number comes back with the key, a
    surrogate keeps sex, origin and format, a pseudonym tells only who is the same. `mask` keeps
    length and signs. `generalize` keeps what Safe Harbor lets stay; a `vault` code is random but
    leads back for those who may; `redact` leaves the type.
    """

    KEEP = "keep"
    SHIFT = "shift"
    FPE = "fpe"
    SURROGATE = "surrogate"
    PSEUDONYM = "pseudonym"
    MASK = "mask"
    GENERALIZE = "generalize"
    VAULT = "vault"
    REDACT = "redact"


class SecondLook(StrEnum):
    """What happens where the second look finds something in de-identified text."""

    REFUSE = "refuse"
    REDACT = "redact"


_STRENGTH = {action: rank for rank, action in enumerate(Action)}
KINDS = frozenset(
    {label.value for label in EntityType if label is not EntityType.LOCATION}
    | {f"LOCATION.{place}" for place in Place}
)
"""Every key that `actions` must have, and no other."""
GENERALIZABLE = frozenset({"DATE", "AGE", "LOCATION.ZIP"})
"""Kinds that have a generalised form: a year, `90+`, three digits."""
_NUMBERED = frozenset(
    {"PHONE", "FAX", "SSN", "MRN", "HEALTH_PLAN", "ACCOUNT", "LICENSE", "VEHICLE", "DEVICE"}
    | {"OTHER_ID"}
)
_FITS: Mapping[Action, frozenset[str]] = {
    Action.GENERALIZE: GENERALIZABLE,
    Action.SHIFT: frozenset({"DATE"}),
    Action.FPE: _NUMBERED,
    Action.SURROGATE: KINDS - {"DATE", "AGE", "BIOMETRIC", "PHOTO"},
}
"""Kinds that an action makes sense for; those not named here are for all."""
_NO_FORM = {
    Action.GENERALIZE: "has no generalised form",
    Action.SHIFT: "is no date to shift",
    Action.FPE: "has no format that encryption preserves",
    Action.SURROGATE: "has no surrogates",
}
DERIVED = frozenset({Action.SHIFT, Action.FPE, Action.SURROGATE, Action.PSEUDONYM, Action.MASK})
"""Actions whose result depends on the value itself; never Safe Harbor (45 CFR 164.514(c)(1)).

They take the place of a tag once it is known what is PHI (`derive.py`).
"""
_SHIFT_DAYS, _LEAST_DAYS, _MOST_DAYS = 365, 90, 36_500


@dataclass(frozen=True, slots=True)
class Shift:
    """How far dates move: `days` at most either way, never 0; by whole weeks with `weekdays`."""

    days: int = _SHIFT_DAYS
    weekdays: bool = False
    """Whether a Monday stays a Monday."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A checked policy. `hash` is the SHA-256 of its canonical JSON and any site's, hex."""

    name: str
    description: str
    source: str
    actions: Mapping[str, Action]
    hash: str
    constant: Mapping[EntityType, str]
    """What takes the place of a label whatever its text: its tag, or `90+` of an age."""
    document: Mapping[str, object]
    """What was read."""
    standard: str = ""
    """`safe_harbor` where the policy claims it, else empty."""
    project: str = ""
    """Keys of shifts, surrogates, pseudonyms and encryption are of this project and the tenant."""
    shift: Shift = Shift()
    second_look: SecondLook = SecondLook.REDACT
    site: Site = NONE
    """What the site adds to what is found, under every policy."""
    derives: bool = False
    """Whether any action is one of `DERIVED`."""
    vaulted: frozenset[EntityType] = frozenset()
    """Types whose tags the gateway fills with vault codes, last of all."""

    def action(self, label: EntityType, place: Place | None) -> Action:
        """Return what to do; a location of no known kind gets the strongest of its kinds."""
        if label is not EntityType.LOCATION:
            return self.actions[label]
        return self.actions[f"LOCATION.{place}"] if place else Action.REDACT

    def uses(self, action: Action) -> bool:
        """Whether any kind of PHI gets this action."""
        return action in self.actions.values()

    def weaker_than(self, other: Policy) -> bool:
        """Whether any kind of PHI is treated more weakly here than by `other`."""
        return any(_STRENGTH[self.actions[k]] < _STRENGTH[other.actions[k]] for k in KINDS)

    def at(self, site: Site) -> Policy:
        """Return this policy with what a site adds; the hash is then of both."""
        if site is NONE:
            return self
        return replace(self, site=site, hash=_hash({"policy": self.document, "site": site.digest}))


class Wrong(ValueError):
    """A document is refused: `detail` says why, `path` where, by keys and numbers of entries."""

    def __init__(self, detail: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(detail)
        self.detail, self.path = detail, path


def parse(document: object) -> Policy:
    """Check a policy document.

    Raises Wrong with the reason: a key unknown or missing, an action that does
    not exist or does not fit its kind, or a claim to Safe Harbor that the actions do not bear out.
    """
    if not isinstance(document, dict):
        raise Wrong("A policy is a JSON object.")
    expected = {"name", "description", "source", "actions"}
    given = document.keys() - {"standard", "project", "shift", "second_look"}
    if given != expected:
        raise Wrong(
            difference("A policy", given, expected),
            tuple(sorted(str(key) for key in given - expected))[:1],
        )
    for key in ("name", "description", "source"):
        if not isinstance(document[key], str):
            raise Wrong("A policy's name, description and source are strings.", (key,))
    for key in ("name", "project"):
        if key in document and not (
            isinstance(document[key], str) and NAME.fullmatch(document[key])
        ):
            raise Wrong(f"A policy's {key} is of a to z, 0 to 9, '.', '_' and '-'.", (key,))
    actions = _actions(document["actions"])
    standard = document.get("standard", "")
    if standard not in {"", SAFE_HARBOR}:
        raise Wrong("A policy's standard can be safe_harbor alone.", ("standard",))
    if standard:
        _bear_out(actions)
    return Policy(
        name=document["name"],
        description=document["description"],
        source=document["source"],
        actions=actions,
        hash=_hash(document),
        constant=_constant(actions),
        document=document,
        standard=standard,
        project=str(document.get("project", document["name"])),
        shift=_shift(document.get("shift", {})),
        second_look=_second_look(document.get("second_look", SecondLook.REDACT)),
        derives=any(action in DERIVED for action in actions.values()),
        vaulted=frozenset(
            EntityType(kind.split(".")[0])
            for kind, action in actions.items()
            if action is Action.VAULT
        ),
    )


def _actions(actions: object) -> dict[str, Action]:
    if not isinstance(actions, dict):
        raise Wrong("A policy's actions are a JSON object.", ("actions",))
    if actions.keys() != KINDS:
        raise Wrong(
            difference("A policy's actions", actions.keys(), KINDS),
            ("actions", *sorted(str(key) for key in actions.keys() - KINDS)[:1]),
        )
    for kind, action in actions.items():
        path = ("actions", kind)
        if action not in _STRENGTH:
            raise Wrong(f"Policy action for {kind} is none of {', '.join(Action)}.", path)
        if kind not in _FITS.get(Action(action), KINDS):
            raise Wrong(f"{kind} {_NO_FORM[Action(action)]}.", path)
    places = {kind: action for kind, action in actions.items() if kind.startswith("LOCATION.")}
    if Action.VAULT in places.values():  # its tags are found again by type, and all places have one
        for kind, action in sorted(places.items()):
            if action not in {Action.VAULT, Action.GENERALIZE, Action.KEEP}:
                raise Wrong(
                    f"{kind}: where one kind of place has vault codes, each other has too, or is "
                    "kept or generalized.",
                    ("actions", kind),
                )
    return {kind: Action(action) for kind, action in actions.items()}


def _bear_out(actions: Mapping[str, Action]) -> None:
    """Raise Wrong unless the actions are Safe Harbor's own."""
    for kind, action in sorted(actions.items()):
        if action not in {Action.REDACT, Action.GENERALIZE, Action.VAULT}:
            raise Wrong(
                f"{kind}: a safe_harbor policy redacts, generalizes or uses vault codes; "
                f"{action} is none of these (45 CFR 164.514(b)(2), (c)).",
                ("actions", kind),
            )


def _shift(given: object) -> Shift:
    if not isinstance(given, dict) or given.keys() - {"days", "weekdays"}:
        raise Wrong("shift has the keys days and weekdays, and no other.", ("shift",))
    days, weekdays = given.get("days", _SHIFT_DAYS), given.get("weekdays", False)
    if not isinstance(weekdays, bool):
        raise Wrong("shift.weekdays is true or false.", ("shift", "weekdays"))
    # few possible offsets are soon tried through
    whole = isinstance(days, int) and not isinstance(days, bool)
    if not whole or not _LEAST_DAYS <= days <= _MOST_DAYS:
        raise Wrong(
            f"shift.days is a number from {_LEAST_DAYS} to {_MOST_DAYS}.", ("shift", "days")
        )
    return Shift(days, weekdays)


def _second_look(given: object) -> SecondLook:
    if not isinstance(given, str) or given not in set(SecondLook):
        raise Wrong(f"second_look is one of {', '.join(SecondLook)}.", ("second_look",))
    return SecondLook(given)


def _hash(document: object) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _constant(actions: Mapping[str, Action]) -> dict[EntityType, str]:
    """Return the replacement of each label that the policy treats alike in all its kinds."""
    constant: dict[EntityType, str] = {}
    for label in EntityType:
        if all(a is Action.REDACT for k, a in actions.items() if k.split(".")[0] == label):
            constant[label] = TAGS[label]
    if actions[EntityType.AGE] is Action.GENERALIZE:
        constant[EntityType.AGE] = AGE_FORM
    return constant


@cache
def shipped() -> Mapping[str, Policy]:
    """Return the packaged policies by name."""
    folder = resources.files("wardgate.deid") / "data" / "policies"
    found = [
        parse(json.loads(entry.read_bytes()))
        for entry in folder.iterdir()
        if entry.name.endswith(".json")
    ]
    return {policy.name: policy for policy in sorted(found, key=lambda policy: policy.name)}


def get(name: str | None) -> Policy:
    """Return a shipped policy; None is the default. Raises PolicyUnknown."""
    policy = shipped().get(name or DEFAULT)
    if policy is None:
        raise PolicyUnknown
    return policy


def difference(what: str, given: Iterable[object], expected: Iterable[str]) -> str:
    """Return which keys are unknown and which are missing."""
    there, wanted = set(map(str, given)), set(expected)
    unknown, missing = sorted(there - wanted), sorted(wanted - there)
    parts = [f"unknown: {', '.join(unknown)}"] * bool(unknown) + [
        f"missing: {', '.join(missing)}"
    ] * bool(missing)
    return f"{what} has wrong keys; {'; '.join(parts)}."
