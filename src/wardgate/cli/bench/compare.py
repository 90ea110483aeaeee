"""Two results side by side: for each load, whether B differs from A, and by how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wardgate.cli.bench import results
from wardgate.cli.bench.bootstrap import Ratio, ratio
from wardgate.cli.bench.results import Result, Series
from wardgate.cli.bench.table import Invalid

FIGURES = (
    ("requests_per_second", "requests/s", True),
    ("p50_ms", "p50", False),
    ("p95_ms", "p95", False),
    ("p99_ms", "p99", False),
)
"""Name in a result, name in words, and whether more is better."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side: results, and the one system in them that is meant, or all."""

    results: tuple[Result, ...]
    label: str | None

    @classmethod
    def read(cls, text: str) -> Side:
        """Read `PATH` or `PATH:LABEL`, a result or a folder of them. Raises Invalid."""
        path, label = Path(text), None
        if not path.exists() and ":" in text:
            before, _, label = text.rpartition(":")
            path = Path(before)
        found = tuple(results.read_all(path))
        if label is not None and label not in results.labels(found):
            raise Invalid(f"{path} has no system '{label}'.")
        return cls(found, label)


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of one system under one load, on both sides."""

    scenario: str
    systems: str
    load: str
    figure: str
    better: bool
    a: float
    b: float
    ratio: Ratio

    @property
    def verdict(self) -> str:
        """What may be said."""
        if self.ratio.real is None:
            return "too few rounds to say"
        if not self.ratio.real:
            return "no difference shown"
        return "better" if (self.ratio.value > 1) == self.better else "worse"


def differences(a: Side, b: Side) -> Iterator[Difference]:
    """Compare what both sides have: the same scenario and load, and the same system unless named.

    Raises Invalid where they have nothing in common.
    """
    named = a.label is not None or b.label is not None
    found = False
    for one, other, paired in _pairs(a, b):
        mine, theirs = _keyed(one, a.label, named), _keyed(other, b.label, named)
        for key, first in mine.items():
            second = theirs.get(key)
            if second is None:
                continue
            found = True
            same = first.label == second.label
            systems = first.label if same else f"{first.label} -> {second.label}"
            for name, words, better in FIGURES:
                yield Difference(
                    str(one.scenario["name"]), systems, first.load, words, better,
                    first.mean(name), second.mean(name),
                    ratio(first.figures(name), second.figures(name), paired=paired),
                )  # fmt: skip
    if not found:
        raise Invalid("The two have no scenario, load and system in common.")


def warnings(a: Side, b: Side) -> list[str]:
    """Return what makes the two no measurement of the same thing, or not to be trusted."""
    found = []
    for one, other, _ in _pairs(a, b):
        name = one.scenario["name"]
        for group, words in (("machine", "machines"), ("notes", "notes")):
            keys = ("cpu", "processors") if group == "machine" else None
            if _part(one, group, keys) != _part(other, group, keys):
                found.append(f"{name}: the {words} differ")
        for key in ("seconds", "warm", "threads", "processors", "seed"):
            if one.scenario[key] != other.scenario[key]:
                found.append(f"{name}: '{key}' differs")  # noqa: PERF401 -- one of several kinds
        for result in (one, other):
            found += [
                f"{name}, {series.label}, {series.load}: {doubt}"
                for series in result.series()
                for doubt in series.doubts
            ]
    return list(dict.fromkeys(found))


def _pairs(a: Side, b: Side) -> Iterator[tuple[Result, Result, bool]]:
    for one in a.results:
        for other in b.results:
            if one.scenario["name"] == other.scenario["name"]:
                same = one.path.resolve() == other.path.resolve()
                yield one, other, same


def _keyed(result: Result, label: str | None, named: bool) -> dict[tuple[object, ...], Series]:
    return {
        (series.kind, series.level, None if named else series.label): series
        for series in result.series()
        if label is None or series.label == label
    }


def _part(result: Result, group: str, keys: tuple[str, ...] | None) -> object:
    found = result.content[group]
    return found if keys is None else [found[key] for key in keys]
