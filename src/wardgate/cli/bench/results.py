"""A run's result: one JSON file for each scenario, written whole after each round."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wardgate.cli.bench.histogram import Latencies
from wardgate.cli.bench.scenario import Load
from wardgate.cli.bench.table import Invalid

FORMAT = "wardgate-bench/1"


@dataclass(frozen=True, slots=True)
class Series:
    """All rounds of one system under one load."""

    label: str
    kind: str
    level: float
    rounds: tuple[Mapping[str, Any], ...]

    def figures(self, name: str) -> list[float]:
        """Return a figure of each round."""
        return [float(each[name]) for each in self.rounds]

    def mean(self, name: str) -> float:
        """Return the mean over rounds; of rounds that have the figure, 0 where none has."""
        found = [float(each[name]) for each in self.rounds if each.get(name) is not None]
        return sum(found) / len(found) if found else 0.0

    def mean_of(self, group: str) -> dict[str, float]:
        """Return the means over rounds of a group of figures, such as `hops_ms`."""
        sums: dict[str, list[float]] = {}
        for each in self.rounds:
            for name, value in (each.get(group) or {}).items():
                sums.setdefault(name, []).append(float(value))
        return {name: sum(values) / len(values) for name, values in sums.items()}

    def latencies(self) -> Latencies:
        """Return the histogram of all rounds together."""
        merged = Latencies()
        for each in self.rounds:
            merged.add(Latencies.decode(each["histogram"]))
        return merged

    @property
    def errors(self) -> int:
        """Requests that were not answered well."""
        return sum(sum(each["errors"].values()) for each in self.rounds)

    @property
    def doubts(self) -> list[str]:
        """Reasons to think that the generator was the bottleneck, each once."""
        found = [reason for each in self.rounds for reason in each["bottleneck"]]
        return list(dict.fromkeys(found))

    @property
    def load(self) -> str:
        """The load in words."""
        return str(Load(self.kind, self.level))


@dataclass(frozen=True, slots=True)
class Result:
    """What `bench run` wrote for a scenario."""

    path: Path
    content: Mapping[str, Any]

    @property
    def scenario(self) -> Mapping[str, Any]:
        """The scenario as it was run."""
        found: Mapping[str, Any] = self.content["scenario"]
        return found

    def series(self) -> list[Series]:
        """Return the measurements, by system in the scenario's order, then by load."""
        found: dict[tuple[str, str, float], list[Mapping[str, Any]]] = {}
        for each in self.content["rounds"]:
            for one in each["measured"]:
                load = one["load"]
                found.setdefault((one["system"], load["kind"], load["level"]), []).append(one)
        order = {label: place for place, label in enumerate(self.content["systems"])}
        keys = sorted(found, key=lambda key: (order[key[0]], key[2]))
        return [Series(*key, tuple(found[key])) for key in keys]


def write(path: Path, content: Mapping[str, Any], form: str = FORMAT) -> None:
    """Write a result of this form so that `path` is at every moment a whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"format": form, **content}, indent=1) + "\n", "utf-8")
    os.replace(part, path)  # noqa: PTH105 -- Path.replace is the same call


def read(path: Path) -> Result:
    """Read one result. Raises Invalid."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}.") from None
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise Invalid(f"{path} is no result of 'wardgate bench run'.")
    return Result(path, content)


def read_all(folder: Path) -> list[Result]:
    """Read all results in a folder, or the one that a file holds. Raises Invalid where none is."""
    if folder.is_file():
        return [read(folder)]
    found = [read(path) for path in sorted(folder.glob("*.json")) if _ours(path)]
    if not found:
        raise Invalid(f"{folder} holds no result of 'wardgate bench run'.")
    return found


def _ours(path: Path) -> bool:
    with path.open("rb") as file:
        return FORMAT.encode() in file.read(100)


def labels(results: Iterable[Result]) -> list[str]:
    """Return the labels of all systems that were measured, each once, in order."""
    return list(dict.fromkeys(series.label for result in results for series in result.series()))
