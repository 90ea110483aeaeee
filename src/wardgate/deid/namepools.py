"""Pools of names that surrogates are drawn from, by origin and sex; loaded once, on first use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from wardgate.deid import gazetteer

USUAL = "english"
"""Origin of a name of which none can be told."""


@dataclass(frozen=True, slots=True)
class NamePools:
    """Lower-case ASCII names; none is a common word, an eponym or a month."""

    first: Mapping[tuple[str, str], Sequence[str]]
    """First names by origin and sex: `M`, `F`, or `` for both."""
    last: Mapping[str, Sequence[str]]
    """Surnames by origin; a surname has one origin."""
    first_of: Mapping[str, tuple[str, str]]
    """Origin and sex of a first name; the sex is empty where both bear it."""
    last_of: Mapping[str, str]
    """Origin of a surname."""
    cities: Sequence[str]
    """Towns of one or more words."""


@cache
def load() -> NamePools:
    """Return the packaged pools."""
    first: dict[tuple[str, str], list[str]] = {}
    last: dict[str, list[str]] = {}
    first_of: dict[str, tuple[str, str]] = {}
    last_of: dict[str, str] = {}
    table = resources.files("wardgate.deid").joinpath("data/surrogate_names.csv")
    for row in table.read_text("ascii").split()[1:]:
        origin, kind, name = row.split(",")
        if kind == "family":
            last.setdefault(origin, []).append(name)
            last_of[name] = origin
            continue
        first.setdefault((origin, kind), []).append(name)
        before = first_of.get(name)
        first_of[name] = (origin, kind if before is None or before[1] == kind else "")
    for origin in {origin for origin, _ in first}:
        both = {*first[origin, "M"], *first[origin, "F"]}
        first[origin, ""] = sorted(both)
    words = gazetteer.load()
    cities = sorted(c for c in words.cities if c not in words.common and c[0].isalpha())
    return NamePools(first, last, first_of, last_of, cities)
