"""Reads a JSON object field by field: each is of the expected form, and none is left over.

Decides nothing about models. It refuses what is not JSON in UTF-8, a field twice in one object,
NaN and infinity (which JSON has not), a missing field, and one that nobody asked for.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from wardgate.errors import ManifestInvalid

_MISSING = object()


def read(raw: bytes, what: str) -> Fields:
    """Return the fields of the one JSON object in `raw`. Raises ManifestInvalid."""
    try:
        tree = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
        json.dumps(tree, ensure_ascii=False).encode()  # half a surrogate pair has no UTF-8
    except (ValueError, RecursionError):
        raise ManifestInvalid(f"The {what} is not JSON in UTF-8.") from None
    return Fields(tree, what, top=True)


class Fields:
    """The fields of one JSON object, taken one by one; what is left over at the end is refused.

    Every method raises ManifestInvalid, naming the field and what was expected there.
    """

    def __init__(self, value: object, path: str, *, top: bool = False) -> None:
        if not isinstance(value, dict):
            raise ManifestInvalid(f"{path}: expected an object.")
        self._left: dict[str, Any] = dict(value)
        self._top = top
        self.path = path

    def take(self, name: str, expected: str, fits: Callable[[Any], bool]) -> Any:
        """Return a field's value for which `fits` holds."""
        value = self._left.pop(name, _MISSING)
        if value is _MISSING or not fits(value):
            raise ManifestInvalid(f"{self._at(name)}: expected {expected}.")
        return value

    def has(self, name: str) -> bool:
        """Tell whether an optional field is there."""
        return name in self._left

    def text(self, name: str, pattern: re.Pattern[str], expected: str) -> str:
        """Return a string that matches `pattern` as a whole."""
        found = self.take(
            name, expected, lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))
        )
        return str(found)

    def one_of(self, name: str, *allowed: str) -> str:
        """Return one of some strings."""
        expected = " or ".join(f"'{each}'" for each in allowed)
        return str(
            self.take(name, expected, lambda value: isinstance(value, str) and value in allowed)
        )

    def whole(self, name: str, *, least: int, most: int) -> int:
        """Return a whole number in `[least, most]`."""
        expected = f"a whole number from {least} to {most}"
        return int(
            self.take(name, expected, lambda value: integer(value) and least <= value <= most)
        )

    def number(self, name: str, *, least: float, most: float) -> float:
        """Return a finite number in `[least, most]`."""

        def fits(value: object) -> bool:
            return number(value) and least <= value <= most  # type: ignore[operator]

        return float(self.take(name, f"a number from {least} to {most}", fits))

    def texts(self, name: str, expected: str, *, least: int, unique: bool) -> tuple[str, ...]:
        """Return a list of at least `least` strings, none empty or with control characters."""

        def fits(value: object) -> bool:
            return (
                isinstance(value, list)
                and len(value) >= least
                and all(isinstance(item, str) and item and item.isprintable() for item in value)
                and (not unique or len(set(value)) == len(value))
            )

        return tuple(self.take(name, expected, fits))

    def mapping(self, name: str) -> dict[str, Any]:
        """Return an object as it is."""
        return dict(self.take(name, "an object", lambda value: isinstance(value, dict)))

    def items(self, name: str, *, least: int = 1) -> list[Fields]:
        """Return a list of at least `least` objects."""
        expected = f"a list of at least {least} object{'' if least == 1 else 's'}"
        values = self.take(
            name, expected, lambda value: isinstance(value, list) and len(value) >= least
        )
        return [Fields(value, f"{name}[{index}]") for index, value in enumerate(values)]

    def end(self) -> None:
        """Refuse whatever was not taken."""
        if self._left:
            # The name is the file's own, but it may be anything: it is quoted and cut.
            name = ascii(min(self._left))[:64]
            raise ManifestInvalid(f"{self.path}: the field {name} is not known.")

    def _at(self, name: str) -> str:
        return name if self._top else f"{self.path}.{name}"


def integer(value: object) -> bool:
    """Tell whether a JSON value is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def number(value: object) -> bool:
    """Tell whether a JSON value is a finite number."""
    if integer(value):
        return abs(value) < 1 << 64  # type: ignore[arg-type]
    return isinstance(value, float) and math.isfinite(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ManifestInvalid("A field stands twice in one object.")
    return found


def _no_constant(_: str) -> None:
    raise ManifestInvalid("The file holds NaN or Infinity, which JSON has not.")
