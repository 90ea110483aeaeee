"""A scenario: which systems, which model, which notes, under which load. Read from a TOML file.

title = "Mixed lengths, 32 callers"
model = "sentiment"            # made by models.py beside the folder of systems
precision = "int8"
seed = 1
rounds = 5
seconds = 8                    # measured, of each load in each round
warm = 2                       # under the same load before that, not measured

[notes]
file = "../notes.jsonl"        # beside this file
phi = 0.5                      # invented identifiers put into a note, on average
lengths = [{ share = 0.8, characters = [1, 300] }, { share = 0.2, characters = 500 }]

[load]
kind = "closed"                # or "poisson", "bursty"
concurrency = [1, 8, 32]       # or rate = [50, 100], requests per second

[processors]                   # reported, and not set, where this is left out
system = [0]
generator = [1]

[[system]]
name = "fastapi"               # systems/fastapi.toml
precision = "fp32"
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wardgate.cli.bench.table import Invalid, Table

CLOSED, POISSON, BURSTY = "closed", "poisson", "bursty"
KINDS = (CLOSED, POISSON, BURSTY)
PROTOCOLS = ("http1", "http2", "grpc")


@dataclass(frozen=True, slots=True)
class Lengths:
    """A share of the notes: those of the file from `low` to `high` characters.

    With the two equal, pieces of exactly as many characters.
    """

    share: float
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Notes:
    """Where notes come from; see `notes.py`."""

    file: Path
    count: int
    phi: float
    lengths: tuple[Lengths, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """One load. `level` is callers in a closed loop, else requests per second."""

    kind: str
    level: float
    burst: float = 1.0
    """How many requests come at once, on average, where arrivals are bursty."""
    lanes: int = 256
    """Most requests on the wire at once in an open loop; what is due above it waits, and that
    counts."""

    @property
    def open(self) -> bool:
        """Whether requests come at their own times, whatever was answered."""
        return self.kind != CLOSED

    def __str__(self) -> str:
        if self.open:
            return f"{self.kind} {self.level:g}/s"
        return "1 caller" if self.level == 1 else f"{self.level:g} callers"


@dataclass(frozen=True, slots=True)
class Entry:
    """One system of a run. `label` is its name in results."""

    label: str
    name: str
    precision: str
    protocol: str
    tls: bool
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Processors:
    """Which processors each side may use; empty where the machine decides."""

    system: tuple[int, ...]
    generator: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run. Times in seconds; `threads` of 0 leaves them to each system."""

    name: str
    path: Path
    title: str
    about: str
    model: str
    seed: int
    rounds: int
    seconds: float
    warm: float
    threads: int
    timeout: float
    notes: Notes
    loads: tuple[Load, ...]
    processors: Processors
    systems: tuple[Entry, ...]

    def settings(self) -> dict[str, Any]:
        """Return what a result says of the scenario."""
        told = asdict(self)
        told["path"] = self.path.name
        told["notes"]["file"] = self.notes.file.name
        return told


def read(path: Path) -> Scenario:
    """Read a scenario. Raises Invalid with file and key."""
    top = Table.read(path)
    precision = top.take("precision", str, "int8")
    found = Scenario(
        name=path.stem,
        path=path,
        title=top.take("title", str),
        about=top.take("about", str, ""),
        model=top.take("model", str, "sentiment"),
        seed=top.take("seed", int, 1),
        rounds=top.take("rounds", int, 5),
        seconds=top.take("seconds", float, 8.0),
        warm=top.take("warm", float, 2.0),
        threads=top.take("threads", int, 0),
        timeout=top.take("timeout", float, 30.0),
        notes=_notes(top.below("notes"), path.parent),
        loads=_loads(top.below("load")),
        processors=_processors(top.below("processors")),
        systems=tuple(
            _entry(Table(f"{path.name} [[system]] {place}", each), precision)
            for place, each in enumerate(top.take("system", list), 1)
        ),
    )
    top.close()
    _check(found)
    return found


