"""Policies as data: what happens to each kind of PHI, and the hash that names exactly that.

A policy says `keep`, `generalize` or `redact` for every kind; one that misses a kind or names an
unknown one is refused. Finding PHI is the same under every policy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources

from wardgate.deid.spans import Place
from wardgate.errors import PolicyUnknown, SettingsInvalid
from wardgate.types import EntityType

DEFAULT = "safe_harbor"
AGE_FORM = "90+"
"""The generalised form of an age over 89 (45 CFR 164.514(b)(2)(i)(C))."""
TAGS = {label: f"[{label}]" for label in EntityType}
"""What takes the place of a redacted span."""


class Action(StrEnum):
    """What happens to a span; from weakest to strongest: keep, generalize, redact."""

    KEEP = "keep"
    GENERALIZE = "generalize"
    REDACT = "redact"


_STRENGTH = {Action.KEEP: 0, Action.GENERALIZE: 1, Action.REDACT: 2}
KINDS = frozenset(
    {label.value for label in EntityType if label is not EntityType.LOCATION}
    | {f"LOCATION.{place}" for place in Place}
)
"""Every key that `actions` must have, and no other."""
GENERALIZABLE = frozenset({"DATE", "AGE", "LOCATION.ZIP"})
"""Kinds that have a generalised form: a year, `90+`, three digits."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A checked policy. `hash` is the SHA-256 of its canonical JSON, hex."""

    name: str
    description: str
    source: str
    actions: Mapping[str, Action]
    hash: str
    constant: Mapping[EntityType, str]
    """What takes the place of a label whatever its text: its tag, or `90+` of an age."""

    def action(self, label: EntityType, place: Place | None) -> Action:
        """Return what to do; a location of no known kind gets the strongest of its kinds."""
        if label is not EntityType.LOCATION:
            return self.actions[label]
        return self.actions[f"LOCATION.{place}"] if place else Action.REDACT

    def weaker_than(self, other: Policy) -> bool:
        """Whether any kind of PHI is treated more weakly here than by `other`."""
        return any(_STRENGTH[self.actions[k]] < _STRENGTH[other.actions[k]] for k in KINDS)


def parse(document: object) -> Policy:
    """Check a policy document.

    Raises SettingsInvalid with the reason: a key unknown or missing, an action that does not exist,
    or `generalize` for a kind that has no generalised form.
    """
    if not isinstance(document, dict):
        raise SettingsInvalid("A policy is a JSON object.")
    expected = {"name", "description", "source", "actions"}
    if document.keys() != expected:
        raise SettingsInvalid(_difference("A policy", document.keys(), expected))
    actions = document["actions"]
    if not isinstance(actions, dict):
        raise SettingsInvalid("A policy's actions are a JSON object.")
    if not all(isinstance(document[key], str) for key in ("name", "description", "source")):
        raise SettingsInvalid("A policy's name, description and source are strings.")
    if actions.keys() != KINDS:
        raise SettingsInvalid(_difference("A policy's actions", actions.keys(), KINDS))
    for kind, action in actions.items():
        if action not in _STRENGTH:
            raise SettingsInvalid(f"Policy action for {kind} is none of keep, generalize, redact.")
        if action == Action.GENERALIZE and kind not in GENERALIZABLE:
            raise SettingsInvalid(f"{kind} has no generalised form.")
    checked = {kind: Action(action) for kind, action in actions.items()}
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return Policy(
        name=document["name"],
        description=document["description"],
        source=document["source"],
        actions=checked,
        hash=hashlib.sha256(canonical.encode("ascii")).hexdigest(),
        constant=_constant(checked),
    )


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
    return {policy.name: policy for policy in found}


def get(name: str | None) -> Policy:
    """Return a shipped policy; None is the default. Raises PolicyUnknown."""
    policy = shipped().get(name or DEFAULT)
    if policy is None:
        raise PolicyUnknown
    return policy


def _difference(what: str, given: Iterable[str], expected: Iterable[str]) -> str:
    given, expected = set(given), set(expected)
    unknown, missing = sorted(map(str, given - expected)), sorted(expected - given)
    parts = [f"unknown: {', '.join(unknown)}"] * bool(unknown) + [
        f"missing: {', '.join(missing)}"
    ] * bool(missing)
    return f"{what} has wrong keys; {'; '.join(parts)}."
