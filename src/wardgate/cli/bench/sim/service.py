"""Measured service times: how long a batch takes, and what a request costs beside it. Pure.

A file of `wardgate bench service`, or of any other measurement of the same form.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wardgate.cli.bench.table import Invalid
from wardgate.engine.batch import Bucket

FORMAT = "wardgate-service/1"

Shot = tuple[int, int, float]
"""Rows, length in tokens, and seconds of a batch of that shape."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """What a request costs beside its batch and what its text costs, seconds."""

    front: float = 0.0
    """On the worker's event loop before the engine."""
    back: float = 0.0
    """On the worker's event loop after it."""
    refuse: float = 0.0001
    """On the worker's event loop where the request is turned away."""
    wait: float = 0.0
    """Waiting that takes no processor: the commit of the record, the way through the kernel."""
    client: float = 0.0
    """Of a load generator on the same machine; 0 where callers have their own."""


@dataclass(frozen=True, slots=True)
class Note:
    """A note as the engine sees it: tokens of each row, and the seconds of reading its text."""

    rows: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Service:
    """One machine and one model."""

    model: str
    sessions: int
    threads: int
    """Of a session."""
    wide: int
    """Threads of the session for a lone batch; 0 where there is none."""
    buckets: tuple[Bucket, ...]
    rate: float
    """Padded tokens a second, with all sessions busy."""
    speed: tuple[float, ...]
    """Work done a second by 1, 2, ... threads that run at once; the first is 1, the last is all
    that the machine can do."""
    times: Mapping[int, tuple[Shot, ...]]
    """By threads: batches that were timed alone."""
    notes: tuple[Note, ...]
    overhead: Overhead = Overhead()

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Service:
        """Read what `to_json` made. Raises Invalid."""
        if found.get("format") != FORMAT:
            raise Invalid(f"That is no measurement of the form {FORMAT}.")
        try:
            service = cls(
                model=str(found["model"]),
                sessions=int(found["sessions"]),
                threads=int(found["threads"]),
                wide=int(found["wide"]),
                buckets=tuple(Bucket(**each) for each in found["buckets"]),
                rate=float(found["rate"]),
                speed=tuple(map(float, found["speed"])),
                times={
                    int(threads): tuple((int(r), int(n), float(s)) for r, n, s in shots)
                    for threads, shots in found["times"].items()
                },
                notes=tuple(Note(tuple(n["rows"]), float(n["seconds"])) for n in found["notes"]),
                overhead=Overhead(**found.get("overhead", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Invalid(f"The measurement is not whole: {error!r}.") from None
        service.check()
        return service

    def check(self) -> None:
        """Raise Invalid where a part is missing that a simulation needs."""
        widths = {self.threads, self.wide} - {0}
        if min(self.sessions, self.threads) < 1 or not self.buckets or not self.notes:
            raise Invalid("The measurement has no sessions, no buckets or no notes.")
        if not self.speed or min(self.speed) <= 0 or self.rate <= 0:
            raise Invalid("The measurement has no speed above 0.")
        if any(not self.times.get(each) for each in widths):
            raise Invalid(f"The measurement has no times for {max(widths)} threads.")
        if max(max(note.rows) for note in self.notes) > self.buckets[-1].length:
            raise Invalid("The measurement has a note that is longer than its last bucket.")

    def resized(self, *, sessions: int = 0, processors: int = 0) -> Service:
        """Return the same on a machine of another size; 0 leaves it.

        More processors than were measured are taken to be as fast as the measured ones all busy.
        """
        speed = self.speed
        if processors and processors < len(speed):
            speed = speed[:processors]
        elif processors:
            each = speed[-1] / len(speed)
            speed += tuple(each * (n + 1) for n in range(len(speed), processors))
        count = sessions or self.sessions
        rate = self.rate * (speed[-1] / self.speed[-1] if processors else 1.0)
        return replace(self, sessions=count, speed=speed, rate=rate)


class Clock:
    """How long a batch takes by its shape: between those that were timed, in a straight line."""

    def __init__(self, shots: Sequence[Shot]) -> None:
        self._lengths = sorted({length for _, length, _ in shots})
        self._rows = {
            length: sorted((rows, seconds) for rows, at, seconds in shots if at == length)
            for length in self._lengths
        }
        self._known: dict[tuple[int, int], float] = {}

    def seconds(self, rows: int, length: int) -> float:
        """Return the seconds of a batch of `rows` rows, the longest of `length` tokens."""
        found = self._known.get((rows, length))
        if found is None:
            found = self._known[rows, length] = self._work_out(rows, length)
        return found

    def _work_out(self, rows: int, length: int) -> float:
        at = bisect_left(self._lengths, length)
        if at == len(self._lengths):  # longer than any: by the token
            longest = self._lengths[-1]
            return self._at(longest, rows) * length / longest
        above = self._lengths[at]
        if above == length or at == 0:
            return self._at(above, rows)
        below = self._lengths[at - 1]
        share = (length - below) / (above - below)
        return (1 - share) * self._at(below, rows) + share * self._at(above, rows)

    def _at(self, length: int, rows: int) -> float:
        points = self._rows[length]
        at = bisect_left(points, (rows, 0.0))
        if at == len(points):  # more than any: by the row
            most, seconds = points[-1]
            return seconds * rows / most
        above, high = points[at]
        if above == rows or at == 0:
            return high
        below, low = points[at - 1]
        return low + (high - low) * (rows - below) / (above - below)


def read(path: Path) -> Service:
    """Read a file. Raises Invalid."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}.") from None
    except ValueError:
        raise Invalid(f"{path} is no JSON.") from None
    if not isinstance(content, dict):
        raise Invalid(f"{path} is no measurement.")
    return Service.from_json(content)
