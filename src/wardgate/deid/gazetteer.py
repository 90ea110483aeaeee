"""Word lists: first names, surnames, common words, cities. Loaded once, looked up in lower case."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Gazetteer:
    """Frozen sets of lower-case ASCII words. `common` wins where a word is a name as well."""

    first: frozenset[str]
    last: frozenset[str]
    common: frozenset[str]
    eponyms: frozenset[str]
    cities: frozenset[str]
    sure_first: frozenset[str]
    """First names that are no common word, eponym, drug or month: names also when they stand alone."""
    names: frozenset[str]
    """All first names and surnames."""


@cache
def load() -> Gazetteer:
    """Return the packaged lists; they are read on first use and kept."""
    first, last, common, cities = (
        _read(name) for name in ("first_names", "surnames", "common_words", "cities")
    )
    eponyms = _read("eponyms")
    long = frozenset(word for word in first if len(word) > 2)
    return Gazetteer(first, last, common, eponyms, cities, long - common - eponyms, first | last)


def _read(name: str) -> frozenset[str]:
    path = resources.files("wardgate.deid").joinpath(f"data/{name}.txt")
    return frozenset(line for line in path.read_text("ascii").splitlines() if line[:1] != "#")
