"""Random choices, quick ones: `random.choice` costs five times as much."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
DIGITS = "0123456789"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Rng(random.Random):
    """A random source with the few draws that the generator makes."""

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[int(self.random() * len(options))]

    def chance(self, share: float) -> bool:
        """Return true in `share` (0 to 1) of the calls."""
        return self.random() < share

    def below(self, limit: int) -> int:
        """Return a whole number of 0 or more below `limit`."""
        return int(self.random() * limit)

    def between(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, both included."""
        return low + int(self.random() * (high - low + 1))

    def digits(self, count: int) -> str:
        """Return so many digits, the first not 0."""
        return str(self.between(1, 9)) + "".join(self.pick(DIGITS) for _ in range(count - 1))

    def shape(self, pattern: str) -> str:
        """Return the pattern filled: # a digit, @ a capital, % a small letter, & a hex digit."""
        out = []
        for mark in pattern:
            if mark == "#":
                out.append(self.pick(DIGITS))
            elif mark == "@":
                out.append(self.pick(LETTERS))
            elif mark == "%":
                out.append(self.pick(LETTERS).lower())
            elif mark == "&":
                out.append(self.pick("0123456789ABCDEF"))
            else:
                out.append(mark)
        return "".join(out)
