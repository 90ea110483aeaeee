"""TOML tables whose every key is asked for: a misspelt one is refused, with file and name."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

_T = TypeVar("_T")
_MISSING = object()


class Invalid(click.ClickException):
    """A scenario, a system or a result that cannot be used; one sentence."""

    exit_code = 2


class Table:
    """A table of `where`; `close` refuses keys that nobody took."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self.where = where
        self._values = dict(values)

    @classmethod
    def read(cls, path: Path) -> Table:
        """Read a file. Raises Invalid where it is missing or no TOML."""
        try:
            return cls(path.name, tomllib.loads(path.read_text("utf-8")))
        except OSError as error:
            raise Invalid(f"{path}: {error.strerror}.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Invalid(f"{path}: {error}.") from None

    def take(self, key: str, kind: type[_T], default: object = _MISSING) -> _T:
        """Return the value of `key`, a `kind`; a whole number is a float where one is asked for.

        Raises Invalid where it is missing and has no default, or is of another kind.
        """
        if key not in self._values:
            if default is _MISSING:
                raise Invalid(f"{self.where}: '{key}' is missing.")
            return default  # type: ignore[return-value]
        value = self._values.pop(key)
        if kind is float and type(value) is int:
            value = float(value)
        if not isinstance(value, kind) or (kind in {int, float} and isinstance(value, bool)):
            raise Invalid(f"{self.where}: '{key}' is no {kind.__name__}.")
        return value

    def numbers(self, key: str, default: object = _MISSING) -> tuple[float, ...]:
        """Return a number, or a list of them, as a tuple of positive numbers."""
        given: Any = self.take(key, object, default)
        found: Sequence[Any] = given if isinstance(given, list | tuple) else [given]
        if not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in found):
            raise Invalid(f"{self.where}: '{key}' is no list of numbers.")
        if any(number <= 0 for number in found):
            raise Invalid(f"{self.where}: '{key}' must be above 0.")
        return tuple(float(number) for number in found)

    def words(self, key: str, default: object = ()) -> tuple[str, ...]:
        """Return a list of words."""
        found = self.take(key, list, default)
        if not all(isinstance(word, str) for word in found):
            raise Invalid(f"{self.where}: '{key}' is no list of words.")
        return tuple(found)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def below(self, key: str) -> Table:
        """Return the table under `key`; an empty one where there is none."""
        return Table(f"{self.where} [{key}]", self.take(key, dict, {}))

    def rest(self) -> dict[str, Any]:
        """Return and take all that is left."""
        values, self._values = self._values, {}
        return values

    def close(self) -> None:
        """Raise Invalid where a key was not taken."""
        if self._values:
            raise Invalid(f"{self.where}: unknown key '{next(iter(self._values))}'.")
