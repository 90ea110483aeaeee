"""The notes of a run: drawn from a file by seed, cut to lengths, with invented identifiers put in.

The same scenario gives the same notes in the same order for every system and round.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

from wardgate.cli.bench.scenario import Lengths, Notes
from wardgate.cli.bench.table import Invalid

_FIRST = ("Marta", "Owen", "Priya", "Tomas", "Aisha", "Peter", "Ingrid", "Samuel")
_LAST = ("Velasco", "Brandt", "Okafor", "Lindqvist", "Haddad", "Moreno", "Tanaka", "Whitlock")
_CITIES = ("Dayton", "Tucson", "Fresno", "Albany", "Boise", "Mobile")


def texts(notes: Notes, seed: int) -> list[str]:
    """Return the notes. Raises Invalid where the file has none of a length."""
    rng = random.Random(seed)  # noqa: S311 -- a draw that must come out the same again
    found = _read(notes.file)
    if notes.lengths:
        drawn: list[str] = []
        for part, count in zip(notes.lengths, _counts(notes), strict=True):
            drawn += _of(part, found, count, rng)
        rng.shuffle(drawn)
    else:
        drawn = [found[number % len(found)] for number in range(notes.count)]
    return [_with_phi(text, notes.phi, rng) for text in drawn]


def _counts(notes: Notes) -> list[int]:
    """Return how many notes each share gets; together exactly `count`."""
    ends, total = [], 0.0
    for part in notes.lengths:
        total += part.share
        ends.append(round(total * notes.count))
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _of(part: Lengths, found: list[str], count: int, rng: random.Random) -> list[str]:
    if part.low == part.high:
        whole = " ".join(rng.sample(found, len(found)))
        while len(whole) < part.low * 2:
            whole += " " + whole
        starts = [rng.randrange(len(whole) - part.low) for _ in range(count)]
        return [whole[start : start + part.low] for start in starts]
    fitting = [text for text in found if part.low <= len(text) <= part.high]
    if not fitting:
        raise Invalid(f"The file has no note of {part.low} to {part.high} characters.")
    return [rng.choice(fitting) for _ in range(count)]


def _read(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8") as lines:
            found = [json.loads(line)["text"] for line in lines]
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError):
        raise Invalid(f'{path}: each line is {{"text": ...}}.') from None
    if not found:
        raise Invalid(f"{path} holds no notes.")
    return found


def _with_phi(text: str, density: float, rng: random.Random) -> str:
    """Put a Poisson number of identifiers, `density` on average, before words of the text."""
    count, product = 0, rng.random()
    while product > math.exp(-density):
        count += 1
        product *= rng.random()
    for _ in range(count):
        places = [place + 1 for place, letter in enumerate(text) if letter == " "] or [0]
        at = rng.choice(places)
        text = f"{text[:at]}{_identifier(rng)} {text[at:]}"
    return text


def _identifier(rng: random.Random) -> str:
    name = f"{rng.choice(_FIRST)} {rng.choice(_LAST)}"
    return rng.choice(
        (
            f"Patient {name}",
            f"Dr. {name}",
            f"MRN {rng.randrange(10**6, 10**7)}",
            f"DOB {rng.randrange(1, 13):02}/{rng.randrange(1, 29):02}/{rng.randrange(1935, 2005)}",
            f"call 555-01{rng.randrange(100):02}",
            f"lives in {rng.choice(_CITIES)}",
        )
    )