def changed(
    found: Scenario,
    *,
    rounds: int | None = None,
    seconds: float | None = None,
    only: tuple[str, ...] = (),
) -> Scenario:
    """Return a scenario with what a command line gives in place of its own. Raises Invalid."""
    labels = {entry.label for entry in found.systems}
    if unknown := [label for label in only if label not in labels]:
        raise Invalid(f"{found.path.name} has no system '{unknown[0]}'.")
    made = replace(
        found,
        rounds=found.rounds if rounds is None else rounds,
        seconds=found.seconds if seconds is None else seconds,
        systems=tuple(each for each in found.systems if not only or each.label in only),
    )
    _check(made)
    return made


def _check(found: Scenario) -> None:
    labels = [entry.label for entry in found.systems]
    if not labels:
        raise Invalid(f"{found.path.name}: there is no [[system]].")
    if len(set(labels)) < len(labels):
        raise Invalid(f"{found.path.name}: two systems have one label; give each its own.")
    if found.rounds < 1 or found.seconds <= 0 or found.warm < 0 or found.timeout <= 0:
        raise Invalid(f"{found.path.name}: rounds, seconds and timeout are above 0.")


def _entry(table: Table, precision: str) -> Entry:
    name = table.take("name", str)
    environment = table.below("env").rest()
    entry = Entry(
        label=table.take("label", str, name),
        name=name,
        precision=table.take("precision", str, precision),
        protocol=table.take("protocol", str, "http1"),
        tls=table.take("tls", bool, default=False),
        arguments=table.words("arguments"),
        environment=tuple((key, str(value)) for key, value in environment.items()),
    )
    if entry.protocol not in PROTOCOLS:
        raise Invalid(f"{table.where}: the protocol is one of {', '.join(PROTOCOLS)}.")
    table.close()
    return entry


def _notes(table: Table, folder: Path) -> Notes:
    lengths = []
    for place, each in enumerate(table.take("lengths", list, []), 1):
        part = Table(f"{table.where} lengths {place}", each)
        low, high = (part.numbers("characters") * 2)[:2]
        if high < low:
            raise Invalid(f"{part.where}: the characters go from low to high.")
        lengths.append(Lengths(part.take("share", float), int(low), int(high)))
        part.close()
    notes = Notes(
        file=(folder / table.take("file", str)).resolve(),
        count=table.take("count", int, 500),
        phi=table.take("phi", float, 0.0),
        lengths=tuple(lengths),
    )
    if lengths and abs(sum(each.share for each in lengths) - 1) > 1e-6:  # noqa: PLR2004 -- rounding
        raise Invalid(f"{table.where}: the shares of 'lengths' do not make 1.")
    table.close()
    return notes


def _loads(table: Table) -> tuple[Load, ...]:
    kind = table.take("kind", str)
    if kind not in KINDS:
        raise Invalid(f"{table.where}: the kind is one of {', '.join(KINDS)}.")
    if kind == CLOSED:
        levels = table.numbers("concurrency")
        found = tuple(Load(kind, float(int(level)), lanes=int(level)) for level in levels)
    else:
        levels = table.numbers("rate")
        burst = table.take("burst", float, 8.0) if kind == BURSTY else 1.0
        if burst < 1:
            raise Invalid(f"{table.where}: a burst is 1 request or more.")
        lanes = table.take("lanes", int, 256)
        found = tuple(Load(kind, level, burst, lanes) for level in levels)
    table.close()
    return found


def _processors(table: Table) -> Processors:
    sides = {}
    for side in ("system", "generator"):
        given = table.take(side, list, [])
        if not all(type(number) is int and number >= 0 for number in given):
            raise Invalid(f"{table.where}: '{side}' is no list of processors.")
        sides[side] = tuple(given)
    table.close()
    return Processors(**sides)
